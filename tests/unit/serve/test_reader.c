/* Goal: a read gives the rows that a recount of the events gives, from exactly one version, and no
 * swap or drop of versions ever makes a serving read fail or go back. Method: versions are made by
 * hand (processor and store, two shards, three partitions, users spread over all of them) beside a
 * hand-written catalog; answers are compared with counts over the events in memory; threads read
 * while versions are made, swapped in and deleted. KAPPA_SEED repeats a run. */
#include "serve/reader_inner.h"

#include "base/prng.h"
#include "base/timefmt.h"
#include "include/kappa/record.h"
#include "processor/processor.h"
#include "table/store.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define SHARDS     2
#define PARTITIONS 3
#define USERS      17
#define EVENTS     600

static struct err fault;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0) {                                                                             \
            fail_msg("%s: %d %s", #call, rc_, fault.text);                                         \
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
    char *dir;
    struct catalog *catalog;
    struct event *events;
    uint32_t count;
};

/* ---- making a version */

static void make_dir(const char *path)
{
    assert_true(mkdir(path, 0750) == 0 || errno == EEXIST);
}

/* The records of a partition; texts are in one buffer with the tail that readers may look at. */
static uint32_t partition_records(const struct world *world, uint32_t partition, uint32_t limit,
                                  struct kappa_record *records, char (*texts)[256])
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

static void apply_partition(const struct world *world, struct processor *processor,
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

static void make_shard(const struct world *world, const struct plan *plan, const char *dir,
                       uint32_t shard, uint32_t limit)
{
    struct kappa_table_shape shapes[8];
    for (uint32_t i = 0; i < plan->view_count; i++) {
        shapes[i] = plan->views[i].shape;
    }
    char *path = xasprintf("%s/%u", dir, shard);
    struct store_options options = {
        .dir = path, .tables = shapes, .table_count = plan->view_count, .building = true};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    struct processor_options how = {
        .plan = plan, .load = store_load, .load_ctx = store, .cache_bytes = 1 << 20};
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

/* Version `number` of processor p over the first `limit` events. */
static void make_version(const struct world *world, uint32_t number, uint32_t limit)
{
    struct plan *plan = NULL;
    assert_ok(plan_compile("p.sql", definition, strlen(definition), &plan, &fault));
    char *dir = xasprintf("%s/versions/p/%u", world->dir, number);
    make_dir(dir);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        make_shard(world, plan, dir, shard, limit);
    }
    free(dir);
    plan_free(plan);
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:[{s:s, s:i, s:i}], s:[i,i,i], s:[s,s,s,s,s]}",
                  "processor", "p", "version", number, "state", "ready", "definition", definition,
                  "file", "p.sql", "shards", SHARDS, "inputs", "topic", "events", "identity", 0,
                  "partitions", PARTITIONS, "start", 0, 0, 0, "tables", table_names[0],
                  table_names[1], table_names[2], table_names[3], table_names[4]);
    assert_non_null(object);
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, "p", number);
    assert_ok(catalog_begin(world->catalog, &fault));
    assert_ok(catalog_put(world->catalog, key, object, &fault));
    assert_ok(catalog_commit(world->catalog, &fault));
    json_decref(object);
}

