/* Goal: a reader in another process sees whole commits only, while the writer grows the map under
 * it; merged scans over shards and sources are in order; the last window of a source is that of the
 * snapshot's commit. Method: every commit of the writer leaves all rows and the source's state with
 * the commit's number; children loop over snapshots and check that all numbers are one, never go
 * back, and that the digest is the rehash. */
#include "base/prng.h"
#include "table/env.h"
#include "table/view.h"
#include "tests/unit/table/temp.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define ROWS_STEP 40 /* rows added per commit */
#define COMMITS   250

static const struct kappa_table_shape one_table[] = {
    {.name = "counts"},
};

#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "child: line %d: %s: %s\n", __LINE__, #condition, fault.text);   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* One snapshot: returns the number of its commit. */
static int64_t read_once(struct view *view, int64_t last)
{
    struct view_snapshot *snapshot = NULL;
    struct view_cursor *cursor = NULL;
    struct store_source state;
    CHILD_CHECK(view_snapshot_begin(view, &snapshot, &fault) == 0);
    (void)view_source(snapshot, 0, &state);
    int64_t number = state.state.next_offset;
    CHILD_CHECK(number >= last);
    CHILD_CHECK(view_cursor_open(snapshot, 0, (struct view_sources){0, 1}, &cursor, &fault) == 0);
    struct digest sum = {0};
    int64_t rows = 0;
    uint32_t source;
    const uint8_t *key;
    const uint8_t *value;
    size_t key_len;
    size_t value_len;
    int rc;
    while ((rc = view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, &fault)) ==
           1) {
        uint8_t whole[16] = {0};
        CHILD_CHECK(key_len == 8);
        CHILD_CHECK(value_len >= 8);
        CHILD_CHECK((int64_t)load_u64_le(value) == number);
        memcpy(whole + 2, key, key_len);
        digest_add(&sum, digest_row(0, whole, key_len + 2, value, value_len));
        rows++;
    }
    CHILD_CHECK(rc == 0);
    CHILD_CHECK(rows == number * ROWS_STEP);
    CHILD_CHECK(digest_equal(sum, state.digests[0]));
    view_cursor_close(cursor);
    view_snapshot_end(snapshot);
    return number;
}

static _Noreturn void child_read(const char *dir)
{
    char *path = xasprintf("%s/0", dir);
    int64_t last = 0;
    uint64_t rounds = 0;
    while (last < COMMITS) {
        struct view *view = NULL;
        struct env *env = NULL;
        struct err *err = &fault;
        /* A map that is small at first has to be followed as the writer's grows. */
        if (rounds % 2 == 0 && env_open(path, false, ENV_MAP_MIN, &env, err) != 0) {
            CHILD_CHECK(err->code == -KE_NOT_FOUND);
            continue;
        }
        int rc = view_open(dir, 1, one_table, 1, &view, err);
        CHILD_CHECK(rc == 0 || rc == -KE_NOT_FOUND);
        for (int i = 0; i < 20 && rc == 0 && last < COMMITS; i++) {
            last = read_once(view, last);
        }
        view_close(view);
        env_close(env);
        rounds++;
    }
    free(path);
    _exit(0);
}

static void write_commit(struct store *store, int64_t number)
{
    const struct kappa_change_sink *sink = store_sink(store);
    struct kappa_source_state state = {.next_offset = number};
    uint8_t value[400] = {0};
    store_u64_le(value, (uint64_t)number);
    int rc;
    do {
        rc = store_begin(store, &fault);
        for (int64_t i = 0; i < number * ROWS_STEP && rc == 0; i++) {
            uint8_t key[10] = {0};
            store_i64_sortable(key + 2, i);
            rc = sink->put(sink->ctx, 0, key, sizeof key, value, 8 + (size_t)(i % 300),
                           i >= (number - 1) * ROWS_STEP, &fault);
        }
        if (rc == 0) {
            rc = store_source_put(store, 0, &state, &fault);
        }
        if (rc == 0) {
            rc = store_commit(store, &fault);
        }
    } while (rc == -KE_AGAIN);
    assert_ok(rc);
}

