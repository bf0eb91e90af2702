/* Comparing two versions. Own header: diff.h; rows: diff_rows.c, columns: diff_column.c. */
#include "serve/diff_inner.h"
#include "serve/reader_side.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct diff {
    struct reader *reader;
    struct reader_version *versions[DIFF_SIDES];
    struct view_snapshot *snapshots[DIFF_SIDES]; /* NULL before diff_snapshot */
    char *table;                                 /* only this one, or NULL; owned */
    char *where;                                 /* or NULL; owned */
    struct log *log;                             /* or NULL */
    int64_t limit;
    uint64_t exact_rows;
    bool stop; /* atomic */
};

/* ---- the same partitions */

static const json_t *input_of(const struct reader_version *version, uint32_t source)
{
    return json_array_get(json_object_get(version->object, "inputs"),
                          version->sources[source].input);
}

/* The first source of the other version, from `from` on, that reads the same partition; or their
 * number. */
static uint32_t same_source(const struct reader_version *version, uint32_t source,
                            const struct reader_version *other, uint32_t from)
{
    const struct reader_source *of = &version->sources[source];
    uint32_t i = from;
    while (i < other->source_count && (other->sources[i].partition != of->partition ||
                                       strcmp(other->sources[i].topic, of->topic) != 0)) {
        i++;
    }
    return i;
}

static int check_inputs(const struct reader_version *version, const struct reader_version *other,
                        struct err *err)
{
    for (uint32_t source = 0; source < version->source_count; source++) {
        const struct reader_source *of = &version->sources[source];
        uint32_t same = same_source(version, source, other, 0);
        if (same == other->source_count) {
            int rc = err_set(err, KE_REFUSED,
                             "v%" PRIu32 " reads %s/%" PRIu32 ", v%" PRIu32
                             " does not: they are never at one cut",
                             version->number, of->topic, of->partition, other->number);
            err_hint(err, "only versions that read the same topics can be compared");
            return rc;
        }
        if (json_int(input_of(version, source), "identity", 0) !=
            json_int(input_of(other, same), "identity", 0)) {
            return err_set(err, KE_REFUSED,
                           "the topic %s was made anew between v%" PRIu32 " and v%" PRIu32
                           ": its offsets are not the same records",
                           of->topic, version->number, other->number);
        }
    }
    return 0;
}

static int check_table(const struct diff *diff, struct err *err)
{
    const struct reader_version *a = diff->versions[DIFF_A];
    const struct reader_version *b = diff->versions[DIFF_B];
    if (diff->table == NULL || reader_version_table(a, diff->table) != PLAN_NONE ||
        reader_version_table(b, diff->table) != PLAN_NONE) {
        return 0;
    }
    int rc =
        err_set(err, KE_NOT_FOUND, "neither v%" PRIu32 " nor v%" PRIu32 " of %s has a table %s",
                a->number, b->number, a->processor, diff->table);
    err_hint(err, "views that are read by a statement are compared by comparing their tables");
    return rc;
}

/* What chooses rows of a table that both have. */
static int filters_open(const struct diff *diff, const uint32_t *index, struct row_filter **filters,
                        struct err *err)
{
    for (int side = 0; side < DIFF_SIDES && diff->where != NULL; side++) {
        const struct reader_version *version = diff->versions[side];
        const struct plan_view *view = &version->plan->views[index[side]];
        int rc = row_filter_open(view, diff->where, &filters[side], err);
        if (rc != 0) {
            err_prefix(err, "table %s of v%" PRIu32, view->shape.name, version->number);
            return rc;
        }
    }
    return 0;
}

/* Errors come before anything is held. */
static int check_where(const struct diff *diff, struct err *err)
{
    const struct plan *plan = diff->versions[DIFF_A]->plan;
    int rc = 0;
    for (uint32_t i = 0; i < plan->view_count && rc == 0 && diff->where != NULL; i++) {
        const char *table = plan->views[i].shape.name;
        const uint32_t index[DIFF_SIDES] = {i, reader_version_table(diff->versions[DIFF_B], table)};
        bool asked = diff->table == NULL || strcmp(diff->table, table) == 0;
        struct row_filter *filters[DIFF_SIDES] = {NULL};
        if (asked && index[DIFF_B] != PLAN_NONE) {
            rc = filters_open(diff, index, filters, err);
        }
        row_filter_close(filters[DIFF_A]);
        row_filter_close(filters[DIFF_B]);
    }
    return rc;
}

