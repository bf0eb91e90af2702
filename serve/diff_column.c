/* What differs in one column. Own header: diff_inner.h.
 *
 * Distances are counted in buckets by their exponent and 5 bits of their fraction: quantiles to
 * 2 %, in memory that does not grow. */
#include "processor/functions.h"
#include "processor/numeric.h"
#include "processor/value_text.h"
#include "serve/diff_inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRACTION_BITS 5
#define BUCKET_SHIFT  (52 - FRACTION_BITS)
#define BUCKETS       (1U << (11 + FRACTION_BITS)) /* the sign is always 0 */

static bool is_number(enum kappa_type type)
{
    return type >= KAPPA_TYPE_SMALLINT && type <= KAPPA_TYPE_DOUBLE;
}

static bool is_moment(enum kappa_type type)
{
    return type == KAPPA_TYPE_TIMESTAMP || type == KAPPA_TYPE_TIMESTAMPTZ ||
           type == KAPPA_TYPE_INTERVAL;
}

void diff_column_init(struct diff_column *column)
{
    if (column->of[DIFF_A] == NULL || column->of[DIFF_B] == NULL) {
        return;
    }
    enum kappa_type a = column->of[DIFF_A]->type;
    enum kappa_type b = column->of[DIFF_B]->type;
    bool numbers = is_number(a) && is_number(b);
    column->kind = a == b ? DIFF_SAME_TYPE : numbers ? DIFF_NUMBERS : DIFF_TEXTS;
    column->unit_is_time = a == b && (is_moment(a) || a == KAPPA_TYPE_DATE);
    column->measured = numbers || column->unit_is_time;
    column->unit = is_moment(a) ? 1e6 : a == KAPPA_TYPE_DATE ? 1.0 / 86400 : 1;
}

/* ---- values */

static double as_double(const struct kappa_value *value)
{
    enum kappa_payload payload = kappa_type_payload(value->type);
    return payload == KAPPA_PAYLOAD_DOUBLE    ? value->d
           : payload == KAPPA_PAYLOAD_NUMERIC ? numeric_to_double(value->n)
                                              : (double)value->i;
}

static struct kappa_numeric as_numeric(const struct kappa_value *value)
{
    return value->type == KAPPA_TYPE_NUMERIC ? value->n : numeric_from_int(value->i);
}

