/* Arithmetic on integer, bigint and double precision, as PostgreSQL: whole numbers never wrap, their
 * division cuts towards zero; a double that leaves the range of finite numbers, or vanishes, is out of
 * range. Own header: expr_step.h, functions.def. */
#include "processor/functions.h"

#include <math.h>

#define BINARY(name, ctype, member, ...)                                                           \
    void name(const struct expr_step *step, const struct expr_frame *frame)                        \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const ctype *restrict left = expr_arg(step, frame, 0)->member;                             \
        const ctype *restrict right = expr_arg(step, frame, 1)->member;                            \
        ctype *restrict out = expr_out(step, frame)->member;                                       \
        uint8_t *restrict state = expr_out(step, frame)->state;                                    \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            ctype a = left[i];                                                                     \
            ctype b = right[i];                                                                    \
            ctype r;                                                                               \
            __VA_ARGS__                                                                            \
            out[i] = r;                                                                            \
        }                                                                                          \
    }

#define UNARY(name, ctype, member, ...)                                                            \
    void name(const struct expr_step *step, const struct expr_frame *frame)                        \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const ctype *restrict operand = expr_arg(step, frame, 0)->member;                          \
        ctype *restrict out = expr_out(step, frame)->member;                                       \
        uint8_t *restrict state = expr_out(step, frame)->state;                                    \
        (void)state;                                                                               \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            ctype a = operand[i];                                                                  \
            ctype r;                                                                               \
            __VA_ARGS__                                                                            \
            out[i] = r;                                                                            \
        }                                                                                          \
    }

static inline bool beyond_integer(int64_t value)
{
    return value > INT32_MAX || value < INT32_MIN;
}

static inline bool beyond_smallint(int64_t value)
{
    return value > INT16_MAX || value < INT16_MIN;
}

