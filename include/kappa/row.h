/* Words shared by processor/ (which makes rows), table/ (which keeps them) and serve/ (which
 * reads).
 *
 * Table key, byte-comparable:
 *
 *     | source u16 BE | window end i64 BE, sign flipped (window tables only) | key columns... |
 *
 * of hop windows the end of the pane, and behind the key columns the part, u16 BE (node_window.c).
 *
 * "source" is the dense index of an input partition within the version: state is kept per source,
 * and the partials of one key in several sources are merged when read, in source order.
 *
 * A key column: one tag byte (0x01 value, 0x02 null: nulls sort last), then for a value
 *     boolean                      1 byte
 *     whole numbers, dates, times, intervals   8 bytes BE, sign flipped
 *     real, double precision       8 bytes BE, sign-ordered bits (-0 is stored as +0, every NaN as
 *                                  one NaN, above all numbers)
 *     numeric                      18 bytes: u8 sign (1 below, 2 equal, 3 above zero), u8 digits in
 *                                  front of the point + 38, u128 BE the digits, zeros at the end
 *                                  make them 38; complemented below zero. 1.0 and 1.00 are one key
 *     text, bytea, uuid, jsonb, arrays   bytes, 0x00 escaped as 0x00 0xFF, ended by 0x00 0x00
 */
#ifndef KAPPA_ROW_H
#define KAPPA_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* Numbers stand in the order in which they promote. */
enum kappa_type {
    KAPPA_TYPE_NULL = 0, /* the type of a bare NULL, before it meets another */
    KAPPA_TYPE_BOOLEAN,
    KAPPA_TYPE_SMALLINT,    /* 16 bits, kept in 64 */
    KAPPA_TYPE_INTEGER,     /* 32 bits, kept in 64 */
    KAPPA_TYPE_BIGINT,      /* 64 bits */
    KAPPA_TYPE_NUMERIC,     /* exact decimal of 38 digits */
    KAPPA_TYPE_REAL,        /* IEEE 754 binary32, kept as the double of the same value */
    KAPPA_TYPE_DOUBLE,      /* IEEE 754 binary64 */
    KAPPA_TYPE_TEXT,        /* UTF-8, may hold U+0000 */
    KAPPA_TYPE_BYTEA,       /* bytes */
    KAPPA_TYPE_UUID,        /* 16 bytes */
    KAPPA_TYPE_JSONB,       /* its text in the one form that PostgreSQL prints */
    KAPPA_TYPE_DATE,        /* days since 1970 */
    KAPPA_TYPE_TIMESTAMP,   /* microseconds since 1970, of no time zone */
    KAPPA_TYPE_TIMESTAMPTZ, /* microseconds since 1970 UTC */
    KAPPA_TYPE_INTERVAL,    /* microseconds */
    KAPPA_TYPE_COUNT,       /* scalar types: the size of tables by type */
    KAPPA_TYPE_ARRAY = 32   /* a flag: ARRAY | element is the type of its arrays */
};

/* How values of a type are kept in memory: most code depends on this and not on the type. */
enum kappa_payload {
    KAPPA_PAYLOAD_INT,     /* int64_t: booleans, whole numbers, dates, times, intervals */
    KAPPA_PAYLOAD_DOUBLE,  /* double: real, double precision */
    KAPPA_PAYLOAD_BYTES,   /* kappa_text: text, bytea, uuid, jsonb, arrays; ordered by its bytes */
    KAPPA_PAYLOAD_NUMERIC, /* kappa_numeric */
    KAPPA_PAYLOAD_COUNT
};

static inline bool kappa_type_is_array(enum kappa_type type)
{
    return ((unsigned)type & KAPPA_TYPE_ARRAY) != 0;
}

/* The type of arrays of a scalar type, and of the elements of arrays. */
static inline enum kappa_type kappa_type_array_of(enum kappa_type element)
{
    return (enum kappa_type)((unsigned)element | KAPPA_TYPE_ARRAY);
}

static inline enum kappa_type kappa_type_element(enum kappa_type type)
{
    return (enum kappa_type)((unsigned)type & ~(unsigned)KAPPA_TYPE_ARRAY);
}