static bool same_double(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_text(const struct kappa_value *a, const struct kappa_value *b)
{
    struct buf text_a = {0};
    struct buf text_b = {0};
    value_text(&text_a, a);
    value_text(&text_b, b);
    bool same = text_a.len == text_b.len &&
                (text_a.len == 0 || memcmp(text_a.data, text_b.data, text_a.len) == 0);
    buf_free(&text_a);
    buf_free(&text_b);
    return same;
}

static bool is_exact(const struct kappa_value *value)
{
    return kappa_type_payload(value->type) != KAPPA_PAYLOAD_DOUBLE;
}

static bool same_number(const struct kappa_value *a, const struct kappa_value *b)
{
    return is_exact(a) && is_exact(b) ? numeric_compare(as_numeric(a), as_numeric(b)) == 0
                                      : same_double(as_double(a), as_double(b));
}

/* Both are not null. */
static bool same_value(enum diff_kind kind, const struct kappa_value *a,
                       const struct kappa_value *b)
{
    if (kind == DIFF_TEXTS) {
        return same_text(a, b);
    }
    enum kappa_payload payload = kappa_type_payload(a->type);
    if (kind == DIFF_NUMBERS || payload == KAPPA_PAYLOAD_NUMERIC) {
        return same_number(a, b);
    }
    if (payload == KAPPA_PAYLOAD_BYTES) {
        return a->s.len == b->s.len &&
               (a->s.len == 0 || memcmp(a->s.bytes, b->s.bytes, a->s.len) == 0);
    }
    return payload == KAPPA_PAYLOAD_DOUBLE ? same_double(a->d, b->d) : a->i == b->i;
}

/* |b - a|, exact before it becomes a double. */
static double distance(const struct kappa_value *a, const struct kappa_value *b)
{
    if (kappa_type_payload(a->type) == KAPPA_PAYLOAD_INT &&
        kappa_type_payload(b->type) == KAPPA_PAYLOAD_INT) {
        return fabs((double)((int128)b->i - a->i));
    }
    struct kappa_numeric delta;
    if (is_exact(a) && is_exact(b) &&
        numeric_subtract(as_numeric(b), as_numeric(a), &delta) == EXPR_OK) {
        return fabs(numeric_to_double(delta));
    }
    return fabs(as_double(b) - as_double(a));
}

/* ---- counting */

static void count_distance(struct diff_column *column, double far)
{
    if (column->buckets == NULL) {
        column->buckets = xcalloc(BUCKETS, sizeof *column->buckets);
    }
    uint64_t bits;
    memcpy(&bits, &far, sizeof bits);
    column->buckets[bits >> BUCKET_SHIFT]++;
    column->sum += far;
    column->max = fmax(column->max, far);
}

bool diff_column_compare(struct diff_column *column, const struct kappa_value *a,
                         const struct kappa_value *b)
{
    bool nulls = a->is_null || b->is_null;
    if (nulls ? a->is_null == b->is_null : same_value(column->kind, a, b)) {
        return false;
    }
    column->differ++;
    if (nulls) {
        column->nulls++;
    } else if (column->measured) {
        double far = distance(a, b) / column->unit;
        if (isfinite(far)) {
            count_distance(column, far);
        } else {
            column->nulls++;
        }
    }
    return true;
}

/* ---- telling */

/* The middle of the bucket that holds the distance of this rank. */
static double quantile(const struct diff_column *column, uint64_t count, double fraction)
{
    uint64_t rank = (uint64_t)ceil(fraction * (double)count);
    uint64_t seen = 0;
    uint64_t i = 0;
    while (i + 1 < BUCKETS && seen + column->buckets[i] < rank) {
        seen += column->buckets[i++];
    }
    uint64_t bits = i << BUCKET_SHIFT | UINT64_C(1) << (BUCKET_SHIFT - 1);
    double middle;
    memcpy(&middle, &bits, sizeof middle);
    return fmin(middle, column->max);
}

json_t *diff_column_json(const struct diff_column *column)
{
    const struct plan_output *a = column->of[DIFF_A];
    const struct plan_output *b = column->of[DIFF_B];
    const struct plan_output *any = a != NULL ? a : b;
    json_t *out =
        json_pack("{s:s, s:s, s:s}", "name", any->name, "type", function_type_name(any->type), "in",
                  a == NULL   ? "b"
                  : b == NULL ? "a"
                              : "both");
    ASSERT(out != NULL);
    if (a == NULL || b == NULL) {
        return out;
    }
    if (a->type != b->type) {
        ASSERT(json_object_set_new(out, "type_b", json_string(function_type_name(b->type))) == 0);
    }
    ASSERT(json_object_set_new(out, "differ", json_integer((json_int_t)column->differ)) == 0);
    ASSERT(json_object_set_new(out, "nulls", json_integer((json_int_t)column->nulls)) == 0);
    uint64_t count = column->differ - column->nulls;
    if (column->buckets != NULL) {
        json_t *far = json_pack(
            "{s:f, s:f, s:f, s:f, s:f, s:s*}", "mean", column->sum / (double)count, "max",
            column->max, "p50", quantile(column, count, 0.5), "p90", quantile(column, count, 0.9),
            "p99", quantile(column, count, 0.99), "unit", column->unit_is_time ? "seconds" : NULL);
        ASSERT(far != NULL);
        ASSERT(json_object_update(out, far) == 0);
        json_decref(far);
    }
    return out;
}

void diff_column_free(struct diff_column *column)
{
    free(column->buckets);
}
