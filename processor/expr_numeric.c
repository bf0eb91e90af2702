/* Evaluators of numeric: arithmetic, rounding, casts. The arithmetic itself is numeric.h. Own header:
 * expr_step.h, functions.def. */
#include "processor/functions.h"
#include "processor/numeric.h"

#include <math.h>

typedef enum expr_state (*binary_fn)(struct kappa_numeric a, struct kappa_numeric b,
                                     struct kappa_numeric *out);

static void binary(const struct expr_step *step, const struct expr_frame *frame, binary_fn run)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    const struct kappa_numeric *b = expr_arg(step, frame, 1)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)run(a[i], b[i], &out->n[i]);
        }
    }
}

void expr_add_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    binary(step, frame, numeric_add);
}

void expr_subtract_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    binary(step, frame, numeric_subtract);
}

void expr_multiply_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    binary(step, frame, numeric_multiply);
}

void expr_divide_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    binary(step, frame, numeric_divide);
}

void expr_modulo_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    binary(step, frame, numeric_modulo);
}

/* ---- Of one operand. */

typedef enum expr_state (*unary_fn)(struct kappa_numeric a, struct kappa_numeric *out);

static void unary(const struct expr_step *step, const struct expr_frame *frame, unary_fn run)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)run(a[i], &out->n[i]);
        }
    }
}

static enum expr_state negated(struct kappa_numeric a, struct kappa_numeric *out)
{
    *out = numeric_make(-numeric_coefficient(a), a.scale);
    return EXPR_OK;
}

static enum expr_state absolute(struct kappa_numeric a, struct kappa_numeric *out)
{
    int128 value = numeric_coefficient(a);
    *out = numeric_make(value < 0 ? -value : value, a.scale);
    return EXPR_OK;
}

static enum expr_state sign(struct kappa_numeric a, struct kappa_numeric *out)
{
    int128 value = numeric_coefficient(a);
    *out = numeric_make((value > 0) - (value < 0), 0);
    return EXPR_OK;
}

static enum expr_state ceiling(struct kappa_numeric a, struct kappa_numeric *out)
{
    return numeric_round(a, 0, NUMERIC_UP, out);
}

static enum expr_state flooring(struct kappa_numeric a, struct kappa_numeric *out)
{
    return numeric_round(a, 0, NUMERIC_DOWN, out);
}

static enum expr_state rounded(struct kappa_numeric a, struct kappa_numeric *out)
{
    return numeric_round(a, 0, NUMERIC_NEAREST, out);
}

static enum expr_state truncated(struct kappa_numeric a, struct kappa_numeric *out)
{
    return numeric_round(a, 0, NUMERIC_TOWARDS_ZERO, out);
}

void expr_negate_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, negated);
}

void expr_abs_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, absolute);
}

void expr_sign_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, sign);
}

void expr_ceil_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, ceiling);
}

void expr_floor_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, flooring);
}

void expr_round_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, rounded);
}

void expr_trunc_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, truncated);
}

void expr_sqrt_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    unary(step, frame, numeric_sqrt);
}

/* (numeric, digits) */
static void round_to(const struct expr_step *step, const struct expr_frame *frame,
                     enum numeric_rounding rounding)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    const int64_t *digits = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)numeric_round(a[i], digits[i], rounding, &out->n[i]);
        }
    }
}

void expr_round_numeric_to(const struct expr_step *step, const struct expr_frame *frame)
{
    round_to(step, frame, NUMERIC_NEAREST);
}

void expr_trunc_numeric_to(const struct expr_step *step, const struct expr_frame *frame)
{
    round_to(step, frame, NUMERIC_TOWARDS_ZERO);
}

/* ---- Casts. */

enum expr_state expr_numeric_fit(struct kappa_numeric value, int64_t modifier,
                                 struct kappa_numeric *out)
{
    if (modifier == 0) {
        *out = value;
        return EXPR_OK;
    }
    struct kappa_numeric fitted = value;
    uint32_t precision = (uint32_t)modifier >> 8;
    enum expr_state state = numeric_round(value, modifier & 0xFF, NUMERIC_NEAREST, &fitted);
    if (state != EXPR_OK) {
        return state;
    }
    if (i128_magnitude(numeric_coefficient(fitted)) >= numeric_power10(precision)) {
        return EXPR_ERROR_OVERFLOW;
    }
    *out = fitted;
    return EXPR_OK;
}

void expr_numeric_modify(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)expr_numeric_fit(a[i], step->option, &out->n[i]);
        }
    }
}

void expr_numeric_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct kappa_numeric *out = expr_out(step, frame)->n;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = numeric_from_int(a[i]);
    }
}

/* option: significant digits, 15 of double precision, 6 of real. */
static void from_double(const struct expr_step *step, const struct expr_frame *frame, int digits)
{
    (void)expr_strict(step, frame);
    const double *a = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)numeric_from_double(a[i], digits, &out->n[i]);
        }
    }
}

void expr_numeric_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    from_double(step, frame, 15);
}

void expr_numeric_from_real(const struct expr_step *step, const struct expr_frame *frame)
{
    from_double(step, frame, 6);
}

static void to_whole(const struct expr_step *step, const struct expr_frame *frame, int64_t low,
                     int64_t high)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            int64_t value = 0;
            enum expr_state state = numeric_to_int(a[i], &value);
            bool beyond = value < low || value > high;
            out->state[i] = (uint8_t)(beyond ? EXPR_ERROR_OVERFLOW : state);
            out->i[i] = value;
        }
    }
}

void expr_smallint_from_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    to_whole(step, frame, INT16_MIN, INT16_MAX);
}

void expr_integer_from_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    to_whole(step, frame, INT32_MIN, INT32_MAX);
}

void expr_bigint_from_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    to_whole(step, frame, INT64_MIN, INT64_MAX);
}

void expr_double_from_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->d[i] = out->state[i] == EXPR_OK ? numeric_to_double(a[i]) : 0;
    }
}

/* Rounded twice would be wrong: the text is read as a float. */
void expr_real_from_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            char text[NUMERIC_TEXT];
            struct kappa_text digits = {text, numeric_format(a[i], text)};
            out->state[i] = (uint8_t)expr_parse_real(digits, &out->d[i]);
        }
    }
}
