/* Which rows differ between two snapshots of a table, and events as text. Own header: feed_inner.h.
 *
 * Values are compared by their bytes, so that two texts of one number (1.0 and 1.00) differ: the
 * follower is to hold what a scan prints. */
#include "processor/key_codec.h"
#include "serve/feed_inner.h"
#include "table/delta.h"

#include <inttypes.h>
#include <string.h>

#define STOP_EVERY 1024 /* rows */

/* ---- names */

void feed_point_name(struct feed_point *point, const char *choice)
{
    const struct reader_version *version = point->reading.version;
    struct buf text = {0};
    buf_printf(&text, "%s %s ", choice, json_text(version->object, "hash", ""));
    json_write(&text, json_object_get(version->object, "inputs"));
    json_write(&text, json_object_get(version->object, "start"));
    json_t *window = json_object_get(version->object, "window");
    if (window != NULL) { /* rows that it took over are no function of definition and offsets */
        buf_printf(&text, " v%" PRIu32 " ", version->number);
        json_write(&text, window);
    }
    for (uint32_t source = 0; source < version->source_count; source++) {
        buf_printf(&text, " %" PRId64,
                   reader_source_next(version, point->reading.snapshot, source));
    }
    digest_format(hash_content(text.data, text.len), point->id);
    buf_free(&text);
}

static const struct plan_view *view_of(const struct feed_point *point)
{
    return &point->reading.version->plan->views[point->reading.table];
}

static bool keys_match(const struct plan_view *a, const struct plan_view *b)
{
    bool same = a->key_count == b->key_count;
    for (uint32_t i = 0; same && i < a->key_count; i++) {
        same = a->keys[i].role == b->keys[i].role && a->keys[i].type == b->keys[i].type &&
               strcmp(a->keys[i].name, b->keys[i].name) == 0;
    }
    return same;
}

/* Has a key one row, several, or is it a record's? */
static bool kinds_match(const struct feed_point *a, const struct feed_point *b)
{
    const struct plan_view *of_a = view_of(a);
    const struct plan_view *of_b = view_of(b);
    const struct plan_input *in_a = &a->reading.version->plan->inputs[of_a->input];
    const struct plan_input *in_b = &b->reading.version->plan->inputs[of_b->input];
    return of_a->kind == of_b->kind && of_a->shape.windowed == of_b->shape.windowed &&
           of_a->numbered == of_b->numbered && (of_a->top == NULL) == (of_b->top == NULL) &&
           (of_a->kind != PLAN_APPEND || strcmp(in_a->topic, in_b->topic) == 0);
}

bool feed_rows_match(const struct feed_point *a, const struct feed_point *b)
{
    if (a->view != NULL || b->view != NULL) {
        return a->view != NULL && b->view != NULL && feed_view_match(a->view, b->view);
    }
    const struct plan_view *of_a = view_of(a);
    const struct plan_view *of_b = view_of(b);
    bool same =
        of_a->output_count == of_b->output_count && kinds_match(a, b) && keys_match(of_a, of_b);
    for (uint32_t i = 0; same && i < of_a->output_count; i++) {
        same = of_a->outputs[i].type == of_b->outputs[i].type &&
               strcmp(of_a->outputs[i].name, of_b->outputs[i].name) == 0;
    }
    return same;
}

/* ---- rows */

static bool same_value(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->is_null || b->is_null) {
        return a->is_null == b->is_null;
    }
    enum kappa_payload payload = kappa_type_payload(a->type);
    if (payload == KAPPA_PAYLOAD_BYTES) {
        return a->s.len == b->s.len &&
               (a->s.len == 0 || memcmp(a->s.bytes, b->s.bytes, a->s.len) == 0);
    }
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        return memcmp(&a->n, &b->n, sizeof a->n) == 0;
    }
    return payload == KAPPA_PAYLOAD_DOUBLE ? memcmp(&a->d, &b->d, sizeof a->d) == 0 : a->i == b->i;
}

static bool same_row(const struct reader_side *a, const struct reader_side *b)
{
    for (uint32_t i = 0; i < a->view->output_count; i++) {
        if (!same_value(&a->values[i], &b->values[i])) {
            return false;
        }
    }
    return true;
}

static void put_number(json_t *list, int64_t number)
{
    ASSERT(json_array_append_new(list, json_integer(number)) == 0);
}

/* The key of a table that has a row per record. */
static void put_record(json_t *list, const struct reader_side *side)
{
    put_number(list, side->partition);
    put_number(list, load_i64_sortable(side->key));
    if (side->view->numbered) {
        put_number(list, load_u32_be(side->key + sizeof(int64_t)));
    }
}

