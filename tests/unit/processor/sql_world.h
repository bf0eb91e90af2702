/* Definitions in SQL over a naive store, for tests that compare with sqlite3.
 *
 *     world_open -> world_apply, world_commit, world_start (after processor_close) ... -> world_close
 *     world_test           random events through two such worlds, and against sqlite3 */
#ifndef KAPPA_TESTS_SQL_WORLD_H
#define KAPPA_TESTS_SQL_WORLD_H

#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/prng.h"
#include "processor/processor.h"
#include "tests/unit/processor/mem_store.h"
#include "tests/unit/processor/sqlite_oracle.h"

#include <string.h>

#define WORLD_SOURCES 2

/* ---- A processor over a naive store. */

struct world {
    struct plan *plan;
    struct mem_store store;
    struct processor *processor;
    const struct kappa_plugin *const *plugins; /* set before world_start; NULL: none */
    size_t cache_bytes;
};

static inline void world_start(struct world *w)
{
    struct processor_options options = {.plan = w->plan,
                                        .load = mem_load,
                                        .window_below = mem_window_below,
                                        .row_from = mem_row_from,
                                        .load_ctx = &w->store,
                                        .plugins = w->plugins,
                                        .cache_bytes = w->cache_bytes,
                                        .rows_stored = true};
    assert_int_equal(processor_open(&options, &w->processor, NULL), 0);
    for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
        processor_source_restore(w->processor, s, 0, &w->store.states[s]);
    }
}

static inline void world_open(struct world *w, const char *definition, size_t cache_bytes,
                              const struct kappa_plugin *const *plugins)
{
    w->plugins = plugins;
    struct err err = {0};
    if (plan_compile("test.sql", definition, strlen(definition), &w->plan, &err) < 0) {
        fail_msg("%s", err.text);
    }
    mem_open(&w->store);
    w->cache_bytes = cache_bytes;
    world_start(w);
}

static inline void world_close(struct world *w)
{
    processor_close(w->processor);
    mem_close(&w->store);
    plan_free(w->plan);
}

static inline void world_commit(struct world *w)
{
    struct kappa_change_sink sink = mem_sink(&w->store);
    assert_int_equal(processor_flush(w->processor, &sink, NULL), 0);
    mem_commit(&w->store);
    for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
        processor_source_state(w->processor, s, &w->store.states[s]);
    }
    processor_committed(w->processor);
}

struct event {
    uint32_t source;
    char *json; /* with the readable tail; NULL: a tombstone */
    size_t len;
    char key[32]; /* "": null */
    int64_t time_ms;
};

static inline void world_apply(struct world *w, const struct event *event)
{
    struct kappa_source_state state;
    processor_source_state(w->processor, event->source, &state);
    struct kappa_record record = {.offset = state.next_offset,
                                  .time_ms = event->time_ms,
                                  .value = (const uint8_t *)event->json,
                                  .value_len =
                                      event->json == NULL ? KAPPA_NULL_LEN : u32_from(event->len)};
    record.key = event->key[0] == '\0' ? NULL : (const uint8_t *)event->key;
    record.key_len = record.key == NULL ? KAPPA_NULL_LEN : u32_from(strlen(event->key));
    assert_int_equal(
        processor_apply(w->processor, event->source, &record, 1, record.offset + 1, NULL), 0);
}

/* An event without a key; the text is copied. */
static inline struct event world_event(uint32_t source, const char *json)
{
    size_t len = strlen(json);
    struct event event = {
        .source = source, .json = xcalloc(1, len + KAPPA_RECORD_TAIL), .len = len};
    memcpy(event.json, json, len);
    return event;
}

/* ---- Rows as text. */

static inline void world_put_value(struct buf *out, const struct kappa_value *value)
{
    if (value->is_null) {
        buf_append_text(out, value->type == KAPPA_TYPE_DOUBLE ? "0.000000000" : "");
    } else if (value->type == KAPPA_TYPE_TEXT) {
        buf_append(out, value->s.bytes, value->s.len);
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, "%.9f", value->d + 0.0);
    } else {
        buf_printf(out, "%lld", (long long)value->i);
    }
}