static inline enum kappa_payload kappa_type_payload(enum kappa_type type)
{
    if (type == KAPPA_TYPE_NUMERIC) {
        return KAPPA_PAYLOAD_NUMERIC;
    }
    if (type == KAPPA_TYPE_DOUBLE || type == KAPPA_TYPE_REAL) {
        return KAPPA_PAYLOAD_DOUBLE;
    }
    bool bytes = type >= KAPPA_TYPE_TEXT && type <= KAPPA_TYPE_JSONB;
    return bytes || kappa_type_is_array(type) ? KAPPA_PAYLOAD_BYTES : KAPPA_PAYLOAD_INT;
}

/* Borrowed text or bytes. */
struct kappa_text {
    const char *bytes; /* not NUL-terminated */
    uint32_t len;
};

/* coefficient / 10^scale, |coefficient| < 10^38, scale 0 .. 38. The scale is how many digits are
 * printed behind the point; values that differ in scale alone are equal. */
struct kappa_numeric {
    uint64_t low; /* of the coefficient, 128 bits, two's complement */
    int64_t high;
    uint32_t scale;
    uint32_t zero; /* always 0: every byte is part of the value */
};

/* One value of a row. Text is borrowed. */
struct kappa_value {
    enum kappa_type type;
    bool is_null;

    union { /* by kappa_type_payload */
        int64_t i;
        double d;
        struct kappa_text s;
        struct kappa_numeric n;
    };
};

#define KAPPA_KEY_SOURCE_BYTES 2
#define KAPPA_KEY_WINDOW_BYTES 8
#define KAPPA_KEY_PART_BYTES   2

/* What table/ must know of a table to keep it. */
struct kappa_table_shape {
    const char *name; /* borrowed from the plan */
    bool windowed;    /* keys carry a window end; a "newest window" index is kept */
    bool history; /* window tables: the index keeps every window of a key, not only the newest */
    bool idle;   /* plain tables: values begin with a time (8 bytes, sortable) that only grows while
                     the row stands, and rows are expired by it */
    bool leaves; /* digests of ranges of its keys are kept, so that two versions can be compared */
};

/* Keeps a record beside the tables. view: index of the pipeline, or UINT32_MAX for all; index + number of
 * pipelines: a final row, under the record that closed its window. */
typedef int (*kappa_keep_fn)(void *ctx, uint32_t source, int64_t offset, uint32_t view,
                             const char *reason, const uint8_t *value, uint32_t value_len,
                             struct err *err);

/* Where the changes of one commit go, in this order for each table: expire calls, then dels, then
 * puts with ascending keys. Functions return 0 or a negative error code; the caller passes it on at once. */
struct kappa_change_sink {
    void *ctx;
    /* Writes a row. is_new: the caller knows that no row is stored under this key. */
    int (*put)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, const uint8_t *value,
               size_t value_len, bool is_new, struct err *err);
    /* Removes the source's rows of a window table whose window end is <= window_end, of an idle
     * table those whose time is. */
    int (*expire)(void *ctx, uint32_t table, uint32_t source, int64_t window_end, struct err *err);
    /* Removes a row, if it is stored. Window tables need `history` for it: the newest-window index of
     * the others knows no older window that would be the newest then. */
    int (*del)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, struct err *err);
    /* Keeps a message for a topic. output: index of the topic in the definition; (output, source,
     * offset, seq) names it. message: see include/kappa/message.h. */
    int (*out)(void *ctx, uint32_t output, uint32_t source, int64_t offset, uint32_t seq,
               const uint8_t *message, size_t len, struct err *err);
    kappa_keep_fn dead; /* a record that could not be processed */
    kappa_keep_fn late; /* one that came behind the windows it belongs to */
};

/* Progress of one source, a pure function of the definition and the records below next_offset. */
struct kappa_source_state {
    int64_t next_offset;     /* the cut: next offset to read */
    int64_t event_time_max;  /* largest event time seen, or (watermark_from='marks') the largest
                                mark, us; or KAPPA_NO_TIME */
    int64_t record_time_max; /* largest record time seen, ms, or KAPPA_NO_TIME */
    uint64_t records;        /* records taken from the log */
    uint64_t dead;           /* records kept in the dead table (per record and view) */
    uint64_t late;           /* rows dropped behind the watermark */
};

#endif
