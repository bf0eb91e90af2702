/* The inside of decoders: what decode.c keeps for every format, and what a format brings.
 *
 * A format is a struct decode_ops and a struct of its own whose first member is struct decoder.
 * take() reads one record into one row, whose values are null when it is called; it may leave them
 * in any state when it refuses the record, having written the reason. */
#ifndef KAPPA_PROCESSOR_DECODE_INSIDE_H
#define KAPPA_PROCESSOR_DECODE_INSIDE_H

#include "base/buf.h"
#include "processor/decode.h"

/* A column that is read from the payload. */
struct decode_column {
    enum kappa_type type;
    uint32_t index; /* of the input's columns */
    uint32_t name_len;
    const char *name;
    struct expr_vec vec;
    int64_t modifier; /* plan_column */
    void *inside;     /* the format's own */
    uint32_t got;     /* the format's note on the row at hand, if its state is EXPR_ERROR_TYPE */
};

struct decode_ops {
    size_t size;                     /* of the format's struct, zeroed before open */
    void (*open)(struct decoder *d); /* the columns are made */
    enum decode_taken (*take)(struct decoder *d, const struct kappa_record *record, uint32_t row);
    void (*close)(struct decoder *d);
};

/* A column that is filled from what the record is besides its value. */
struct decode_meta {
    enum plan_meta_kind kind;
    const char *name;   /* for messages */
    const char *header; /* PLAN_META_HEADER */
    struct expr_vec vec;
};

struct decoder {
    const struct decode_ops *ops;
    const struct plan_input *input;
    struct decode_column *columns; /* the used ones */
    uint32_t column_count;
    struct decode_meta *metas; /* the used ones */
    uint32_t meta_count;
    uint32_t partition;  /* of the records that come */
    uint32_t partitions; /* of their topic */
    uint32_t capacity;
    uint32_t last_row;     /* taken last; all rows behind it are null */
    struct expr_vec *vecs; /* per column of the input */
    struct arena memory;
    struct arena texts; /* texts made for the chunk */
    struct buf reason;
    struct decode_key *key; /* of inputs with a primary key */
    int64_t mark;           /* of the record at hand */
};

extern const struct decode_ops decode_json_ops;
extern const struct decode_ops decode_debezium_ops;
extern const struct decode_ops decode_avro_ops;
extern const struct decode_ops decode_csv_ops; /* and tsv */
extern const struct decode_ops decode_raw_ops;

/* ---- decode_value.c: functions that return bool write the reason when they return false */

/* Reads a text as the column's value, as a cast would; a timestamptz may be a number of the input's
 * unit. A text is borrowed. */
bool decode_text(struct decoder *d, struct decode_column *column, uint32_t row,
                 struct kappa_text text);
/* The same of a text that lies in the record. */
bool decode_text_inside(struct decoder *d, struct decode_column *column, uint32_t row,
                        struct kappa_text text, const struct kappa_record *record);
/* what: "the record"... */
bool decode_check_utf8(struct decoder *d, const uint8_t *bytes, size_t len, const char *what);
/* A text in quotes, cut if it is long. UTF-8. */
void decode_show(struct buf *out, struct kappa_text text);

/* ---- decode_key.c: the primary key, of inputs that have one, and keys of tombstones */

void decode_key_open(struct decoder *d);
void decode_key_close(struct decoder *d);
/* Are all its columns not null in this row? */
bool decode_key_whole(struct decoder *d, uint32_t row);
/* Reads its columns from the record's key. */
bool decode_key_take(struct decoder *d, const struct kappa_record *record, uint32_t row);
/* Of an input with key='column': that column is the text of the record's key. */
bool decode_key_alone(struct decoder *d, const struct kappa_record *record, uint32_t row);

/* ---- decode_meta.c */

void decode_meta_open(struct decoder *d);
/* Fills the row of all used metas. */
bool decode_meta_take(struct decoder *d, const struct kappa_record *record, uint32_t row);
void decode_meta_clear(struct decoder *d, uint32_t row);
/* A record whose value is null: is it a mark (include/kappa/message.h), and which time has passed? */
bool decode_mark(const struct kappa_record *record, int64_t *us);
/* input.keyed: is the record's key the text of the key column, which was read into this row? And, with
 * a partitioner, does it lie where that says? */
bool decode_key_check(struct decoder *d, const struct kappa_record *record, uint32_t row);

#endif
