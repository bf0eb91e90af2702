/* Goal: a delta of two versions names exactly the keys whose stored bytes differ, whatever the two went
 * through to get their rows, however many shards each has, with leaves and without; and with leaves it
 * reads about what differs. Method: a random set of rows, and one with a few changes, are brought into
 * two versions by different batches, with rows that come and go in between; all pairs of rows are
 * compared. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "table/delta.h"
#include "table/env.h"
#include "tests/unit/table/temp.h"

#include <string.h>

#define SOURCES   3
#define USERS     600
#define ROWS      (SOURCES * USERS)
#define TABLE     1 /* the one in front of it has one row a source, without a key */
#define KEY_LEN   6
#define VALUE_LEN 4

static const struct kappa_table_shape with_leaves[] = {{.name = "one", .leaves = true},
                                                       {.name = "users", .leaves = true}};
static const struct kappa_table_shape without_leaves[] = {{.name = "one"}, {.name = "users"}};

/* Values by (source, user); 0: no row. */
struct content {
    uint32_t one[SOURCES];
    uint32_t rows[ROWS];
};

struct version {
    char *dir;
    uint32_t shards;
    const struct kappa_table_shape *shapes;
    struct store *stores[4];
    struct content now;
    struct view *view;
    struct view_snapshot *snapshot;
};

static void key_of(uint32_t row, uint8_t *key)
{
    store_u16_be(key, (uint16_t)(row / USERS));
    store_u32_be(key + 2, row % USERS * 7);
}

/* One commit that brings some rows to what they are in `to`, or (wild) to anything. */
static void commit_some(struct version *version, const struct content *to, struct prng *prng,
                        uint64_t one_of, bool wild)
{
    uint32_t puts[ROWS] = {0};
    for (uint32_t i = 0; i < version->shards; i++) {
        assert_ok(store_begin(version->stores[i], &fault));
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        puts[row] = UINT32_MAX;
        if (prng_below(prng, one_of) != 0) {
            continue;
        }
        uint8_t key[KEY_LEN];
        struct store *store = version->stores[row / USERS % version->shards];
        const struct kappa_change_sink *sink = store_sink(store);
        uint32_t value = !wild ? to->rows[row] : (uint32_t)prng_below(prng, 3);
        key_of(row, key);
        if (value == 0) {
            assert_ok(sink->del(sink->ctx, TABLE, key, KEY_LEN, &fault));
            version->now.rows[row] = 0;
        } else {
            puts[row] = value;
        }
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        if (puts[row] != UINT32_MAX) {
            uint8_t key[KEY_LEN];
            uint8_t value[VALUE_LEN];
            const struct kappa_change_sink *sink =
                store_sink(version->stores[row / USERS % version->shards]);
            key_of(row, key);
            store_u32_le(value, puts[row]);
            assert_ok(sink->put(sink->ctx, TABLE, key, KEY_LEN, value, VALUE_LEN,
                                version->now.rows[row] == 0, &fault));
            version->now.rows[row] = puts[row];
        }
    }
    for (uint32_t source = 0; source < SOURCES; source++) {
        uint8_t key[KAPPA_KEY_SOURCE_BYTES];
        uint8_t value[VALUE_LEN];
        const struct kappa_change_sink *sink =
            store_sink(version->stores[source % version->shards]);
        store_u16_be(key, (uint16_t)source);
        store_u32_le(value, to->one[source]);
        assert_ok(sink->put(sink->ctx, 0, key, sizeof key, value, VALUE_LEN, false, &fault));
    }
    for (uint32_t i = 0; i < version->shards; i++) {
        assert_ok(store_commit(version->stores[i], &fault));
    }
}

static void stores_open(struct version *version, uint32_t leaf_bits)
{
    for (uint32_t i = 0; i < version->shards; i++) {
        char *path = xasprintf("%s/%u", version->dir, i);
        struct store_options options = {.dir = path,
                                        .tables = version->shapes,
                                        .table_count = 2,
                                        .building = true,
                                        .leaf_bits = leaf_bits};
        assert_ok(store_open(&options, &version->stores[i], &fault));
        free(path);
    }
}

static void stores_close(struct version *version)
{
    for (uint32_t i = 0; i < version->shards; i++) {
        store_close(version->stores[i]);
    }
}

static void view_begin(struct version *version)
{
    assert_ok(view_open(version->dir, version->shards, version->shapes, 2, &version->view, &fault));
    assert_ok(view_snapshot_begin(version->view, &version->snapshot, &fault));
}