static void test_readers_in_processes(void **state)
{
    (void)state;
    char *dir = temp_dir();
    pid_t children[3];
    for (size_t i = 0; i < array_len(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            child_read(dir);
        }
    }
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {
        .dir = path, .tables = one_table, .table_count = 1, .building = true, .map_bytes = 1};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    for (int64_t number = 1; number <= COMMITS; number++) {
        write_commit(store, number);
    }
    for (size_t i = 0; i < array_len(children); i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    store_close(store);
    free(path);
    remove_dir(dir);
}

/* ---- several shards */

enum { SHARDS = 3, SOURCES = 7, KEYS = 50 };

/* Is key k in source s? The reader asks again. */
static bool is_in(uint64_t key, uint32_t source)
{
    return (hash_bytes(&key, sizeof key) >> source) & 1;
}

static void fill_shard(const char *dir, uint32_t shard)
{
    char *path = xasprintf("%s/%u", dir, shard);
    struct store_options options = {
        .dir = path, .tables = one_table, .table_count = 1, .building = true};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    const struct kappa_change_sink *sink = store_sink(store);
    assert_ok(store_begin(store, &fault));
    for (uint32_t source = shard; source < SOURCES; source += SHARDS) {
        for (uint64_t key = 0; key < KEYS; key++) {
            uint8_t bytes[10];
            store_u16_be(bytes, (uint16_t)source);
            store_i64_sortable(bytes + 2, (int64_t)key);
            if (is_in(key, source)) {
                assert_ok(sink->put(sink->ctx, 0, bytes, sizeof bytes, bytes, 2, true, &fault));
            }
        }
        struct kappa_source_state cut = {.next_offset = (int64_t)source * 10};
        assert_ok(store_source_put(store, source, &cut, &fault));
    }
    assert_ok(store_commit(store, &fault));
    store_close(store);
    free(path);
}

static void check_order(struct view_snapshot *snapshot)
{
    struct view_cursor *cursor = NULL;
    uint32_t source;
    const uint8_t *key;
    const uint8_t *value;
    size_t key_len;
    size_t value_len;
    assert_ok(view_cursor_open(snapshot, 0, (struct view_sources){0, SOURCES}, &cursor, &fault));
    for (uint64_t number = 0; number < KEYS; number++) {
        for (uint32_t expected = 0; expected < SOURCES; expected++) {
            if (is_in(number, expected)) {
                int rc =
                    view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, &fault);
                assert_int_equal(rc, 1);
                assert_int_equal(source, expected);
                assert_int_equal(load_i64_sortable(key), number);
                assert_int_equal(load_u16_be(value), expected);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        int rc = view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, &fault);
        assert_int_equal(rc, 0);
    }
    view_cursor_close(cursor);
}

static void test_shards(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct view *view = NULL;
    struct view_snapshot *snapshot = NULL;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        assert_int_equal(view_open(dir, SHARDS, one_table, 1, &view, &fault), -KE_NOT_FOUND);
        fill_shard(dir, shard);
    }
    assert_ok(view_open(dir, SHARDS, one_table, 1, &view, &fault));
    assert_ok(view_snapshot_begin(view, &snapshot, &fault));
    check_order(snapshot);
    for (uint32_t i = 0; i < SOURCES; i++) {
        struct store_source found;
        assert_true(view_source(snapshot, i, &found));
        assert_int_equal(found.state.next_offset, i * 10);
    }
    struct store_source none;
    assert_false(view_source(snapshot, SOURCES + 1, &none));
    assert_int_equal(none.state.event_time_max, KAPPA_NO_TIME);
    view_snapshot_end(snapshot);
    view_close(view);
    remove_dir(dir);
}

/* ---- the last window of a source */

enum { LAST_SOURCES = 4, WINDOWS = 12 };

/* Which windows (ends 1 to WINDOWS) a source has rows in. */
struct windows {
    bool there[LAST_SOURCES][WINDOWS + 1];
};

static const struct kappa_table_shape window_table[] = {
    {.name = "windows", .windowed = true},
};

