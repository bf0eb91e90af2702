/* Goal: the rows of a table are a function of the plan and the records, whatever the batches, the
 * commits, the crashes and the size of the cache; and they are the right rows.
 * Method: random streams of several sources with disorder, nulls and bad records are run straight,
 * and cut up in every way with restarts from a naive store; the stored bytes must be the same. The
 * finished rows are compared with a model that knows no states: it keeps all events of a group and
 * counts. */
#include "tests/unit/unit.h"

#include "base/prng.h"
#include "processor/processor.h"
#include "tests/unit/processor/naive_model.h"

#include <string.h>

/* ---- Running. */

struct run {
    const struct plan *plan;
    const struct stream *stream;
    struct mem_store store;
    struct processor *processor;
    size_t cache_bytes;
    int64_t next[MEM_SOURCES];
    uint64_t evictions;
};

static void run_open(struct run *run)
{
    struct processor_options options = {.plan = run->plan,
                                        .load = mem_load,
                                        .window_below = mem_window_below,
                                        .load_ctx = &run->store,
                                        .cache_bytes = run->cache_bytes,
                                        .rows_stored = run->store.count > 0};
    assert_int_equal(processor_open(&options, &run->processor, NULL), 0);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_restore(run->processor, s, 0, &run->store.states[s]);
        run->next[s] = run->store.states[s].next_offset;
    }
}

static void run_commit(struct run *run)
{
    struct kappa_change_sink sink = mem_sink(&run->store);
    struct err err = {0};
    assert_int_equal(processor_flush(run->processor, &sink, &err), 0);
    mem_commit(&run->store);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_state(run->processor, s, &run->store.states[s]);
    }
    processor_committed(run->processor);
}

/* Applies up to `most` records of a source from memory that is gone afterwards. Returns how many.
 * */
static uint32_t run_apply(struct run *run, uint32_t source, uint32_t most)
{
    struct kappa_record *records = xcalloc(most + 1, sizeof *records);
    uint32_t count = 0;
    int64_t next = run->next[source];
    for (uint32_t i = 0; i < run->stream->count && count < most; i++) {
        const struct event *e = &run->stream->events[i];
        if (e->source == source && e->offset >= run->next[source]) {
            uint8_t *value = xmalloc(e->json_len + KAPPA_RECORD_TAIL);
            memcpy(value, e->json, e->json_len);
            memset(value + e->json_len, '"', KAPPA_RECORD_TAIL);
            records[count++] = (struct kappa_record){.offset = e->offset,
                                                     .time_ms = e->offset * 10,
                                                     .value = value,
                                                     .value_len = u32_from(e->json_len)};
            next = e->offset + 1;
        }
    }
    struct err err = {0};
    assert_int_equal(processor_apply(run->processor, source, records, count, next, &err), 0);
    run->next[source] = next;
    for (uint32_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)records[i].value);
    }
    free(records);
    return count;
}

static void run_close(struct run *run)
{
    struct processor_stats stats;
    processor_stats(run->processor, &stats);
    run->evictions += stats.evictions;
    processor_close(run->processor);
    run->processor = NULL;
}

static bool run_done(const struct run *run)
{
    for (uint32_t i = 0; i < run->stream->count; i++) {
        const struct event *e = &run->stream->events[i];
        if (e->offset >= run->next[e->source]) {
            return false;
        }
    }
    return true;
}

static void run_straight(struct run *run)
{
    mem_open(&run->store);
    run->store.plan = run->plan;
    run->cache_bytes = 1 << 30;
    run_open(run);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        (void)run_apply(run, s, EVENTS_MAX);
    }
    run_commit(run);
    run_close(run);
    assert_int_equal(run->store.loads, 0);
}

/* The same with random cuts, commits, flushes that come to nothing, and crashes. */
static void run_cut_up(struct run *run, struct prng *prng)
{
    mem_open(&run->store);
    run->store.plan = run->plan;
    run->cache_bytes = (size_t)1 << prng_below(prng, 20);
    uint64_t crashes = prng_below(prng, 4) == 0 ? 0 : 30;
    run_open(run);
    while (!run_done(run)) {
        (void)run_apply(run, (uint32_t)prng_below(prng, MEM_SOURCES),
                        (uint32_t)prng_below(prng, prng_below(prng, 2) == 0 ? 4 : 100));
        if (prng_below(prng, 4) == 0) {
            struct kappa_change_sink sink = mem_sink(&run->store);
            if (prng_below(prng, 4) == 0) {
                assert_int_equal(processor_flush(run->processor, &sink, NULL), 0);
                mem_abort(&run->store);
            }
            if (crashes == 0 || prng_below(prng, crashes) != 0) {
                run_commit(run);
            } else {
                run_close(run);
                run_open(run);
            }
        }
    }
    run_commit(run);
    run_close(run);
}

