/* Versions made by hand (processor and store, two shards, three partitions, users spread over all of
 * them) beside a hand-written catalog, for tests of readers and statements. */
#ifndef KAPPA_TESTS_READER_WORLD_H
#define KAPPA_TESTS_READER_WORLD_H

#include "base/prng.h"
#include "include/kappa/record.h"
#include "processor/processor.h"
#include "serve/reader_inner.h"
#include "table/store.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define SHARDS     2
#define PARTITIONS 3
#define USERS      17
#ifndef EVENTS
#define EVENTS 600
#endif

static struct err fault;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0) {                                                                             \
            fail_msg("%s: %d %s", #call, rc_, fault.text);                                         \
        }                                                                                          \
    } while (0)

/* For threads beside the test: cmocka hears of its own only. */
#define LOAD_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, err.text);            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const char definition[] =
    "CREATE TABLE ev (u text, n bigint, x double precision, t timestamptz) WITH (topic='events', "
    "format='json', event_time='t', watermark='5 s', timestamp_unit='ms');\n"
    "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n) AS s, avg(x) AS a FROM ev "
    "GROUP BY u;\n"
    "CREATE MATERIALIZED VIEW per_minute AS SELECT u, window_start, window_end, count(*) AS c "
    "FROM tumble(ev, t, interval '1 minute') GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW big AS SELECT u, sum(n) AS s FROM ev GROUP BY u "
    "HAVING sum(n) > 200;\n"
    "CREATE MATERIALIZED VIEW raw AS SELECT u, n, t FROM ev WHERE n > 3;\n"
    "CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS c FROM ev;\n";

static const char *const table_names[] = {"totals", "per_minute", "big", "raw", "everything"};

/* One event, as the oracle knows it. */
struct event {
    uint32_t user;
    uint32_t partition;
    int64_t offset;
    int64_t n;
    int64_t t_ms;
    double x;
};

struct world {
    uint32_t leaf_bits; /* of the stores; 0: as usual */
    char *dir;
    struct catalog *catalog;
    struct event *events;
    uint32_t count;
};

/* ---- making a version */

static inline void make_dir(const char *path)
{
    assert_true(mkdir(path, 0750) == 0 || errno == EEXIST);
}

/* The records of a partition; texts are in one buffer with the tail that readers may look at. */
static inline uint32_t partition_records(const struct world *world, uint32_t partition,
                                         uint32_t limit, struct kappa_record *records,
                                         char (*texts)[256])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < limit; i++) {
        const struct event *event = &world->events[i];
        if (event->partition == partition) {
            int len =
                snprintf(texts[count], 192, "{\"u\":\"u%u\",\"n\":%lld,\"x\":%.17g,\"t\":%lld}",
                         event->user, (long long)event->n, event->x, (long long)event->t_ms);
            records[count] = (struct kappa_record){
                .offset = event->offset,
                .time_ms = event->t_ms,
                .key_len = KAPPA_NULL_LEN,
                .value = (const uint8_t *)texts[count],
                .value_len = (uint32_t)len,
            };
            count++;
        }
    }
    return count;
}

static inline void apply_partition(const struct world *world, struct processor *processor,
                                   uint32_t partition, uint32_t limit)
{
    struct kappa_record *records = xcalloc(limit + 1, sizeof *records);
    char(*texts)[256] = xcalloc(limit + 1, sizeof *texts);
    uint32_t count = partition_records(world, partition, limit, records, texts);
    int64_t next = count == 0 ? 7 : records[count - 1].offset + 1;
    /* Bad records in partition 1, as the last ones: not JSON, not UTF-8, a tombstone. */
    assert_ok(processor_apply(processor, partition, records, count, next, &fault));
    if (partition == 1) {
        static const char bad[3][KAPPA_RECORD_TAIL + 16] = {"{\"u\":", "{\"u\":\"\xff\xfe\"}", ""};
        for (uint32_t i = 0; i < 3; i++) {
            records[i] = (struct kappa_record){
                .offset = next + i,
                .time_ms = 5,
                .key_len = KAPPA_NULL_LEN,
                .value = i == 2 ? NULL : (const uint8_t *)bad[i],
                .value_len = i == 2 ? KAPPA_NULL_LEN : (uint32_t)strlen(bad[i]),
            };
        }
        assert_ok(processor_apply(processor, partition, records, 3, next + 3, &fault));
    }
    free(records);
    free(texts);
}

static inline void make_shard(const struct world *world, const struct plan *plan, const char *dir,
                              uint32_t shard, uint32_t limit)
{
    struct kappa_table_shape shapes[16];
    for (uint32_t i = 0; i < plan->table_count; i++) {
        shapes[i] = plan->tables[i].shape;
    }
    char *path = xasprintf("%s/%u", dir, shard);
    struct store_options options = {.dir = path,
                                    .tables = shapes,
                                    .table_count = plan->table_count,
                                    .building = true,
                                    .leaf_bits = world->leaf_bits};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    struct processor_options how = {.window_below = store_window_below,
                                    .plan = plan,
                                    .load = store_load,
                                    .load_ctx = store,
                                    .cache_bytes = 1 << 20};
    struct processor *processor = NULL;
    assert_ok(processor_open(&how, &processor, &fault));
    for (uint32_t source = shard; source < PARTITIONS; source += SHARDS) {
        struct store_source state;
        (void)store_source_get(store, source, &state);
        processor_source_restore(processor, source, 0, &state.state);
        apply_partition(world, processor, source, limit);
    }
    assert_ok(store_begin(store, &fault));
    assert_ok(processor_flush(processor, store_sink(store), &fault));
    for (uint32_t source = shard; source < PARTITIONS; source += SHARDS) {
        struct kappa_source_state state;
        processor_source_state(processor, source, &state);
        assert_ok(store_source_put(store, source, &state, &fault));
    }
    assert_ok(store_commit(store, &fault));
    processor_committed(processor);
    processor_close(processor);
    store_close(store);
    free(path);
}

