/* Goal: what takes windows over holds the rows that end before its limit and no others, with digests,
 * leaves and indexes as if they had been written so; the dead and late records below where it goes on; and
 * it goes on at the last place that the index knows where all event times were below the limit. Method:
 * random commits of one table, against arrays; more rows than a batch takes. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "table/copy.h"
#include "table/delta.h"
#include "table/store.h"
#include "table/view.h"
#include "tests/unit/table/temp.h"

#include <stdio.h>
#include <string.h>

#define SOURCES     3
#define COMMITS     60
#define PER_COMMIT  500
#define WINDOW      100
#define TIMES_EVERY 4096 /* as in store_times.c */

static const struct kappa_table_shape shape = {.name = "w", .windowed = true, .leaves = true};

struct entry { /* what the index holds */
    struct kappa_source_state state;
};

struct world {
    struct kappa_source_state now[SOURCES];
    struct entry entries[SOURCES][COMMITS + 1];
    int entry_count[SOURCES];
    int64_t dead[SOURCES][COMMITS];
    int dead_count[SOURCES];
};

static struct store *open_at(const char *dir, const char *name, uint32_t outputs)
{
    struct store *store = NULL;
    char *path = xasprintf("%s/%s", dir, name);
    const struct store_options options = {.dir = path,
                                          .tables = &shape,
                                          .table_count = 1,
                                          .output_count = outputs,
                                          .building = true,
                                          .map_bytes = 1,
                                          .leaf_bits = 3};
    assert_ok(store_open(&options, &store, &fault));
    free(path);
    return store;
}

static size_t key_of(uint8_t *key, uint32_t source, int64_t end, uint64_t user)
{
    store_u16_be(key, (uint16_t)source);
    store_i64_sortable(key + 2, end);
    return 10 + (size_t)snprintf((char *)key + 10, 20, "u%06llu", (unsigned long long)user);
}

static int flush(const struct world *world, struct store *store, struct prng prng, int round)
{
    const struct kappa_change_sink *sink = store_sink(store);
    int rc = store_begin(store, &fault);
    for (int i = 0; i < PER_COMMIT * SOURCES && rc == 0; i++) {
        uint8_t key[40];
        uint8_t value[24] = {0};
        uint32_t source = (uint32_t)prng_below(&prng, SOURCES);
        int64_t end = (round + 1 - (int64_t)prng_below(&prng, 4)) * WINDOW;
        store_u64_le(value, prng_next(&prng));
        size_t len = key_of(key, source, end, prng_below(&prng, 3000));
        rc = sink->put(sink->ctx, 0, key, len, value, sizeof value, false, &fault);
    }
    for (uint32_t s = 0; s < SOURCES && rc == 0; s++) {
        rc = store_source_put(store, s, &world->now[s], &fault);
        if (rc == 0 && world->dead_count[s] > 0) {
            int64_t offset = world->dead[s][world->dead_count[s] - 1];
            rc = sink->dead(sink->ctx, s, offset, 0, "bad", NULL, KAPPA_NULL_LEN, &fault);
            rc = rc != 0
                     ? rc
                     : sink->late(sink->ctx, s, offset, 0, "late", (const uint8_t *)"x", 1, &fault);
        }
    }
    return rc == 0 ? store_commit(store, &fault) : rc;
}

static void commit(struct world *world, struct store *store, struct prng *prng, int round)
{
    for (uint32_t s = 0; s < SOURCES; s++) {
        struct kappa_source_state *state = &world->now[s];
        int64_t from = state->next_offset;
        state->next_offset += 1 + (int64_t)prng_below(prng, 3000);
        state->event_time_max = (round + 1) * WINDOW - 1 - (int64_t)prng_below(prng, 50);
        state->records += 7;
        if (prng_below(prng, 3) == 0) {
            world->dead[s][world->dead_count[s]++] = from;
        }
        int count = world->entry_count[s];
        int64_t last = count == 0 ? -1 : world->entries[s][count - 1].state.next_offset;
        if (last < 0 || state->next_offset - last >= TIMES_EVERY) {
            world->entries[s][world->entry_count[s]++].state = *state;
        }
    }
    struct prng rows = *prng; /* the same ones when the map has grown */
    int rc;
    do {
        rc = flush(world, store, rows, round);
    } while (rc == -KE_AGAIN);
    assert_ok(rc);
    (void)prng_next(prng);
}