static int compare_dead(const void *a, const void *b)
{
    const struct mem_change *left = a;
    const struct mem_change *right = b;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    if (left->number != right->number) {
        return left->number < right->number ? -1 : 1;
    }
    return (left->row.table > right->row.table) - (left->row.table < right->row.table);
}

static void assert_same_kept(struct mem_change *a, size_t a_count, struct mem_change *b,
                             size_t b_count)
{
    assert_int_equal(a_count, b_count);
    if (a_count > 0) {
        qsort(a, a_count, sizeof *a, compare_dead);
        qsort(b, b_count, sizeof *b, compare_dead);
    }
    for (size_t i = 0; i < a_count; i++) {
        assert_int_equal(a[i].number, b[i].number);
        assert_int_equal(a[i].row.table, b[i].row.table);
        assert_string_equal((char *)a[i].row.key, (char *)b[i].row.key);
        assert_string_equal((char *)a[i].row.value, (char *)b[i].row.value);
    }
}

static void assert_same_store(struct mem_store *a, struct mem_store *b)
{
    mem_assert_same_rows(a, b);
    assert_memory_equal(a->states, b->states, sizeof a->states);
    assert_same_kept(a->dead, a->dead_count, b->dead, b->dead_count);
    assert_same_kept(a->late, a->late_count, b->late, b->late_count);
}

static bool same_rest(const struct mem_row *a, const struct mem_row *b)
{
    return a->table == b->table && a->key_len == b->key_len &&
           memcmp(a->key + 2, b->key + 2, a->key_len - 2) == 0;
}

/* The windows of a hop are made of panes: part k is in all of its pane's windows but the first k. */
static bool in_window(const struct run *run, const struct mem_row *row, int64_t end)
{
    const struct plan_view *view = &run->plan->views[row->table];
    const struct kappa_source_state *state = &run->store.states[load_u16_be(row->key)];
    int64_t watermark = state->event_time_max - HAND_WATERMARK_US;
    int64_t pane = load_i64_sortable(row->key + 2);
    int64_t part = load_u16_be(row->key + row->key_len - 2);
    int64_t first = pane; /* the first window that ends at the pane's end or later */
    while (floor_to(first, view->slide_us, view->window_offset_us + view->window_us) != first) {
        first += view->pane_us;
    }
    return end >= first + part * view->slide_us && end - view->window_us <= pane - view->pane_us &&
           end + view->retain_us > watermark;
}

/* One row to finish: which stored rows are part of it. */
struct target {
    size_t first; /* the first of them */
    int64_t end;  /* of its window */
};

static bool is_part(const struct run *run, const struct target *target, size_t i)
{
    const struct mem_row *row = &run->store.rows[target->first];
    const struct mem_row *other = &run->store.rows[i];
    const struct plan_view *view = &run->plan->views[row->table];
    if (i == target->first) {
        return true;
    }
    if (row->table != other->table || view->kind == PLAN_APPEND ||
        view->window == PLAN_WINDOW_SESSION) {
        return false;
    }
    if (view->window == PLAN_WINDOW_HOP) {
        return row->key_len == other->key_len &&
               memcmp(row->key + 10, other->key + 10, row->key_len - 12) == 0 &&
               in_window(run, other, target->end);
    }
    return same_rest(row, other);
}

/* Merges the partials of the row. */
static void finish_row(const struct run *run, struct row_finisher *finisher,
                       const struct target *target, struct buf *line)
{
    const struct mem_row *row = &run->store.rows[target->first];
    const struct plan_view *view = &run->plan->views[row->table];
    size_t skip = KAPPA_KEY_SOURCE_BYTES + (view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0U);
    size_t len = row->key_len - skip - (view->window == PLAN_WINDOW_HOP ? 2 : 0);
    uint8_t *key = mem_copy(row->key + skip, len);
    row_finisher_begin(finisher, target->end, key, len);
    free(key);
    struct err err = {0};
    for (size_t i = target->first; i < run->store.count; i++) {
        if (is_part(run, target, i)) {
            uint8_t *value = mem_copy(run->store.rows[i].value, run->store.rows[i].value_len);
            assert_int_equal(row_finisher_add(finisher, value, run->store.rows[i].value_len, &err),
                             0);
            free(value);
        }
    }
    const struct kappa_value *values = NULL;
    int rc = row_finisher_finish(finisher, &values, &err);
    buf_printf(line, "%s:", view->shape.name);
    if (rc < 0) {
        buf_printf(line, " %s", err.text);
    }
    for (uint32_t o = 0; rc > 0 && o < view->output_count; o++) {
        line_value(line, &values[o]);
    }
}