/* Version `number` of processor p over the first `limit` events, of another definition. */
static inline void make_version_of(const struct world *world, uint32_t number, uint32_t limit,
                                   const char *text)
{
    struct plan *plan = NULL;
    assert_ok(plan_compile("p.sql", text, strlen(text), &plan, &fault));
    char *dir = xasprintf("%s/versions/p/%u", world->dir, number);
    make_dir(dir);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        make_shard(world, plan, dir, shard, limit);
    }
    free(dir);
    json_t *tables = json_array();
    for (uint32_t i = 0; i < plan->view_count; i++) {
        assert_int_equal(json_array_append_new(tables, json_string(plan->views[i].shape.name)), 0);
    }
    plan_free(plan);
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:[{s:s, s:i, s:i}], s:[i,i,i], s:o}",
                  "processor", "p", "version", number, "state", "ready", "definition", text, "file",
                  "p.sql", "shards", SHARDS, "inputs", "topic", "events", "identity", 0,
                  "partitions", PARTITIONS, "start", 0, 0, 0, "tables", tables);
    assert_non_null(object);
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, "p", number);
    assert_ok(catalog_begin(world->catalog, &fault));
    assert_ok(catalog_put(world->catalog, key, object, &fault));
    assert_ok(catalog_commit(world->catalog, &fault));
    json_decref(object);
}

/* The same of the usual one. */
static inline void make_version(const struct world *world, uint32_t number, uint32_t limit)
{
    make_version_of(world, number, limit, definition);
}

static inline void serve_with(const struct world *world, uint32_t version, uint64_t epoch,
                              struct catalog_canary canary)
{
    struct catalog_pointer pointer = {
        .processor = "p", .version = version, .epoch = epoch, .canary = canary};
    char key[CATALOG_KEY_LEN];
    catalog_key_processor(key, "p");
    json_t *object = json_pack("{s:s, s:I}", "processor", "p", "epoch", (json_int_t)epoch);
    assert_ok(catalog_begin(world->catalog, &fault));
    for (size_t i = 0; i < array_len(table_names); i++) {
        assert_ok(catalog_pointer_put(world->catalog, table_names[i], &pointer, &fault));
    }
    assert_ok(catalog_put(world->catalog, key, object, &fault));
    assert_ok(catalog_commit(world->catalog, &fault));
    json_decref(object);
}

static inline void serve(const struct world *world, uint32_t version, uint64_t epoch)
{
    serve_with(world, version, epoch, (struct catalog_canary){0});
}

static inline void drop_version(const struct world *world, uint32_t number, bool object_too)
{
    char *command = xasprintf("mv '%s/versions/p/%u' '%s/trash' && rm -r '%s/trash'", world->dir,
                              number, world->dir, world->dir);
    assert_int_equal(system(command), 0);
    free(command);
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, "p", number);
    if (object_too) {
        assert_ok(catalog_begin(world->catalog, &fault));
        assert_ok(catalog_delete(world->catalog, key, &fault));
        assert_ok(catalog_commit(world->catalog, &fault));
    }
}

static inline void world_open(struct world *world, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    *world = (struct world){.dir = xstrdup("/tmp/kappa-reader-XXXXXX"), .count = EVENTS};
    assert_non_null(mkdtemp(world->dir));
    static const char *const dirs[] = {"catalog", "versions", "versions/p"};
    for (size_t i = 0; i < array_len(dirs); i++) {
        char *path = xasprintf("%s/%s", world->dir, dirs[i]);
        make_dir(path);
        free(path);
    }
    char *path = xasprintf("%s/catalog", world->dir);
    assert_ok(catalog_open(path, true, &world->catalog, &fault));
    free(path);
    world->events = xcalloc(EVENTS, sizeof *world->events);
    int64_t next[PARTITIONS] = {0, 100, 5};
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct event *event = &world->events[i];
        event->user = (uint32_t)prng_below(&prng, USERS);
        event->partition = (uint32_t)prng_below(&prng, PARTITIONS);
        event->offset = next[event->partition];
        next[event->partition] += 1 + (int64_t)prng_below(&prng, 3);
        event->n = (int64_t)prng_below(&prng, 20) - 3;
        /* Time goes on; nothing is late. Before 1970 at first. */
        event->t_ms = -300000 + (int64_t)i * 1000;
        event->x = (double)prng_below(&prng, 1000) / 8;
    }
}

static inline void world_close(struct world *world)
{
    catalog_close(world->catalog);
    char *command = xasprintf("rm -rf '%s'", world->dir);
    assert_int_equal(system(command), 0);
    free(command);
    free(world->dir);
    free(world->events);
}

/* The moment that matters: after the first look, the next version is swapped in and both go on. The
 * old one then holds rows beyond the cut, which the new one may not have yet. */
struct moment {
    const struct world *world;
    int left; /* swaps still to make */
    uint32_t version;
};

static inline void swap_and_go_on(void *ctx)
{
    struct moment *moment = ctx;
    if (moment->left-- <= 0) {
        return;
    }
    uint32_t old = moment->version++;
    make_version(moment->world, moment->version, 100);
    serve(moment->world, moment->version, moment->version);
    drop_version(moment->world, old, false);
    if (moment->left > 0) {
        make_version(moment->world, old, 500); /* as if it had gone on */
    }
}

#endif
