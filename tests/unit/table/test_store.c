/* Goal: after any sequence of commits, aborts and map growth, a store holds exactly what a naive
 * model holds: rows, newest windows, dead records, states, and digests equal to a whole rehash.
 * Method: random commits applied to both (model.h), compared through a view after each of them; the
 * map starts as small as it can, so that AGAIN happens all the time. KAPPA_SEED repeats a run. */
#include "tests/unit/table/model.h"

#include <fcntl.h>
#include <sys/wait.h>

/* Rows read back by the writer itself. */
static void check_loads(const struct model *model, struct store *store, struct prng *prng)
{
    for (int i = 0; i < 20 && model->count > 0; i++) {
        const struct model_row *row = &model->rows[prng_below(prng, model->count)];
        const uint8_t *value = NULL;
        size_t len = 0;
        assert_int_equal(store_load(store, row->table, row->key, row->key_len, &value, &len, NULL),
                         1);
        assert_int_equal(len, row->value_len);
        assert_memory_equal(value, row->value, len);
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct model_row *row = &model->rows[i];
        if (row->table != 3) {
            continue;
        }
        int64_t own = load_i64_sortable(row->key + 2);
        int64_t before = INT64_MIN;
        for (size_t j = 0; j < model->count; j++) {
            int64_t end = load_i64_sortable(model->rows[j].key + 2);
            if (same_key(row, &model->rows[j]) && end < own) {
                before = i64_max(before, end);
            }
        }
        uint8_t key[64];
        memcpy(key, row->key, 2);
        memcpy(key + 2, row->key + 10, row->key_len - 10);
        int64_t end = INT64_MIN;
        assert_int_equal(store_window_below(store, 3, key, row->key_len - 8, own, &end, NULL),
                         before != INT64_MIN);
        assert_int_equal(end, before);
    }
    const uint8_t *value = NULL;
    size_t len = 0;
    assert_int_equal(store_load(store, 0, (const uint8_t *)"\0\0nobody", 8, &value, &len, NULL), 0);
}

static void check_states(const struct model *model, struct store *store)
{
    for (uint32_t source = 0; source < MODEL_SOURCES; source++) {
        struct store_source found;
        (void)store_source_get(store, source, &found);
        assert_memory_equal(&found.state, &model->states[source], sizeof found.state);
        for (uint32_t table = 0; table < MODEL_TABLES; table++) {
            assert_true(digest_equal(found.digests[table], model_digest(model, table, source)));
        }
    }
}

static void random_commits(bool building)
{
    struct prng prng;
    prng_init(&prng, unit_seed("store"));
    char *dir = temp_dir();
    struct model model;
    model_init(&model);
    struct store *store = model_store(dir, building);
    uint32_t grown = 0;
    for (int round = 0; round < (building ? 120 : 30); round++) {
        struct model_batch batch;
        batch_make(&prng, &model, &batch);
        check_loads(&model, store, &prng); /* leaves a read transaction open on purpose */
        if (prng_below(&prng, 5) == 0) {
            struct err err;
            int rc = store_begin(store, &err);
            assert_int_equal(rc, 0);
            rc = batch_flush(&batch, store, &err);
            assert_true(rc == 0 || rc == -KE_AGAIN);
            grown += rc == 0 ? 0 : 1;
            if (rc == 0 && prng_below(&prng, 2)) {
                store_abort(store);
            } else if (rc == 0) {
                store_close(store);
                store = model_store(dir, building);
            }
        } else {
            assert_ok(batch_apply(&batch, store, &grown, &fault));
            struct model old = model;
            model = batch.after;
            batch.after = old;
        }
        check_states(&model, store);
        if (round % 8 == 0) {
            model_check(&model, dir);
        }
        if (building && round == 60) {
            assert_ok(store_seal(store, &fault));
            assert_true(store_sealed(store));
        }
        assert_int_equal(store_has_rows(store), model.count > 0);
        batch_free(&batch);
    }
    model_check(&model, dir);
    store_close(store);
    store = model_store(dir, false);
    assert_int_equal(store_sealed(store), building);
    check_states(&model, store);
    model_check(&model, dir);
    uint64_t file = 0;
    uint64_t used = 0;
    store_sizes(store, &file, &used);
    assert_true(used > 0);
    assert_true(used <= file);
    assert_int_equal(store_commit_bytes(store, 2), 8192);
    assert_int_equal(store_commit_bytes(store, UINT64_MAX), used);
    assert_true(grown > 0 || !building);
    store_close(store);
    model_free(&model);
    remove_dir(dir);
}

static void test_random_building(void **state)
{
    (void)state;
    random_commits(true);
}

static void test_random_synced(void **state)
{
    (void)state;
    random_commits(false);
}