static void version_make(struct version *version, const struct content *to, struct prng *prng,
                         uint32_t leaf_bits)
{
    version->dir = temp_dir();
    stores_open(version, leaf_bits);
    uint64_t rounds = prng_below(prng, 4);
    for (uint64_t i = 0; i < rounds; i++) {
        commit_some(version, to, prng, 1 + prng_below(prng, 5), true);
        commit_some(version, to, prng, 1 + prng_below(prng, 5), false);
    }
    commit_some(version, to, prng, 1, false);
    assert_memory_equal(version->now.rows, to->rows, sizeof to->rows);
    stores_close(version);
    view_begin(version);
}

static void version_free(struct version *version)
{
    view_snapshot_end(version->snapshot);
    view_close(version->view);
    remove_dir(version->dir);
}

static bool user_differs(const struct content *a, const struct content *b, uint32_t user)
{
    bool differs = false;
    for (uint32_t source = 0; source < SOURCES; source++) {
        differs |= a->rows[source * USERS + user] != b->rows[source * USERS + user];
    }
    return differs;
}

static uint64_t check_count(const struct content *content, const struct view_delta *delta, int side)
{
    struct view_delta_count count;
    uint64_t rows = 0;
    uint64_t most = 0;
    uint32_t sources = 0;
    for (uint32_t source = 0; source < SOURCES; source++) {
        uint64_t of_source = 0;
        for (uint32_t user = 0; user < USERS; user++) {
            of_source += content->rows[source * USERS + user] != 0;
        }
        rows += of_source;
        most = of_source > most ? of_source : most;
        sources += of_source > 0;
    }
    view_delta_counts(delta, side, &count);
    assert_int_equal(count.rows, rows);
    assert_int_equal(count.most, most);
    assert_int_equal(count.sources, sources);
    return rows;
}

/* Returns the rows that were read. */
static uint64_t check_delta(const struct version *a, const struct version *b, uint64_t *all)
{
    const struct view_delta_side of_a = {a->snapshot, TABLE};
    const struct view_delta_side of_b = {b->snapshot, TABLE};
    const bool stop = false;
    struct view_delta *delta = NULL;
    const uint8_t *key = NULL;
    size_t len = 0;
    assert_ok(view_delta_open(&of_a, &of_b, SOURCES, &stop, &delta, &fault));
    for (uint32_t user = 0; user < USERS; user++) {
        if (user_differs(&a->now, &b->now, user)) {
            assert_int_equal(view_delta_next(delta, &key, &len, &fault), 1);
            assert_int_equal(len, 4);
            assert_int_equal(load_u32_be(key), user * 7);
        }
    }
    assert_int_equal(view_delta_next(delta, &key, &len, &fault), 0);
    assert_int_equal(view_delta_next(delta, &key, &len, &fault), 0);
    *all = check_count(&a->now, delta, 0) + check_count(&b->now, delta, 1);
    uint64_t read = view_delta_read(delta);
    view_delta_close(delta);
    return read;
}

static void content_make(struct prng *prng, struct content *content)
{
    uint64_t holes = 1 + prng_below(prng, 4);
    for (uint32_t row = 0; row < ROWS; row++) {
        content->rows[row] =
            prng_below(prng, holes) != 0 ? 0 : 1 + (uint32_t)prng_below(prng, 1000);
    }
    if (prng_below(prng, 4) == 0) { /* an empty source */
        memset(&content->rows[prng_below(prng, SOURCES) * USERS], 0, USERS * sizeof(uint32_t));
    }
}

static void test_random_pairs(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("delta"));
    for (int round = 0; round < 30; round++) {
        struct content a;
        memset(&a, 0, sizeof a);
        content_make(&prng, &a);
        struct content b = a;
        uint64_t changes = round % 3 == 0 ? 0 : prng_below(&prng, round % 3 == 1 ? 6 : 800);
        for (uint64_t i = 0; i < changes; i++) {
            b.rows[prng_below(&prng, ROWS)] = (uint32_t)prng_below(&prng, 3);
        }
        bool leaves = round % 5 != 4;
        struct version versions[2] = {
            {.shards = 1 + (uint32_t)prng_below(&prng, 3), .shapes = with_leaves},
            {.shards = 1 + (uint32_t)prng_below(&prng, 3),
             .shapes = leaves ? with_leaves : without_leaves}};
        uint32_t bits = 2 + (uint32_t)prng_below(&prng, 3);
        version_make(&versions[0], &a, &prng, bits);
        version_make(&versions[1], &b, &prng, round % 7 == 6 ? bits + 1 : bits);
        uint64_t all = 0;
        uint64_t read = check_delta(&versions[0], &versions[1], &all);
        (void)check_delta(&versions[1], &versions[0], &all);
        print_message("round %d: %llu changes, %llu of %llu rows read\n", round,
                      (unsigned long long)changes, (unsigned long long)read,
                      (unsigned long long)all);
        if (!leaves) {
            assert_int_equal(read, all);
        } else if (round % 7 != 6) {
            /* A leaf has 2^bits rows on average; some are five times as large. */
            assert_true(read <= changes * (UINT64_C(1) << bits) * 2 * 10);
        }
        version_free(&versions[0]);
        version_free(&versions[1]);
    }
}