int diff_open(struct reader *reader, const char *processor, uint32_t a, uint32_t b,
              const struct diff_options *options, struct diff **out, struct err *err)
{
    struct diff *diff = xcalloc(1, sizeof *diff);
    diff->reader = reader;
    diff->table = options->table != NULL ? xstrdup(options->table) : NULL;
    diff->where = options->where != NULL ? xstrdup(options->where) : NULL;
    diff->log = options->log;
    diff->limit = options->limit;
    diff->exact_rows = options->exact_rows;
    int rc = reader_version_take(reader, processor, a, &diff->versions[DIFF_A], err);
    if (rc == 0) {
        rc = reader_version_take(reader, processor, b, &diff->versions[DIFF_B], err);
    }
    if (rc == 0) {
        rc = check_inputs(diff->versions[DIFF_A], diff->versions[DIFF_B], err);
    }
    if (rc == 0) {
        rc = check_inputs(diff->versions[DIFF_B], diff->versions[DIFF_A], err);
    }
    if (rc == 0) {
        rc = check_table(diff, err);
    }
    if (rc == 0) {
        rc = check_where(diff, err);
    }
    if (rc != 0) {
        diff_close(diff);
        return rc;
    }
    *out = diff;
    return 0;
}

void diff_close(struct diff *diff)
{
    if (diff == NULL) {
        return;
    }
    for (int side = 0; side < DIFF_SIDES; side++) {
        view_snapshot_end(diff->snapshots[side]);
        if (diff->versions[side] != NULL) {
            reader_version_give(diff->reader, diff->versions[side]);
        }
    }
    free(diff->table);
    free(diff->where);
    free(diff);
}

void diff_stop(struct diff *diff)
{
    __atomic_store_n(&diff->stop, true, __ATOMIC_RELAXED);
}

/* ---- one cut */

static int check_cut(const struct diff *diff, struct err *err)
{
    const struct reader_version *a = diff->versions[DIFF_A];
    const struct reader_version *b = diff->versions[DIFF_B];
    for (uint32_t source = 0; source < a->source_count; source++) {
        int64_t at = reader_source_next(a, diff->snapshots[DIFF_A], source);
        uint32_t same = same_source(a, source, b, 0);
        for (; same < b->source_count; same = same_source(a, source, b, same + 1)) {
            int64_t other = reader_source_next(b, diff->snapshots[DIFF_B], same);
            if (at != other) {
                int rc = err_set(err, KE_REFUSED,
                                 "they are not at one cut: v%" PRIu32 " stands at offset %" PRId64
                                 " of %s/%" PRIu32 ", v%" PRIu32 " at %" PRId64,
                                 a->number, at, a->sources[source].topic,
                                 a->sources[source].partition, b->number, other);
                err_hint(err,
                         "a version whose worker does not run stays where it is: resume it, or "
                         "replay its definition (kappa replay) and compare with that");
                return rc;
            }
        }
    }
    return 0;
}

int diff_snapshot(struct diff *diff, struct err *err)
{
    for (int side = 0; side < DIFF_SIDES; side++) {
        int rc = view_snapshot_begin(diff->versions[side]->view, &diff->snapshots[side], err);
        if (rc != 0) {
            diff->snapshots[side] = NULL;
            return rc;
        }
    }
    return check_cut(diff, err);
}

/* ---- tables */

/* Rows that are kept and read in the same way: the same stored bytes are the same rows. */
static bool is_alike(const struct diff *diff, const uint32_t *index)
{
    const struct reader_version *a = diff->versions[DIFF_A];
    const struct reader_version *b = diff->versions[DIFF_B];
    return reader_sources_alike(a, b) &&
           (digest_equal(a->plan->hash, b->plan->hash) ||
            plan_view_alike(&a->plan->views[index[DIFF_A]], &b->plan->views[index[DIFF_B]]));
}

/* The same stored bytes in every source, as far as a digest can tell. */
static bool has_same_digests(const struct diff *diff, const uint32_t *index)
{
    const struct reader_version *a = diff->versions[DIFF_A];
    for (uint32_t source = 0; source < a->source_count; source++) {
        struct store_source of_a;
        struct store_source of_b;
        (void)view_source(diff->snapshots[DIFF_A], source, &of_a);
        (void)view_source(diff->snapshots[DIFF_B], source, &of_b);
        if (!digest_equal(of_a.digests[index[DIFF_A]], of_b.digests[index[DIFF_B]])) {
            return false;
        }
    }
    return true;
}

