/* One row by its key, and a row as JSON. Own header: reader.h. */
#include "serve/reader_inner.h"

#include "base/timefmt.h"
#include "processor/event_time.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES 48 /* of most columns as JSON, with their names */

/* The text of a key as it was asked for. */
static int no_row(const struct plan_view *view, const char *const *keys, uint32_t key_count,
                  int64_t at_us, struct err *err)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < key_count && text.len < 200; i++) {
        buf_printf(&text, "%s%.100s", i == 0 ? "" : ", ", keys[i]);
    }
    char at[TIME_TEXT_LEN] = "";
    if (at_us != KAPPA_NO_TIME) {
        (void)time_format(at_us, at);
    }
    int rc = err_set(err, KE_NOT_FOUND, "table %s has no row (%s)%s%s", view->shape.name,
                     buf_text(&text), at[0] == '\0' ? "" : " at ", at);
    buf_free(&text);
    return rc;
}

/* End of the window that holds the time; false when it is beyond what a table can hold. */
static bool window_of(const struct plan_view *view, int64_t at_us, int64_t *end)
{
    const int64_t bound = INT64_C(1) << 62;
    if (at_us <= -bound || at_us >= bound) {
        return false;
    }
    *end = event_time_window_end(view, at_us);
    return true;
}

/* Is there anything newer than the window in this source, whatever the key? 1, 0, negative; not even that
 * window: `has` is false. */
static int has_newer(const struct reader_read *reading, uint32_t source, int64_t end, bool *has,
                     struct err *err)
{
    int64_t last = 0;
    int rc = view_last_window(reading->snapshot, reading->table, source, &last, err);
    *has = last >= end;
    return rc < 0 ? rc : last > end;
}

/* 1 and the newest window over all sources of the table that is shown, 0: the key has none. Sources in
 * front of the first and behind the last one that may have this window are left out of `all`: a source
 * that ends with it is not asked whether the key's newest one is it, since its row will be looked for. */
static int newest_of(const struct reader_read *reading, struct view_sources *all,
                     const uint8_t *key, size_t len, int64_t shown, int64_t *end, struct err *err)
{
    int found = 0;
    const struct view_sources sources = *all;
    for (uint32_t source = sources.first; source < sources.behind; source++) {
        int64_t of_source = 0;
        bool has = false;
        int rc = found == 1 ? has_newer(reading, source, *end, &has, err) : 1;
        if (rc == 0) {
            all->behind = has ? source + 1 : all->behind;
            continue;
        }
        if (rc == 1) {
            rc = shown == INT64_MAX ? view_newest(reading->snapshot, reading->table, source, key,
                                                  len, &of_source, err)
                                    : view_window_below(reading->snapshot, reading->table, source,
                                                        key, len, shown + 1, &of_source, err);
        }
        if (rc < 0) {
            return rc;
        }
        if (rc == 1 && (!found || of_source >= *end)) {
            all->first = !found || of_source > *end ? source : all->first;
            all->behind = source + 1;
            *end = of_source;
            found = 1;
        }
    }
    return found;
}