static int put_columns(json_t *list, const struct reader_side *side, struct err *err)
{
    const struct plan_view *view = side->view;
    size_t pos = view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0;
    struct arena memory;
    int rc = 0;
    arena_init(&memory);
    for (uint32_t i = 0; i < view->key_count && rc == 0; i++) {
        struct kappa_value value = {.type = view->keys[i].type};
        if (view->keys[i].role != PLAN_KEY_COLUMN) {
            continue;
        }
        rc = key_take(side->key, side->key_len, &pos, value.type, &memory, &value, err);
        if (rc == 0) {
            ASSERT(json_array_append_new(list, reader_value_json(&value)) == 0);
        }
    }
    arena_free(&memory);
    if (rc == 0 && view->shape.windowed) {
        struct kappa_value end = {.type = KAPPA_TYPE_TIMESTAMPTZ,
                                  .i = load_i64_sortable(side->key)};
        ASSERT(json_array_append_new(list, reader_value_json(&end)) == 0);
    }
    if (rc == 0 && view->top != NULL && view->top->limit != 1) {
        put_number(list, (int64_t)side->number + 1);
    }
    return rc;
}

/* row: with its values. */
static int put_event(struct buf *out, const struct reader_side *side, bool row, struct err *err)
{
    json_t *list = json_array();
    int rc = 0;
    if (side->view->kind == PLAN_APPEND) {
        put_record(list, side);
    } else {
        rc = put_columns(list, side, err);
    }
    buf_append_text(out, row ? "event: upsert\ndata: {\"key\":" : "event: delete\ndata: {\"key\":");
    json_write(out, list);
    json_decref(list);
    if (row) {
        json_t *values = reader_row_json(side->view, side->values);
        buf_append_text(out, ",\"row\":");
        json_write(out, values);
        json_decref(values);
    }
    buf_append_text(out, "}\n\n");
    return rc;
}

static int stopped(const bool *stop, uint64_t rows, struct err *err)
{
    return rows % STOP_EVERY == 0 ? route_stopped(stop, err) : 0;
}

/* One row of one side or of both. */
static int take_one(const struct feed_sieve *sieve, struct reader_side *a, struct reader_side *b,
                    struct feed_step *step, struct err *err)
{
    int order = reader_side_order(a, b);
    int rc = 0;
    if (order < 0) {
        rc = put_event(&step->text, a, false, err);
    } else if (order > 0 || !same_row(a, b)) {
        rc = put_event(&step->text, b, true, err);
    }
    if (rc == 0 && order <= 0) {
        rc = feed_sieve_next(sieve, a, err);
    }
    if (rc >= 0 && order >= 0) {
        rc = feed_sieve_next(sieve, b, err);
    }
    return rc < 0 ? rc : 0;
}

static int merge(const struct feed *feed, struct reader_side *sides, struct feed_step *step,
                 struct err *err)
{
    const struct feed_sieve *sieve = &feed->sieve;
    struct reader_side *a = &sides[0];
    struct reader_side *b = &sides[1];
    int rc = feed_sieve_next(sieve, a, err);
    if (rc >= 0) {
        rc = feed_sieve_next(sieve, b, err);
    }
    for (uint64_t i = 1; rc >= 0 && (a->at_hand || b->at_hand); i++) {
        rc = take_one(sieve, a, b, step, err);
        if (rc == 0 && step->text.len >= FEED_PIECE_BYTES) {
            feed_step_cut(step, "");
        }
        if (rc == 0 && step->bytes > FEED_STEP_BYTES) {
            return 0;
        }
        rc = rc == 0 ? stopped(&feed->feeds->closing, i, err) : rc;
    }
    return rc < 0 ? rc : 1;
}

/* Is each row of both a function of the bytes that are stored under its key? */
static bool by_key(const struct feed_point *a, const struct feed_point *b)
{
    return reader_sources_alike(a->reading.version, b->reading.version) &&
           plan_view_alike(view_of(a), view_of(b)) &&
           !reader_session_merges(a->reading.version, a->reading.table);
}

/* The same stored bytes in every source, as far as a digest can tell. */
static bool same_digests(const struct feed_point *a, const struct feed_point *b)
{
    for (uint32_t source = 0; source < a->reading.version->source_count; source++) {
        struct store_source of_a;
        struct store_source of_b;
        (void)view_source(a->reading.snapshot, source, &of_a);
        (void)view_source(b->reading.snapshot, source, &of_b);
        if (!digest_equal(of_a.digests[a->reading.table], of_b.digests[b->reading.table])) {
            return false;
        }
    }
    return true;
}

