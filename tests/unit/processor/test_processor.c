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
    return left->number < right->number ? -1 : left->number > right->number;
}

static void assert_same_store(struct mem_store *a, struct mem_store *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(
            mem_compare(&a->rows[i], b->rows[i].table, b->rows[i].key, b->rows[i].key_len), 0);
        assert_int_equal(a->rows[i].value_len, b->rows[i].value_len);
        assert_memory_equal(a->rows[i].value, b->rows[i].value, a->rows[i].value_len);
    }
    assert_memory_equal(a->states, b->states, sizeof a->states);
    assert_int_equal(a->dead_count, b->dead_count);
    if (a->dead_count > 0) {
        qsort(a->dead, a->dead_count, sizeof *a->dead, compare_dead);
        qsort(b->dead, b->dead_count, sizeof *b->dead, compare_dead);
    }
    for (size_t i = 0; i < a->dead_count; i++) {
        assert_int_equal(a->dead[i].number, b->dead[i].number);
        assert_string_equal((char *)a->dead[i].row.key, (char *)b->dead[i].row.key);
        assert_string_equal((char *)a->dead[i].row.value, (char *)b->dead[i].row.value);
    }
}

static bool same_rest(const struct mem_row *a, const struct mem_row *b)
{
    return a->table == b->table && a->key_len == b->key_len &&
           memcmp(a->key + 2, b->key + 2, a->key_len - 2) == 0;
}

/* Merges the partials of row `first` and of the later sources. */
static void finish_row(const struct run *run, struct row_finisher *finisher, size_t first,
                       struct buf *line)
{
    const struct mem_row *row = &run->store.rows[first];
    const struct plan_view *view = &run->plan->views[row->table];
    size_t skip = KAPPA_KEY_SOURCE_BYTES + (view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0U);
    int64_t window_end = view->shape.windowed ? load_i64_sortable(row->key + 2) : 0;
    uint8_t *key = mem_copy(row->key + skip, row->key_len - skip);
    row_finisher_begin(finisher, window_end, key, row->key_len - skip);
    free(key);
    struct err err = {0};
    for (size_t i = first; i < run->store.count; i++) {
        if (i == first || (view->kind == PLAN_GROUP && same_rest(row, &run->store.rows[i]))) {
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

static struct lines run_lines(const struct run *run)
{
    struct lines lines = {0};
    struct buf line = {0};
    struct row_finisher *finishers[V_COUNT];
    for (uint32_t v = 0; v < V_COUNT; v++) {
        finishers[v] = row_finisher_new(run->plan, v);
    }
    for (size_t i = 0; i < run->store.count; i++) {
        const struct mem_row *row = &run->store.rows[i];
        bool first = true;
        for (size_t k = 0; k < i && row->table != V_KEPT; k++) {
            first = first && !same_rest(&run->store.rows[k], row);
        }
        if (first) {
            finish_row(run, finishers[row->table], i, &line);
            lines_add(&lines, &line);
        }
    }
    for (uint32_t v = 0; v < V_COUNT; v++) {
        row_finisher_free(finishers[v]);
    }
    buf_free(&line);
    lines_sort(&lines);
    return lines;
}

static void assert_model(const struct run *run)
{
    static struct model model;
    model_init(&model, run->stream);
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
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        assert_int_equal(run->store.states[s].dead, model.dead[s]);
        assert_int_equal(run->store.states[s].late, model.late[s]);
    }
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
        struct stream *stream = stream_random(&prng);
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
