/* INSERT INTO ... GROUP BY windows: a row becomes a message when its window is closed in its
 * partition. Own header: node.h.
 *
 *     each record that raises the watermark    node_final_advance: which windows it closed
 *     behind a chunk, when there is much       node_final_due     } the same rows and names,
 *     before the cache forgets a window        node_final_emit    } whenever it is done
 *     each flush, first of all                 node_final_emit    }
 *
 * Nothing that comes later changes a closed window, so its rows need not be finished at the record
 * that closed it. What must be known then is which record that was: a message is named by it. So
 * each part keeps a short list of (limit, offset): behind the record at this offset, windows that end
 * up to the limit were closed. A flush leaves nothing to be emitted: at each commit all messages of
 * the records below the position are in the outbox, and the list is empty at each beginning.
 *
 * Rows that have changed since the last commit are in the cache, dirty; all others of a closed window
 * are as they are stored, in the cache or not. So a source's rows come from the dirty list, sorted, and
 * a scan of the store, merged by key; of two rows under one key the dirty one counts. A session that
 * has moved since the commit also takes back the row under its old end (`gone`).
 *
 * Messages go in the order of (window end, key columns), numbered per record that closed them. Panes
 * of a hop are merged for each window by a heap. The hidden table expires with its windows (retain is
 * the lateness): a hop keeps the panes that later windows need.
 *
 * A row whose values are errors, or no message, is kept as a dead record under the record's offset. */
#include "base/limits.h"
#include "processor/event_time.h"
#include "processor/key_codec.h"
#include "processor/node.h"

#include <stdlib.h>
#include <string.h>

#define CLOSINGS_MIN 256
#define COLUMNS_AT   (KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES)

/* Rows with ascending keys: those of the cache between `row` and `row_end`, merged with stored ones. */
struct stream {
    const struct node_final_row *row;
    const struct node_final_row *row_end;
    int64_t last; /* window end of the last stored row that is wanted */
    /* The stored row at hand; key NULL: there is none left. */
    const uint8_t *key;
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
    /* The row at hand. */
    bool cached;
    int64_t end;
    const uint8_t *columns;
    size_t columns_len;
};

struct node_final {
    struct row_finisher *finisher;
    struct buf reason; /* why a row cannot be a message */
    struct node_final_row *rows;
    size_t row_count;
    size_t row_capacity;
    struct stream *heap; /* of a hop's window: one per pane */
    size_t heap_count;
    size_t heap_capacity;
    /* Where the emission is. */
    uint32_t source;
    struct node_part *part;
    int64_t limit;
    const struct node_final_row *row; /* of the source */
    const struct node_final_row *row_end;
    size_t closing;   /* that closed the window at hand, or one before it */
    uint32_t number;  /* of the next message, among those of this closing's record */
    bool refused;     /* a row of this closing is dead */
    struct err fault; /* of the row at hand */
};

/* ---- Opening and closing. */

void node_final_open(struct processor *p, struct node_view *view)
{
    view->final = arena_calloc(&p->memory, sizeof *view->final);
    view->final->finisher = row_finisher_new(p->options.plan, view->index);
    p->emits = true;
}

void node_final_close(struct node_view *view)
{
    struct node_final *final = view->final;
    row_finisher_free(final->finisher);
    buf_free(&final->reason);
    free(final->rows);
    free(final->heap);
}

void node_final_part_close(struct node_part *part)
{
    free(part->closings);
}

/* Windows that end up to here are closed. */
static int64_t closed_limit(const struct processor *p, const struct node_view *view,
                            const struct node_source *source)
{
    return event_time_limit(node_watermark(p, source),
                            p->options.plan->inputs[view->plan->input].lateness_us);
}

/* A limit below this one closes no window that the other did not. */
static int64_t next_end(const struct plan_view *plan, int64_t limit)
{
    if (limit == KAPPA_NO_TIME || plan->window == PLAN_WINDOW_SESSION) {
        return limit + 1;
    }
    return event_time_end_before(plan, limit) + plan->slide_us;
}