/* Expiry down to nothing, rows above and below, and the index with it. */
static void test_expire_all(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *store = model_store(dir, true);
    const struct kappa_change_sink *sink = store_sink(store);
    struct kappa_source_state zero = {.event_time_max = KAPPA_NO_TIME,
                                      .record_time_max = KAPPA_NO_TIME};
    struct model model;
    model_init(&model);
    struct model_batch batch;
    memset(&batch, 0, sizeof batch);
    model_copy(&batch.after, &model);
    for (uint32_t source = 0; source < 3; source++) {
        for (int64_t window = -5; window < 200; window++) {
            for (int user = 0; user < 5; user++) {
                struct model_op op = {.kind = OP_PUT, .is_new = true};
                op.row.table = 1;
                store_u16_be(op.row.key, (uint16_t)source);
                store_i64_sortable(op.row.key + 2, window);
                op.row.key_len = 12;
                op.row.key[10] = 1;
                op.row.key[11] = (uint8_t)user;
                op.row.value = xmalloc(8);
                memcpy(op.row.value, &window, 8);
                op.row.value_len = 8;
                model_put(&batch.after, &op.row);
                batch_add(&batch, &op);
            }
        }
    }
    assert_ok(batch_apply(&batch, store, NULL, &fault));
    model_check(&batch.after, dir);
    static const int64_t limits[] = {-6, -5, 0, 57, 57, 198, 199, INT64_MAX};
    for (size_t i = 0; i < array_len(limits); i++) {
        assert_ok(store_begin(store, &fault));
        assert_ok(sink->expire(sink->ctx, 1, 1, limits[i], &fault));
        assert_ok(store_source_put(store, 1, &zero, &fault));
        assert_ok(store_commit(store, &fault));
        model_expire(&batch.after, 1, 1, limits[i]);
        model_check(&batch.after, dir);
    }
    assert_ok(store_begin(store, &fault));
    for (uint32_t source = 0; source < 3; source++) {
        assert_ok(sink->expire(sink->ctx, 1, source, 1000, &fault));
        model_expire(&batch.after, 1, source, 1000);
    }
    assert_ok(store_commit(store, &fault));
    assert_int_equal(batch.after.count, 0);
    assert_false(store_has_rows(store));
    model_check(&batch.after, dir);
    store_close(store);
    batch_free(&batch);
    remove_dir(dir);
}

static void test_one_writer(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *path = xasprintf("%s/0", dir);
    struct store *store = model_store(dir, true);
    struct store_options options = {
        .dir = path, .tables = model_shapes, .table_count = MODEL_TABLES, .building = true};
    struct store *other = NULL;
    struct err err;
    assert_int_equal(store_open(&options, &other, &err), -KE_BUSY);
    assert_non_null(strstr(err.text, "another worker"));
    pid_t child = fork();
    if (child == 0) {
        /* Another process, with the environment of its own. */
        _exit(store_open(&options, &other, &err) == -KE_BUSY ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_close(store);
    /* Other tables than those it was made with. */
    struct kappa_table_shape shapes[MODEL_TABLES];
    memcpy(shapes, model_shapes, sizeof shapes);
    shapes[1].windowed = false;
    options.tables = shapes;
    assert_int_equal(store_open(&options, &other, &err), -KE_CORRUPT);
    options.tables = model_shapes;
    options.table_count = 2;
    assert_int_equal(store_open(&options, &other, &err), -KE_CORRUPT);
    free(path);
    remove_dir(dir);
}

/* The longest keys and an empty value; what is longer is refused with its size. */
static void test_limits(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *store = model_store(dir, true);
    const struct kappa_change_sink *sink = store_sink(store);
    uint8_t key[600];
    memset(key, 7, sizeof key);
    store_u16_be(key, 3);
    struct err err;
    assert_ok(store_begin(store, &fault));
    assert_ok(sink->put(sink->ctx, 0, key, 2, key, 0, true, &fault));
    assert_ok(sink->put(sink->ctx, 0, key, 510, key, 1, true, &fault));
    assert_ok(sink->put(sink->ctx, 0, key, 511, key, 0, false, &fault));
    assert_ok(store_commit(store, &fault));
    assert_ok(store_begin(store, &fault));
    assert_int_equal(sink->put(sink->ctx, 0, key, 512, key, 0, true, &err), -KE_LIMIT);
    assert_non_null(strstr(err.text, "512"));
    assert_ok(store_begin(store, &fault)); /* the refusal dropped the transaction */
    store_abort(store);
    struct store_source source;
    assert_true(store_source_get(store, 3, &source));
    struct digest sum = digest_row(0, key, 2, key, 0);
    digest_add(&sum, digest_row(0, key, 510, key, 1));
    digest_add(&sum, digest_row(0, key, 511, key, 0));
    assert_true(digest_equal(sum, source.digests[0]));
    assert_true(digest_equal(sum, store_digest_sum(&source, MODEL_TABLES)));
    store_close(store);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_building), cmocka_unit_test(test_random_synced),
        cmocka_unit_test(test_expire_all),      cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