/* Some windows of each source but the first expire, and some others come. */
static void change_windows(struct store *store, struct prng *prng, struct windows *windows)
{
    const struct kappa_change_sink *sink = store_sink(store);
    assert_ok(store_begin(store, &fault));
    for (uint32_t source = 1; source < LAST_SOURCES; source++) {
        int64_t expired = (int64_t)prng_below(prng, 2 * WINDOWS) - WINDOWS;
        assert_ok(sink->expire(sink->ctx, 0, source, expired, &fault));
        for (int64_t end = 1; end <= expired; end++) {
            windows->there[source][end] = false;
        }
        for (int64_t end = 1; end <= WINDOWS; end++) {
            uint8_t key[12];
            store_u16_be(key, (uint16_t)source);
            store_i64_sortable(key + 2, end);
            store_u16_be(key + 10, (uint16_t)end);
            if (end > expired && prng_below(prng, 8) == 0) {
                bool new = !windows->there[source][end];
                windows->there[source][end] = true;
                assert_ok(sink->put(sink->ctx, 0, key, sizeof key, key, 2, new, &fault));
            }
        }
    }
    assert_ok(store_commit(store, &fault));
}

static void check_last(struct view_snapshot *snapshot, const struct windows *windows)
{
    for (int again = 0; again < 2; again++) {
        for (uint32_t source = 0; source < LAST_SOURCES; source++) {
            int64_t expected = INT64_MIN;
            int64_t found = 0;
            for (int64_t end = 1; end <= WINDOWS; end++) {
                expected = windows->there[source][end] ? end : expected;
            }
            assert_ok(view_last_window(snapshot, 0, source, &found, &fault));
            assert_int_equal(found, expected);
        }
    }
}

/* Each snapshot has that of its own commit, whichever was asked before. */
static void test_last_window(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("last window"));
    char *dir = temp_dir();
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {
        .dir = path, .tables = window_table, .table_count = 1, .building = true};
    struct store *store = NULL;
    struct view *view = NULL;
    struct windows now = {{{false}}};
    assert_ok(store_open(&options, &store, &fault));
    change_windows(store, &prng, &now);
    assert_ok(view_open(dir, 1, window_table, 1, &view, &fault));
    for (int commit = 0; commit < 100; commit++) {
        struct windows before = now;
        struct view_snapshot *snapshots[2];
        assert_ok(view_snapshot_begin(view, &snapshots[0], &fault));
        change_windows(store, &prng, &now);
        assert_ok(view_snapshot_begin(view, &snapshots[1], &fault));
        for (int i = 0; i < 3; i++) {
            uint64_t which = prng_below(&prng, 2);
            check_last(snapshots[which], which == 0 ? &before : &now);
        }
        view_snapshot_end(snapshots[0]);
        view_snapshot_end(snapshots[1]);
    }
    view_close(view);
    store_close(store);
    free(path);
    remove_dir(dir);
}

/* A snapshot stands still while the writer goes on, also when the version's files are removed. */
static void test_snapshot_stands(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {
        .dir = path, .tables = one_table, .table_count = 1, .building = true};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    write_commit(store, 1);
    struct view *view = NULL;
    struct view_snapshot *old = NULL;
    assert_ok(view_open(dir, 1, one_table, 1, &view, &fault));
    assert_ok(view_snapshot_begin(view, &old, &fault));
    write_commit(store, 2);
    write_commit(store, 3);
    assert_int_equal(read_once(view, 0), 3);
    struct store_source found;
    assert_true(view_source(old, 0, &found));
    assert_int_equal(found.state.next_offset, 1);
    store_close(store);
    free(path);
    remove_dir(dir);
    uint8_t key[8];
    const uint8_t *value = NULL;
    size_t len = 0;
    store_i64_sortable(key, 5);
    assert_int_equal(view_get(old, 0, 0, key, sizeof key, &value, &len, &fault), 1);
    assert_int_equal(load_u64_le(value), 1);
    view_snapshot_end(old);
    assert_int_equal(read_once(view, 0), 3);
    view_close(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_in_processes),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_last_window),
        cmocka_unit_test(test_snapshot_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
