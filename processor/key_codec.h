/* Bytes of keys that compare as their columns do. The layout is at the head of include/kappa/row.h.
 *
 * Writers append at `at` and return the place behind, or NULL when the column would pass `end`:
 * keys are bounded (LIMIT_GROUP_KEY_LEN), and the caller says so to whoever wrote the record. */
#ifndef KAPPA_PROCESSOR_KEY_CODEC_H
#define KAPPA_PROCESSOR_KEY_CODEC_H

#include "base/arena.h"
#include "processor/plan.h"

/* Bytes in front of the key columns. */
#define KEY_PREFIX_MAX (KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES)

/* Doubles as numbers see them: -0 is 0 and every NaN is one NaN. */
static inline double key_double(double d)
{
    return d == d ? d + 0.0 : __builtin_nan("");
}

/* Source, and window end if the table has windows. */
uint8_t *key_put_prefix(uint8_t *at, uint32_t source, bool windowed, int64_t window_end);
/* One key column: the value of `row`, which is no error. */
uint8_t *key_put(uint8_t *at, const uint8_t *end, const struct expr_vec *vec, uint32_t row);
uint8_t *key_put_value(uint8_t *at, const uint8_t *end, const struct kappa_value *value);

/* The value of a key column as a person wrote it; timestamptz: RFC 3339 or milliseconds. Text lives in
 * `text` or in the arena. INVALID with a sentence when it is none. */
int plan_key_value_from_text(const struct plan_key *key, const char *text, struct arena *memory,
                             struct kappa_value *value, struct err *err) must_check;

/* Reads a key column at *pos. Text is borrowed from the key, or from the arena when it had zero
 * bytes. CORRUPT when the bytes are none. */
int key_take(const uint8_t *key, size_t len, size_t *pos, enum kappa_type type, struct arena *arena,
             struct kappa_value *value, struct err *err) must_check;

#endif
