/* Mathematical functions of SQL. Own header: functions.def; what is counted with: math_double.h.
 *
 * Out of a function's domain is an error as in PostgreSQL: of the argument for logarithms and powers,
 * of range for the arc functions and for the sine of infinity; so are results that overflow or vanish. */
#include "processor/functions.h"
#include "processor/math_double.h"
#include "processor/numeric.h"

#include <math.h>

typedef double (*one_fn)(double x);
typedef enum expr_state (*check_fn)(double x, double result);

static void of_one(const struct expr_step *step, const struct expr_frame *frame, one_fn run,
                   check_fn check)
{
    (void)expr_strict(step, frame);
    const double *x = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->d[i] = run(x[i]);
            out->state[i] = (uint8_t)check(x[i], out->d[i]);
        }
    }
}

static enum expr_state check_nothing(double x, double result)
{
    (void)x;
    (void)result;
    return EXPR_OK;
}

static enum expr_state check_range(double x, double result)
{
    bool lost = (isinf(result) || result == 0.0) && !isinf(x);
    return lost ? EXPR_ERROR_OVERFLOW : EXPR_OK;
}

static enum expr_state check_positive(double x, double result)
{
    (void)result;
    return x <= 0.0 ? EXPR_ERROR_ARGUMENT : EXPR_OK;
}

static enum expr_state check_finite(double x, double result)
{
    (void)result;
    return isinf(x) ? EXPR_ERROR_OVERFLOW : EXPR_OK;
}

static enum expr_state check_unit(double x, double result)
{
    (void)result;
    return fabs(x) > 1.0 ? EXPR_ERROR_OVERFLOW : EXPR_OK;
}

#define OF_ONE(name, run, check)                                                                   \
    void name(const struct expr_step *step, const struct expr_frame *frame)                        \
    {                                                                                              \
        of_one(step, frame, run, check);                                                           \
    }

OF_ONE(expr_exp, math_exp, check_range)
OF_ONE(expr_ln, math_log, check_positive)
OF_ONE(expr_log10, math_log10, check_positive)
OF_ONE(expr_cbrt, math_cbrt, check_nothing)
OF_ONE(expr_sin, math_sin, check_finite)
OF_ONE(expr_cos, math_cos, check_finite)
OF_ONE(expr_tan, math_tan, check_finite)
OF_ONE(expr_asin, math_asin, check_unit)
OF_ONE(expr_acos, math_acos, check_unit)
OF_ONE(expr_atan, math_atan, check_nothing)

static const double radians_per_degree = 0.0174532925199432957692;

static double degrees_of(double x)
{
    return x / radians_per_degree;
}

static double radians_of(double x)
{
    return x * radians_per_degree;
}

static enum expr_state check_product(double x, double result)
{
    bool lost = (isinf(result) && !isinf(x)) || (result == 0.0 && x != 0.0);
    return lost ? EXPR_ERROR_OVERFLOW : EXPR_OK;
}

OF_ONE(expr_degrees, degrees_of, check_product)
OF_ONE(expr_radians, radians_of, check_product)

void expr_pi(const struct expr_step *step, const struct expr_frame *frame)
{
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->state[i] = EXPR_OK;
        out->d[i] = 3.14159265358979323846;
    }
}

/* ---- Of two doubles. */

typedef enum expr_state (*two_fn)(double x, double y, double *result);

static void of_two(const struct expr_step *step, const struct expr_frame *frame, two_fn run)
{
    (void)expr_strict(step, frame);
    const double *x = expr_arg(step, frame, 0)->d;
    const double *y = expr_arg(step, frame, 1)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)run(x[i], y[i], &out->d[i]);
        }
    }
}

static enum expr_state power(double x, double y, double *result)
{
    *result = math_power(x, y);
    if (isnan(x) || isnan(y)) {
        return EXPR_OK;
    }
    if ((x == 0.0 && y < 0.0) || (x < 0.0 && floor(y) != y)) {
        return EXPR_ERROR_ARGUMENT;
    }
    bool lost = isinf(*result) || (*result == 0.0 && x != 0.0);
    return lost && !isinf(x) && !isinf(y) ? EXPR_ERROR_OVERFLOW : EXPR_OK;
}

void expr_power(const struct expr_step *step, const struct expr_frame *frame)
{
    of_two(step, frame, power);
}

static enum expr_state log_base(double base, double x, double *result)
{
    *result = math_log_base(base, x);
    if (base <= 0.0 || x <= 0.0) {
        return EXPR_ERROR_ARGUMENT;
    }
    return base == 1.0 ? EXPR_ERROR_DIVISION : EXPR_OK;
}

void expr_log_base(const struct expr_step *step, const struct expr_frame *frame)
{
    of_two(step, frame, log_base);
}

static enum expr_state atan2_of(double y, double x, double *result)
{
    *result = math_atan2(y, x);
    return EXPR_OK;
}

void expr_atan2(const struct expr_step *step, const struct expr_frame *frame)
{
    of_two(step, frame, atan2_of);
}

/* round(x::numeric, digits)::double precision; numbers that numeric does not hold have nothing to
 * round, or are nothing. */