/* Is it a column of the key of a group? */
static bool is_key(const struct diff_rows *rows, const struct diff_column *column)
{
    const struct plan_view *view = rows->view[DIFF_A];
    const struct plan_output *of = column->of[DIFF_A];
    return of != NULL && view->kind == PLAN_GROUP && view->top == NULL && of->reg < view->key_count;
}

static json_t *columns_json(const struct diff_rows *rows, bool *same)
{
    json_t *columns = json_array();
    for (uint32_t i = 0; i < rows->column_count; i++) {
        const struct diff_column *column = &rows->columns[i];
        bool both = column->of[DIFF_A] != NULL && column->of[DIFF_B] != NULL;
        *same = *same && both && column->of[DIFF_A]->type == column->of[DIFF_B]->type;
        json_t *json = diff_column_json(column);
        if (is_key(rows, column)) {
            ASSERT(json_object_set_new(json, "key", json_true()) == 0);
        }
        ASSERT(json_array_append_new(columns, json) == 0);
    }
    return columns;
}

static json_t *rows_json(const struct diff_rows *rows, const char *table, bool *same)
{
    *same = *same && rows->only[DIFF_A] + rows->only[DIFF_B] + rows->changed == 0;
    json_t *out = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:{s:O, s:O, s:O}}", "table", table, "in", "both",
        "only_in_a", (json_int_t)rows->only[DIFF_A], "only_in_b", (json_int_t)rows->only[DIFF_B],
        "changed", (json_int_t)rows->changed, "equal", (json_int_t)rows->equal, "columns",
        columns_json(rows, same), "samples", "changed", rows->changed_samples, "only_in_a",
        rows->only_samples[DIFF_A], "only_in_b", rows->only_samples[DIFF_B]);
    ASSERT(out != NULL);
    if (rows->equal_most > rows->equal) {
        json_t *most = json_integer((json_int_t)rows->equal_most);
        ASSERT(json_object_set_new(out, "equal_most", most) == 0);
    }
    return out;
}

/* Is each row a function of the bytes that are stored under its key? Those of a hop are not, nor
 * sessions that have parts in several sources. */
static bool rows_are_by_key(const struct diff *diff, const uint32_t *index)
{
    const struct reader_version *a = diff->versions[DIFF_A];
    const struct reader_version *b = diff->versions[DIFF_B];
    return reader_sources_alike(a, b) &&
           plan_view_alike(&a->plan->views[index[DIFF_A]], &b->plan->views[index[DIFF_B]]) &&
           !reader_session_merges(a, index[DIFF_A]);
}

static int read_rows(struct diff *diff, const uint32_t *index, bool by_bytes,
                     struct diff_rows **out, struct err *err)
{
    struct diff_rows *rows = xcalloc(1, sizeof *rows);
    rows->reader = diff->reader;
    rows->limit = diff->limit;
    rows->stop = &diff->stop;
    rows->by_bytes = by_bytes;
    rows->alike = rows_are_by_key(diff, index);
    rows->wants_records = diff->log != NULL;
    rows->exact_rows = diff->exact_rows;
    for (int side = 0; side < DIFF_SIDES; side++) {
        rows->view[side] = &diff->versions[side]->plan->views[index[side]];
        rows->reading[side] = (struct reader_read){.version = diff->versions[side],
                                                   .snapshot = diff->snapshots[side],
                                                   .table = index[side]};
    }
    *out = rows;
    int rc = filters_open(diff, index, rows->filters, err);
    return rc == 0 ? diff_rows_run(rows, err) : rc;
}

static json_t *records_json(const struct diff_rows *rows)
{
    static const char *const names[] = {"changed", "only_in_a", "only_in_b"};
    json_t *out = json_object();
    for (size_t i = 0; i < array_len(names); i++) {
        ASSERT(json_object_set_new(out, names[i], json_array()) == 0);
    }
    for (const struct diff_sample *sample = rows->samples; sample != NULL; sample = sample->next) {
        json_t *list = json_object_get(out, names[sample->kept]);
        ASSERT(json_array_append(list, sample->records) == 0);
    }
    return out;
}

/* The records that explain the samples, or why they cannot be told. */
static int add_records(const struct diff *diff, struct diff_rows *rows, json_t *out,
                       struct err *err)
{
    if (diff->log == NULL) {
        return 0;
    }
    bool partial = false;
    const char *why_not = diff_records_why_not(rows);
    if (why_not != NULL) {
        ASSERT(json_object_set_new(out, "records_why_not", json_string(why_not)) == 0);
        return 0;
    }
    int rc = diff_records_find(rows, diff->log, &partial, err);
    if (rc != 0) {
        return rc;
    }
    ASSERT(json_object_set_new(out, "records", records_json(rows)) == 0);
    if (partial) {
        ASSERT(json_object_set_new(out, "records_partial", json_true()) == 0);
    }
    return 0;
}