/* Tables of one row a source, whose key is the source alone. */
static void test_no_key(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("no_key"));
    struct content a;
    memset(&a, 0, sizeof a);
    struct content b = a;
    for (int same = 0; same < 2; same++) {
        b.one[1] = a.one[1] + 1 - (uint32_t)same;
        struct version versions[2] = {{.shards = 1, .shapes = with_leaves},
                                      {.shards = 2, .shapes = with_leaves}};
        version_make(&versions[0], &a, &prng, 2);
        version_make(&versions[1], &b, &prng, 2);
        const struct view_delta_side of_a = {versions[0].snapshot, 0};
        const struct view_delta_side of_b = {versions[1].snapshot, 0};
        const bool stop = false;
        struct view_delta *delta = NULL;
        const uint8_t *key = NULL;
        size_t len = 1;
        assert_ok(view_delta_open(&of_a, &of_b, SOURCES, &stop, &delta, &fault));
        assert_int_equal(view_delta_next(delta, &key, &len, &fault), same ? 0 : 1);
        assert_int_equal(len, same);
        assert_int_equal(view_delta_next(delta, &key, &len, &fault), 0);
        view_delta_close(delta);
        version_free(&versions[0]);
        version_free(&versions[1]);
    }
}

/* Makes it one of this format; of an old one, how large leaves are is not said. */
static void set_format(const struct version *version, uint32_t number)
{
    for (uint32_t i = 0; i < version->shards; i++) {
        char *path = xasprintf("%s/%u", version->dir, i);
        struct env *env = NULL;
        MDB_txn *txn = NULL;
        MDB_dbi meta;
        uint8_t bytes[4];
        MDB_val value = {sizeof bytes, bytes};
        char name[] = "format";
        char bits[] = "leaves";
        MDB_val format = {6, name};
        MDB_val leaves = {6, bits};
        store_u32_le(bytes, number);
        assert_ok(env_open(path, true, 0, &env, &fault));
        assert_ok(env_write_begin(env, &txn, &fault));
        assert_int_equal(mdb_dbi_open(txn, "meta", 0, &meta), 0);
        assert_int_equal(mdb_put(txn, meta, &format, &value, 0), 0);
        int rc = mdb_del(txn, meta, &leaves, NULL);
        assert_true(rc == 0 || rc == MDB_NOTFOUND);
        assert_ok(env_write_commit(env, txn, "cannot set the format", &fault));
        env_close(env);
        free(path);
    }
}

/* A version that was made before there were leaves is written and compared as before: it gets none. */
static void test_old_format(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("old_format"));
    struct content a;
    memset(&a, 0, sizeof a);
    content_make(&prng, &a);
    struct content b = a;
    for (int i = 0; i < 20; i++) {
        b.rows[prng_below(&prng, ROWS)] = (uint32_t)prng_below(&prng, 3);
    }
    struct version old = {.shards = 2, .shapes = without_leaves};
    struct version new = {.shards = 1, .shapes = with_leaves};
    version_make(&new, &b, &prng, 2);
    version_make(&old, &a, &prng, 2);
    view_snapshot_end(old.snapshot);
    view_close(old.view);
    set_format(&old, 2);
    old.shapes = with_leaves;
    stores_open(&old, 3);
    commit_some(&old, &a, &prng, 2, true);
    commit_some(&old, &a, &prng, 1, false);
    stores_close(&old);
    view_begin(&old);
    uint64_t all = 0;
    uint64_t read = check_delta(&old, &new, &all);
    assert_int_equal(read, all);
    read = check_delta(&new, &old, &all);
    assert_int_equal(read, all);
    view_snapshot_end(old.snapshot);
    view_close(old.view);
    set_format(&old, 4);
    assert_int_equal(view_open(old.dir, old.shards, old.shapes, 2, &old.view, &fault), -KE_REFUSED);
    assert_non_null(strstr(fault.text, "has format 4"));
    remove_dir(old.dir);
    version_free(&new);
}

static void test_stop(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("stop"));
    struct content a;
    memset(&a, 0, sizeof a);
    content_make(&prng, &a);
    struct version version = {.shards = 1, .shapes = with_leaves};
    version_make(&version, &a, &prng, 2);
    const struct view_delta_side side = {version.snapshot, TABLE};
    const bool stop = true;
    struct view_delta *delta = NULL;
    assert_int_equal(view_delta_open(&side, &side, SOURCES, &stop, &delta, &fault), -KE_CLOSED);
    version_free(&version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_pairs),
        cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_old_format),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
