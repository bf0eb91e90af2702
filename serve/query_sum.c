/* sum() and avg() in place of SQLite's: a sum of decimals is exact, so that 0.1 + 0.2 is 0.3; of other
 * doubles it is as careful as doubles allow.
 *
 * A number of at most 15 digits is taken for that decimal (query_numeric.c). Whole numbers and those of up
 * to six digits behind the point, as money is, are added as whole numbers of 128 bits; others as numerics;
 * doubles that are no decimals apart, with the error of each addition kept (Neumaier). Own header:
 * query_private.h. */
#include "serve/query_private.h"

#include <math.h>

#define SCALE_DIGITS 6
#define SCALE        1000000

/* SQLite aligns its memory to 8 bytes. */
typedef int128 int128_loose __attribute__((aligned(8)));

struct sum {
    int64_t count;
    int64_t doubles;           /* values that are no whole numbers by type */
    int64_t others;            /* of those, which are no decimals */
    int128_loose exact;        /* times SCALE */
    struct kappa_numeric more; /* of longer fractions */
    double rest;               /* of the others */
    double lost;               /* what the additions to rest have lost */
};

static void add_double(struct sum *sum, double x)
{
    double total = sum->rest + x;
    bool larger = fabs(sum->rest) >= fabs(x);
    sum->lost += larger ? (sum->rest - total) + x : (x - total) + sum->rest;
    sum->rest = total;
}

/* False: there is no room for its digits. */
static bool add_decimal(struct sum *sum, struct kappa_numeric x, int sign)
{
    int128 coefficient = numeric_coefficient(x);
    if (x.scale <= SCALE_DIGITS && coefficient == (int64_t)coefficient) {
        sum->exact += coefficient * sign * (int128)numeric_power10(SCALE_DIGITS - x.scale);
        return true;
    }
    return (sign > 0 ? numeric_add(sum->more, x, &sum->more)
                     : numeric_subtract(sum->more, x, &sum->more)) == EXPR_OK;
}

/* Adds a value, or takes it away again (windows). */
static void change(sqlite3_context *context, sqlite3_value *value, int sign)
{
    struct sum *sum = sqlite3_aggregate_context(context, sizeof *sum);
    int type = sqlite3_value_numeric_type(value);
    struct kappa_numeric decimal;
    if (sum == NULL || type == SQLITE_NULL) {
        return;
    }
    sum->count += sign;
    if (type == SQLITE_INTEGER) {
        sum->exact += (int128)sqlite3_value_int64(value) * SCALE * sign;
        return;
    }
    double x = sqlite3_value_double(value);
    sum->doubles += sign;
    if (!query_numeric_of(sqlite3_user_data(context), x, &decimal) ||
        !add_decimal(sum, decimal, sign)) {
        sum->others += sign;
        add_double(sum, x * sign);
    }
}

static void sum_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    change(context, argv[0], 1);
}

static void sum_inverse(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    change(context, argv[0], -1);
}

/* All of it but the others; false: it has too many digits. */
static bool decimal_total(const struct sum *sum, struct kappa_numeric *out)
{
    return numeric_fits(sum->exact) &&
           numeric_add(numeric_make(sum->exact, SCALE_DIGITS), sum->more, out) == EXPR_OK;
}

static double as_double(const struct sum *sum)
{
    struct kappa_numeric total;
    double exact = decimal_total(sum, &total)
                       ? numeric_to_double(total)
                       : (double)sum->exact / SCALE + numeric_to_double(sum->more);
    if (sum->others == 0) {
        return exact;
    }
    /* Infinities have no error that could be kept. */
    return isfinite(sum->rest) ? exact + (sum->rest + sum->lost) : sum->rest;
}

static void sum_value(sqlite3_context *context)
{
    const struct sum *sum = sqlite3_aggregate_context(context, 0);
    struct kappa_numeric total;
    if (sum == NULL || sum->count == 0) {
        return;
    }
    int128 whole = sum->exact / SCALE;
    if (sum->doubles > 0 && sum->others == 0 && decimal_total(sum, &total)) {
        query_result_numeric(sqlite3_user_data(context), context, total);
    } else if (sum->doubles > 0) {
        sqlite3_result_double(context, as_double(sum));
    } else if (whole > INT64_MAX || whole < INT64_MIN) {
        sqlite3_result_error(context, "integer overflow", -1);
    } else {
        sqlite3_result_int64(context, (int64_t)whole);
    }
}

static void avg_value(sqlite3_context *context)
{
    const struct sum *sum = sqlite3_aggregate_context(context, 0);
    if (sum != NULL && sum->count > 0) {
        sqlite3_result_double(context, as_double(sum) / (double)sum->count);
    }
}

int query_sums_add(struct query *query)
{
    int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC;
    int rc = sqlite3_create_window_function(query->db, "sum", 1, flags, query, sum_step, sum_value,
                                            sum_value, sum_inverse, NULL);
    return rc != SQLITE_OK
               ? rc
               : sqlite3_create_window_function(query->db, "avg", 1, flags, query, sum_step,
                                                avg_value, avg_value, sum_inverse, NULL);
}