static void serve(const struct world *world, uint32_t version, uint64_t epoch)
{
    struct catalog_pointer pointer = {.processor = "p", .version = version, .epoch = epoch};
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

static void drop_version(const struct world *world, uint32_t number, bool object_too)
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

static void world_open(struct world *world, uint64_t seed)
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

static void world_close(struct world *world)
{
    catalog_close(world->catalog);
    char *command = xasprintf("rm -rf '%s'", world->dir);
    assert_int_equal(system(command), 0);
    free(command);
    free(world->dir);
    free(world->events);
}

/* ---- the oracle */

static int64_t window_end_ms(int64_t t_ms)
{
    int64_t index = t_ms / 60000 - (t_ms % 60000 < 0 ? 1 : 0);
    return (index + 1) * 60000;
}

struct recount {
    int64_t count, sum;
    double x;
};

static struct recount recount(const struct world *world, uint32_t limit, uint32_t user,
                              int64_t window_ms)
{
    struct recount out = {0, 0, 0};
    for (uint32_t i = 0; i < limit; i++) {
        const struct event *event = &world->events[i];
        if (event->user == user &&
            (window_ms == INT64_MIN || window_end_ms(event->t_ms) == window_ms)) {
            out.count++;
            out.sum += event->n;
            out.x += event->x; /* eighths: exact in any order */
        }
    }
    return out;
}

static json_t *get(struct reader *reader, const char *table, uint32_t version, const char *key,
                   int64_t at_us)
{
    json_t *answer = NULL;
    const char *keys[] = {key};
    int rc = reader_get(reader, table, version, keys, key == NULL ? 0 : 1, at_us, &answer, &fault);
    if (rc != 0) {
        assert_int_equal(rc, -KE_NOT_FOUND);
        return NULL;
    }
    return answer;
}

static const json_t *row_of(const json_t *answer)
{
    return json_object_get(answer, "row");
}

/* ---- tests */

static void test_rows(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("rows"));
    make_version(&world, 1, EVENTS);
    serve(&world, 1, 4);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    for (uint32_t user = 0; user < USERS; user++) {
        char key[16];
        (void)snprintf(key, sizeof key, "u%u", user);
        struct recount all = recount(&world, EVENTS, user, INT64_MIN);
        json_t *answer = get(reader, "totals", 0, key, KAPPA_NO_TIME);
        assert_true((answer != NULL) == (all.count > 0));
        if (answer != NULL) {
            assert_int_equal(json_int(answer, "version", 0), 1);
            assert_int_equal(json_int(answer, "epoch", 0), 4);
            assert_string_equal(json_text(answer, "table", ""), "totals");
            assert_string_equal(json_text(row_of(answer), "u", ""), key);
            assert_int_equal(json_int(row_of(answer), "c", -1), all.count);
            assert_int_equal(json_int(row_of(answer), "s", -1), all.sum);
            assert_true(json_number(row_of(answer), "a", -1) == all.x / (double)all.count);
            json_decref(answer);
        }
        answer = get(reader, "big", 0, key, KAPPA_NO_TIME);
        assert_true((answer != NULL) == (all.sum > 200));
        json_decref(answer);
        int64_t newest = INT64_MIN;
        for (int64_t end = window_end_ms(-300000); end < 400000; end += 60000) {
            struct recount in = recount(&world, EVENTS, user, end);
            newest = in.count > 0 ? end : newest;
            for (int64_t at = end - 60000; at < end; at += 59999) {
                answer = get(reader, "per_minute", 0, key, at * 1000);
                assert_true((answer != NULL) == (in.count > 0));
                assert_int_equal(json_int(row_of(answer), "c", 0), in.count);
                json_decref(answer);
            }
        }
        answer = get(reader, "per_minute", 1, key, KAPPA_NO_TIME);
        assert_true((answer != NULL) == (newest != INT64_MIN));
        if (answer != NULL) {
            assert_int_equal(json_int(row_of(answer), "c", -1),
                             recount(&world, EVENTS, user, newest).count);
            json_decref(answer);
        }
    }
    assert_null(get(reader, "per_minute", 0, "u1", INT64_MAX));
    assert_null(get(reader, "per_minute", 0, "u1", INT64_MIN + 1));
    json_t *answer = get(reader, "everything", 0, NULL, KAPPA_NO_TIME);
    assert_int_equal(json_int(row_of(answer), "c", 0), EVENTS);
    json_decref(answer);
    reader_close(reader);
    world_close(&world);
}

