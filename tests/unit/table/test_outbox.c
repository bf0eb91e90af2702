/* Goal: the outbox holds exactly what the commits put in and the trims left, in the order of the
 * names, whatever is aborted, repeated or reopened; and the digests of outputs add every message
 * once. Method: random commits against an array, compared after each; small maps, so that AGAIN
 * happens. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "table/outbox.h"
#include "table/store.h"
#include "tests/unit/table/temp.h"

#include <string.h>

#define SOURCES  3
#define OUTPUTS  2
#define ROWS_MAX 4096

static const struct kappa_table_shape shapes[1] = {{.name = "users"}};

struct row {
    uint32_t source;
    int64_t offset;
    uint32_t output;
    uint32_t seq;
    uint8_t bytes[400];
    size_t len;
};

struct model {
    struct row rows[ROWS_MAX]; /* in the order they were put; per source ascending */
    size_t count;
    int64_t next[SOURCES];
    struct digest digests[SOURCES][OUTPUTS];
};

static struct store *open_store(const char *dir)
{
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {.dir = path,
                                    .tables = shapes,
                                    .table_count = 1,
                                    .output_count = OUTPUTS,
                                    .building = true,
                                    .map_bytes = 1};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    free(path);
    return store;
}

static void key_of(const struct row *row, uint8_t *key)
{
    store_u16_be(key, (uint16_t)row->source);
    store_i64_sortable(key + 2, row->offset);
    store_u16_be(key + 10, (uint16_t)row->output);
    store_u32_le(key + 12, __builtin_bswap32(row->seq));
}

static void model_add(struct model *model, const struct row *row)
{
    uint8_t key[16];
    assert_true(model->count < ROWS_MAX);
    model->rows[model->count++] = *row;
    key_of(row, key);
    digest_add(&model->digests[row->source][row->output],
               digest_row(0x10000 + row->output, key, sizeof key, row->bytes, row->len));
}

static size_t rows_of(const struct model *model, uint32_t source)
{
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        count += model->rows[i].source == source;
    }
    return count;
}

static void model_trim(struct model *model, uint32_t source, int64_t below, uint64_t keep,
                       uint64_t most)
{
    size_t have = rows_of(model, source);
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct row *row = &model->rows[i];
        if (row->source == source && row->offset < below && have > keep && most > 0) {
            have--;
            most--;
        } else {
            model->rows[kept++] = *row;
        }
    }
    model->count = kept;
}

struct listing {
    const struct model *model;
    size_t at;
    size_t seen;
};

static bool compare(void *ctx, const struct outbox_row *row)
{
    struct listing *listing = ctx;
    while (listing->model->rows[listing->at].source != row->source) {
        listing->at++;
        assert_true(listing->at < listing->model->count);
    }
    const struct row *expected = &listing->model->rows[listing->at++];
    assert_int_equal(row->offset, expected->offset);
    assert_int_equal(row->output, expected->output);
    assert_int_equal(row->seq, expected->seq);
    assert_int_equal(row->len, expected->len);
    assert_memory_equal(row->message, expected->bytes, expected->len);
    listing->seen++;
    return true;
}

static void check(const struct model *model, struct store *store, const char *dir)
{
    struct outbox *outbox = NULL;
    assert_ok(outbox_open(dir, 1, &outbox, &fault));
    assert_ok(outbox_begin(outbox, &fault));
    for (uint32_t source = 0; source < SOURCES; source++) {
        struct listing listing = {.model = model};
        struct store_source kept;
        int64_t position = -1;
        assert_ok(outbox_each(outbox, source, INT64_MIN, compare, &listing, &fault));
        assert_int_equal(listing.seen, rows_of(model, source));
        assert_int_equal(store_outbox_rows(store, source), listing.seen);
        bool known = store_source_get(store, source, &kept);
        assert_int_equal(outbox_position(outbox, source, &position, &fault), known ? 1 : 0);
        if (known) {
            assert_int_equal(position, model->next[source]);
        }
        for (uint32_t output = 0; output < OUTPUTS; output++) {
            assert_true(digest_equal(kept.digests[1 + output], model->digests[source][output]));
        }
    }
    outbox_end(outbox);
    outbox_close(outbox);
}

