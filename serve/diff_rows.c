/* Rows of one table in two versions: two sides in key order, merged. Own header: diff_inner.h.
 *
 * In views of first rows, which have several of a key, the two go through them side by side: the
 * first one of a key is compared with the first one, and so on.
 *
 * Where equal bytes are equal rows (plan_view_alike) only the keys whose bytes differ are looked at, in
 * both cursors (table/delta.h). How many rows are equal then follows from the rows stored: exactly where a
 * row is stored once. */
#include "processor/functions.h"
#include "serve/diff_inner.h"
#include "serve/reader_side.h"
#include "table/delta.h"

#include <stdlib.h>
#include <string.h>

#define STOP_EVERY 1024 /* rows */

/* ---- can they be compared? */

/* Types of one class have the same bytes for the same value. */
static bool same_key_type(enum kappa_type a, enum kappa_type b)
{
    bool whole_a = a >= KAPPA_TYPE_SMALLINT && a <= KAPPA_TYPE_BIGINT;
    bool whole_b = b >= KAPPA_TYPE_SMALLINT && b <= KAPPA_TYPE_BIGINT;
    bool real_a = a == KAPPA_TYPE_REAL || a == KAPPA_TYPE_DOUBLE;
    bool real_b = b == KAPPA_TYPE_REAL || b == KAPPA_TYPE_DOUBLE;
    return a == b || (whole_a && whole_b) || (real_a && real_b);
}