void node_final_restore(const struct processor *p, const struct node_view *view,
                        struct node_source *source)
{
    struct node_part *part = &source->parts[view->index];
    part->emitted = closed_limit(p, view, source);
    part->next_end = next_end(view->plan, part->emitted);
}

/* ---- Which record closed which windows. */

static void closing_add(struct node_part *part, int64_t limit, int64_t offset)
{
    if (part->closing_count == part->closing_capacity) {
        part->closing_capacity = part->closing_capacity == 0 ? 64 : part->closing_capacity * 2;
        part->closings = xrealloc(part->closings, part->closing_capacity * sizeof *part->closings);
    }
    part->closings[part->closing_count++] = (struct node_closing){limit, offset};
}

void node_final_advance(struct processor *p, struct node_source *source, int64_t offset)
{
    const struct plan *plan = p->options.plan;
    for (uint32_t v = plan->view_count; v < plan->pipeline_count; v++) {
        const struct node_view *view = &p->views[v];
        if (view->final == NULL || view->plan->input != source->input) {
            continue;
        }
        struct node_part *part = &source->parts[v];
        int64_t limit = closed_limit(p, view, source);
        if (limit >= part->next_end) {
            closing_add(part, limit, offset);
            part->next_end = next_end(view->plan, limit);
        }
    }
}

/* ---- The changed rows of the cache. */

void node_final_add(struct processor *p, struct node_view *view, const struct node_final_row *row)
{
    struct node_final *final = view->final;
    const struct node_source *source = &p->sources[row->source];
    int64_t done = event_time_gone(view->plan, source->parts[view->index].emitted);
    if (row->end <= done || row->end > closed_limit(p, view, source)) {
        return;
    }
    if (final->row_count == final->row_capacity) {
        final->row_capacity = final->row_capacity == 0 ? 256 : final->row_capacity * 2;
        final->rows = xrealloc(final->rows, final->row_capacity * sizeof *final->rows);
    }
    final->rows[final->row_count++] = *row;
}

static void collect(struct processor *p, struct node_view *view)
{
    view->final->row_count = 0;
    if (view->plan->window == PLAN_WINDOW_SESSION) {
        node_session_changed(p, view);
        return;
    }
    for (size_t i = 0; i < view->cache.dirty_count; i++) {
        const struct agg_entry *entry = view->cache.dirty[i];
        if (i + 16 < view->cache.dirty_count) {
            __builtin_prefetch(view->cache.dirty[i + 16]);
        }
        node_final_add(
            p, view,
            &(struct node_final_row){.entry = entry,
                                     .end = entry->window_end,
                                     .columns = agg_entry_key(&view->cache, entry) + COLUMNS_AT,
                                     .columns_len = (uint32_t)(entry->key_len - COLUMNS_AT),
                                     .source = entry->source});
    }
}

static int compare_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_rows(const void *a, const void *b)
{
    const struct node_final_row *left = a;
    const struct node_final_row *right = b;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    if (left->end != right->end) {
        return left->end < right->end ? -1 : 1;
    }
    int order = compare_bytes(left->columns, left->columns_len, right->columns, right->columns_len);
    return order != 0 ? order : (int)left->gone - (int)right->gone;
}

/* ---- Streams. */

/* The first stored row of the source at or behind these bytes, if it is wanted. */
static int stored_seek(struct processor *p, const struct node_view *view, struct stream *stream,
                       const uint8_t *bytes, size_t len, struct err *err)
{
    uint8_t source[KAPPA_KEY_SOURCE_BYTES];
    memcpy(source, bytes, sizeof source); /* the bytes may be the key that is replaced */
    stream->key = NULL;
    if (p->options.row_from == NULL) {
        return 0;
    }
    int rc = p->options.row_from(p->options.load_ctx, view->table, bytes, len, &stream->key,
                                 &stream->key_len, &stream->value, &stream->value_len, err);
    if (rc <= 0) {
        stream->key = NULL;
        return rc;
    }
    if (stream->key_len < COLUMNS_AT + (view->plan->window == PLAN_WINDOW_HOP ? 2U : 0U)) {
        return err_set(err, KE_CORRUPT, "table %s: a row's key is too short",
                       view->plan->shape.name);
    }
    if (memcmp(stream->key, source, sizeof source) != 0 ||
        load_i64_sortable(stream->key + KAPPA_KEY_SOURCE_BYTES) > stream->last) {
        stream->key = NULL;
    }
    return 0;
}

