/* sum() and avg() in place of SQLite's: exact where the values are decimals of up to six digits behind
 * the point, as money is, so that 0.1 + 0.2 is 0.3; else as careful as doubles allow.
 *
 * A double x that is nearest to m / 10^6 or m / 100, with m a whole number below 2^53, is taken for
 * that decimal. Those and whole numbers are added as whole numbers of 128 bits; other doubles apart, with
 * the error of each addition kept (Neumaier). Own header: query_private.h. */
#include "serve/query_private.h"

#include <math.h>

#define SCALE     1000000
#define EXACT_MAX 9007199254740992.0 /* 2^53 */

/* SQLite aligns its memory to 8 bytes. */
typedef int128 int128_loose __attribute__((aligned(8)));

struct sum {
    int64_t count;
    int64_t doubles;    /* values that are no whole numbers by type */
    int64_t others;     /* of those, which are no short decimals */
    int128_loose exact; /* times SCALE */
    double rest;        /* of the others */
    double lost;        /* what the additions to rest have lost */
};

static void add_double(struct sum *sum, double x)
{
    double total = sum->rest + x;
    bool larger = fabs(sum->rest) >= fabs(x);
    sum->lost += larger ? (sum->rest - total) + x : (x - total) + sum->rest;
    sum->rest = total;
}

/* x as a whole number of 1 / SCALE, when it stands for one of 1 / unit. */
static bool decimal_of(double x, int unit, int128 *out)
{
    double scaled = rint(x * unit);
    if (!(fabs(scaled) < EXACT_MAX) || scaled / unit != x) {
        return false;
    }
    *out = (int128)scaled * (SCALE / unit);
    return true;
}

/* Adds a value, or takes it away again (windows). */
static void change(sqlite3_context *context, sqlite3_value *value, int sign)
{
    struct sum *sum = sqlite3_aggregate_context(context, sizeof *sum);
    int type = sqlite3_value_numeric_type(value);
    if (sum == NULL || type == SQLITE_NULL) {
        return;
    }
    sum->count += sign;
    if (type == SQLITE_INTEGER) {
        sum->exact += (int128)sqlite3_value_int64(value) * SCALE * sign;
        return;
    }
    double x = sqlite3_value_double(value);
    int128 decimal = 0;
    sum->doubles += sign;
    if (decimal_of(x, SCALE, &decimal) || decimal_of(x, 100, &decimal)) {
        sum->exact += decimal * sign;
    } else {
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

static double as_double(const struct sum *sum)
{
    int128 digits = sum->exact;
    int unit = SCALE;
    for (; unit > 1 && digits % 10 == 0; unit /= 10) {
        digits /= 10;
    }
    bool small = digits < (int128)EXACT_MAX && digits > -(int128)EXACT_MAX;
    double exact = small ? (double)digits / unit : (double)((long double)digits / unit);
    if (sum->others == 0) {
        return exact;
    }
    /* Infinities have no error that could be kept. */
    return isfinite(sum->rest) ? exact + (sum->rest + sum->lost) : sum->rest;
}

static void sum_value(sqlite3_context *context)
{
    const struct sum *sum = sqlite3_aggregate_context(context, 0);
    if (sum == NULL || sum->count == 0) {
        return;
    }
    int128 whole = sum->exact / SCALE;
    if (sum->doubles > 0) {
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

int query_sums_add(sqlite3 *db)
{
    int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC;
    int rc = sqlite3_create_window_function(db, "sum", 1, flags, NULL, sum_step, sum_value,
                                            sum_value, sum_inverse, NULL);
    return rc != SQLITE_OK
               ? rc
               : sqlite3_create_window_function(db, "avg", 1, flags, NULL, sum_step, avg_value,
                                                avg_value, sum_inverse, NULL);
}