/* Merges the key's partials in the order of the sources: 1 a row, 0 none, negative. */
static int merge(const struct reader_read *reading, struct row_finisher *finisher,
                 struct view_sources sources, const uint8_t *key, size_t len, struct err *err)
{
    int found = 0;
    for (uint32_t source = sources.first; source < sources.behind; source++) {
        const uint8_t *value = NULL;
        size_t value_len = 0;
        int rc =
            view_get(reading->snapshot, reading->table, source, key, len, &value, &value_len, err);
        if (rc == 1) {
            found = 1;
            rc = row_finisher_add(finisher, value, value_len, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return found;
}

/* A key as it is looked up: behind the source prefix, and in which sources. */
struct row_key {
    struct view_sources sources;
    int64_t window_end; /* of window tables */
    size_t len;
    uint8_t bytes[LIMIT_TABLE_KEY_LEN + KAPPA_KEY_WINDOW_BYTES];
};

/* As it is stored: 1 a key, 0 there can be no row, negative. */
static int row_key_make(const struct reader_read *reading, const struct reader_key *key,
                        struct row_key *out, struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    out->window_end = 0;
    out->sources = reader_sources(reading, key->columns, key->len);
    if (view->kind == PLAN_APPEND) {
        if (key->partition >= out->sources.behind - out->sources.first) {
            return 0;
        }
        out->sources.first += key->partition;
        out->sources.behind = out->sources.first + 1;
    }
    out->len = key->len;
    if (!view->shape.windowed) {
        memcpy(out->bytes, key->columns, key->len);
        return key->at_us == KAPPA_NO_TIME
                   ? 1
                   : err_set(err, KE_INVALID, "table %s has no windows: it takes no time",
                             view->shape.name);
    }
    int found = 1;
    struct reader_limits limits;
    reader_limits_make(reading, &limits);
    if (key->at_us != KAPPA_NO_TIME) {
        found = window_of(view, key->at_us, &out->window_end) && out->window_end <= limits.shown;
    } else if (view->window == PLAN_WINDOW_HOP) {
        found = reader_hop_newest(reading, key->columns, key->len, &out->window_end, err);
    } else {
        found = newest_of(reading, &out->sources, key->columns, key->len, limits.shown,
                          &out->window_end, err);
    }
    reader_limits_free(&limits);
    store_i64_sortable(out->bytes, out->window_end);
    memcpy(out->bytes + KAPPA_KEY_WINDOW_BYTES, key->columns, key->len);
    out->len = KAPPA_KEY_WINDOW_BYTES + key->len;
    return found;
}

/* One window of a hop, from its panes: 1 merged, 0 none, negative. */
static int hop_get(const struct reader_read *reading, struct row_finisher *finisher,
                   const struct row_key *key, struct err *err)
{
    struct reader_hop *hop = NULL;
    const struct reader_windows windows = {key->window_end, key->window_end,
                                           key->bytes + KAPPA_KEY_WINDOW_BYTES,
                                           key->len - KAPPA_KEY_WINDOW_BYTES};
    int rc = reader_hop_open(reading, finisher, &windows, &hop, err);
    if (rc == 0) {
        rc = reader_hop_next(hop, err);
        reader_hop_close(hop);
    }
    return rc;
}

/* Merges the row that is wanted: 1, 0 there is none, negative. */
static int row_merge(const struct reader_read *reading, struct row_finisher *finisher,
                     const struct reader_key *wanted, struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    struct row_key key;
    if (view->window == PLAN_WINDOW_SESSION) {
        return reader_session_get(reading, finisher, wanted->columns, wanted->len, wanted->at_us,
                                  err);
    }
    int rc = row_key_make(reading, wanted, &key, err);
    if (rc != 1) {
        return rc;
    }
    if (view->window == PLAN_WINDOW_HOP) {
        return hop_get(reading, finisher, &key, err);
    }
    size_t skip = view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0;
    row_finisher_begin(finisher, key.window_end, key.bytes + skip, key.len - skip);
    return merge(reading, finisher, key.sources, key.bytes, key.len, err);
}

int reader_row_find(const struct reader_read *reading, struct row_finisher *finisher,
                    const struct reader_key *key, const struct kappa_value **values,
                    struct err *err)
{
    ASSERT_CMP(key->len, <=, LIMIT_TABLE_KEY_LEN);
    int rc = row_merge(reading, finisher, key, err);
    if (rc != 1) {
        return rc;
    }
    return key->number >= row_finisher_rows(finisher)
               ? 0
               : row_finisher_row(finisher, key->number, values, err); /* 0: HAVING refuses it */
}

/* Tables of first rows: the value behind the key columns is the row's number, which may be left out when
 * there is one row a key. Sets *number from 0, and *key_count to that of the columns. */
static int row_number_take(const struct plan_view *view, const char *const *keys,
                           uint32_t *key_count, uint32_t *number, struct err *err)
{
    uint32_t columns = 0;
    for (uint32_t k = 0; k < view->key_count; k++) {
        columns += view->keys[k].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    *number = 0;
    if (view->top == NULL || (*key_count == columns && view->top->limit == 1)) {
        return 0;
    }
    const char *digits = *key_count == columns + 1 ? keys[columns] : "";
    size_t len = strspn(digits, "0123456789");
    if (len == 0 || len > 4 || digits[len] != '\0' || strtol(digits, NULL, 10) < 1) {
        int rc =
            err_set(err, KE_INVALID,
                    "table %s has several rows of a key: the value behind the %u key column%s is "
                    "the number of the row, 1 to %u",
                    view->shape.name, columns, columns == 1 ? "" : "s", view->top->limit);
        err_hint(err, "`kappa sql` reads them all");
        return rc;
    }
    *number = (uint32_t)strtol(digits, NULL, 10) - 1;
    *key_count = columns;
    return 0;
}

int reader_row_find_text(const struct reader_read *reading, struct row_finisher *finisher,
                         const char *const *keys, uint32_t key_count, int64_t at_us,
                         const struct kappa_value **values, struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    uint8_t columns[LIMIT_TABLE_KEY_LEN];
    struct reader_key key = {.columns = columns, .at_us = at_us};
    int rc = row_number_take(view, keys, &key_count, &key.number, err);
    if (rc == 0) {
        rc = plan_key_from_text(view, keys, key_count, columns, &key.len, &key.partition, err);
    }
    return rc < 0 ? rc : reader_row_find(reading, finisher, &key, values, err);
}

static int row_get(struct reader *reader, const struct reader_read *reading,
                   const char *const *keys, uint32_t key_count, int64_t at_us, struct buf *row,
                   struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    const struct kappa_value *values = NULL;
    struct row_finisher *finisher = reader_finisher_take(reader, reading->version, reading->table);
    int rc = reader_row_find_text(reading, finisher, keys, key_count, at_us, &values, err);
    if (rc == 1) {
        buf_reserve(row, (view->output_count + 1) * VALUE_BYTES);
        reader_row_write(row, view, values);
    }
    reader_finisher_give(reader, reading->version, reading->table, finisher);
    return rc < 0 ? rc : rc == 1 ? 0 : no_row(view, keys, key_count, at_us, err);
}

int reader_get_text(struct reader *reader, const char *table, uint32_t version,
                    const char *const *keys, uint32_t key_count, int64_t at_us,
                    struct reader_row_text *row, struct err *err)
{
    struct reader_read reading = {0};
    struct reader_read candidate = {0};
    int goes = -KE_AGAIN; /* to the candidate? */
    for (int round = 0; goes == -KE_AGAIN; round++) {
        int rc = reader_begin(reader, table, version, &reading, err);
        if (rc != 0) {
            return rc;
        }
        goes = round < READER_CANARY_ROUNDS ? reader_canary_begin(reader, &reading, keys, key_count,
                                                                  at_us, &candidate, &row->row)
                                            : 0;
        if (goes == -KE_AGAIN) {
            reader_end(reader, &reading);
        }
    }
    const struct reader_read *from = goes == 1 ? &candidate : &reading;
    int rc = row->row.len > 0 ? 0 : row_get(reader, from, keys, key_count, at_us, &row->row, err);
    if (rc == 0) {
        row->version = from->version->number;
        row->epoch = from->epoch;
        memcpy(row->since, from->version->since, sizeof row->since);
        reader_cut_write(&row->cut, from->version, from->snapshot);
    }
    if (goes == 1) {
        reader_end(reader, &candidate);
    }
    reader_end(reader, &reading);
    return rc;
}

void reader_row_text_free(struct reader_row_text *row)
{
    buf_free(&row->row);
    buf_free(&row->cut);
}

int reader_get(struct reader *reader, const char *table, uint32_t version, const char *const *keys,
               uint32_t key_count, int64_t at_us, json_t **out, struct err *err)
{
    struct reader_row_text text = {0};
    int rc = reader_get_text(reader, table, version, keys, key_count, at_us, &text, err);
    if (rc == 0) {
        json_t *row = json_parse_exact(buf_text(&text.row), text.row.len, err);
        json_t *cut = json_parse(buf_text(&text.cut), text.cut.len, err);
        *out = json_pack("{s:s, s:I, s:I, s:o, s:o}", "table", table, "version",
                         (json_int_t)text.version, "epoch", (json_int_t)text.epoch, "cut", cut,
                         "row", row);
        ASSERT(*out != NULL);
        reader_stamp_since(text.since, *out);
    }
    reader_row_text_free(&text);
    return rc;
}