static void test_append(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("append"));
    make_version(&world, 1, EVENTS);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    for (uint32_t i = 0; i < EVENTS; i += 7) {
        const struct event *event = &world.events[i];
        char partition[16];
        char offset[24];
        (void)snprintf(partition, sizeof partition, "%u", event->partition);
        (void)snprintf(offset, sizeof offset, "%lld", (long long)event->offset);
        const char *keys[] = {partition, offset};
        json_t *answer = NULL;
        int rc = reader_get(reader, "raw", 0, keys, 2, KAPPA_NO_TIME, &answer, &fault);
        assert_int_equal(rc, event->n > 3 ? 0 : -KE_NOT_FOUND);
        if (rc == 0) {
            assert_int_equal(json_int(row_of(answer), "n", 0), event->n);
            json_decref(answer);
        }
    }
    const char *beyond[] = {"3", "5"};
    json_t *answer = NULL;
    assert_int_equal(reader_get(reader, "raw", 0, beyond, 2, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    beyond[0] = "4294967295";
    int rc = reader_get(reader, "raw", 0, beyond, 2, KAPPA_NO_TIME, &answer, &fault);
    assert_true(rc == -KE_NOT_FOUND || rc == -KE_INVALID);
    reader_close(reader);
    world_close(&world);
}

struct collected {
    json_t *rows;
    int64_t stop_after;
};

static bool collect(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    struct collected *collected = ctx;
    assert_int_equal(json_array_append_new(collected->rows, reader_row_json(view, values)), 0);
    return --collected->stop_after != 0;
}

static json_t *scan(struct reader *reader, const char *table, int64_t limit, int64_t stop_after)
{
    struct collected collected = {json_array(), stop_after};
    struct reader_stamp stamp = {0};
    assert_ok(reader_scan(reader, table, 0, limit, collect, &collected, &stamp, &fault));
    assert_string_equal(stamp.processor, "p");
    assert_int_equal(stamp.version, 1);
    assert_int_equal(json_array_size(json_object_get(stamp.cut, "events")), PARTITIONS);
    json_decref(stamp.cut);
    return collected.rows;
}

static void test_scan(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("scan"));
    make_version(&world, 1, EVENTS);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    json_t *rows = scan(reader, "totals", -1, -1);
    uint32_t users = 0;
    const char *last = "";
    for (uint32_t user = 0; user < USERS; user++) {
        users += recount(&world, EVENTS, user, INT64_MIN).count > 0;
    }
    assert_int_equal(json_array_size(rows), users);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        const char *user = json_text(row, "u", "");
        assert_true(strcmp(last, user) < 0);
        last = user;
        struct recount all =
            recount(&world, EVENTS, (uint32_t)strtoul(user + 1, NULL, 10), INT64_MIN);
        assert_int_equal(json_int(row, "c", 0), all.count);
    }
    json_decref(rows);
    int64_t windows = 0;
    int64_t big = 0;
    int64_t raw = 0;
    for (uint32_t user = 0; user < USERS; user++) {
        big += recount(&world, EVENTS, user, INT64_MIN).sum > 200;
        for (int64_t end = window_end_ms(-300000); end < 400000; end += 60000) {
            windows += recount(&world, EVENTS, user, end).count > 0;
        }
    }
    for (uint32_t e = 0; e < EVENTS; e++) {
        raw += world.events[e].n > 3;
    }

    const struct {
        const char *table;
        int64_t limit, stop, expected;
    } cases[] = {
        {"per_minute", -1, -1, windows},
        {"big", -1, -1, big},
        {"raw", -1, -1, raw},
        {"everything", -1, -1, 1},
        {"raw", 0, -1, 0},
        {"raw", 5, -1, 5},
        {"raw", -1, 3, 3},
    };

    for (size_t c = 0; c < array_len(cases); c++) {
        rows = scan(reader, cases[c].table, cases[c].limit, cases[c].stop);
        assert_int_equal(json_array_size(rows), cases[c].expected);
        json_decref(rows);
    }
    reader_close(reader);
    world_close(&world);
}

/* Rows of a range by the cursor, as a JSON array. */
static json_t *range_rows(struct reader *reader, const char *table,
                          const struct reader_range *range)
{
    struct reader_read reading = {0};
    struct reader_cursor *cursor = NULL;
    const struct kappa_value *values = NULL;
    json_t *rows = json_array();
    assert_ok(reader_begin(reader, table, 0, &reading, &fault));
    const struct plan_view *view = &reading.version->plan->views[reading.table];
    assert_ok(reader_cursor_open(reader, &reading, range, &cursor, &fault));
    int rc;
    while ((rc = reader_cursor_next(cursor, &values, &fault)) == 1) {
        assert_int_equal(json_array_append_new(rows, reader_row_json(view, values)), 0);
    }
    assert_ok(rc);
    reader_cursor_close(cursor);
    reader_end(reader, &reading);
    return rows;
}