/* Stored rows from this window end on. */
static int stored_first(struct processor *p, const struct node_view *view, struct stream *stream,
                        int64_t end, struct err *err)
{
    uint8_t bytes[COLUMNS_AT];
    (void)key_put_prefix(bytes, view->final->source, true, end);
    return stored_seek(p, view, stream, bytes, sizeof bytes, err);
}

static int stored_next(struct processor *p, const struct node_view *view, struct stream *stream,
                       struct err *err)
{
    uint8_t bytes[LIMIT_TABLE_KEY_LEN + 1];
    ASSERT(stream->key != NULL);
    if (stream->key_len > LIMIT_TABLE_KEY_LEN) {
        return err_set(err, KE_CORRUPT, "table %s: a row's key is too long",
                       view->plan->shape.name);
    }
    memcpy(bytes, stream->key, stream->key_len);
    bytes[stream->key_len] = 0; /* nothing is between the key and this */
    return stored_seek(p, view, stream, bytes, stream->key_len + 1, err);
}

/* <0: the row of the cache comes first, 0: both have one key. */
static int stream_order(const struct stream *stream)
{
    if (stream->key == NULL) {
        return -1;
    }
    if (stream->row == stream->row_end) {
        return 1;
    }
    const struct node_final_row *row = stream->row;
    int64_t end = load_i64_sortable(stream->key + KAPPA_KEY_SOURCE_BYTES);
    if (row->end != end) {
        return row->end < end ? -1 : 1;
    }
    return compare_bytes(row->columns, row->columns_len, stream->key + COLUMNS_AT,
                         stream->key_len - COLUMNS_AT);
}

/* Finds the row at hand: 1, or 0: there is none left. */
static int stream_settle(struct processor *p, const struct node_view *view, struct stream *stream,
                         struct err *err)
{
    while (stream->key != NULL || stream->row < stream->row_end) {
        int order = stream_order(stream);
        if (order == 0) {
            int rc = stored_next(p, view, stream, err); /* as of the last commit: no more */
            if (rc < 0) {
                return rc;
            }
            continue;
        }
        if (order < 0 && stream->row->gone) {
            stream->row++;
            continue;
        }
        stream->cached = order < 0;
        if (stream->cached) {
            stream->end = stream->row->end;
            stream->columns = stream->row->columns;
            stream->columns_len = stream->row->columns_len;
        } else {
            ASSERT(stream->key != NULL);
            stream->end = load_i64_sortable(stream->key + KAPPA_KEY_SOURCE_BYTES);
            stream->columns = stream->key + COLUMNS_AT;
            stream->columns_len = stream->key_len - COLUMNS_AT;
        }
        return 1;
    }
    return 0;
}

static int stream_next(struct processor *p, const struct node_view *view, struct stream *stream,
                       struct err *err)
{
    if (stream->cached) {
        stream->row++;
    } else {
        int rc = stored_next(p, view, stream, err);
        if (rc < 0) {
            return rc;
        }
    }
    return stream_settle(p, view, stream, err);
}

