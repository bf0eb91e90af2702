/* Comparisons: = <> < <= > >= by payload: whole numbers, doubles, numerics, bytes. Own header:
 * expr_step.h.
 *
 * text = constant is the hottest loop of most definitions (count(*) FILTER (WHERE kind = 'click')), so
 * it has its own evaluator: length first, then at most two loads for up to 16 bytes. */
#include "processor/expr_step.h"
#include "processor/numeric.h"

#include <math.h>
#include <string.h>

int expr_compare_text(struct kappa_text a, struct kappa_text b)
{
    uint32_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.bytes, b.bytes, shorter);
    return order != 0 ? (order > 0) - (order < 0) : (a.len > b.len) - (a.len < b.len);
}

bool expr_same_text(struct kappa_text a, struct kappa_text b)
{
    return a.len == b.len &&
           (a.len == 0 || a.bytes == b.bytes || memcmp(a.bytes, b.bytes, a.len) == 0);
}

int expr_compare_double(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return (int)(isnan(a) != 0) - (int)(isnan(b) != 0);
    }
    return (a > b) - (a < b);
}

int expr_compare_rows(const struct expr_vec *a, const struct expr_vec *b, uint32_t i)
{
    switch (kappa_type_payload(a->type)) {
    case KAPPA_PAYLOAD_BYTES:
        return expr_compare_text(a->s[i], b->s[i]);
    case KAPPA_PAYLOAD_DOUBLE:
        return expr_compare_double(a->d[i], b->d[i]);
    case KAPPA_PAYLOAD_NUMERIC:
        return numeric_compare(a->n[i], b->n[i]);
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return (a->i[i] > b->i[i]) - (a->i[i] < b->i[i]);
}

int expr_compare_values(const struct kappa_value *a, const struct kappa_value *b)
{
    ASSERT(a->type == b->type);
    switch (kappa_type_payload(a->type)) {
    case KAPPA_PAYLOAD_BYTES:
        return expr_compare_text(a->s, b->s);
    case KAPPA_PAYLOAD_DOUBLE:
        return expr_compare_double(a->d, b->d);
    case KAPPA_PAYLOAD_NUMERIC:
        return numeric_compare(a->n, b->n);
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return (a->i > b->i) - (a->i < b->i);
}

/* One loop for each type and operator: name, payload, operator, how two rows compare. */
#define ORDER_LOOP(name, member, op)                                                               \
    static void name(const struct expr_step *step, const struct expr_frame *frame)                 \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const int64_t *restrict a = expr_arg(step, frame, 0)->member;                              \
        const int64_t *restrict b = expr_arg(step, frame, 1)->member;                              \
        int64_t *restrict out = expr_out(step, frame)->i;                                          \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            out[i] = (a[i])op(b[i]);                                                               \
        }                                                                                          \
    }

#define ORDER_LOOP_DOUBLE(name, op)                                                                \
    static void name(const struct expr_step *step, const struct expr_frame *frame)                 \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const double *a = expr_arg(step, frame, 0)->d;                                             \
        const double *b = expr_arg(step, frame, 1)->d;                                             \
        int64_t *restrict out = expr_out(step, frame)->i;                                          \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            out[i] = (expr_compare_double(a[i], b[i]))op(0);                                       \
        }                                                                                          \
    }

#define ORDER_LOOP_TEXT(name, op)                                                                  \
    static void name(const struct expr_step *step, const struct expr_frame *frame)                 \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const struct kappa_text *a = expr_arg(step, frame, 0)->s;                                  \
        const struct kappa_text *b = expr_arg(step, frame, 1)->s;                                  \
        const uint8_t *state = expr_out(step, frame)->state;                                       \
        int64_t *restrict out = expr_out(step, frame)->i;                                          \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            out[i] = state[i] == EXPR_OK ? (expr_compare_text(a[i], b[i]))op(0) : 0;               \
        }                                                                                          \
    }

