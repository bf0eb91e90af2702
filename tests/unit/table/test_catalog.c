/* Goal: the catalog keeps objects and pointers, and a swap is seen whole: a reader in another
 * process that reads the pointers of a processor's tables in one transaction never finds two
 * versions, epochs never go back, and the receipt of an epoch is there when the epoch is. Method: a
 * writer flips two tables and writes the receipt in a loop; children watch. */
#include "base/prng.h"
#include "table/catalog.h"
#include "tests/unit/table/temp.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define SWAPS  150
#define TABLES 40 /* more than are kept in memory */

static void put_text(struct catalog *catalog, const char *key, const char *text)
{
    json_t *value = json_parse(text, strlen(text), &fault);
    assert_non_null(value);
    assert_ok(catalog_put(catalog, key, value, &fault));
    json_decref(value);
}

static void test_objects(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct catalog *catalog = NULL;
    json_t *found = NULL;
    assert_int_equal(catalog_open(dir, false, &catalog, &fault), -KE_NOT_FOUND);
    assert_ok(catalog_open(dir, true, &catalog, &fault));
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, "p1", 12);
    assert_string_equal(key, "v/p1/0000000012");
    assert_ok(catalog_begin(catalog, &fault));
    put_text(catalog, key, "{\"n\":12}");
    catalog_key_version(key, "p1", 3);
    put_text(catalog, key, "{\"n\":3}");
    catalog_key_version(key, "p10", 1);
    put_text(catalog, key, "{\"n\":1}");
    catalog_key_receipt(key, "p1", 7);
    put_text(catalog, key, "{\"epoch\":7}");
    catalog_key_processor(key, "p1");
    put_text(catalog, key, "{\"name\":\"\xc3\xa4\"}");
    struct catalog_pointer pointer = {.processor = "p1", .version = 3, .epoch = 9};
    assert_ok(catalog_pointer_put(catalog, "t1", &pointer, &fault));
    assert_int_equal(catalog_get(catalog, key, &found, &fault), -KE_NOT_FOUND); /* not yet */
    assert_ok(catalog_commit(catalog, &fault));
    assert_ok(catalog_get(catalog, key, &found, &fault));
    assert_string_equal(json_text(found, "name", ""), "\xc3\xa4");
    json_decref(found);
    assert_ok(catalog_list(catalog, "v/p1/", &found, &fault));
    assert_int_equal(json_array_size(found), 2);
    assert_string_equal(json_text(json_array_get(found, 0), "key", ""), "v/p1/0000000003");
    assert_int_equal(json_int(json_object_get(json_array_get(found, 1), "value"), "n", 0), 12);
    json_decref(found);
    assert_ok(catalog_list(catalog, "", &found, &fault));
    assert_int_equal(json_array_size(found), 5); /* pointers are not objects */
    json_decref(found);
    struct catalog_pointer read;
    assert_ok(catalog_pointer_get(catalog, "t1", &read, &fault));
    assert_string_equal(read.processor, "p1");
    assert_int_equal(read.version, 3);
    assert_int_equal(read.epoch, 9);
    assert_int_equal(catalog_pointer_get(catalog, "t2", &read, &fault), -KE_NOT_FOUND);
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(catalog_pointer_get(catalog, long_name, &read, &fault), -KE_NOT_FOUND);
    assert_int_equal(catalog_pointer_get(catalog, "", &read, &fault), -KE_NOT_FOUND);
    /* Abort keeps all; delete removes. */
    assert_ok(catalog_begin(catalog, &fault));
    assert_ok(catalog_delete(catalog, key, &fault));
    assert_ok(catalog_pointer_delete(catalog, "t1", &fault));
    catalog_abort(catalog);
    assert_ok(catalog_get(catalog, key, &found, &fault));
    json_decref(found);
    assert_ok(catalog_begin(catalog, &fault));
    assert_ok(catalog_delete(catalog, key, &fault));
    assert_ok(catalog_delete(catalog, key, &fault));
    assert_ok(catalog_pointer_delete(catalog, "t1", &fault));
    assert_ok(catalog_commit(catalog, &fault));
    catalog_close(catalog);
    assert_ok(catalog_open(dir, false, &catalog, &fault));
    assert_int_equal(catalog_get(catalog, key, &found, &fault), -KE_NOT_FOUND);
    assert_int_equal(catalog_pointer_get(catalog, "t1", &read, &fault), -KE_NOT_FOUND);
    catalog_close(catalog);
    remove_dir(dir);
}

/* ---- swaps seen from another process */

#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "child: line %d: %s: %s\n", __LINE__, #condition, fault.text);   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* A pointer read after another one is never older. */
static void watch_pointers(struct catalog *catalog, uint64_t *epoch)
{
    static const char *const tables[] = {"a", "b"};
    for (size_t i = 0; i < array_len(tables); i++) {
        struct catalog_pointer pointer;
        int rc = catalog_pointer_get(catalog, tables[i], &pointer, &fault);
        if (rc == -KE_NOT_FOUND) {
            CHILD_CHECK(*epoch == 0);
            return;
        }
        CHILD_CHECK(rc == 0);
        CHILD_CHECK(pointer.epoch >= *epoch);
        CHILD_CHECK(pointer.version == 1 + pointer.epoch % 2);
        CHILD_CHECK(strcmp(pointer.processor, "p") == 0);
        *epoch = pointer.epoch;
    }
}

