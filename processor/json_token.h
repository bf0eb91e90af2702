/* JSON scalars and strings: their grammar (RFC 8259), checked to the letter, and their values.
 *
 * Every function reads at most a few bytes beyond the token: the text has KAPPA_RECORD_TAIL
 * readable bytes behind it, and the caller checks that a token ends inside the text. No state. */
#ifndef KAPPA_PROCESSOR_JSON_TOKEN_H
#define KAPPA_PROCESSOR_JSON_TOKEN_H

#include "base/base.h"

/* A number as written: (-1)^negative * digits * 10^exponent. */
struct json_number {
    const uint8_t *start;
    const uint8_t *end;
    uint64_t digits;  /* valid if exact */
    int32_t exponent; /* valid if exact */
    bool negative;
    bool integral; /* neither a fraction nor an exponent is written */
    bool exact;    /* `digits` holds all digits: at most 19, and a sane exponent */
};

/* True for the bytes that may follow a scalar. */
static inline bool json_ends_scalar(uint8_t byte)
{
    return byte == ',' || byte == '}' || byte == ']' || byte == ' ' || byte == '\n' ||
           byte == '\r' || byte == '\t';
}

/* False if this is no number, or something else than an end follows it. */
bool json_number_scan(const uint8_t *start, struct json_number *number);
/* The same check without the value: for numbers that nobody reads. */
bool json_number_check(const uint8_t *start);
/* An integral number within [-2^63, 2^63). */
bool json_number_int(const struct json_number *number, int64_t *value);
/* Correctly rounded; false beyond the largest double. */
bool json_number_double(const struct json_number *number, double *value);
/* The number times num / den, rounded to the nearest integer, halves away from zero; exact for
 * numbers of up to 19 digits. False when the result is outside of int64. */
bool json_number_scaled(const struct json_number *number, int64_t num, int64_t den, int64_t *value);

bool json_is_null(const uint8_t *start);
bool json_is_true(const uint8_t *start);
bool json_is_false(const uint8_t *start);

/* Undoes the escapes of the len bytes between the quotes into out (len bytes are enough; NULL: only
 * checks). The new length, or -1: a bad escape, or half of a surrogate pair. */
int64_t json_unescape(const uint8_t *text, size_t len, uint8_t *out);

#endif