/* The rows of windows (panes) that end in [from, to]. */
static int stream_open(struct processor *p, const struct node_view *view, struct stream *stream,
                       int64_t from, int64_t to, struct err *err)
{
    const struct node_final *final = view->final;
    *stream = (struct stream){.row = final->row, .last = to};
    size_t count = (size_t)(final->row_end - final->row);
    while (count > 0) { /* the first that ends at or behind `from` */
        size_t half = count / 2;
        bool before = stream->row[half].end < from;
        stream->row += before ? half + 1 : 0;
        count = before ? count - half - 1 : half;
    }
    stream->row_end = stream->row;
    while (stream->row_end < final->row_end && stream->row_end->end <= to) {
        stream->row_end++;
    }
    int rc = stored_first(p, view, stream, from, err);
    return rc < 0 ? rc : stream_settle(p, view, stream, err);
}

/* ---- Messages. */

/* The closing of windows that end here: the first whose limit is not below. */
static void closing_find(struct node_final *final, int64_t end)
{
    const struct node_part *part = final->part;
    size_t before = final->closing;
    while (part->closings[final->closing].limit < end) {
        final->closing++;
        ASSERT_CMP(final->closing, <, part->closing_count);
    }
    if (final->closing != before) {
        final->number = 0;
        final->refused = false;
    }
}

/* The row is no message: one dead record says so for all that this record closed. */
static void refuse(struct processor *p, const struct node_view *view, const char *reason)
{
    struct node_final *final = view->final;
    if (final->refused) {
        return;
    }
    const struct kappa_record record = {.offset = final->part->closings[final->closing].offset,
                                        .value_len = KAPPA_NULL_LEN};
    /* The record itself may be dead for this view, too: that one has another number. */
    dead_add(&p->dead, final->source, p->options.plan->pipeline_count + view->index, &record,
             reason);
    p->sources[final->source].state.dead++;
    final->refused = true;
}

static int64_t floor_ms(int64_t us)
{
    return us / 1000 - (us % 1000 < 0 ? 1 : 0);
}

/* The finisher has all parts of the row. */
static int row_emit(struct processor *p, const struct node_view *view, int64_t end, struct err *err)
{
    struct node_final *final = view->final;
    const struct plan_view *plan = view->plan;
    const struct plan_topic *topic = &p->options.plan->topics[plan->topic];
    const struct kappa_value *values = NULL;
    closing_find(final, end);
    final->fault.code = 0;
    int rc = row_finisher_finish(final->finisher, &values, &final->fault);
    if (rc < 0 && rc != -KE_REFUSED && rc != -KE_LIMIT) {
        if (err != NULL) {
            *err = final->fault;
        }
        return rc;
    }
    if (rc < 0) {
        refuse(p, view, final->fault.text);
    }
    if (rc <= 0) {
        return 0;
    }
    for (uint32_t c = 0; c < topic->column_count; c++) {
        uint32_t output = plan->topic_outputs[c];
        view->values[c] =
            output == PLAN_NONE ? (struct kappa_value){.is_null = true} : values[output];
    }
    const struct node_message message = {.topic = topic,
                                         .values = view->values,
                                         .time_ms = floor_ms(end),
                                         .offset = final->part->closings[final->closing].offset,
                                         .number = final->number};
    if (node_message_keep(p, &final->part->pending, &message, &final->reason)) {
        final->number++;
    } else {
        refuse(p, view, buf_text(&final->reason));
    }
    return 0;
}

/* The stream's row is a part of the row that the finisher makes. */
static int part_add(struct processor *p, const struct node_view *view, const struct stream *stream,
                    struct err *err)
{
    struct row_finisher *finisher = view->final->finisher;
    if (!stream->cached) {
        return row_finisher_add(finisher, stream->value, stream->value_len, err);
    }
    buf_reset(&p->row);
    if (stream->row->session != NULL) {
        node_session_encode(view, stream->row->session, &p->row);
    } else {
        agg_encode(&view->layout, stream->row->entry->state, &p->row);
    }
    return row_finisher_add(finisher, p->row.data, p->row.len, err);
}