#define ORDER_LOOP_NUMERIC(name, op)                                                               \
    static void name(const struct expr_step *step, const struct expr_frame *frame)                 \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;                               \
        const struct kappa_numeric *b = expr_arg(step, frame, 1)->n;                               \
        const uint8_t *state = expr_out(step, frame)->state;                                       \
        int64_t *restrict out = expr_out(step, frame)->i;                                          \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            out[i] = state[i] == EXPR_OK ? (numeric_compare(a[i], b[i]))op(0) : 0;                 \
        }                                                                                          \
    }

ORDER_LOOP(whole_eq, i, ==)
ORDER_LOOP(whole_ne, i, !=)
ORDER_LOOP(whole_lt, i, <)
ORDER_LOOP(whole_le, i, <=)
ORDER_LOOP(whole_gt, i, >)
ORDER_LOOP(whole_ge, i, >=)
ORDER_LOOP_DOUBLE(double_eq, ==)
ORDER_LOOP_DOUBLE(double_ne, !=)
ORDER_LOOP_DOUBLE(double_lt, <)
ORDER_LOOP_DOUBLE(double_le, <=)
ORDER_LOOP_DOUBLE(double_gt, >)
ORDER_LOOP_DOUBLE(double_ge, >=)
ORDER_LOOP_TEXT(text_eq, ==)
ORDER_LOOP_TEXT(text_ne, !=)
ORDER_LOOP_TEXT(text_lt, <)
ORDER_LOOP_TEXT(text_le, <=)
ORDER_LOOP_TEXT(text_gt, >)
ORDER_LOOP_TEXT(text_ge, >=)
ORDER_LOOP_NUMERIC(numeric_eq, ==)
ORDER_LOOP_NUMERIC(numeric_ne, !=)
ORDER_LOOP_NUMERIC(numeric_lt, <)
ORDER_LOOP_NUMERIC(numeric_le, <=)
ORDER_LOOP_NUMERIC(numeric_gt, >)
ORDER_LOOP_NUMERIC(numeric_ge, >=)

#define ORDERS(type)                                                                               \
    {                                                                                              \
        type##_eq, type##_ne, type##_lt, type##_le, type##_gt, type##_ge                           \
    }

const expr_run_fn expr_compare_run[KAPPA_PAYLOAD_COUNT][EXPR_ORDER_COUNT] = {
    [KAPPA_PAYLOAD_INT] = ORDERS(whole),
    [KAPPA_PAYLOAD_DOUBLE] = ORDERS(double),
    [KAPPA_PAYLOAD_BYTES] = ORDERS(text),
    [KAPPA_PAYLOAD_NUMERIC] = ORDERS(numeric),
};

static uint64_t load_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load_u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Texts of equal length; inlined into the loops below, where len is known to lie in one range. */
static inline bool same_bytes(const char *a, const char *b, uint32_t len)
{
    if (len >= 8) {
        return load_u64(a) == load_u64(b) && load_u64(a + len - 8) == load_u64(b + len - 8) &&
               (len <= 16 || memcmp(a + 8, b + 8, len - 16) == 0);
    }
    if (len >= 4) {
        return load_u32(a) == load_u32(b) && load_u32(a + len - 4) == load_u32(b + len - 4);
    }
    for (uint32_t i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

void expr_text_is(const struct expr_step *step, const struct expr_frame *frame)
{
    bool ok = expr_strict(step, frame);
    const struct kappa_text *restrict a = expr_arg(step, frame, 0)->s;
    const uint8_t *state = expr_out(step, frame)->state;
    int64_t *restrict out = expr_out(step, frame)->i;
    struct kappa_text want = step->constant.s;
    uint32_t n = frame->n;
    if (ok) {
        for (uint32_t i = 0; i < n; i++) {
            out[i] = a[i].len == want.len && same_bytes(a[i].bytes, want.bytes, want.len);
        }
    } else {
        for (uint32_t i = 0; i < n; i++) {
            out[i] = state[i] == EXPR_OK && a[i].len == want.len &&
                     same_bytes(a[i].bytes, want.bytes, want.len);
        }
    }
    for (uint32_t i = 0; i < n && step->option != 0; i++) {
        out[i] ^= 1;
    }
}
