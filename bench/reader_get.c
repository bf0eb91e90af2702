/* libkappa beside plain LMDB: rows by random keys, from the same file.
 *
 *     reader_get [KEYS [PARTITIONS [merged]]]      default 2,000,000 keys, one partition
 *
 * Keys lie in the partition that murmur2 gives, and the definition says so; with "merged" it does not,
 * and a get looks into all partitions.
 * Makes a version of one table (text key, count, sum) in a directory of its own, then in rounds, one
 * after the other: mdb_get of the stored key in one read transaction; kappa_get in one scope; a scope
 * begun and ended for each get; kappa_get_many of 16. Each call is timed; figures are medians in ns of
 * the best round of each, and their ratio to mdb_get. One JSON line. */
#include "base/partitioner.h"
#include "base/prng.h"
#include "include/kappa/reader.h"
#include "include/kappa/record.h"
#include "processor/processor.h"
#include "table/catalog.h"
#include "table/store.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BATCH   1024
#define TEXT    192
#define SAMPLES 200000
#define ROUNDS  5
#define MANY    16

#define DEFINITION(options)                                                                        \
    "CREATE TABLE ev (u text, n bigint) WITH (topic='events', format='json'" options ");\n"        \
    "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n) AS s FROM ev GROUP BY "    \
    "u;\n"

static const char *definition = DEFINITION(", key='u', partitioner='murmur2'");
static uint32_t partitions = 1;

static struct err fault;
static struct kappa_error error;
static char dir[] = "/tmp/kappa-reader-get-XXXXXX";
static char (*keys)[24];
static uint32_t *samples;

static void must(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "%s: %s%s\n", what, fault.text, error.text);
        exit(1);
    }
}

/* ---- the table */

static uint32_t partition_of(const char *key)
{
    return partition_of_key(PARTITIONER_MURMUR2, key, strlen(key), partitions);
}

static void apply(struct processor *processor, uint32_t count, uint32_t partition)
{
    static char texts[BATCH][TEXT];
    static struct kappa_record records[BATCH];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (partition_of(keys[i]) == partition) {
            int len = snprintf(texts[n], TEXT / 2, "{\"u\":\"%s\",\"n\":%u}", keys[i], i);
            records[n] = (struct kappa_record){.offset = i,
                                               .time_ms = 1,
                                               .key = (const uint8_t *)keys[i],
                                               .key_len = (uint32_t)strlen(keys[i]),
                                               .value = (const uint8_t *)texts[n],
                                               .value_len = (uint32_t)len};
            n++;
        }
        if (n == BATCH || i + 1 == count) {
            must(processor_apply(processor, partition, records, n, i + 1, &fault) == 0, "apply");
            n = 0;
        }
    }
}

static void make_tables(const struct plan *plan, uint32_t count)
{
    char *path = xasprintf("%s/versions/p/1/0", dir);
    struct store_options options = {
        .dir = path, .tables = &plan->tables[0].shape, .table_count = 1, .building = true};
    struct store *store = NULL;
    struct processor *processor = NULL;
    struct kappa_source_state state;
    must(store_open(&options, &store, &fault) == 0, "store");
    struct processor_options how = {
        .plan = plan, .load = store_load, .load_ctx = store, .cache_bytes = (size_t)2 << 30};
    must(processor_open(&how, &processor, &fault) == 0, "processor");
    for (uint32_t p = 0; p < partitions; p++) {
        struct store_source source;
        (void)store_source_get(store, p, &source);
        processor_source_restore(processor, p, 0, &source.state);
        processor_source_partition(processor, p, p, partitions);
        apply(processor, count, p);
    }
    int rc;
    do { /* AGAIN: the map has grown */
        rc = store_begin(store, &fault);
        rc = rc == 0 ? processor_flush(processor, store_sink(store), &fault) : rc;
        for (uint32_t p = 0; rc == 0 && p < partitions; p++) {
            processor_source_state(processor, p, &state);
            rc = store_source_put(store, p, &state, &fault);
        }
        rc = rc == 0 ? store_commit(store, &fault) : rc;
    } while (rc == -KE_AGAIN);
    must(rc == 0, "commit");
    processor_committed(processor);
    processor_close(processor);
    store_close(store);
    free(path);
}