/* Looks at the keys whose bytes differ. */
static int merge_different(const struct feed *feed, const struct feed_point *a,
                           const struct feed_point *b, struct reader_side *sides,
                           struct feed_step *step, struct err *err)
{
    const bool *stop = &feed->feeds->closing;
    const struct view_delta_side at[2] = {{a->reading.snapshot, a->reading.table},
                                          {b->reading.snapshot, b->reading.table}};
    struct view_delta *delta = NULL;
    const uint8_t *key = NULL;
    size_t len = 0;
    int rc = view_delta_open(&at[0], &at[1], a->reading.version->source_count, stop, &delta, err);
    if (rc != 0) {
        return rc;
    }
    int merged = 1;
    while (merged == 1 && (rc = view_delta_next(delta, &key, &len, err)) == 1) {
        merged = reader_cursor_only(sides[0].cursor, key, len, err);
        merged = merged < 0 ? merged : reader_cursor_only(sides[1].cursor, key, len, err);
        merged = merged < 0 ? merged : merge(feed, sides, step, err);
    }
    view_delta_close(delta);
    return rc < 0 ? rc : merged;
}

int feed_rows_compare(struct feed *feed, const struct feed_point *a, const struct feed_point *b,
                      struct feed_step *step, struct err *err)
{
    struct reader *reader = feed->feeds->reader;
    struct reader_side sides[2] = {{0}};
    if (a->view != NULL) {
        return feed_view_compare(a->view, b->view, step);
    }
    bool keys = by_key(a, b);
    if (keys && same_digests(a, b)) {
        return 1;
    }
    int rc = feed_sieve_side(&feed->sieve, reader, a, &sides[0], err);
    if (rc == 0) {
        rc = feed_sieve_side(&feed->sieve, reader, b, &sides[1], err);
    }
    if (rc == 0) {
        rc = keys ? merge_different(feed, a, b, sides, step, err) : merge(feed, sides, step, err);
    }
    reader_side_close(&sides[0]);
    reader_side_close(&sides[1]);
    return rc;
}

int feed_rows_list(struct feed *feed, struct route_answer *out, struct err *err)
{
    struct reader_side side = {0};
    if (feed->base.view != NULL) {
        return feed_view_list(feed->base.view, out, err);
    }
    int rc = feed_sieve_side(&feed->sieve, feed->feeds->reader, &feed->base, &side, err);
    for (uint64_t i = 1; rc == 0; i++) {
        rc = feed_sieve_next(&feed->sieve, &side, err);
        if (rc != 1) {
            break;
        }
        rc = put_event(&out->body, &side, true, err);
        if (rc == 0) {
            rc = route_answer_spill(out, err);
        }
        rc = rc == 0 ? stopped(&feed->feeds->closing, i, err) : rc;
    }
    reader_side_close(&side);
    return rc;
}

/* ---- other events */

static void put_json(struct buf *out, const char *event, json_t *data)
{
    ASSERT(data != NULL);
    buf_printf(out, "event: %s\ndata: ", event);
    json_write(out, data);
    buf_append_text(out, "\n\n");
    json_decref(data);
}

void feed_event_reset(struct buf *out, const struct feed_point *point, const char *table,
                      const char *why, bool rows)
{
    const struct reader_read *at = &point->reading;
    put_json(out, "reset",
             json_pack("{s:s, s:s, s:I, s:I, s:s, s:b}", "table", table, "processor",
                       at->version->processor, "version", (json_int_t)at->version->number, "epoch",
                       (json_int_t)at->epoch, "why", why, "rows", (int)rows));
}

void feed_event_swap(struct buf *out, const struct feed_point *from, const struct feed_point *to)
{
    put_json(out, "swap",
             json_pack("{s:s, s:I, s:I, s:I}", "processor", to->reading.version->processor, "from",
                       (json_int_t)from->reading.version->number, "to",
                       (json_int_t)to->reading.version->number, "epoch",
                       (json_int_t)to->reading.epoch));
}

void feed_event_cut(struct buf *out, const struct feed_point *point, const char *table)
{
    struct reader_stamp stamp;
    reader_stamp_of(&point->reading, &stamp);
    buf_printf(out, "id: %s\n", point->id);
    put_json(out, "cut",
             json_pack("{s:s, s:s, s:I, s:I, s:o}", "table", table, "processor", stamp.processor,
                       "version", (json_int_t)stamp.version, "epoch", (json_int_t)stamp.epoch,
                       "cut", stamp.cut));
}

void feed_event_end(struct buf *out, const struct err *err)
{
    put_json(out, "end", json_from_err(err));
}
