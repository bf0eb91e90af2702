/* Goal: a statement sees all tables of a processor in one version at one snapshot, also when the
 * pointer moves between its looks, and with many threads. Method: the world of test_reader.c, whose
 * versions hold known numbers of events; tests/system/test_sql.py compares what statements give. */
#include "serve/query.h"

#include "tests/unit/serve/reader_world.h"

/* Statements: the two tables that they read, and what their rows add up to. */
struct sums {
    int64_t rows;
    int64_t values[4];
};

static void take_no_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    (void)ctx;
    (void)columns;
    assert_in_range(count, 1, 4);
}

static bool take_sums(void *ctx, const struct query_value *values, uint32_t count)
{
    struct sums *sums = ctx;
    sums->rows++;
    for (uint32_t i = 0; i < count; i++) {
        sums->values[i] = values[i].i;
    }
    return true;
}

static struct sums ask(struct query *query, const char *text, int64_t *version)
{
    struct sums sums = {0};
    struct query_sink sink = {.ctx = &sums, .columns = take_no_columns, .row = take_sums};
    struct query_options options = {.rows_max = -1};
    struct query_result result;
    struct err err = {0};
    if (query_run(query, text, strlen(text), &options, &sink, &result, &err) != 0) {
        fail_msg("%s: %s", text, err.text);
    }
    assert_int_equal(json_array_size(result.stamps), 1);
    *version = json_int(json_array_get(result.stamps, 0), "version", 0);
    json_decref(result.stamps);
    return sums;
}

static const char two_tables[] = "SELECT (SELECT c FROM everything), (SELECT sum(c) FROM totals)";

/* As test_second_look, with two tables in one statement. */
static void test_statement_second_look(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 3);
    make_version(&world, 1, 100);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    struct query *query = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    assert_ok(query_open(reader, &query, &fault));
    struct moment moment = {.world = &world, .version = 1};
    reader->between = swap_and_go_on;
    reader->between_ctx = &moment;
    for (int swaps = 0; swaps <= 6; swaps++) {
        int64_t version = 0;
        moment.left = swaps;
        struct sums sums = ask(query, two_tables, &version);
        assert_int_equal(sums.values[0], 100);
        assert_int_equal(sums.values[1], 100);
        assert_int_equal(version, moment.version);
    }
    query_close(query);
    reader_close(reader);
    world_close(&world);
}

struct asking {
    struct query_pool *pool;
    int64_t faults;
};

static void *ask_many(void *ctx)
{
    struct asking *asking = ctx;
    for (uint32_t i = 0; i < 150; i++) {
        struct query *query = NULL;
        int64_t version = 0;
        assert_ok(query_pool_take(asking->pool, &query, &fault));
        struct sums sums = ask(query, two_tables, &version);
        asking->faults += sums.values[0] != sums.values[1] || sums.values[0] != version * 100;
        query_pool_give(asking->pool, query);
    }
    return NULL;
}

/* Threads share a pool while the pointer moves: version n holds n hundred events. */
static void test_statements_under_swaps(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, unit_seed("statements"));
    for (uint32_t version = 1; version <= 3; version++) {
        make_version(&world, version, version * 100);
    }
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    struct query_pool *pool = query_pool_new(reader);
    struct asking asking[3];
    pthread_t threads[3];
    for (size_t i = 0; i < array_len(threads); i++) {
        asking[i] = (struct asking){.pool = pool};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, &asking[i]), 0);
    }
    for (uint32_t i = 0; i < 60; i++) {
        serve(&world, 1 + i % 3, i + 2);
    }
    for (size_t i = 0; i < array_len(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(asking[i].faults, 0);
    }
    query_pool_free(pool);
    reader_close(reader);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statement_second_look),
        cmocka_unit_test(test_statements_under_swaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
