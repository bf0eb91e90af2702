/* Aggregates that SQLite lacks. Own header: query_private.h.
 *
 * stddev and variance by Welford's method, in the order of the rows; percentiles keep all values and
 * sort them, up to a bound. */
#include "serve/query_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX (8U << 20) /* of one percentile */

/* ---- spread */

struct spread {
    int64_t count;
    double mean;
    double squares; /* sum of squared distances from the mean */
};

static void spread_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct spread *spread = sqlite3_aggregate_context(context, sizeof *spread);
    if (spread == NULL || sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        return;
    }
    double x = sqlite3_value_double(argv[0]);
    double distance = x - spread->mean;
    spread->count++;
    spread->mean += distance / (double)spread->count;
    spread->squares += distance * (x - spread->mean);
}

static void spread_end(sqlite3_context *context, int64_t less, bool root)
{
    const struct spread *spread = sqlite3_aggregate_context(context, 0);
    if (spread == NULL || spread->count <= less) {
        return; /* null */
    }
    double variance = spread->squares / (double)(spread->count - less);
    sqlite3_result_double(context, root ? sqrt(variance) : variance);
}

static void stddev_samp(sqlite3_context *context)
{
    spread_end(context, 1, true);
}

static void stddev_pop(sqlite3_context *context)
{
    spread_end(context, 0, true);
}

static void var_samp(sqlite3_context *context)
{
    spread_end(context, 1, false);
}

static void var_pop(sqlite3_context *context)
{
    spread_end(context, 0, false);
}

/* ---- percentiles */

struct sample {
    double *values; /* of sqlite3_malloc: counted against the limit of memory */
    uint32_t count;
    uint32_t cap;
    double at; /* 0 .. 1 */
    bool failed;
};

static void sample_fail(sqlite3_context *context, struct sample *sample, const char *text)
{
    sample->failed = true;
    sqlite3_free(sample->values);
    sample->values = NULL;
    sqlite3_result_error(context, text, -1);
}

static void sample_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct sample *sample = sqlite3_aggregate_context(context, sizeof *sample);
    sqlite3_value *value = argv[argc - 1];
    if (sample == NULL || sample->failed) {
        return;
    }
    sample->at = argc == 2 ? sqlite3_value_double(argv[0]) : 0.5;
    if (!(sample->at >= 0 && sample->at <= 1)) {
        sample_fail(context, sample, "a percentile is a fraction from 0 to 1");
        return;
    }
    if (sqlite3_value_type(value) == SQLITE_NULL) {
        return;
    }
    if (sample->count == sample->cap) {
        uint32_t cap = sample->cap == 0 ? 64 : 2 * sample->cap;
        double *more = cap > VALUES_MAX
                           ? NULL
                           : sqlite3_realloc64(sample->values, cap * sizeof *sample->values);
        if (more == NULL) {
            sample_fail(context, sample, "too many values for a percentile");
            return;
        }
        sample->values = more;
        sample->cap = cap;
    }
    sample->values[sample->count++] = sqlite3_value_double(value);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void sample_end(sqlite3_context *context, bool continuous)
{
    struct sample *sample = sqlite3_aggregate_context(context, 0);
    if (sample == NULL || sample->failed) {
        return;
    }
    if (sample->count > 0) {
        qsort(sample->values, sample->count, sizeof *sample->values, by_value);
        double place = continuous ? sample->at * (double)(sample->count - 1)
                                  : ceil(sample->at * (double)sample->count) - 1;
        place = place < 0 ? 0 : place;
        uint32_t below = (uint32_t)place;
        uint32_t above = below + 1 < sample->count ? below + 1 : below;
        double low = sample->values[below];
        double part = continuous ? place - (double)below : 0;
        sqlite3_result_double(context, low + (sample->values[above] - low) * part);
    }
    sqlite3_free(sample->values);
    sample->values = NULL;
    sample->count = 0;
}

static void percentile_cont(sqlite3_context *context)
{
    sample_end(context, true);
}