/* Reads the rows of a table that both have, or those that may differ. */
static int compare_table(struct diff *diff, const char *table, const uint32_t *index, bool *same,
                         json_t **out, struct err *err)
{
    bool by_bytes = rows_are_by_key(diff, index);
    struct diff_rows *rows = NULL;
    int rc = read_rows(diff, index, by_bytes, &rows, err);
    if (rc == 0 && rows->unclear) {
        diff_rows_free(rows);
        rc = read_rows(diff, index, false, &rows, err);
    }
    if (rc == 0) {
        *out = rows_json(rows, table, same);
        rc = add_records(diff, rows, *out, err);
    }
    if (rc != 0) {
        json_decref(*out);
        *out = NULL;
        err_prefix(err, "table %s", table);
    }
    diff_rows_free(rows);
    return rc;
}

static int one_table(struct diff *diff, const char *table, bool *same, json_t **out,
                     struct err *err)
{
    const struct plan *a = diff->versions[DIFF_A]->plan;
    const struct plan *b = diff->versions[DIFF_B]->plan;
    const uint32_t index[DIFF_SIDES] = {reader_version_table(diff->versions[DIFF_A], table),
                                        reader_version_table(diff->versions[DIFF_B], table)};
    if (index[DIFF_A] == PLAN_NONE || index[DIFF_B] == PLAN_NONE) {
        *same = false;
        *out =
            json_pack("{s:s, s:s}", "table", table, "in", index[DIFF_A] == PLAN_NONE ? "b" : "a");
        return 0;
    }
    struct buf why_not = {0};
    if (is_alike(diff, index) && has_same_digests(diff, index)) {
        *out = json_pack("{s:s, s:s, s:b}", "table", table, "in", "both", "identical", 1);
        return 0;
    }
    if (!diff_rows_match(a, &a->views[index[DIFF_A]], b, &b->views[index[DIFF_B]], &why_not)) {
        *same = false;
        *out = json_pack("{s:s, s:s, s:s}", "table", table, "in", "both", "why_not",
                         buf_text(&why_not));
        buf_free(&why_not);
        return 0;
    }
    return compare_table(diff, table, index, same, out, err);
}

/* Tables of a in their order, then those that only b has. */
static int each_table(struct diff *diff, json_t *tables, bool *same, struct err *err)
{
    for (int side = 0; side < DIFF_SIDES; side++) {
        const struct plan *plan = diff->versions[side]->plan;
        for (uint32_t i = 0; i < plan->view_count; i++) {
            const char *table = plan->views[i].shape.name;
            bool seen =
                side == DIFF_B && reader_version_table(diff->versions[DIFF_A], table) != PLAN_NONE;
            if (seen || (diff->table != NULL && strcmp(diff->table, table) != 0)) {
                continue;
            }
            json_t *item = NULL;
            int rc = one_table(diff, table, same, &item, err);
            if (rc != 0) {
                return rc;
            }
            ASSERT(json_array_append_new(tables, item) == 0);
        }
    }
    return 0;
}

int diff_run(struct diff *diff, json_t **out, struct err *err)
{
    ASSERT(diff->snapshots[DIFF_B] != NULL);
    struct reader_version *a = diff->versions[DIFF_A];
    const struct reader_version *b = diff->versions[DIFF_B];
    int64_t began_us = clock_mono_us(clock_real());
    json_t *tables = json_array();
    bool same = true;
    int rc = each_table(diff, tables, &same, err);
    if (rc != 0) {
        json_decref(tables);
        return rc;
    }
    *out = json_pack("{s:s, s:I, s:I, s:o, s:b, s:{s:b, s:b}, s:f, s:o}", "processor", a->processor,
                     "a", (json_int_t)a->number, "b", (json_int_t)b->number, "cut",
                     reader_cut(a, diff->snapshots[DIFF_A]), "same", same, "complete", "a",
                     json_bool(a->object, "complete", true), "b",
                     json_bool(b->object, "complete", true), "seconds",
                     (double)(clock_mono_us(clock_real()) - began_us) / 1e6, "tables", tables);
    ASSERT(*out != NULL);
    return 0;
}