/* A range gives the rows of a whole scan that lie in it. */
static void check_range(struct reader *reader, const char *table, int64_t least, int64_t most,
                        const char *user)
{
    struct kappa_value key = {.type = KAPPA_TYPE_TEXT};
    struct reader_range range = {.window_least = least, .window_most = most, .keys = &key};
    if (user != NULL) {
        key.s.bytes = user;
        key.s.len = u32_from(strlen(user));
        range.key_count = 1;
    }
    json_t *got = range_rows(reader, table, &range);
    json_t *all = range_rows(reader, table, NULL);
    json_t *want = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (all, i, row) {
        const char *text = json_text(row, "window_end", NULL);
        int64_t end = 0;
        assert_true(text == NULL || time_parse(text, strlen(text), &end));
        bool inside = text == NULL || (end >= least && end <= most);
        if (inside && (user == NULL || strcmp(json_text(row, "u", ""), user) == 0)) {
            assert_int_equal(json_array_append(want, row), 0);
        }
    }
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(all);
    json_decref(want);
}

static void test_ranges(void **state)
{
    (void)state;
    struct world world;
    struct prng prng;
    prng_init(&prng, unit_seed("ranges"));
    world_open(&world, prng_next(&prng));
    make_version(&world, 1, EVENTS);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    for (uint32_t round = 0; round < 200; round++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%u", (uint32_t)prng_below(&prng, USERS + 2));
        int64_t least = (int64_t)prng_below(&prng, 16) * 60000000 - 420000000;
        int64_t most = least + (int64_t)prng_below(&prng, 10) * 30000000 - 60000000;
        least = prng_below(&prng, 4) == 0 ? INT64_MIN : least + (int64_t)prng_below(&prng, 3) - 1;
        most = prng_below(&prng, 4) == 0 ? INT64_MAX : most;
        check_range(reader, "per_minute", least, most, prng_below(&prng, 3) == 0 ? NULL : user);
        check_range(reader, "totals", least, most, prng_below(&prng, 3) == 0 ? NULL : user);
    }
    check_range(reader, "everything", INT64_MIN, INT64_MAX, NULL);
    check_range(reader, "raw", INT64_MIN, INT64_MAX, NULL);
    reader_close(reader);
    world_close(&world);
}