static void make_catalog(void)
{
    struct catalog *catalog = NULL;
    char *path = xasprintf("%s/catalog", dir);
    char key[CATALOG_KEY_LEN];
    must(catalog_open(path, true, &catalog, &fault) == 0, "catalog");
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:[{s:s, s:i, s:i}], s:[], s:[s]}", "processor",
                  "p", "version", 1, "state", "serving", "definition", definition, "file", "p.sql",
                  "shards", 1, "inputs", "topic", "events", "identity", 0, "partitions",
                  (int)partitions, "start", "tables", "totals");
    struct catalog_pointer pointer = {.processor = "p", .version = 1, .epoch = 1};
    must(catalog_begin(catalog, &fault) == 0, "catalog");
    catalog_key_version(key, "p", 1);
    must(catalog_put(catalog, key, object, &fault) == 0, "catalog");
    must(catalog_pointer_put(catalog, "totals", &pointer, &fault) == 0, "catalog");
    must(catalog_commit(catalog, &fault) == 0, "catalog");
    catalog_close(catalog);
    json_decref(object);
    free(path);
}

static void make_version(uint32_t count)
{
    struct plan *plan = NULL;
    must(mkdtemp(dir) != NULL, "mkdtemp");
    static const char *const parts[] = {"catalog", "versions", "versions/p", "versions/p/1"};
    for (size_t i = 0; i < array_len(parts); i++) {
        char *path = xasprintf("%s/%s", dir, parts[i]);
        must(mkdir(path, 0750) == 0, path);
        free(path);
    }
    must(plan_compile("p.sql", definition, strlen(definition), &plan, &fault) == 0, "plan");
    make_tables(plan, count);
    make_catalog();
    plan_free(plan);
}

/* ---- timing */

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t median(uint32_t count)
{
    qsort(samples, count, sizeof *samples, by_value);
    return samples[count / 2];
}

/* ---- the ways */

static uint32_t by_lmdb(struct prng *prng, uint32_t count)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi = 0;
    char *path = xasprintf("%s/versions/p/1/0", dir);
    must(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 72) == 0 &&
             mdb_env_open(env, path, MDB_RDONLY | MDB_NOTLS, 0640) == 0 &&
             mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 &&
             mdb_dbi_open(txn, "r0", 0, &dbi) == 0,
         "LMDB");
    for (uint32_t i = 0; i < SAMPLES; i++) {
        const char *wanted = keys[prng_below(prng, count)];
        uint64_t begun = now_ns();
        uint8_t key[64] = {0, (uint8_t)partition_of(wanted),
                           1}; /* source, tag, text, end: as stored */
        size_t len = strlen(wanted);
        memcpy(key + 3, wanted, len);
        MDB_val k = {len + 5, key};
        MDB_val v;
        must(mdb_get(txn, dbi, &k, &v) == 0, "mdb_get");
        samples[i] = (uint32_t)(now_ns() - begun);
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
    free(path);
    return median(SAMPLES);
}

static void check_row(struct kappa_table *table, const char *key)
{
    const struct kappa_value *row = NULL;
    struct kappa_value value = {.type = KAPPA_TYPE_TEXT, .s = {key, (uint32_t)strlen(key)}};
    must(kappa_get(table, &value, 1, KAPPA_NEWEST, &row, &error) == 1 && row[1].i == 1,
         "kappa_get");
}

static uint32_t in_one_scope(struct kappa_reader *reader, struct prng *prng, uint32_t count)
{
    struct kappa_scope *scope = NULL;
    struct kappa_table *table = NULL;
    must(kappa_scope_begin(reader, "totals", &scope, &error) == 0, "scope");
    must(kappa_scope_table(scope, NULL, &table, &error) == 0, "table");
    for (uint32_t i = 0; i < SAMPLES; i++) {
        const char *wanted = keys[prng_below(prng, count)];
        uint64_t begun = now_ns();
        check_row(table, wanted);
        samples[i] = (uint32_t)(now_ns() - begun);
    }
    kappa_scope_end(scope);
    return median(SAMPLES);
}