static bool has_key(const struct plan_view *view, const char *name)
{
    for (uint32_t i = 0; i < view->key_count; i++) {
        if (strcmp(view->keys[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The next key column that is no window, from *i on; NULL: no more. */
static const struct plan_key *next_key(const struct plan_view *view, uint32_t *i)
{
    while (*i < view->key_count) {
        const struct plan_key *key = &view->keys[(*i)++];
        if (key->role == PLAN_KEY_COLUMN) {
            return key;
        }
    }
    return NULL;
}

static void list_keys(struct buf *out, const struct plan_view *view)
{
    buf_append_text(out, "(");
    for (uint32_t i = 0; i < view->key_count; i++) {
        buf_printf(out, "%s%.100s %s", i == 0 ? "" : ", ", view->keys[i].name,
                   function_type_name(view->keys[i].type));
    }
    buf_append_text(out, ")");
}

/* The same columns in the same order; one that has another name but is not named otherwhere in the
 * other key is the same one, renamed. */
static bool keys_match(const struct plan_view *a, const struct plan_view *b)
{
    uint32_t at_a = 0;
    uint32_t at_b = 0;
    if (a->shape.windowed != b->shape.windowed) {
        return false;
    }
    for (;;) {
        const struct plan_key *key_a = next_key(a, &at_a);
        const struct plan_key *key_b = next_key(b, &at_b);
        if (key_a == NULL || key_b == NULL) {
            return key_a == key_b;
        }
        bool same_name = strcmp(key_a->name, key_b->name) == 0;
        bool moved = !same_name && (has_key(a, key_b->name) || has_key(b, key_a->name));
        if (moved || !same_key_type(key_a->type, key_b->type)) {
            return false;
        }
    }
}

bool diff_rows_match(const struct plan *plan_a, const struct plan_view *a,
                     const struct plan *plan_b, const struct plan_view *b, struct buf *why_not)
{
    if (a->kind != b->kind) {
        buf_printf(why_not, "one of them has a row for each record, the other one for each group");
        return false;
    }
    if (a->kind == PLAN_APPEND) {
        const char *topic_a = plan_a->inputs[a->input].topic;
        const char *topic_b = plan_b->inputs[b->input].topic;
        if (strcmp(topic_a, topic_b) != 0) {
            buf_printf(why_not,
                       "its rows come from the topic %.100s in one, from %.100s in the other",
                       topic_a, topic_b);
            return false;
        }
        return true;
    }
    if (!keys_match(a, b)) {
        buf_append_text(why_not, "their keys are not the same columns: ");
        list_keys(why_not, a);
        buf_append_text(why_not, " and ");
        list_keys(why_not, b);
        return false;
    }
    return true;
}

/* ---- what was found */

static void sample_only(struct diff_rows *rows, enum diff_side which,
                        const struct reader_side *side)
{
    json_t *samples = rows->only_samples[which];
    if ((int64_t)json_array_size(samples) < rows->limit) {
        ASSERT(json_array_append_new(samples, reader_row_json(side->view, side->values)) == 0);
        if (rows->wants_records) {
            diff_sample_keep(rows, which == DIFF_A ? DIFF_KEPT_ONLY_A : DIFF_KEPT_ONLY_B, side);
        }
    }
}

static void sample_changed(struct diff_rows *rows, const struct reader_side *sides, json_t *names)
{
    json_t *sample =
        json_pack("{s:o, s:o, s:o}", "a", reader_row_json(sides[DIFF_A].view, sides[DIFF_A].values),
                  "b", reader_row_json(sides[DIFF_B].view, sides[DIFF_B].values), "columns", names);
    ASSERT(sample != NULL);
    ASSERT(json_array_append_new(rows->changed_samples, sample) == 0);
    if (rows->wants_records) {
        diff_sample_keep(rows, DIFF_KEPT_CHANGED, &sides[DIFF_A]);
    }
}

/* Both have the row. */
static void compare_row(struct diff_rows *rows, const struct reader_side *sides)
{
    bool wanted = (int64_t)json_array_size(rows->changed_samples) < rows->limit;
    json_t *names = NULL;
    bool changed = false;
    for (uint32_t i = 0; i < rows->column_count; i++) {
        struct diff_column *column = &rows->columns[i];
        if (column->of[DIFF_A] == NULL || column->of[DIFF_B] == NULL ||
            !diff_column_compare(column, &sides[DIFF_A].values[column->index[DIFF_A]],
                                 &sides[DIFF_B].values[column->index[DIFF_B]])) {
            continue;
        }
        changed = true;
        if (wanted) {
            names = names == NULL ? json_array() : names;
            ASSERT(json_array_append_new(names, json_string(column->of[DIFF_A]->name)) == 0);
        }
    }
    rows->changed += changed ? 1 : 0;
    rows->equal += changed ? 0 : 1;
    if (names != NULL) {
        sample_changed(rows, sides, names);
    }
}

/* ---- the merge */

/* Does the condition hold for a row that is at hand in a (order <= 0), in b (>= 0), or in both? 1, 0,
 * negative. */
static int is_chosen(const struct diff_rows *rows, const struct reader_side *sides, int order,
                     struct err *err)
{
    int rc = rows->filters[DIFF_A] == NULL ? 1 : 0;
    if (rc == 0 && order <= 0) {
        rc = row_filter_holds(rows->filters[DIFF_A], sides[DIFF_A].values, err);
    }
    if (rc == 0 && order >= 0) {
        rc = row_filter_holds(rows->filters[DIFF_B], sides[DIFF_B].values, err);
    }
    return rc;
}

static int take_one(struct diff_rows *rows, struct reader_side *sides, struct err *err)
{
    struct reader_side *a = &sides[DIFF_A];
    struct reader_side *b = &sides[DIFF_B];
    int order = reader_side_order(a, b);
    int chosen = is_chosen(rows, sides, order, err);
    if (chosen < 0) {
        return chosen;
    }
    if (chosen == 1 && order == 0) {
        compare_row(rows, sides);
    } else if (chosen == 1) {
        enum diff_side which = order < 0 ? DIFF_A : DIFF_B;
        rows->only[which]++;
        sample_only(rows, which, &sides[which]);
    }
    rows->taken[DIFF_A] += order <= 0 ? 1 : 0;
    rows->taken[DIFF_B] += order >= 0 ? 1 : 0;
    int rc = order <= 0 ? reader_side_next(a, err) : 0;
    if (rc >= 0 && order >= 0) {
        rc = reader_side_next(b, err);
    }
    return rc < 0 ? rc : 0;
}

static int check_stop(const struct diff_rows *rows, struct err *err)
{
    return __atomic_load_n(rows->stop, __ATOMIC_RELAXED)
               ? err_set(err, KE_CLOSED, "the comparison was broken off")
               : 0;
}

static int merge(struct diff_rows *rows, struct reader_side *sides, struct err *err)
{
    int rc = reader_side_next(&sides[DIFF_A], err);
    if (rc >= 0) {
        rc = reader_side_next(&sides[DIFF_B], err);
    }
    for (uint64_t i = 1; rc >= 0 && (sides[DIFF_A].at_hand || sides[DIFF_B].at_hand); i++) {
        rc = take_one(rows, sides, err);
        if (rc == 0 && i % STOP_EVERY == 0) {
            rc = check_stop(rows, err);
        }
    }
    return rc < 0 ? rc : 0;
}

/* Is each row stored once, and not in parts in several sources? */
static bool is_whole(const struct diff_rows *rows, const struct view_delta_count *stored)
{
    const struct plan *plan = rows->reading[DIFF_A].version->plan;
    const struct plan_view *view = rows->view[DIFF_A];
    bool routed = plan->inputs[view->input].partitioner != PARTITIONER_NONE &&
                  plan_view_keyed(plan, view) != PLAN_NONE;
    return routed || view->kind == PLAN_APPEND || stored->sources <= 1;
}

/* The keys of a, each once. */
static int count_keys(const struct diff_rows *rows, uint64_t *count, struct err *err)
{
    const struct reader_read *reading = &rows->reading[DIFF_A];
    struct view_cursor *cursor = NULL;
    const uint8_t *last = NULL;
    size_t last_len = 0;
    const uint8_t *key = NULL;
    const uint8_t *value = NULL;
    size_t key_len = 0;
    size_t value_len = 0;
    uint32_t source = 0;
    int rc =
        view_cursor_open(reading->snapshot, reading->table,
                         (struct view_sources){0, reading->version->source_count}, &cursor, err);
    for (uint64_t i = 1; rc == 0; i++) {
        rc = view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, err);
        if (rc != 1) {
            break;
        }
        *count += last == NULL || key_len != last_len || memcmp(key, last, key_len) != 0 ? 1 : 0;
        last = key;
        last_len = key_len;
        rc = i % STOP_EVERY == 0 ? check_stop(rows, err) : 0;
    }
    view_cursor_close(cursor);
    return rc;
}

/* Rows of keys that were not looked at are equal. How many are they? Where rows are stored in parts
 * their number lies between bounds; their keys are counted when it is worth it. Rows that HAVING does
 * not show, or a condition does not choose, are found by computing them all. */
static int count_equal(struct diff_rows *rows, const struct view_delta *delta, uint64_t keys,
                       struct err *err)
{
    struct view_delta_count stored;
    view_delta_counts(delta, DIFF_A, &stored);
    bool hides = rows->view[DIFF_A]->having != PLAN_NONE || rows->filters[DIFF_A] != NULL;
    uint64_t taken = rows->taken[DIFF_A];
    uint64_t most = stored.rows > taken ? stored.rows - taken : 0;
    uint64_t least = hides || stored.most < keys ? 0 : stored.most - keys;
    bool wanted = stored.rows <= rows->exact_rows;
    if (hides) {
        rows->unclear = wanted && most > 0;
    } else if (is_whole(rows, &stored)) {
        least = most;
    } else if (wanted && least < most) {
        uint64_t all = 0;
        int rc = count_keys(rows, &all, err);
        if (rc != 0) {
            return rc;
        }
        least = most = all - taken;
    }
    rows->equal_most = rows->equal + most;
    rows->equal += least < most ? least : most;
    return 0;
}

/* Looks at the keys whose bytes differ. */
static int merge_different(struct diff_rows *rows, struct reader_side *sides, struct err *err)
{
    struct view_delta_side at[DIFF_SIDES];
    struct view_delta *delta = NULL;
    const uint8_t *key = NULL;
    size_t len = 0;
    uint64_t keys = 0;
    for (int which = 0; which < DIFF_SIDES; which++) {
        at[which] =
            (struct view_delta_side){rows->reading[which].snapshot, rows->reading[which].table};
    }
    int rc = view_delta_open(&at[DIFF_A], &at[DIFF_B], rows->reading[DIFF_A].version->source_count,
                             rows->stop, &delta, err);
    if (rc != 0) {
        return rc;
    }
    while ((rc = view_delta_next(delta, &key, &len, err)) == 1) {
        keys++;
        for (int which = 0; which < DIFF_SIDES && rc >= 0; which++) {
            rc = reader_cursor_only(sides[which].cursor, key, len, err);
        }
        rc = rc < 0 ? rc : merge(rows, sides, err);
        if (rc < 0) {
            break;
        }
    }
    if (rc == 0) {
        rc = count_equal(rows, delta, keys, err);
    }
    view_delta_close(delta);
    return rc;
}

static void column_add(struct diff_rows *rows, enum diff_side which, uint32_t index)
{
    ASSERT(rows->column_count < array_len(rows->columns));
    struct diff_column *column = &rows->columns[rows->column_count++];
    column->of[which] = &rows->view[which]->outputs[index];
    column->index[which] = index;
}

/* By name: those of a in their order, then those that only b has. */
static void columns_pair(struct diff_rows *rows)
{
    const struct plan_view *a = rows->view[DIFF_A];
    const struct plan_view *b = rows->view[DIFF_B];
    for (uint32_t i = 0; i < a->output_count; i++) {
        column_add(rows, DIFF_A, i);
    }
    for (uint32_t k = 0; k < b->output_count; k++) {
        uint32_t i = 0;
        while (i < a->output_count && strcmp(a->outputs[i].name, b->outputs[k].name) != 0) {
            i++;
        }
        if (i < a->output_count) {
            rows->columns[i].of[DIFF_B] = &b->outputs[k];
            rows->columns[i].index[DIFF_B] = k;
        } else {
            column_add(rows, DIFF_B, k);
        }
    }
    for (uint32_t i = 0; i < rows->column_count; i++) {
        diff_column_init(&rows->columns[i]);
    }
}

int diff_rows_run(struct diff_rows *rows, struct err *err)
{
    struct reader_side *sides = xcalloc(DIFF_SIDES, sizeof *sides);
    int rc = 0;
    columns_pair(rows);
    rows->changed_samples = json_array();
    rows->samples_end = &rows->samples;
    for (int which = 0; which < DIFF_SIDES; which++) {
        rows->only_samples[which] = json_array();
        if (rc == 0) {
            rc = reader_side_open(rows->reader, &rows->reading[which], NULL, &sides[which], err);
        }
    }
    if (rc == 0) {
        rc = rows->by_bytes ? merge_different(rows, sides, err) : merge(rows, sides, err);
    }
    for (int which = 0; which < DIFF_SIDES; which++) {
        reader_side_close(&sides[which]);
    }
    free(sides);
    return rc;
}

void diff_rows_free(struct diff_rows *rows)
{
    for (uint32_t i = 0; i < rows->column_count; i++) {
        diff_column_free(&rows->columns[i]);
    }
    row_filter_close(rows->filters[DIFF_A]);
    row_filter_close(rows->filters[DIFF_B]);
    json_decref(rows->only_samples[DIFF_A]);
    json_decref(rows->only_samples[DIFF_B]);
    json_decref(rows->changed_samples);
    diff_samples_free(rows->samples);
    free(rows);
}