static void test_sentences(void **state)
{
    (void)state;
    struct world world;
    struct reader *reader = NULL;
    json_t *answer = NULL;
    const char *keys[] = {"u1", "u2"};
    assert_int_equal(reader_open("/tmp/no/such/kappa", &reader, &fault), -KE_NOT_FOUND);
    world_open(&world, 1);
    assert_ok(reader_open(world.dir, &reader, &fault));
    assert_int_equal(reader_get(reader, "totals", 0, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    make_version(&world, 1, 10);
    assert_int_equal(reader_get(reader, "totals", 0, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    assert_non_null(strstr(fault.text, "not served yet"));
    /* A named version is readable before it ever served. */
    answer = get(reader, "everything", 1, NULL, KAPPA_NO_TIME);
    assert_int_equal(json_int(answer, "epoch", -1), 0);
    json_decref(answer);
    serve(&world, 1, 1);
    assert_int_equal(reader_get(reader, "total", 0, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    assert_string_equal(fault.hint, "did you mean totals?");
    assert_int_equal(reader_get(reader, "totals", 9, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    assert_non_null(strstr(fault.text, "no version 9 of p"));
    assert_int_equal(reader_get(reader, "totals", 0, keys, 2, KAPPA_NO_TIME, &answer, &fault),
                     -KE_INVALID);
    assert_int_equal(reader_get(reader, "totals", 0, keys, 1, 5, &answer, &fault), -KE_INVALID);
    assert_non_null(strstr(fault.text, "no windows"));
    keys[0] = "nobody";
    assert_int_equal(reader_get(reader, "totals", 0, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    assert_non_null(strstr(fault.text, "nobody"));
    char long_key[1000];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    keys[0] = long_key;
    int rc = reader_get(reader, "totals", 0, keys, 1, KAPPA_NO_TIME, &answer, &fault);
    assert_true(rc == -KE_NOT_FOUND || rc == -KE_INVALID || rc == -KE_LIMIT);
    assert_int_equal(reader_get(reader, long_key, 0, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    /* Files gone, object still there; then made anew: the old ones are not read again. */
    drop_version(&world, 1, false);
    assert_int_equal(reader_get(reader, "totals", 1, keys, 1, KAPPA_NO_TIME, &answer, &fault),
                     -KE_NOT_FOUND);
    assert_non_null(strstr(fault.text, "no tables"));
    make_version(&world, 1, 20);
    answer = get(reader, "everything", 1, NULL, KAPPA_NO_TIME);
    assert_int_equal(json_int(row_of(answer), "c", -1), 20);
    json_decref(answer);
    reader_close(reader);
    world_close(&world);
}

static void test_reports(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("reports"));
    make_version(&world, 1, EVENTS);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    json_t *dead = NULL;
    assert_ok(reader_dead(reader, "p", 1, -1, &dead, &fault));
    assert_true(json_array_size(dead) >= 2);
    const json_t *bad = json_array_get(dead, 0);
    assert_string_equal(json_text(bad, "topic", ""), "events");
    assert_int_equal(json_int(bad, "partition", -1), 1);
    assert_string_equal(json_text(bad, "value", ""), "{\"u\":");
    assert_null(json_object_get(bad, "base64"));
    bad = json_array_get(dead, 1);
    assert_string_equal(json_text(bad, "value", ""), "eyJ1Ijoi//4ifQ==");
    assert_true(json_bool(bad, "base64", false));
    assert_true(strlen(json_text(bad, "reason", "")) > 0);
    json_decref(dead);
    assert_ok(reader_dead(reader, "p", 1, 1, &dead, &fault));
    assert_int_equal(json_array_size(dead), 1);
    json_decref(dead);
    assert_int_equal(reader_dead(reader, "q", 1, 1, &dead, &fault), -KE_NOT_FOUND);

    /* Two versions of the same events have the same digest; one event less has another. */
    make_version(&world, 2, EVENTS);
    make_version(&world, 3, EVENTS - 1);
    json_t *digests[3];
    for (uint32_t i = 0; i < 3; i++) {
        assert_ok(reader_version_digest(reader, "p", i + 1, &digests[i], &fault));
    }
    assert_true(json_equal(digests[0], digests[1]));
    assert_string_not_equal(json_text(digests[0], "digest", "0"),
                            json_text(digests[2], "digest", "0"));
    assert_int_equal(strlen(json_text(digests[0], "digest", "")), DIGEST_TEXT_LEN);
    assert_int_equal(json_array_size(json_object_get(digests[0], "sources")), PARTITIONS);
    assert_int_equal(json_object_size(json_object_get(digests[0], "tables")),
                     array_len(table_names));
    /* Sources and tables are two ways to add up the same. */
    struct digest by_source = {0, 0};
    struct digest by_table = {0, 0};
    struct digest one;
    size_t i;
    json_t *item;
    const char *name;
    json_array_foreach (json_object_get(digests[0], "sources"), i, item) {
        assert_true(digest_parse(json_text(item, "digest", ""), &one));
        digest_add(&by_source, one);
    }
    json_object_foreach (json_object_get(digests[0], "tables"), name, item) {
        assert_true(digest_parse(json_string_value(item), &one));
        digest_add(&by_table, one);
    }
    assert_true(digest_equal(by_source, by_table));
    for (i = 0; i < 3; i++) {
        json_decref(digests[i]);
    }
    reader_close(reader);
    world_close(&world);
}

/* ---- swaps and drops under load */

struct load {
    struct reader *reader;
    bool stop; /* atomic */
    uint64_t reads;
};

#define LOAD_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, err.text);            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Every version holds more events than the one before: a count must never go back. */
static void *read_under_load(void *ctx)
{
    struct load *load = ctx;
    struct err err = {0};
    int64_t epoch = 0;
    int64_t count = 0;
    while (!__atomic_load_n(&load->stop, __ATOMIC_ACQUIRE)) {
        json_t *answer = NULL;
        LOAD_CHECK(
            reader_get(load->reader, "everything", 0, NULL, 0, KAPPA_NO_TIME, &answer, &err) == 0);
        int64_t version = json_int(answer, "version", 0);
        int64_t now = json_int(row_of(answer), "c", 0);
        LOAD_CHECK(json_int(answer, "epoch", 0) >= epoch);
        LOAD_CHECK(now >= count);
        LOAD_CHECK(now == 100 + version);
        LOAD_CHECK(json_int(answer, "epoch", 0) == version * 3);
        epoch = json_int(answer, "epoch", 0);
        count = now;
        json_decref(answer);
        load->reads++;
    }
    return NULL;
}

static void test_swaps_under_load(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("load"));
    make_version(&world, 1, 101);
    serve(&world, 1, 3);
    struct load loads[4] = {{0}};
    pthread_t threads[4];
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    for (size_t i = 0; i < array_len(threads); i++) {
        loads[i].reader = reader;
        assert_int_equal(pthread_create(&threads[i], NULL, read_under_load, &loads[i]), 0);
    }
    for (uint32_t version = 2; version <= 30; version++) {
        make_version(&world, version, 100 + version);
        serve(&world, version, (uint64_t)version * 3);
        drop_version(&world, version - 1, version % 2 == 0);
    }
    uint64_t reads = 0;
    for (size_t i = 0; i < array_len(threads); i++) {
        __atomic_store_n(&loads[i].stop, true, __ATOMIC_RELEASE);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        reads += loads[i].reads;
    }
    print_message("%llu reads over 29 swaps\n", (unsigned long long)reads);
    reader_sweep(reader);
    /* Dropped versions are closed: this process maps one version's files. */
    char *command = xasprintf("test $(grep -c 'data.mdb (deleted)' /proc/%d/maps) -eq 0", getpid());
    assert_int_equal(system(command), 0);
    free(command);
    reader_close(reader);
    world_close(&world);
}

/* The moment that matters: after the first look, the next version is swapped in and both go on. The
 * old one then holds rows beyond the cut, which the new one may not have yet. */
struct moment {
    const struct world *world;
    int left; /* swaps still to make */
    uint32_t version;
};

static void swap_and_go_on(void *ctx)
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

static void test_second_look(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 3);
    make_version(&world, 1, 100);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    struct moment moment = {.world = &world, .version = 1};
    reader->between = swap_and_go_on;
    reader->between_ctx = &moment;
    for (int swaps = 0; swaps <= 6; swaps++) {
        moment.left = swaps; /* one per round: the read must outlast them all */
        json_t *answer = get(reader, "everything", 0, NULL, KAPPA_NO_TIME);
        assert_non_null(answer);
        assert_int_equal(json_int(row_of(answer), "c", 0), 100);
        assert_int_equal(json_int(answer, "epoch", 0), moment.version);
        assert_int_equal(json_int(answer, "version", 0), moment.version);
        json_decref(answer);
    }
    reader_close(reader);
    world_close(&world);
}

static void test_values(void **state)
{
    (void)state;
    const struct plan_output outputs[] = {
        {"b", KAPPA_TYPE_BOOLEAN, 0},     {"i", KAPPA_TYPE_BIGINT, 0}, {"d", KAPPA_TYPE_DOUBLE, 0},
        {"n", KAPPA_TYPE_DOUBLE, 0},      {"f", KAPPA_TYPE_DOUBLE, 0}, {"s", KAPPA_TYPE_TEXT, 0},
        {"t", KAPPA_TYPE_TIMESTAMPTZ, 0}, {"z", KAPPA_TYPE_TEXT, 0},
    };
    const struct plan_view view = {.outputs = outputs, .output_count = array_len(outputs)};
    const struct kappa_value values[] = {
        {.type = KAPPA_TYPE_BOOLEAN, .i = 1},
        {.type = KAPPA_TYPE_BIGINT, .i = INT64_MIN},
        {.type = KAPPA_TYPE_DOUBLE, .d = 0.1},
        {.type = KAPPA_TYPE_DOUBLE, .d = (double)NAN},
        {.type = KAPPA_TYPE_DOUBLE, .d = -(double)INFINITY},
        {.type = KAPPA_TYPE_TEXT, .s = {"a\0\xff", 3}},
        {.type = KAPPA_TYPE_TIMESTAMPTZ, .i = -1000},
        {.type = KAPPA_TYPE_TEXT, .is_null = true},
    };
    json_t *row = reader_row_json(&view, values);
    char *text = json_print(row);
    assert_string_equal(text, "{\"b\":true,\"i\":-9223372036854775808,\"d\":0.1,\"n\":\"NaN\","
                              "\"f\":\"-Infinity\",\"s\":\"a\\u0000\xef\xbf\xbd\","
                              "\"t\":\"1969-12-31T23:59:59.999Z\",\"z\":null}");
    free(text);
    json_decref(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_swaps_under_load),
        cmocka_unit_test(test_second_look),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