/* Tumble and session: each stored row is a row. */
static int emit_rows(struct processor *p, const struct node_view *view, struct err *err)
{
    struct node_final *final = view->final;
    struct stream stream;
    int64_t from = final->part->emitted == KAPPA_NO_TIME ? INT64_MIN : final->part->emitted + 1;
    int rc = stream_open(p, view, &stream, from, final->limit, err);
    while (rc > 0) {
        row_finisher_begin(final->finisher, stream.end, stream.columns, stream.columns_len);
        rc = part_add(p, view, &stream, err);
        rc = rc < 0 ? rc : row_emit(p, view, stream.end, err);
        rc = rc < 0 ? rc : stream_next(p, view, &stream, err);
    }
    return rc;
}

/* ---- Hops. */

static size_t key_len(const struct stream *stream)
{
    return stream->columns_len - KAPPA_KEY_PART_BYTES;
}

static int compare_keys(const struct stream *a, const struct stream *b)
{
    return compare_bytes(a->columns, key_len(a), b->columns, key_len(b));
}

/* By key, pane, part: the order in which readers merge, too. */
static bool is_less(const struct stream *a, const struct stream *b)
{
    int order = compare_keys(a, b);
    if (order == 0 && a->end != b->end) {
        order = a->end < b->end ? -1 : 1;
    }
    return (order != 0 ? order
                       : memcmp(a->columns + key_len(a), b->columns + key_len(b),
                                KAPPA_KEY_PART_BYTES)) < 0;
}

static void sift_down(struct node_final *final, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < final->heap_count && is_less(&final->heap[child], &final->heap[least])) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        struct stream moved = final->heap[at];
        final->heap[at] = final->heap[least];
        final->heap[least] = moved;
        at = least;
    }
}

/* The end of the first pane from `from` on that has rows: 1, or 0 when there is none up to `to`. */
static int pane_from(struct processor *p, const struct node_view *view, int64_t from, int64_t to,
                     int64_t *end, struct err *err)
{
    struct stream stream;
    int rc = stream_open(p, view, &stream, from, to, err);
    *end = rc > 0 ? stream.end : 0;
    return rc;
}

static int panes_open(struct processor *p, const struct node_view *view, int64_t window_end,
                      struct err *err)
{
    struct node_final *final = view->final;
    int64_t from = window_end - view->plan->window_us + 1;
    final->heap_count = 0;
    for (;;) {
        int64_t end = 0;
        int rc = pane_from(p, view, from, window_end, &end, err);
        if (rc <= 0) {
            break;
        }
        if (final->heap_count == final->heap_capacity) {
            final->heap_capacity = final->heap_capacity == 0 ? 16 : final->heap_capacity * 2;
            final->heap = xrealloc(final->heap, final->heap_capacity * sizeof *final->heap);
        }
        rc = stream_open(p, view, &final->heap[final->heap_count], end, end, err);
        if (rc < 0) {
            return rc;
        }
        ASSERT(rc > 0);
        final->heap_count++;
        from = end + 1;
    }
    for (size_t i = final->heap_count / 2; i > 0; i--) {
        sift_down(final, i - 1);
    }
    return 0;
}

/* The least row leaves the heap. */
static int heap_next(struct processor *p, const struct node_view *view, struct err *err)
{
    struct node_final *final = view->final;
    int rc = stream_next(p, view, &final->heap[0], err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        final->heap[0] = final->heap[--final->heap_count];
    }
    sift_down(final, 0);
    return 0;
}

/* Is the pane's part one of the window? Part k came too late for the first k windows of its pane. */
static bool part_counts(const struct plan_view *plan, const struct stream *stream,
                        int64_t window_end)
{
    int64_t part = load_u16_be(stream->columns + key_len(stream));
    return window_end >= event_time_first_end(plan, stream->end) + part * plan->slide_us;
}

