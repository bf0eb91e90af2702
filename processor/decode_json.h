/* The inside of the format json, for formats that are JSON too.
 *
 *     decode_json_open
 *     loop: decode_json_begin       finds the tokens of a record: d->walk
 *           decode_json_columns     reads the columns from one object of it
 *     decode_json_close */
#ifndef KAPPA_PROCESSOR_DECODE_JSON_H
#define KAPPA_PROCESSOR_DECODE_JSON_H

#include "processor/decode_inside.h"
#include "processor/json_walk.h"

#define GUESS_FIELDS 64 /* places in an object that are remembered */
#define GUESS_WORDS  3  /* names up to 23 bytes, with the quote behind them */
#define GUESS_BYTES  (GUESS_WORDS * 8)

/* The name last seen at a place; never equal to anything while mask[0] is 0. */
struct json_guess {
    uint64_t word[GUESS_WORDS];
    uint64_t mask[GUESS_WORDS];
    struct decode_column *column; /* NULL: skipped */
};

/* A name in an object and what it fills. */
struct json_field {
    const char *name;
    uint32_t name_len;
    struct decode_column *column; /* its `inside`: a struct json_object, or NULL */
};

struct json_object {
    struct json_field *fields;
    uint32_t count;
    struct json_guess guesses[GUESS_FIELDS];
};

struct json_decoder {
    struct decoder base;
    struct json_simd *simd;
    struct json_object top;
    struct decode_column *outers; /* fields that are looked into, and are no columns */
    uint32_t outer_count;
    /* The record at hand. */
    struct json_walk walk;
    bool wrong_type; /* some value had the wrong type when it was read */
};

void decode_json_open(struct decoder *base);
void decode_json_close(struct decoder *base);
/* Functions that return bool write the reason when they return false. */
bool decode_json_begin(struct json_decoder *d, const struct kappa_record *record);
/* The columns from the object at *k, which becomes the token behind it. depth: levels around it. */
bool decode_json_columns(struct json_decoder *d, uint32_t *k, uint32_t row, uint32_t depth);
/* Writes what the walk found wrong. Returns false. */
bool decode_json_fault(struct json_decoder *d);

#endif
