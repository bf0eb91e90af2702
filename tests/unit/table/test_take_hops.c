/* Goal: of a table of hop windows, what takes windows over has in each window that ends before the limit
 * what the other one had in it, and nothing in any later one. Method: rows of random panes and parts under
 * windows of several shapes, also such as are no whole number of slides; the value of a row is a number,
 * merging adds, and windows are sums over all rows, by arithmetic of the test's own. Small maps and
 * more rows than a batch takes, so that batches are repeated. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "table/copy.h"
#include "table/store.h"
#include "table/view.h"
#include "tests/unit/table/temp.h"

#include <stdio.h>
#include <string.h>

#define SOURCES 2
#define USERS   40
#define ENDS    200 /* panes */
#define SUMS    (SOURCES * (ENDS + 1) * USERS)

static const struct kappa_table_shape shape = {.name = "w", .windowed = true, .leaves = true};

struct hop {
    int64_t window, slide, pane, offset;
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The end of the first window that a pane is in. */
static int64_t first_window(const struct hop *hop, int64_t pane)
{
    int64_t end = floor_div(pane - hop->offset - hop->window, hop->slide) * hop->slide +
                  hop->offset + hop->window;
    return end < pane ? end + hop->slide : end;
}

static bool is_window(const struct hop *hop, int64_t end)
{
    return floor_div(end - hop->offset - hop->window, hop->slide) * hop->slide + hop->offset +
               hop->window ==
           end;
}

static size_t key_of(uint8_t *key, uint32_t source, int64_t pane, uint64_t user, uint32_t part)
{
    store_u16_be(key, (uint16_t)source);
    store_i64_sortable(key + 2, pane);
    store_u16_be(key + 10, (uint16_t)user);
    store_u16_be(key + 12, (uint16_t)part);
    return 14;
}

static uint32_t parts_of(const struct hop *hop, int64_t pane)
{
    int64_t first = first_window(hop, pane);
    int64_t count = 0;
    for (int64_t end = first; end - hop->window < pane; end += hop->slide) {
        count++;
    }
    return (uint32_t)count;
}

static int flush(struct store *store, const struct hop *hop, struct prng prng, int64_t pane)
{
    const struct kappa_change_sink *sink = store_sink(store);
    int rc = store_begin(store, &fault);
    for (uint32_t s = 0; s < SOURCES && rc == 0; s++) {
        struct kappa_source_state state = {
            .next_offset = pane, .event_time_max = pane, .record_time_max = KAPPA_NO_TIME};
        for (uint64_t user = 0; user < USERS && rc == 0; user++) {
            for (uint32_t part = 0; part < parts_of(hop, pane) && rc == 0; part++) {
                uint8_t key[16];
                uint8_t value[200] = {0};
                store_u64_le(value, prng_next(&prng) >> 20);
                if (prng_below(&prng, part + 2) == 0) {
                    size_t len = key_of(key, s, pane, user, part);
                    rc = sink->put(sink->ctx, 0, key, len, value, sizeof value, true, &fault);
                }
            }
        }
        rc = rc == 0 ? store_source_put(store, s, &state, &fault) : rc;
    }
    return rc == 0 ? store_commit(store, &fault) : rc;
}

static struct store *open_at(const char *dir, uint32_t outputs)
{
    struct store *store = NULL;
    char *path = xasprintf("%s/0", dir);
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

static void fill(const char *dir, const struct hop *hop, struct prng *prng)
{
    struct store *store = open_at(dir, 0);
    for (int64_t pane = hop->pane; pane <= ENDS; pane += hop->pane) {
        int rc;
        do {
            rc = flush(store, hop, *prng, pane);
        } while (rc == -KE_AGAIN);
        assert_ok(rc);
        (void)prng_next(prng);
    }
    store_close(store);
}

/* Adds up all windows that end up to ENDS; *rows: how many there are. */
static void windows_of(const char *dir, const struct hop *hop, uint64_t *sums, uint64_t *rows)
{
    struct view *view = NULL;
    struct view_snapshot *snapshot = NULL;
    struct view_cursor *cursor = NULL;
    const uint8_t *key = NULL;
    const uint8_t *value = NULL;
    size_t key_len = 0;
    size_t value_len = 0;
    uint32_t source = 0;
    const struct view_sources every = {0, SOURCES};
    memset(sums, 0, SUMS * sizeof *sums);
    *rows = 0;
    assert_ok(view_open(dir, 1, &shape, 1, &view, &fault));
    assert_ok(view_snapshot_begin(view, &snapshot, &fault));
    assert_ok(view_cursor_open(snapshot, 0, every, &cursor, &fault));
    while (view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, &fault) == 1) {
        int64_t pane = load_i64_sortable(key);
        uint32_t user = load_u16_be(key + 8);
        uint32_t part = load_u16_be(key + 10);
        assert_true(user < USERS && part < parts_of(hop, pane));
        for (int64_t end = first_window(hop, pane) + part * hop->slide;
             end - hop->window < pane && end <= ENDS; end += hop->slide) {
            sums[((size_t)source * (ENDS + 1) + (size_t)end) * USERS + user] += load_u64_le(value);
        }
        (*rows)++;
    }
    view_cursor_close(cursor);
    view_snapshot_end(snapshot);
    view_close(view);
}

static int add(void *ctx, uint32_t table, const uint8_t *a, size_t a_len, const uint8_t *b,
               size_t b_len, struct buf *out, struct err *err)
{
    (void)err;
    uint8_t value[200] = {0};
    assert_int_equal(table, 0);
    assert_int_equal(a_len, sizeof value);
    assert_int_equal(b_len, sizeof value);
    store_u64_le(value, load_u64_le(a) + load_u64_le(b));
    buf_append(out, value, sizeof value);
    (*(uint64_t *)ctx)++;
    return 0;
}

static void check_taken(const char *dir, const struct hop *hop, const uint64_t *all, int64_t first)
{
    static const uint32_t sources[SOURCES] = {0, 1};
    static const int64_t starts[SOURCES] = {0};
    const struct store_take_hop take_hop = {hop->window, hop->slide};
    static uint64_t got[SUMS];
    uint64_t merged = 0;
    uint64_t rows = 0;
    char *other = temp_dir();
    char *from = xasprintf("%s/0", dir);
    char *to = xasprintf("%s/0", other);
    const struct store_take take = {.from = from,
                                    .dir = to,
                                    .tables = &shape,
                                    .table_count = 1,
                                    .output_count = 1,
                                    .first_ends = &first,
                                    .hops = &take_hop,
                                    .merge = add,
                                    .merge_ctx = &merged,
                                    .since = first - hop->window,
                                    .sources = sources,
                                    .starts = starts,
                                    .source_count = SOURCES};
    assert_ok(store_take(&take, &fault));
    windows_of(other, hop, got, &rows);
    for (size_t i = 0; i < SUMS; i++) {
        int64_t end = (int64_t)(i / USERS % (ENDS + 1));
        assert_int_equal(got[i], end < first ? all[i] : 0);
    }
    /* Each that moved came to a place of its own or was merged. */
    assert_true(hop->slide < hop->window || merged == 0);
    struct store *store = open_at(other, 1);
    for (uint32_t s = 0; s < SOURCES; s++) {
        struct store_source kept;
        int64_t below = 0;
        int64_t last = ENDS / hop->pane * hop->pane;
        assert_true(store_source_get(store, s, &kept));
        assert_true(kept.state.event_time_max < take.since);
        assert_true(store_taken(store, s, &below));
        assert_int_equal(below, last);
    }
    store_close(store);
    free(from);
    free(to);
    remove_dir(other);
}

static void test_windows(void **state)
{
    (void)state;
    static const struct hop hops[] = {{12, 4, 4, 0}, {12, 4, 4, 3}, {10, 4, 2, 1}, {8, 3, 1, 2},
                                      {6, 6, 6, 0},  {9, 5, 1, 0},  {40, 8, 8, 0}, {7, 1, 1, 0}};
    static uint64_t all[SUMS];
    struct prng prng;
    prng_init(&prng, unit_seed("take_hops"));
    for (size_t i = 0; i < array_len(hops); i++) {
        struct hop hop = hops[i];
        uint64_t rows = 0;
        char *dir = temp_dir();
        hop.offset = hop.offset % hop.slide;
        /* Panes begin at the offset of the windows. */
        hop.pane = hop.offset == 0 ? hop.pane : 1;
        fill(dir, &hop, &prng);
        windows_of(dir, &hop, all, &rows);
        assert_true(rows > 1000);
        for (int n = 0; n < 4; n++) {
            int64_t first = (int64_t)prng_below(&prng, ENDS + 2 * (uint64_t)hop.window);
            while (!is_window(&hop, first)) {
                first++;
            }
            check_taken(dir, &hop, all, first);
        }
        remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
