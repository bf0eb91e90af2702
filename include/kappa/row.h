/* Words shared by processor/ (which makes rows), table/ (which keeps them) and serve/ (which
 * reads).
 *
 * Table key, byte-comparable:
 *
 *     | source u16 BE | window end i64 BE, sign flipped (window tables only) | key columns... |
 *
 * "source" is the dense index of an input partition within the version: state is kept per source,
 * and the partials of one key in several sources are merged when read, in source order.
 *
 * A key column: one tag byte (0x01 value, 0x02 null: nulls sort last), then for a value
 *     bool                    1 byte
 *     integer, bigint, timestamptz   8 bytes BE, sign flipped
 *     double precision        8 bytes BE, sign-ordered bits (-0 is stored as +0, every NaN as one
 * NaN, above all numbers) text                    bytes, 0x00 escaped as 0x00 0xFF, ended by 0x00
 * 0x00
 */
#ifndef KAPPA_ROW_H
#define KAPPA_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum kappa_type {
    KAPPA_TYPE_NULL = 0, /* the type of a bare NULL, before it meets another */
    KAPPA_TYPE_BOOLEAN,
    KAPPA_TYPE_INTEGER,     /* 32 bits, kept in 64 */
    KAPPA_TYPE_BIGINT,      /* 64 bits */
    KAPPA_TYPE_DOUBLE,      /* IEEE 754 binary64 */
    KAPPA_TYPE_TEXT,        /* UTF-8, may hold U+0000 */
    KAPPA_TYPE_TIMESTAMPTZ, /* microseconds since 1970 UTC */
    KAPPA_TYPE_INTERVAL,    /* microseconds; only as a constant in a definition so far */
    KAPPA_TYPE_COUNT
};

/* Borrowed text. */
struct kappa_text {
    const char *bytes; /* not NUL-terminated */
    uint32_t len;
};

/* One value of a row. Text is borrowed. */
struct kappa_value {
    enum kappa_type type;
    bool is_null;

    union {
        int64_t i; /* boolean (0, 1), integer, bigint, timestamptz, interval */
        double d;
        struct kappa_text s;
    };
};

#define KAPPA_KEY_SOURCE_BYTES 2
#define KAPPA_KEY_WINDOW_BYTES 8

/* What table/ must know of a table to keep it. */
struct kappa_table_shape {
    const char *name; /* borrowed from the plan */
    bool windowed;    /* keys carry a window end; a "newest window" index is kept */
};

/* Where the changes of one commit go, in this order for each table: expire calls, then puts with
 * ascending keys. Functions return 0 or a negative error code; the caller passes it on at once. */
struct kappa_change_sink {
    void *ctx;
    /* Writes a row. is_new: the caller knows that no row is stored under this key. */
    int (*put)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, const uint8_t *value,
               size_t value_len, bool is_new, struct err *err);
    /* Removes the source's rows of a window table whose window end is <= window_end. */
    int (*expire)(void *ctx, uint32_t table, uint32_t source, int64_t window_end, struct err *err);
    /* Keeps a record that could not be processed. view: index of the table, or UINT32_MAX for all.
     */
    int (*dead)(void *ctx, uint32_t source, int64_t offset, uint32_t view, const char *reason,
                const uint8_t *value, uint32_t value_len, struct err *err);
};

/* Progress of one source, a pure function of the definition and the records below next_offset. */
struct kappa_source_state {
    int64_t next_offset;     /* the cut: next offset to read */
    int64_t event_time_max;  /* largest event time seen, us, or KAPPA_NO_TIME */
    int64_t record_time_max; /* largest record time seen, ms, or KAPPA_NO_TIME */
    uint64_t records;        /* records taken from the log */
    uint64_t dead;           /* records kept in the dead table (per record and view) */
    uint64_t late;           /* rows dropped behind the watermark */
};

#endif
