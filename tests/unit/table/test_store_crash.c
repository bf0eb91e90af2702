/* Goal: whatever ends a writer, the next one finds exactly the last commit. Method: (1) fail points
 * at every step of random commits, then close, open, and compare with the model; (2) a child that
 * commits a seeded sequence is killed at a random moment; the parent repeats the sequence up to the
 * commit number it finds and compares everything, digests by a whole rehash. */
#include "tests/unit/table/model.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

struct fail {
    const char *step;
    int left; /* calls of that step until it fails */
};

static int fail_at(void *ctx, const char *step)
{
    struct fail *fail = ctx;
    if (fail->step != NULL && strcmp(fail->step, step) == 0 && fail->left-- == 0) {
        return -KE_INTERNAL;
    }
    return 0;
}

static struct store *open_failing(const char *dir, struct fail *fail)
{
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {.dir = path,
                                    .tables = model_shapes,
                                    .table_count = MODEL_TABLES,
                                    .leaf_bits = MODEL_LEAF,
                                    .building = true,
                                    .map_bytes = 1,
                                    .fail_point = fail_at,
                                    .fail_ctx = fail};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    free(path);
    return store;
}

static void test_fail_points(void **state)
{
    (void)state;
    static const char *const steps[] = {"flush", "commit", "committed"};
    struct prng prng;
    prng_init(&prng, unit_seed("fail points"));
    char *dir = temp_dir();
    struct model model;
    model_init(&model);
    for (int round = 0; round < 30; round++) {
        struct fail fail = {steps[prng_below(&prng, 3)], (int)prng_below(&prng, 3)};
        struct store *store = open_failing(dir, &fail);
        for (int i = 0; i < 10; i++) {
            struct model_batch batch;
            batch_make(&prng, &model, &batch);
            int rc = batch_apply(&batch, store, NULL, &fault);
            if (rc != 0) {
                assert_int_equal(rc, -KE_INTERNAL);
                assert_non_null(strstr(fault.text, fail.step));
            }
            if (rc == 0 || strcmp(fail.step, "committed") == 0) {
                struct model old = model;
                model = batch.after;
                batch.after = old;
            }
            batch_free(&batch);
            if (rc != 0) {
                break;
            }
            assert_int_not_equal(i, 9);
        }
        store_close(store);
        model_check(&model, dir);
    }
    model_free(&model);
    remove_dir(dir);
}

/* ---- kill -9 */

/* Commit number i of the sequence; the states carry the number. */
static void sequence_batch(struct prng *prng, const struct model *model, struct model_batch *batch,
                           uint64_t number)
{
    batch_make(prng, model, batch);
    for (uint32_t source = 0; source < MODEL_SOURCES; source++) {
        batch->after.states[source].late = number;
    }
}

static _Noreturn void sequence_run(const char *dir, uint64_t seed, int ready)
{
    struct prng prng;
    struct model model;
    prng_init(&prng, seed);
    model_init(&model);
    struct store *store = model_store(dir, seed % 2 == 0);
    for (uint64_t number = 1;; number++) {
        struct model_batch batch;
        sequence_batch(&prng, &model, &batch, number);
        struct store_source found;
        (void)store_source_get(store, 0, &found);
        if (number > found.state.late) { /* else committed by one that was killed */
            if (batch_apply(&batch, store, NULL, &fault) != 0) {
                _exit(3);
            }
        } else if (number == found.state.late) {
            (void)!write(ready, "r", 1);
        }
        if (number == 1) {
            (void)!write(ready, "r", 1);
        }
        struct model old = model;
        model = batch.after;
        batch.after = old;
        batch_free(&batch);
    }
}

/* Repeats the sequence up to what the store says, and compares. */
static uint64_t sequence_check(const char *dir, uint64_t seed)
{
    struct prng prng;
    struct model model;
    prng_init(&prng, seed);
    model_init(&model);
    struct store *store = model_store(dir, seed % 2 == 0);
    struct store_source found;
    (void)store_source_get(store, 0, &found);
    for (uint64_t number = 1; number <= found.state.late; number++) {
        struct model_batch batch;
        sequence_batch(&prng, &model, &batch, number);
        struct model old = model;
        model = batch.after;
        batch.after = old;
        batch_free(&batch);
    }
    model_check(&model, dir);
    store_close(store);
    model_free(&model);
    return found.state.late;
}

static void test_kill(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("kill"));
    for (int sequence = 0; sequence < 2; sequence++) {
        char *dir = temp_dir();
        uint64_t seed = prng_next(&prng) * 2 + (uint64_t)sequence;
        uint64_t commits = 0;
        for (int round = 0; round < 8; round++) {
            int ready[2];
            assert_int_equal(pipe(ready), 0);
            pid_t child = fork();
            if (child == 0) {
                sequence_run(dir, seed, ready[1]);
            }
            (void)close(ready[1]);
            char byte;
            assert_int_equal(read(ready[0], &byte, 1), 1);
            struct timespec nap = {0, (long)prng_below(&prng, 40000000)};
            (void)nanosleep(&nap, NULL);
            assert_int_equal(kill(child, SIGKILL), 0);
            int status = 0;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFSIGNALED(status));
            (void)close(ready[0]);
            uint64_t now = sequence_check(dir, seed);
            assert_true(now >= commits);
            commits = now;
        }
        assert_true(commits > 0);
        print_message("%llu commits over 8 kills\n", (unsigned long long)commits);
        remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_points),
        cmocka_unit_test(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