/* All rows of a table, a line each, sorted. */
static inline char *world_all_rows(struct world *w, uint32_t table)
{
    struct row_finisher *finisher = row_finisher_new(w->plan, table);
    const struct plan_view *view = &w->plan->views[table];
    char **lines = xcalloc(1, sizeof *lines);
    size_t count = 0;
    for (size_t i = 0; i < w->store.count; i++) {
        const struct mem_row *row = &w->store.rows[i];
        uint8_t key[LIMIT_TABLE_KEY_LEN];
        bool seen = row->table != table;
        memcpy(key, row->key, row->key_len);
        for (uint32_t s = 0; s < load_u16_be(row->key) && view->kind == PLAN_GROUP && !seen; s++) {
            store_u16_be(key, (uint16_t)s);
            seen = mem_get(&w->store, table, key, row->key_len) != NULL;
        }
        if (seen) {
            continue;
        }
        row_finisher_begin(finisher, 0, row->key + 2, row->key_len - 2);
        for (uint32_t s = load_u16_be(row->key); s < WORLD_SOURCES; s++) {
            store_u16_be(key, (uint16_t)s);
            const struct mem_row *part = mem_get(&w->store, table, key, row->key_len);
            if (part != NULL && (view->kind == PLAN_GROUP || part == row)) {
                assert_int_equal(row_finisher_add(finisher, part->value, part->value_len, NULL), 0);
            }
        }
        for (uint32_t r = 0; r < row_finisher_rows(finisher); r++) {
            const struct kappa_value *values = NULL;
            assert_int_equal(row_finisher_row(finisher, r, &values, NULL), 1);
            struct buf line = {0};
            for (uint32_t o = 0; o < view->output_count; o++) {
                buf_append_text(&line, o > 0 ? "|" : "");
                world_put_value(&line, &values[o]);
            }
            lines = xrealloc(lines, (count + 1) * sizeof *lines);
            lines[count++] = xstrdup(buf_text(&line));
            buf_free(&line);
        }
    }
    row_finisher_free(finisher);
    return oracle_sorted(lines, count);
}

static inline void world_assert_same(const char *actual, const char *expected)
{
    size_t at = 0;
    size_t line = 0;
    for (; actual[at] != '\0' && actual[at] == expected[at]; at++) {
        line = actual[at] == '\n' ? at + 1 : line;
    }
    if (actual[at] != expected[at]) {
        fail_msg("ours:   %.120s\nsqlite: %.120s", actual + line, expected + line);
    }
}

/* The same events twice: at once, and with many commits, nothing kept in memory and new beginnings. What is
 * stored must be the same. Both worlds are open and empty. */
static inline void world_run_both(struct world *once, struct world *often,
                                  const struct event *events, size_t count, struct prng *prng)
{
    for (size_t i = 0; i < count; i++) {
        world_apply(once, &events[i]);
        world_apply(often, &events[i]);
        uint64_t chance = prng_below(prng, 20);
        if (chance < 3) {
            world_commit(often);
        }
        if (chance == 0) {
            processor_close(often->processor);
            world_start(often);
        }
        free(events[i].json);
    }
    world_commit(once);
    world_commit(often);
    mem_assert_same_rows(&once->store, &often->store);
}

/* The first tables against the queries, each over what the script makes. */
static inline void world_assert_tables(struct world *w, const struct buf *script,
                                       const char *const *queries, size_t count)
{
    for (uint32_t t = 0; t < count; t++) {
        char *expected = oracle_sqlite(buf_text(script), queries[t]);
        char *actual = world_all_rows(w, t);
        assert_true(strlen(expected) > 20);
        world_assert_same(actual, expected);
        free(expected);
        free(actual);
    }
}

struct world_test {
    const char *name; /* of the seed */
    const char *definition;
    const struct kappa_plugin *const *plugins; /* NULL: none */
    size_t rows;
    const char *columns; /* of e, sqlite3's table of the events */
    void (*make_events)(struct prng *prng, struct event *events, struct buf *script);
    void (*check)(const struct world *once); /* what else holds in the end */
    const char *const *oracles;              /* queries over e, one for each of the first tables */
    size_t oracle_count;
};

static inline void world_test(const struct world_test *test)
{
    struct prng prng;
    prng_init(&prng, unit_seed(test->name));
    struct event *events = xcalloc(test->rows, sizeof *events);
    struct buf script = {0};
    buf_printf(&script, "CREATE TABLE e (%s);\nBEGIN;\n", test->columns);
    test->make_events(&prng, events, &script);
    buf_append_text(&script, "COMMIT;\n");
    struct world once;
    struct world often;
    world_open(&once, test->definition, 1 << 20, test->plugins);
    world_open(&often, test->definition, 1, test->plugins);
    world_run_both(&once, &often, events, test->rows, &prng);
    test->check(&once);
    world_assert_tables(&once, &script, test->oracles, test->oracle_count);
    buf_free(&script);
    free(events);
    world_close(&once);
    world_close(&often);
}

#endif