static void percentile_disc(sqlite3_context *context)
{
    sample_end(context, false);
}

/* ---- booleans */

struct truth {
    int64_t yes;
    int64_t no;
};

static void truth_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct truth *truth = sqlite3_aggregate_context(context, sizeof *truth);
    if (truth != NULL && sqlite3_value_type(argv[0]) != SQLITE_NULL) {
        bool yes = sqlite3_value_double(argv[0]) != 0;
        truth->yes += yes;
        truth->no += !yes;
    }
}

static void bool_and(sqlite3_context *context)
{
    const struct truth *truth = sqlite3_aggregate_context(context, 0);
    if (truth != NULL && truth->yes + truth->no > 0) {
        sqlite3_result_int(context, truth->no == 0);
    }
}

static void bool_or(sqlite3_context *context)
{
    const struct truth *truth = sqlite3_aggregate_context(context, 0);
    if (truth != NULL && truth->yes + truth->no > 0) {
        sqlite3_result_int(context, truth->yes > 0);
    }
}

/* ---- string_agg(text, separator), in the order of the rows */

struct joined {
    sqlite3_str *text;
};

static void joined_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct joined *joined = sqlite3_aggregate_context(context, sizeof *joined);
    if (joined == NULL || sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        return;
    }
    if (joined->text == NULL) {
        joined->text = sqlite3_str_new(sqlite3_context_db_handle(context));
    } else if (sqlite3_value_type(argv[1]) != SQLITE_NULL) {
        const char *separator = (const char *)sqlite3_value_text(argv[1]);
        sqlite3_str_append(joined->text, separator, sqlite3_value_bytes(argv[1]));
    }
    const char *text = (const char *)sqlite3_value_text(argv[0]);
    sqlite3_str_append(joined->text, text, sqlite3_value_bytes(argv[0]));
}

static void string_agg(sqlite3_context *context)
{
    struct joined *joined = sqlite3_aggregate_context(context, 0);
    if (joined == NULL || joined->text == NULL) {
        return;
    }
    int code = sqlite3_str_errcode(joined->text);
    int len = sqlite3_str_length(joined->text);
    char *text = sqlite3_str_finish(joined->text);
    joined->text = NULL;
    if (code != SQLITE_OK) {
        sqlite3_free(text);
        sqlite3_result_error_code(context, code);
    } else {
        sqlite3_result_text(context, text == NULL ? "" : text, text == NULL ? 0 : len,
                            text == NULL ? SQLITE_STATIC : sqlite3_free);
    }
}

int query_aggregates_add(sqlite3 *db)
{
    static const struct {
        const char *name;
        int args;
        void (*step)(sqlite3_context *context, int argc, sqlite3_value **argv);
        void (*end)(sqlite3_context *context);
    } aggregates[] = {
        {"stddev", 1, spread_step, stddev_samp},
        {"stddev_samp", 1, spread_step, stddev_samp},
        {"stddev_pop", 1, spread_step, stddev_pop},
        {"variance", 1, spread_step, var_samp},
        {"var_samp", 1, spread_step, var_samp},
        {"var_pop", 1, spread_step, var_pop},
        {"percentile_cont", 2, sample_step, percentile_cont},
        {"percentile_disc", 2, sample_step, percentile_disc},
        {"median", 1, sample_step, percentile_cont},
        {"bool_and", 1, truth_step, bool_and},
        {"every", 1, truth_step, bool_and},
        {"bool_or", 1, truth_step, bool_or},
        {"string_agg", 2, joined_step, string_agg},
    };

    int rc = SQLITE_OK;
    for (size_t i = 0; i < array_len(aggregates) && rc == SQLITE_OK; i++) {
        rc = sqlite3_create_function_v2(db, aggregates[i].name, aggregates[i].args,
                                        SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, NULL,
                                        NULL, aggregates[i].step, aggregates[i].end, NULL);
    }
    return rc;
}
