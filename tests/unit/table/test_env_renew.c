/* Goal: a read transaction that took so long to begin that commits passed meanwhile is taken anew, since it
 * may name one commit and show another (env_txn.c). Method: mdb_txn_renew is ours here; it calls the
 * library's, and then is late: it lets commits pass before it returns. */
#include "table/env.h"
#include "tests/unit/table/temp.h"

#include <dlfcn.h>
#include <string.h>

static struct env *env;
static MDB_dbi dbi;
static int late;     /* commits that pass in the next call */
static int renewals; /* calls */

static void commit(uint32_t number)
{
    MDB_txn *txn = NULL;
    MDB_val key = {1, (char[]){"k"}};
    MDB_val value = {sizeof number, &number};
    assert_ok(env_write_begin(env, &txn, &fault));
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_ok(env_write_commit(env, txn, "test", &fault));
}

int mdb_txn_renew(MDB_txn *txn)
{
    static uint32_t number = 100;
    int (*real)(MDB_txn * txn) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_renew");
    assert_non_null(real);
    int rc = real(txn);
    renewals++;
    for (; late > 0; late--) {
        commit(++number);
    }
    return rc;
}

static uint32_t see(void)
{
    MDB_txn *txn = NULL;
    MDB_val key = {1, (char[]){"k"}};
    MDB_val value;
    uint32_t number = 0;
    assert_ok(env_read_begin(env, &txn, &fault));
    assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
    memcpy(&number, value.mv_data, sizeof number);
    env_read_end(env, txn);
    return number;
}

static void test_late_transaction(void **state)
{
    (void)state;
    char *dir = temp_dir();
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault));
    env_set_nosync(env, true);
    assert_ok(env_open_only(env, &dbi, &fault));
    commit(1);
    assert_int_equal(see(), 1); /* begun; from here on it is renewed */
    assert_int_equal(renewals, 0);
    assert_int_equal(see(), 1);
    assert_int_equal(renewals, 1);
    late = 1; /* the roots of the commit that it names are still there */
    assert_int_equal(see(), 1);
    assert_int_equal(renewals, 2);
    late = 2;
    assert_int_equal(see(), 103);
    assert_int_equal(renewals, 4);
    env_close(env);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_late_transaction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
