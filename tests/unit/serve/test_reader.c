/* Goal: a read gives the rows that a recount of the events gives, from exactly one version, and no
 * swap or drop of versions ever makes a serving read fail or go back. Method: versions are made by
 * hand (processor and store, two shards, three partitions, users spread over all of them) beside a
 * hand-written catalog; answers are compared with counts over the events in memory; threads read
 * while versions are made, swapped in and deleted. KAPPA_SEED repeats a run. */
#include "base/timefmt.h"
#include "tests/unit/serve/reader_world.h"

#include <math.h>

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

/* Between the snapshots of the serving version and of its canary. */
static void end_canary(void *ctx)
{
    struct moment *moment = ctx;
    if (moment->left-- == 1) { /* the serving version's own look came before */
        serve(moment->world, 1, 1);
    }
}

/* A canary that ends while a row of its share is read: from then on it may stand anywhere. */
static void test_canary_second_look(void **state)
{
    (void)state;
    struct world world;
    char key[16];
    const struct catalog_canary all = {.version = 2, .share = CATALOG_SHARE_ALL};
    world_open(&world, 3);
    make_version(&world, 1, 100);
    make_version(&world, 2, 90);
    serve_with(&world, 1, 1, all);
    (void)snprintf(key, sizeof key, "u%u", world.events[0].user);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    for (int way = 0; way < 2; way++) {
        for (int ends = 0; ends < 2; ends++) {
            struct reader_read reading;
            struct moment moment = {.world = &world, .left = 2 * ends};
            serve_with(&world, 1, 1, all);
            reader->between = end_canary;
            reader->between_ctx = &moment;
            int64_t version = 0;
            if (way == 0) {
                json_t *answer = get(reader, "totals", 0, key, KAPPA_NO_TIME);
                version = json_int(answer, "version", 0);
                json_decref(answer);
            } else {
                assert_ok(reader_begin_for(reader, "totals", key, &reading, &fault));
                version = reading.version->number;
                reader_end(reader, &reading);
            }
            assert_int_equal(version, ends ? 1 : 2);
        }
    }
    reader_close(reader);
    world_close(&world);
}

static void test_values(void **state)
{
    (void)state;
    const struct plan_output outputs[] = {
        {.name = "b", .type = KAPPA_TYPE_BOOLEAN},     {.name = "i", .type = KAPPA_TYPE_BIGINT},
        {.name = "d", .type = KAPPA_TYPE_DOUBLE},      {.name = "n", .type = KAPPA_TYPE_DOUBLE},
        {.name = "f", .type = KAPPA_TYPE_DOUBLE},      {.name = "s", .type = KAPPA_TYPE_TEXT},
        {.name = "t", .type = KAPPA_TYPE_TIMESTAMPTZ}, {.name = "z", .type = KAPPA_TYPE_TEXT},
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
        cmocka_unit_test(test_canary_second_look),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