/* Objects of one swap in one snapshot: the processor, both versions' states, the receipts. */
static void watch_objects(struct catalog *catalog, uint64_t *epoch)
{
    json_t *list = NULL;
    CHILD_CHECK(catalog_list(catalog, "", &list, &fault) == 0);
    int64_t processor = -1;
    int64_t serving = 0;
    int64_t receipts = 0;
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *key = json_text(item, "key", "");
        const json_t *value = json_object_get(item, "value");
        if (key[0] == 'p') {
            processor = json_int(value, "epoch", -1);
        } else if (key[0] == 'v') {
            serving += json_bool(value, "serving", false);
        } else {
            receipts++;
        }
    }
    json_decref(list);
    if (processor >= 0) {
        CHILD_CHECK(serving == 1);
        CHILD_CHECK(receipts == processor);
        CHILD_CHECK((uint64_t)processor >= *epoch);
        *epoch = (uint64_t)processor;
    }
}

static _Noreturn void child_watch(const char *dir, int ready)
{
    struct catalog *catalog = NULL;
    uint64_t epoch = 0;
    CHILD_CHECK(catalog_open(dir, false, &catalog, &fault) == 0);
    CHILD_CHECK(write(ready, "r", 1) == 1);
    while (epoch < SWAPS) {
        watch_pointers(catalog, &epoch);
        watch_objects(catalog, &epoch);
    }
    catalog_close(catalog);
    _exit(0);
}

static void swap(struct catalog *catalog, uint64_t epoch)
{
    struct catalog_pointer pointer = {
        .processor = "p", .version = 1 + (uint32_t)(epoch % 2), .epoch = epoch};
    char key[CATALOG_KEY_LEN];
    assert_ok(catalog_begin(catalog, &fault));
    assert_ok(catalog_pointer_put(catalog, "b", &pointer, &fault));
    json_t *object = json_pack("{s:I}", "epoch", (json_int_t)epoch);
    catalog_key_processor(key, "p");
    assert_ok(catalog_put(catalog, key, object, &fault));
    catalog_key_receipt(key, "p", epoch);
    assert_ok(catalog_put(catalog, key, object, &fault));
    json_decref(object);
    for (uint32_t version = 1; version <= 2; version++) {
        object = json_pack("{s:b}", "serving", version == pointer.version);
        catalog_key_version(key, "p", version);
        assert_ok(catalog_put(catalog, key, object, &fault));
        json_decref(object);
    }
    assert_ok(catalog_pointer_put(catalog, "a", &pointer, &fault));
    assert_ok(catalog_commit(catalog, &fault));
}

static void test_swaps_seen_whole(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct catalog *catalog = NULL;
    assert_ok(catalog_open(dir, true, &catalog, &fault));
    pid_t children[2];
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    for (size_t i = 0; i < array_len(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            child_watch(dir, ready[1]);
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
    }
    for (uint64_t epoch = 1; epoch <= SWAPS; epoch++) {
        swap(catalog, epoch);
    }
    for (size_t i = 0; i < array_len(children); i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    catalog_close(catalog);
    remove_dir(dir);
}

/* Each pointer as the model has it, read through both handles, in an order of its own. */
static void check_pointers(struct catalog *const *handles, const struct catalog_pointer *model,
                           struct prng *prng)
{
    for (int i = 0; i < TABLES; i++) {
        uint32_t table = (uint32_t)prng_below(prng, TABLES);
        char name[16];
        struct catalog_pointer read;
        (void)snprintf(name, sizeof name, "t%u", table);
        int rc = catalog_pointer_find(handles[i % 2], name, &read, &fault);
        assert_int_equal(rc, model[table].version != 0 ? 1 : 0);
        assert_true(catalog_pointer_same(&read, &model[table]));
    }
}

/* What a pointer was before a commit is never given after it, nor what was taken back. */
static void test_pointers_are_newest(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("pointers"));
    struct catalog_pointer model[TABLES] = {0};
    struct catalog *handles[2] = {NULL, NULL};
    char *dir = temp_dir();
    assert_ok(catalog_open(dir, true, &handles[0], &fault));
    assert_ok(catalog_open(dir, false, &handles[1], &fault));
    for (uint32_t step = 1; step <= 200; step++) {
        struct catalog_pointer after[TABLES];
        memcpy(after, model, sizeof after);
        assert_ok(catalog_begin(handles[0], &fault));
        for (uint64_t i = prng_below(&prng, 4); i > 0; i--) {
            uint32_t table = (uint32_t)prng_below(&prng, TABLES);
            char name[16];
            (void)snprintf(name, sizeof name, "t%u", table);
            if (after[table].version != 0 && prng_below(&prng, 3) == 0) {
                assert_ok(catalog_pointer_delete(handles[0], name, &fault));
                after[table] = (struct catalog_pointer){0};
                continue;
            }
            after[table] = (struct catalog_pointer){.processor = "p", .version = step, .epoch = i};
            assert_ok(catalog_pointer_put(handles[0], name, &after[table], &fault));
        }
        check_pointers(handles, model, &prng);
        if (prng_below(&prng, 4) == 0) {
            catalog_abort(handles[0]);
        } else {
            assert_ok(catalog_commit(handles[0], &fault));
            memcpy(model, after, sizeof model);
        }
        check_pointers(handles, model, &prng);
    }
    catalog_close(handles[1]);
    catalog_close(handles[0]);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_swaps_seen_whole),
        cmocka_unit_test(test_pointers_are_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
