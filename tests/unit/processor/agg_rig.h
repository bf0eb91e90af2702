/* Runs a definition with one group view over records given as JSON: spread over sources as asked,
 * cut into batches, commits, restarts and evictions at random or not at all; then the finished rows.
 *
 *     rig_open -> rig_add ... -> rig_run -> rig_values ... -> rig_close */
#ifndef KAPPA_TESTS_AGG_RIG_H
#define KAPPA_TESTS_AGG_RIG_H

#include "tests/unit/unit.h"

#include "base/prng.h"
#include "include/kappa/record.h"
#include "processor/processor.h"
#include "tests/unit/processor/mem_store.h"

#include <stdio.h>
#include <string.h>

struct rig_record {
    uint32_t source;
    int64_t offset;
    char *json;
};

struct rig {
    struct plan *plan;
    struct rig_record *records;
    uint32_t count;
    int64_t next[MEM_SOURCES];
    struct mem_store store;
    struct processor *processor;
    uint64_t evictions;
};

static inline void rig_open(struct rig *rig, const char *sql)
{
    memset(rig, 0, sizeof *rig);
    struct err err = {0};
    if (plan_compile("rig.sql", sql, strlen(sql), &rig->plan, &err) != 0) {
        fail_msg("%s\n%s", err.text, err.hint);
    }
    mem_open(&rig->store);
}

/* Takes the JSON. */
static inline void rig_add(struct rig *rig, uint32_t source, char *json)
{
    rig->records = xrealloc(rig->records, (rig->count + 1) * sizeof *rig->records);
    rig->records[rig->count++] = (struct rig_record){source, rig->next[source]++, json};
}

static inline void rig_start(struct rig *rig, size_t cache_bytes)
{
    struct processor_options options = {.plan = rig->plan,
                                        .load = mem_load,
                                        .load_ctx = &rig->store,
                                        .cache_bytes = cache_bytes,
                                        .rows_stored = rig->store.count > 0};
    assert_int_equal(processor_open(&options, &rig->processor, NULL), 0);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_restore(rig->processor, s, 0, &rig->store.states[s]);
    }
}

static inline void rig_stop(struct rig *rig)
{
    struct processor_stats stats;
    processor_stats(rig->processor, &stats);
    rig->evictions += stats.evictions;
    processor_close(rig->processor);
    rig->processor = NULL;
}

static inline void rig_commit(struct rig *rig)
{
    struct kappa_change_sink sink = mem_sink(&rig->store);
    struct err err = {0};
    if (processor_flush(rig->processor, &sink, &err) != 0) {
        fail_msg("%s", err.text);
    }
    mem_commit(&rig->store);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_state(rig->processor, s, &rig->store.states[s]);
    }
    processor_committed(rig->processor);
}

/* Applies the next `most` records of a source; returns how many there were. */
static inline uint32_t rig_apply(struct rig *rig, uint32_t source, uint32_t most)
{
    struct kappa_source_state state;
    processor_source_state(rig->processor, source, &state);
    struct kappa_record *records = xcalloc((size_t)rig->count + 1, sizeof *records);
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig->count && count < most; i++) {
        const struct rig_record *r = &rig->records[i];
        if (r->source == source && r->offset >= state.next_offset) {
            size_t len = strlen(r->json);
            uint8_t *value = xcalloc(1, len + KAPPA_RECORD_TAIL);
            memcpy(value, r->json, len);
            records[count++] = (struct kappa_record){
                .offset = r->offset, .value = value, .value_len = u32_from(len)};
        }
    }
    struct err err = {0};
    int64_t next = count == 0 ? state.next_offset : records[count - 1].offset + 1;
    if (processor_apply(rig->processor, source, records, count, next, &err) != 0) {
        fail_msg("%s", err.text);
    }
    for (uint32_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)records[i].value);
    }
    free(records);
    return count;
}

/* prng NULL: straight, one commit at the end. */
static inline void rig_run(struct rig *rig, struct prng *prng)
{
    rig_start(rig, prng == NULL ? 1 << 30 : (size_t)1 << prng_below(prng, 18));
    bool more = true;
    while (more) {
        more = false;
        for (uint32_t s = 0; s < MEM_SOURCES; s++) {
            uint32_t most = prng == NULL ? UINT32_MAX : 1 + (uint32_t)prng_below(prng, 60);
            more = rig_apply(rig, s, most) > 0 || more;
        }
        if (prng != NULL && prng_below(prng, 3) == 0) {
            rig_commit(rig);
            if (prng_below(prng, 5) == 0) {
                rig_stop(rig);
                rig_start(rig, (size_t)1 << prng_below(prng, 18));
            }
        }
    }
    rig_commit(rig);
    rig_stop(rig);
}

/* The finished row whose first output is the text `key` (views without keys: NULL), its outputs as
 * text in out[]; to be freed. False: there is none. */
static inline bool rig_values(const struct rig *rig, const char *key, char **out, uint32_t count)
{
    struct row_finisher *finisher = row_finisher_new(rig->plan, 0);
    struct err err = {0};
    bool any = false;
    for (size_t i = 0; i < rig->store.count; i++) {
        const struct mem_row *row = &rig->store.rows[i];
        size_t len = key == NULL ? 0 : strlen(key);
        bool wanted =
            key == NULL || (row->key_len == 2 + 1 + len + 2 && memcmp(row->key + 3, key, len) == 0);
        if (!wanted || row->table != 0) {
            continue;
        }
        if (!any) {
            row_finisher_begin(finisher, 0, row->key + 2, row->key_len - 2);
        }
        any = true;
        if (row_finisher_add(finisher, row->value, row->value_len, &err) != 0) {
            fail_msg("%s", err.text);
        }
    }
    const struct kappa_value *values = NULL;
    int rc = any ? row_finisher_finish(finisher, &values, &err) : 0;
    for (uint32_t o = 0; any && o < count; o++) {
        if (rc < 0) {
            out[o] = xstrdup(err.text);
            continue;
        }
        assert_true(values[o].is_null || values[o].type == KAPPA_TYPE_TEXT);
        out[o] = values[o].is_null ? xstrdup("null") : xstrndup(values[o].s.bytes, values[o].s.len);
    }
    row_finisher_free(finisher);
    return any;
}

static inline void rig_close(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        free(rig->records[i].json);
    }
    free(rig->records);
    mem_close(&rig->store);
    plan_free(rig->plan);
}

#endif