/* The rows that stored row i is the first part of. */
static void row_lines(const struct run *run, struct row_finisher *finisher, size_t i,
                      struct lines *lines)
{
    struct buf line = {0};
    const struct mem_row *row = &run->store.rows[i];
    const struct plan_view *view = &run->plan->views[row->table];
    bool hop = view->window == PLAN_WINDOW_HOP;
    int64_t least = view->shape.windowed ? load_i64_sortable(row->key + 2) : 0;
    int64_t most = hop ? least + view->window_us : least;
    for (int64_t end = least; end <= most; end += hop ? view->pane_us : 1) {
        struct target target = {i, end};
        bool aligned =
            !hop || floor_to(end, view->slide_us, view->window_offset_us + view->window_us) == end;
        bool first = aligned && (!hop || in_window(run, row, end));
        for (size_t k = 0; k < i && first; k++) {
            struct target before = {k, end};
            bool in = !hop || (run->store.rows[k].table == row->table &&
                               in_window(run, &run->store.rows[k], end));
            first = !in || !is_part(run, &before, i);
        }
        if (first) {
            finish_row(run, finisher, &target, &line);
            lines_add(lines, &line);
        }
    }
    buf_free(&line);
}

static struct lines run_lines(const struct run *run)
{
    struct lines lines = {0};
    struct row_finisher *finishers[V_COUNT];
    for (uint32_t v = 0; v < V_COUNT; v++) {
        finishers[v] = row_finisher_new(run->plan, v);
    }
    for (size_t i = 0; i < run->store.count; i++) {
        row_lines(run, finishers[run->store.rows[i].table], i, &lines);
    }
    for (uint32_t v = 0; v < V_COUNT; v++) {
        row_finisher_free(finishers[v]);
    }
    lines_sort(&lines);
    return lines;
}

static void assert_model(const struct run *run)
{
    static struct model model;
    model_init(&model, run->stream, run->plan->inputs[0].lateness_us);
    struct lines expected = {0};
    for (uint32_t v = 0; v < V_COUNT; v++) {
        model_view(&model, &run->plan->views[v], &expected);
    }
    lines_sort(&expected);
    struct lines actual = run_lines(run);
    for (size_t i = 0; i < expected.count && i < actual.count; i++) {
        assert_string_equal(actual.text[i], expected.text[i]);
    }
    assert_int_equal(actual.count, expected.count);
    uint64_t late = 0;
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        assert_int_equal(run->store.states[s].dead, model.dead[s]);
        assert_int_equal(run->store.states[s].late, model.late[s]);
        late += model.late[s];
    }
    assert_int_equal(run->store.late_count, run->plan->inputs[0].late_kept ? late : 0);
    lines_free(&expected);
    lines_free(&actual);
}

static void test_any_cut_gives_the_same_rows(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("processor"));
    struct hand_plan hand;
    hand_plan_init(&hand);
    uint64_t evictions = 0;
    uint64_t loads = 0;
    uint64_t late = 0;
    for (int round = 0; round < 60; round++) {
        static const int64_t latenesses[] = {0, 2000000, 7000000};
        struct stream *stream = stream_random(&prng);
        hand.input.lateness_us = latenesses[prng_below(&prng, array_len(latenesses))];
        hand.input.late_kept = prng_below(&prng, 2) == 0;
        struct run straight = {.plan = &hand.plan, .stream = stream};
        run_straight(&straight);
        assert_model(&straight);
        late += straight.store.states[0].late;
        for (int again = 0; again < 4; again++) {
            struct run cut = {.plan = &hand.plan, .stream = stream};
            run_cut_up(&cut, &prng);
            assert_same_store(&straight.store, &cut.store);
            evictions += cut.evictions;
            loads += cut.store.loads;
            mem_close(&cut.store);
        }
        mem_close(&straight.store);
        free(stream);
    }
    /* The test means something only if these happened. */
    assert_true(evictions > 1000);
    assert_true(loads > 1000);
    assert_true(late > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut_gives_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