static enum expr_state round_to(double x, int64_t digits, double *result)
{
    struct kappa_numeric value;
    *result = x;
    if (!isfinite(x) || fabs(x) >= 1e15 || digits > 38) {
        return EXPR_OK;
    }
    if (fabs(x) < 1e-20 || digits < -38) {
        *result = copysign(0.0, x);
        return EXPR_OK;
    }
    enum expr_state state = numeric_from_double(x, 15, &value);
    if (state == EXPR_OK) {
        state = numeric_round(value, digits, NUMERIC_NEAREST, &value);
    }
    if (state == EXPR_OK) {
        *result = numeric_to_double(value);
    }
    return state;
}

void expr_round_to(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *x = expr_arg(step, frame, 0)->d;
    const int64_t *digits = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)round_to(x[i], digits[i], &out->d[i]);
        }
    }
}

/* ---- Whole numbers. */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void store_magnitude(struct expr_vec *out, uint32_t i, uint64_t value, int64_t max)
{
    bool over = value > (uint64_t)max;
    expr_fail(&out->state[i], over, EXPR_ERROR_OVERFLOW);
    out->i[i] = over ? 0 : (int64_t)value;
}

static void gcd_run(const struct expr_step *step, const struct expr_frame *frame, int64_t max)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    const int64_t *b = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            store_magnitude(out, i, gcd(i64_magnitude(a[i]), i64_magnitude(b[i])), max);
        }
    }
}

static void lcm_run(const struct expr_step *step, const struct expr_frame *frame, int64_t max)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    const int64_t *b = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        uint64_t product = 0;
        bool over = a[i] != 0 && b[i] != 0 &&
                    __builtin_mul_overflow(i64_magnitude(a[i]) /
                                               gcd(i64_magnitude(a[i]), i64_magnitude(b[i])),
                                           i64_magnitude(b[i]), &product);
        store_magnitude(out, i, over ? UINT64_MAX : product, max);
    }
}

void expr_gcd_integer(const struct expr_step *step, const struct expr_frame *frame)
{
    gcd_run(step, frame, INT32_MAX);
}

void expr_gcd_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    gcd_run(step, frame, INT64_MAX);
}

void expr_lcm_integer(const struct expr_step *step, const struct expr_frame *frame)
{
    lcm_run(step, frame, INT32_MAX);
}

void expr_lcm_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    lcm_run(step, frame, INT64_MAX);
}

/* The whole part of a / b: (a - a % b) / b has no rest. */
static enum expr_state whole_quotient(struct kappa_numeric a, struct kappa_numeric b,
                                      struct kappa_numeric *out)
{
    struct kappa_numeric rest;
    enum expr_state state = numeric_modulo(a, b, &rest);
    if (state == EXPR_OK) {
        state = numeric_subtract(a, rest, &rest);
    }
    if (state == EXPR_OK) {
        state = numeric_divide(rest, b, &rest);
    }
    return state == EXPR_OK ? numeric_round(rest, 0, NUMERIC_NEAREST, out) : state;
}

void expr_div_numeric(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_numeric *a = expr_arg(step, frame, 0)->n;
    const struct kappa_numeric *b = expr_arg(step, frame, 1)->n;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)whole_quotient(a[i], b[i], &out->n[i]);
        }
    }
}

/* ---- Buckets and distances. */

/* Which of `count` equal parts of [low, high) holds x, from 1; high may lie below low. */
static enum expr_state bucket_of(double x, double low, double high, int64_t count, int64_t *bucket)
{
    if (count <= 0 || isnan(x) || !isfinite(low) || !isfinite(high) || low == high) {
        return EXPR_ERROR_ARGUMENT;
    }
    bool upwards = low < high;
    if (upwards ? x < low : x > low) {
        *bucket = 0;
        return EXPR_OK;
    }
    if (upwards ? x >= high : x <= high) {
        *bucket = count + 1;
        return *bucket > INT32_MAX ? EXPR_ERROR_OVERFLOW : EXPR_OK;
    }
    bool wide = isinf(high - low);
    double part = wide ? (x / 2 - low / 2) / (high / 2 - low / 2) : (x - low) / (high - low);
    int64_t index = (int64_t)((double)count * part);
    *bucket = (index >= count ? count - 1 : index) + 1;
    return EXPR_OK;
}

void expr_width_bucket(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *x = expr_arg(step, frame, 0)->d;
    const double *low = expr_arg(step, frame, 1)->d;
    const double *high = expr_arg(step, frame, 2)->d;
    const int64_t *count = expr_arg(step, frame, 3)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)bucket_of(x[i], low[i], high[i], count[i], &out->i[i]);
        }
    }
}

/* (latitude, longitude, latitude, longitude) in degrees */
void expr_haversine_km(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->d[i] =
                math_haversine_km(expr_arg(step, frame, 0)->d[i], expr_arg(step, frame, 1)->d[i],
                                  expr_arg(step, frame, 2)->d[i], expr_arg(step, frame, 3)->d[i]);
            expr_fail(&out->state[i], isnan(out->d[i]), EXPR_ERROR_ARGUMENT);
        }
    }
}