BINARY(expr_add_bigint, int64_t, i, {
    bool over = __builtin_add_overflow(a, b, &r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_subtract_bigint, int64_t, i, {
    bool over = __builtin_sub_overflow(a, b, &r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_multiply_bigint, int64_t, i, {
    bool over = __builtin_mul_overflow(a, b, &r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_add_integer, int64_t, i, {
    bool over = __builtin_add_overflow(a, b, &r) || beyond_integer(r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_subtract_integer, int64_t, i, {
    bool over = __builtin_sub_overflow(a, b, &r) || beyond_integer(r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_multiply_integer, int64_t, i, {
    bool over = __builtin_mul_overflow(a, b, &r) || beyond_integer(r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})

/* Operands of smallint are so small that nothing leaves 64 bits. */
BINARY(expr_add_smallint, int64_t, i, {
    r = (int16_t)a + (int16_t)b;
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_subtract_smallint, int64_t, i, {
    r = (int16_t)a - (int16_t)b;
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_multiply_smallint, int64_t, i, {
    r = (int16_t)a * (int16_t)b;
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_divide_smallint, int64_t, i, {
    expr_fail(&state[i], b == 0, EXPR_ERROR_DIVISION);
    r = (int16_t)b == 0 ? 0 : (int16_t)a / (int16_t)b; /* rows of no value hold anything */
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})

/* The smallest number by -1 traps in C: it is out of range for /, 0 for %. */
BINARY(expr_divide_bigint, int64_t, i, {
    expr_fail(&state[i], b == 0, EXPR_ERROR_DIVISION);
    expr_fail(&state[i], a == INT64_MIN && b == -1, EXPR_ERROR_OVERFLOW);
    r = b == 0 || (a == INT64_MIN && b == -1) ? 0 : a / b;
})
BINARY(expr_divide_integer, int64_t, i, {
    expr_fail(&state[i], b == 0, EXPR_ERROR_DIVISION);
    r = b == 0 || (a == INT64_MIN && b == -1) ? 0 : a / b;
    expr_fail(&state[i], beyond_integer(r), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_modulo, int64_t, i, {
    expr_fail(&state[i], b == 0, EXPR_ERROR_DIVISION);
    r = b == 0 || b == -1 ? 0 : a % b;
})

static inline bool became_infinite(double r, double a, double b)
{
    return isinf(r) && !isinf(a) && !isinf(b);
}

BINARY(expr_add_double, double, d, {
    r = a + b;
    expr_fail(&state[i], became_infinite(r, a, b), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_subtract_double, double, d, {
    r = a - b;
    expr_fail(&state[i], became_infinite(r, a, b), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_multiply_double, double, d, {
    r = a * b;
    bool vanished = r == 0.0 && a != 0.0 && b != 0.0;
    expr_fail(&state[i], became_infinite(r, a, b) || vanished, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_divide_double, double, d, {
    expr_fail(&state[i], b == 0.0 && !isnan(a), EXPR_ERROR_DIVISION);
    r = b == 0.0 ? (double)NAN : a / b;
    bool vanished = r == 0.0 && a != 0.0 && !isinf(b);
    expr_fail(&state[i], (isinf(r) && !isinf(a)) || vanished, EXPR_ERROR_OVERFLOW);
})

/* A double rounded to real is the real result: doubles have more than twice the digits. */
static inline double real_of(double value)
{
    return (double)(float)value;
}

BINARY(expr_add_real, double, d, {
    r = real_of(a + b);
    expr_fail(&state[i], became_infinite(r, a, b), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_subtract_real, double, d, {
    r = real_of(a - b);
    expr_fail(&state[i], became_infinite(r, a, b), EXPR_ERROR_OVERFLOW);
})
BINARY(expr_multiply_real, double, d, {
    r = real_of(a * b);
    bool vanished = r == 0.0 && a != 0.0 && b != 0.0;
    expr_fail(&state[i], became_infinite(r, a, b) || vanished, EXPR_ERROR_OVERFLOW);
})
BINARY(expr_divide_real, double, d, {
    expr_fail(&state[i], b == 0.0 && !isnan(a), EXPR_ERROR_DIVISION);
    r = b == 0.0 ? (double)NAN : real_of(a / b);
    bool vanished = r == 0.0 && a != 0.0 && !isinf(b);
    expr_fail(&state[i], (isinf(r) && !isinf(a)) || vanished, EXPR_ERROR_OVERFLOW);
})

UNARY(expr_negate_smallint, int64_t, i, {
    r = -(int64_t)(int16_t)a;
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})
UNARY(expr_abs_smallint, int64_t, i, {
    r = (int16_t)a < 0 ? -(int64_t)(int16_t)a : a;
    expr_fail(&state[i], beyond_smallint(r), EXPR_ERROR_OVERFLOW);
})
UNARY(expr_negate_bigint, int64_t, i, {
    bool over = __builtin_sub_overflow(0, a, &r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
UNARY(expr_negate_integer, int64_t, i, {
    bool over = __builtin_sub_overflow(0, a, &r) || beyond_integer(r);
    expr_fail(&state[i], over, EXPR_ERROR_OVERFLOW);
})
UNARY(expr_negate_double, double, d, { r = -a; })
UNARY(expr_abs_bigint, int64_t, i, {
    expr_fail(&state[i], a == INT64_MIN, EXPR_ERROR_OVERFLOW);
    r = a < 0 && a != INT64_MIN ? -a : a;
})
UNARY(expr_abs_integer, int64_t, i, {
    r = a < 0 && a != INT64_MIN ? -a : a;
    expr_fail(&state[i], beyond_integer(r), EXPR_ERROR_OVERFLOW);
})
UNARY(expr_abs_double, double, d, { r = fabs(a); })
UNARY(expr_floor, double, d, { r = floor(a); })
UNARY(expr_ceil, double, d, { r = ceil(a); })
UNARY(expr_round, double, d, { r = rint(a); }) /* halves to even, as PostgreSQL's round(double) */
UNARY(expr_trunc, double, d, { r = trunc(a); })
UNARY(expr_sign, double, d, { r = (double)((a > 0) - (a < 0)); }) /* 0 for NaN, as PostgreSQL */
UNARY(expr_sqrt, double, d, {
    expr_fail(&state[i], a < 0, EXPR_ERROR_ARGUMENT);
    r = a < 0 ? 0.0 : sqrt(a);
})
