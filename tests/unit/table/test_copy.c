/* Goal: a copy of an environment holds exactly one commit of it, whatever is committed meanwhile and
 * behind; a version that adopts it is that commit, unsealed, and goes on to the same bytes as the one
 * that was copied. Method: random commits against the model of the other tests; the original goes on
 * in another process while it is copied here. KAPPA_SEED repeats a run. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "table/copy.h"
#include "tests/unit/table/model.h"

#define COMMITS       40
#define CHILD_COMMITS 120

/* The same commits again, from the seed: so two processes know what was committed. */
static void make_commits(struct prng *prng, struct model *model, struct store *store, int count,
                         int *done)
{
    for (int i = 0; i < count; i++) {
        struct model_batch batch;
        batch_make(prng, model, &batch);
        if (store != NULL) {
            assert_ok(batch_apply(&batch, store, NULL, &fault));
        }
        model_free(model);
        model_copy(model, &batch.after);
        batch_free(&batch);
        *done += 1;
    }
}

static bool is_commit(const struct model *model, const struct store_copied *copied)
{
    bool same = copied->count == MODEL_SOURCES && copied->bytes > 0;
    for (uint32_t i = 0; i < copied->count && same; i++) {
        struct digest sum = {0};
        for (uint32_t t = 0; t < MODEL_TABLES; t++) {
            digest_add(&sum, model_digest(model, t, i));
        }
        same = copied->sources[i].source == i && digest_equal(sum, copied->sources[i].digest) &&
               memcmp(&copied->sources[i].state, &model->states[i], sizeof model->states[i]) == 0;
    }
    return same;
}

static void test_copy_and_adopt(void **state)
{
    (void)state;
    struct prng prng;
    struct model model;
    int done = 0;
    prng_init(&prng, unit_seed("copy"));
    model_init(&model);
    char *dir = temp_dir();
    char *other = temp_dir();
    char *from = xasprintf("%s/0", dir);
    char *copy = xasprintf("%s/copy", other);
    char *adopted = xasprintf("%s/0", other);
    struct store *store = model_store(dir, true);
    make_commits(&prng, &model, store, COMMITS, &done);
    assert_ok(store_seal(store, &fault));

    struct store_copied copied;
    assert_ok(store_copy(from, copy, &copied, &fault));
    assert_true(is_commit(&model, &copied));
    free(copied.sources);
    struct err err;
    assert_true(store_copy(from, copy, &copied, &err) < 0); /* it is there */
    bool did = false;
    char *nothing = xasprintf("%s/nothing", other);
    assert_int_equal(store_adopt(nothing, adopted, &did, &err), -KE_NOT_FOUND);
    assert_int_equal(store_copy(nothing, adopted, &copied, &err), -KE_NOT_FOUND);
    free(nothing);
    /* One that died half-way leaves a file behind. */
    char *half = xasprintf("%s.new", adopted);
    char *rest = xasprintf("%s/data.mdb", half);
    assert_int_equal(mkdir(half, 0700), 0);
    assert_int_equal(symlink("nowhere", rest), 0);
    assert_ok(store_adopt(copy, adopted, &did, &fault));
    assert_true(did);
    assert_ok(store_adopt(copy, adopted, &did, &fault));
    assert_false(did);
    free(half);
    free(rest);
    model_check(&model, other);

    struct store *again = model_store(other, true);
    assert_false(store_sealed(again));
    assert_true(store_has_rows(again));
    struct prng same = prng;
    struct model twin;
    model_copy(&twin, &model);
    make_commits(&prng, &model, store, COMMITS, &done);
    make_commits(&same, &twin, again, COMMITS, &done);
    assert_ok(store_seal(again, &fault));
    store_close(store);
    store_close(again);
    model_check(&model, dir);
    model_check(&model, other);
    model_free(&model);
    model_free(&twin);
    free(from);
    free(copy);
    free(adopted);
    remove_dir(dir);
    remove_dir(other);
}

static _Noreturn void child_writes(const char *dir, uint64_t seed)
{
    struct prng prng;
    struct model model;
    int done = 0;
    prng_init(&prng, seed);
    model_init(&model);
    struct store *store = model_store(dir, true);
    make_commits(&prng, &model, store, CHILD_COMMITS, &done);
    store_close(store);
    _exit(0);
}

/* Copies it as it is now, and compares with the model, which is brought to the same commit. */
static bool copy_once(const char *from, struct prng *prng, struct model *model, int *done)
{
    struct store_copied copied = {0};
    struct err err;
    char *other = temp_dir();
    char *copy = xasprintf("%s/0", other);
    int rc = store_copy(from, copy, &copied, &err);
    bool any = rc == 0 && copied.count > 0;
    assert_true(rc == 0 || rc == -KE_NOT_FOUND);
    if (any) {
        while (!is_commit(model, &copied)) {
            assert_true(*done < CHILD_COMMITS);
            make_commits(prng, model, NULL, 1, done);
        }
        model_check(model, other);
    }
    free(copied.sources);
    free(copy);
    remove_dir(other);
    return any;
}

/* A writer in another process commits, and its map grows, all the time. */
static void test_copy_while_written(void **state)
{
    (void)state;
    uint64_t seed = unit_seed("copy_while_written");
    char *dir = temp_dir();
    char *from = xasprintf("%s/0", dir);
    pid_t writer = fork();
    if (writer == 0) {
        child_writes(dir, seed);
    }
    struct prng prng;
    struct model model;
    int status = -1;
    int done = 0;
    prng_init(&prng, seed);
    model_init(&model);
    while (waitpid(writer, &status, WNOHANG) == 0) {
        (void)copy_once(from, &prng, &model, &done);
    }
    assert_int_equal(status, 0);
    assert_true(copy_once(from, &prng, &model, &done));
    model_free(&model);
    free(from);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_and_adopt),
        cmocka_unit_test(test_copy_while_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