/* Rows of the first are those of the second that end before the limit; their digests. */
static void check_rows(struct view_snapshot *got, struct view_snapshot *all, int64_t limit)
{
    struct view_cursor *a = NULL;
    struct view_cursor *b = NULL;
    struct digest sums[SOURCES] = {{0}};
    uint32_t source[2];
    const uint8_t *key[2];
    const uint8_t *value[2];
    size_t key_len[2];
    size_t value_len[2];
    uint64_t rows = 0;
    const struct view_sources every = {0, SOURCES};
    assert_ok(view_cursor_open(got, 0, every, &a, &fault));
    assert_ok(view_cursor_open(all, 0, every, &b, &fault));
    while (view_cursor_next(b, &source[1], &key[1], &key_len[1], &value[1], &value_len[1], NULL) ==
           1) {
        if (load_i64_sortable(key[1]) >= limit) {
            continue;
        }
        uint8_t whole[64];
        int rc =
            view_cursor_next(a, &source[0], &key[0], &key_len[0], &value[0], &value_len[0], &fault);
        assert_int_equal(rc, 1);
        assert_int_equal(source[0], source[1]);
        assert_int_equal(key_len[0], key_len[1]);
        assert_memory_equal(key[0], key[1], key_len[0]);
        assert_int_equal(value_len[0], value_len[1]);
        assert_memory_equal(value[0], value[1], value_len[0]);
        store_u16_be(whole, (uint16_t)source[0]);
        memcpy(whole + 2, key[0], key_len[0]);
        digest_add(&sums[source[0]], digest_row(0, whole, key_len[0] + 2, value[0], value_len[0]));
        int64_t newest = 0;
        assert_int_equal(
            view_newest(got, 0, source[0], key[0] + 8, key_len[0] - 8, &newest, &fault), 1);
        assert_true(newest >= load_i64_sortable(key[0]) && newest < limit);
        rows++;
    }
    assert_int_equal(
        view_cursor_next(a, &source[0], &key[0], &key_len[0], &value[0], &value_len[0], NULL), 0);
    assert_int_equal(view_entries(got, 0), rows);
    for (uint32_t s = 0; s < SOURCES; s++) {
        struct store_source kept;
        assert_true(view_source(got, s, &kept));
        assert_true(digest_equal(kept.digests[0], sums[s]));
        assert_true(digest_equal(kept.digests[1], (struct digest){0}));
    }
    view_cursor_close(a);
    view_cursor_close(b);
}

struct kept {
    int counts[SOURCES];
    const struct world *world;
};

static bool count_kept(void *ctx, const struct view_dead *dead)
{
    struct kept *kept = ctx;
    assert_int_equal(dead->offset, kept->world->dead[dead->source][kept->counts[dead->source]]);
    kept->counts[dead->source]++;
    return true;
}

static void check_places(const struct world *world, struct view_snapshot *got, struct store *store,
                         int64_t since)
{
    struct kept dead = {.world = world};
    struct kept late = {.world = world};
    assert_ok(view_dead_each(got, VIEW_DEAD, SOURCES, count_kept, &dead, &fault));
    assert_ok(view_dead_each(got, VIEW_LATE, SOURCES, count_kept, &late, &fault));
    for (uint32_t s = 0; s < SOURCES; s++) {
        struct store_source kept;
        int64_t below = 0;
        struct kappa_source_state place = {
            .next_offset = 0, .event_time_max = KAPPA_NO_TIME, .record_time_max = KAPPA_NO_TIME};
        for (int i = 0; i < world->entry_count[s]; i++) {
            const struct kappa_source_state *state = &world->entries[s][i].state;
            place = state->event_time_max < since ? *state : place;
        }
        int expected = 0;
        for (int i = 0; i < world->dead_count[s]; i++) {
            expected += world->dead[s][i] < place.next_offset;
        }
        assert_true(store_source_get(store, s, &kept));
        assert_memory_equal(&kept.state, &place, sizeof place);
        assert_true(store_taken(store, s, &below));
        assert_int_equal(below, world->now[s].next_offset);
        assert_int_equal(dead.counts[s], expected);
        assert_int_equal(late.counts[s], expected);
    }
}

static void check_taken(const struct world *world, const char *dir, int64_t first, int64_t since)
{
    static const uint32_t sources[SOURCES] = {0, 1, 2};
    static const int64_t starts[SOURCES] = {0};
    char *other = temp_dir();
    char *from = xasprintf("%s/0", dir);
    char *to = xasprintf("%s/0", other);
    const struct store_take take = {.from = from,
                                    .dir = to,
                                    .tables = &shape,
                                    .table_count = 1,
                                    .output_count = 1,
                                    .first_ends = &first,
                                    .since = since,
                                    .sources = sources,
                                    .starts = starts,
                                    .source_count = SOURCES};
    assert_ok(store_take(&take, &fault));
    assert_ok(store_take(&take, &fault)); /* it is there */
    struct store *store = open_at(other, "0", 1);
    struct view *got = NULL;
    struct view *all = NULL;
    struct view_snapshot *x = NULL;
    struct view_snapshot *y = NULL;
    assert_ok(view_open(other, 1, &shape, 1, &got, &fault));
    assert_ok(view_open(dir, 1, &shape, 1, &all, &fault));
    assert_ok(view_snapshot_begin(got, &x, &fault));
    assert_ok(view_snapshot_begin(all, &y, &fault));
    check_rows(x, y, first);
    check_places(world, x, store, since);
    view_snapshot_end(x);
    view_snapshot_end(y);
    view_close(got);
    view_close(all);
    assert_false(store_sealed(store));
    store_close(store);
    free(from);
    free(to);
    remove_dir(other);
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    static struct world world;
    prng_init(&prng, unit_seed("take"));
    char *dir = temp_dir();
    struct store *store = open_at(dir, "0", 0);
    for (uint32_t s = 0; s < SOURCES; s++) {
        world.now[s].record_time_max = KAPPA_NO_TIME;
    }
    for (int round = 0; round < COMMITS; round++) {
        commit(&world, store, &prng, round);
        if (round == COMMITS / 2) { /* the index goes on where it was */
            store_close(store);
            store = open_at(dir, "0", 0);
        }
    }
    for (int i = 0; i < 6; i++) {
        int64_t start = (int64_t)prng_below(&prng, COMMITS + 1) * WINDOW;
        check_taken(&world, dir, start + WINDOW, start);
    }
    check_taken(&world, dir, INT64_MIN, INT64_MIN);                       /* nothing */
    check_taken(&world, dir, INT64_C(69) * WINDOW, INT64_C(60) * WINDOW); /* everything */
    store_close(store);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
