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
    uint32_t name_len;
    const char *name;
    struct expr_vec vec;
    int64_t modifier; /* plan_column */
    uint32_t got;     /* the format's note on the row at hand, if its state is EXPR_ERROR_TYPE */
};

struct decode_ops {
    size_t size;                     /* of the format's struct, zeroed before open */
    void (*open)(struct decoder *d); /* the columns are made */
    bool (*take)(struct decoder *d, const struct kappa_record *record, uint32_t row);
    void (*close)(struct decoder *d);
};

struct decoder {
    const struct decode_ops *ops;
    const struct plan_input *input;
    struct decode_column *columns; /* the used ones */
    uint32_t column_count;
    uint32_t capacity;
    uint32_t last_row;     /* taken last; all rows behind it are null */
    struct expr_vec *vecs; /* per column of the input */
    struct arena memory;
    struct arena texts; /* texts made for the chunk */
    struct buf reason;
};

extern const struct decode_ops decode_json_ops;

#endif