static int emit_window(struct processor *p, const struct node_view *view, int64_t window_end,
                       struct err *err)
{
    struct node_final *final = view->final;
    int rc = panes_open(p, view, window_end, err);
    while (rc >= 0 && final->heap_count > 0) {
        const struct stream first = final->heap[0]; /* its bytes stay where they are */
        bool any = false;
        while (rc >= 0 && final->heap_count > 0 && compare_keys(&final->heap[0], &first) == 0) {
            if (part_counts(view->plan, &final->heap[0], window_end)) {
                if (!any) {
                    row_finisher_begin(final->finisher, window_end, first.columns, key_len(&first));
                }
                any = true;
                rc = part_add(p, view, &final->heap[0], err);
            }
            rc = rc < 0 ? rc : heap_next(p, view, err);
        }
        if (rc >= 0 && any) {
            rc = row_emit(p, view, window_end, err);
        }
    }
    return rc;
}

static int emit_hops(struct processor *p, const struct node_view *view, struct err *err)
{
    const struct node_final *final = view->final;
    const struct plan_view *plan = view->plan;
    int64_t done = final->part->emitted;
    for (;;) {
        int64_t gone = event_time_gone(plan, done);
        int64_t pane = 0;
        int rc = pane_from(p, view, gone == KAPPA_NO_TIME ? INT64_MIN : gone + 1, final->limit,
                           &pane, err);
        if (rc <= 0) {
            return rc;
        }
        int64_t end = event_time_first_end(plan, pane);
        if (done != KAPPA_NO_TIME) {
            end = i64_max(end, event_time_end_before(plan, done) + plan->slide_us);
        }
        if (end > final->limit) {
            return 0;
        }
        rc = emit_window(p, view, end, err);
        if (rc < 0) {
            return rc;
        }
        done = end;
    }
}

/* ---- */

static int emit_source(struct processor *p, struct node_view *view, uint32_t s, struct err *err)
{
    struct node_final *final = view->final;
    const struct node_source *source = &p->sources[s];
    final->source = s;
    final->part = &source->parts[view->index];
    final->limit = closed_limit(p, view, source);
    final->closing = 0;
    final->number = 0;
    final->refused = false;
    while (final->row < final->rows + final->row_count && final->row->source < s) {
        final->row++;
    }
    final->row_end = final->row;
    while (final->row_end < final->rows + final->row_count && final->row_end->source == s) {
        final->row_end++;
    }
    int rc =
        view->plan->window == PLAN_WINDOW_HOP ? emit_hops(p, view, err) : emit_rows(p, view, err);
    if (rc < 0) {
        return rc;
    }
    final->part->emitted = final->limit;
    final->part->closing_count = 0;
    return 0;
}

/* Something was closed in the source that is not emitted. */
static bool is_waiting(const struct node_view *view, const struct node_source *source)
{
    return source->open && source->input == view->plan->input &&
           source->parts[view->index].closing_count > 0;
}

int node_final_emit(struct processor *p, struct node_view *view, struct err *err)
{
    struct node_final *final = view->final;
    bool any = false;
    for (uint32_t s = 0; s < p->source_count; s++) {
        any = any || is_waiting(view, &p->sources[s]);
    }
    if (!any) {
        return 0;
    }
    collect(p, view);
    if (final->row_count > 0) {
        qsort(final->rows, final->row_count, sizeof *final->rows, compare_rows);
    }
    final->row = final->rows;
    for (uint32_t s = 0; s < p->source_count; s++) {
        int rc = is_waiting(view, &p->sources[s]) ? emit_source(p, view, s, err) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    if (view->plan->window == PLAN_WINDOW_SESSION) {
        node_session_emitted(p, view);
    }
    return 0;
}

/* A look at the changed rows is paid for by as many records. A dead_limit wants to know at once. */
int node_final_due(struct processor *p, struct node_view *view, struct err *err)
{
    const struct node_part *part = &p->chunk.source->parts[view->index];
    size_t most = view->cache.dirty_count < CLOSINGS_MIN ? CLOSINGS_MIN : view->cache.dirty_count;
    bool due =
        part->closing_count >= most || p->options.plan->inputs[view->plan->input].dead_limited;
    return due ? node_final_emit(p, view, err) : 0;
}