/* Applies one random commit to the store; the model is given as it will be. */
static int commit(struct store *store, struct model *model, struct prng prng, uint32_t *trimmed)
{
    struct err err;
    int rc = store_begin(store, &err);
    const struct kappa_change_sink *sink = store_sink(store);
    for (uint64_t n = prng_below(&prng, 20); n > 0 && rc == 0; n--) {
        struct row row = {.source = (uint32_t)prng_below(&prng, SOURCES)};
        row.offset = model->next[row.source] + (int64_t)prng_below(&prng, 3);
        uint32_t rows = 1 + (uint32_t)prng_below(&prng, 3);
        for (uint32_t i = 0; i < rows && rc == 0; i++) {
            row.output = i == 0 ? 0 : 1;
            row.seq = i;
            row.len = prng_below(&prng, sizeof row.bytes);
            memset(row.bytes, (int)prng_below(&prng, 256), sizeof row.bytes);
            model_add(model, &row);
            rc = sink->out(sink->ctx, row.output, row.source, row.offset, row.seq, row.bytes,
                           row.len, &err);
        }
        model->next[row.source] = row.offset + 1;
    }
    *trimmed = (uint32_t)prng_below(&prng, SOURCES);
    if (rc == 0) {
        int64_t below = (int64_t)prng_below(&prng, (uint64_t)model->next[*trimmed] + 2);
        uint64_t keep = prng_below(&prng, 2) ? 0 : prng_below(&prng, 30);
        uint64_t most = prng_below(&prng, 3) ? UINT64_MAX : prng_below(&prng, 10);
        /* What one transaction put in is not counted before its commit: trim counts by what was. */
        uint64_t gone = 0;
        rc = store_outbox_trim(store, *trimmed, below, keep, most, &gone, &err);
        if (rc == 0 && store_outbox_rows(store, *trimmed) > keep) {
            model_trim(model, *trimmed, below, keep, most);
        }
    }
    for (uint32_t source = 0; source < SOURCES && rc == 0; source++) {
        struct kappa_source_state state = {.next_offset = model->next[source]};
        rc = store_source_put(store, source, &state, &err);
    }
    return rc == 0 ? store_commit(store, &err) : rc;
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("outbox"));
    char *dir = temp_dir();
    struct model *model = xcalloc(1, sizeof *model);
    struct model *next = xcalloc(1, sizeof *next);
    struct store *store = open_store(dir);
    uint32_t again = 0;
    for (int round = 0; round < 150; round++) {
        uint32_t trimmed = 0;
        int rc = -KE_AGAIN;
        for (int attempt = 0; rc == -KE_AGAIN; attempt++) {
            assert_true(attempt < 40);
            *next = *model;
            rc = commit(store, next, prng, &trimmed);
            again += rc == -KE_AGAIN;
        }
        (void)prng_next(&prng);
        assert_int_equal(rc, 0);
        *model = *next;
        check(model, store, dir);
        if (prng_below(&prng, 10) == 0) {
            store_close(store);
            store = open_store(dir);
            check(model, store, dir);
        }
        if (prng_below(&prng, 5) == 0) {
            *next = *model;
            struct err err;
            struct row row = {.source = 0, .offset = model->next[0]};
            assert_ok(store_begin(store, &fault));
            const struct kappa_change_sink *sink = store_sink(store);
            if (sink->out(sink->ctx, 0, 0, row.offset, 0, row.bytes, 1, &err) == 0) {
                store_abort(store);
            }
            check(model, store, dir);
        }
    }
    assert_true(again > 0);
    store_close(store);
    free(model);
    free(next);
    remove_dir(dir);
}

/* A version without outputs has an outbox that is empty; a directory that is gone is NOT_FOUND. */
static void test_without(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {
        .dir = path, .tables = shapes, .table_count = 1, .building = true};
    struct store *store = NULL;
    struct outbox *outbox = NULL;
    struct listing listing = {0};
    assert_ok(store_open(&options, &store, &fault));
    assert_ok(outbox_open(dir, 1, &outbox, &fault));
    assert_ok(outbox_begin(outbox, &fault));
    assert_ok(outbox_each(outbox, 0, 0, compare, &listing, &fault));
    assert_int_equal(listing.seen, 0);
    outbox_close(outbox);
    store_close(store);
    free(path);
    path = xasprintf("%s/not", dir);
    struct err err;
    assert_int_equal(outbox_open(path, 1, &outbox, &err), -KE_NOT_FOUND);
    free(path);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