static uint32_t in_scopes(struct kappa_reader *reader, struct prng *prng, uint32_t count)
{
    for (uint32_t i = 0; i < SAMPLES; i++) {
        struct kappa_scope *scope = NULL;
        struct kappa_table *table = NULL;
        const char *wanted = keys[prng_below(prng, count)];
        uint64_t begun = now_ns();
        must(kappa_scope_begin(reader, "totals", &scope, &error) == 0, "scope");
        must(kappa_scope_table(scope, NULL, &table, &error) == 0, "table");
        check_row(table, wanted);
        kappa_scope_end(scope);
        samples[i] = (uint32_t)(now_ns() - begun);
    }
    return median(SAMPLES);
}

static uint32_t of_many(struct kappa_reader *reader, struct prng *prng, uint32_t count)
{
    for (uint32_t i = 0; i < SAMPLES / MANY; i++) {
        struct kappa_scope *scope = NULL;
        struct kappa_table *table = NULL;
        struct kappa_value wanted[MANY];
        const struct kappa_value *rows[MANY];
        for (uint32_t k = 0; k < MANY; k++) {
            const char *key = keys[prng_below(prng, count)];
            wanted[k] =
                (struct kappa_value){.type = KAPPA_TYPE_TEXT, .s = {key, (uint32_t)strlen(key)}};
        }
        uint64_t begun = now_ns();
        must(kappa_scope_begin(reader, "totals", &scope, &error) == 0, "scope");
        must(kappa_scope_table(scope, NULL, &table, &error) == 0, "table");
        must(kappa_get_many(table, wanted, 1, MANY, KAPPA_NEWEST, rows, &error) == 0, "many");
        must(rows[MANY - 1] != NULL, "a row");
        kappa_scope_end(scope);
        samples[i] = (uint32_t)((now_ns() - begun) / MANY);
    }
    return median(SAMPLES / MANY);
}

int main(int argc, char **argv)
{
    uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000000;
    uint32_t best[4] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct prng prng;
    prng_init(&prng, 1);
    partitions = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    definition = argc > 3 ? DEFINITION("") : definition;
    must(count > 0 && partitions > 0 && partitions < 256, "keys, partitions");
    keys = xcalloc(count, sizeof keys[0]);
    samples = xcalloc(SAMPLES, sizeof samples[0]);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "user-%09u", i);
    }
    make_version(count);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t seen[4];
        struct kappa_reader *reader = NULL;
        seen[0] = by_lmdb(&prng, count); /* LMDB wants a file open once in a process: by turns */
        must(kappa_reader_open(dir, &reader, &error) == 0, "open");
        seen[1] = in_one_scope(reader, &prng, count);
        seen[2] = in_scopes(reader, &prng, count);
        seen[3] = of_many(reader, &prng, count);
        must(kappa_reader_close(reader, &error) == 0, "close");
        for (size_t i = 0; i < array_len(seen); i++) {
            best[i] = seen[i] < best[i] ? seen[i] : best[i];
        }
    }
    (void)printf("{\"keys\":%u,\"partitions\":%u,\"lmdb_ns\":%u,\"get_ns\":%u,\"get_ratio\":%.2f,"
                 "\"scope_get_ns\":%u,"
                 "\"scope_get_ratio\":%.2f,\"many_get_ns\":%u,\"many_get_ratio\":%.2f}\n",
                 count, partitions, best[0], best[1], (double)best[1] / best[0], best[2],
                 (double)best[2] / best[0], best[3], (double)best[3] / best[0]);
    char *command = xasprintf("rm -rf '%s'", dir);
    int rc = system(command);
    free(command);
    free(keys);
    free(samples);
    return rc;
}
