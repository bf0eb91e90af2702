/* What leaves (table/store_leaves.c) cost the writer: the same commits into two stores, one that keeps
 * them and one that does not, in turns.
 *
 *     store_put [ROWS [ROUNDS]]        default 2,000,000 rows, 3 rounds
 *
 * Rows have a key of 14 bytes and a value of 64; commits are not synced, as while a version is built.
 * Figures are rows per second of CPU time, the best round of each, and the ratio of the two: one JSON
 * line for each kind of commit. */
#include "base/prng.h"
#include "table/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEY_LEN = 14, VALUE_LEN = 64, STORES = 2 };

static const struct kind {
    const char *name;
    uint32_t commit;  /* rows in each */
    uint32_t commits; /* 0: as many as there are rows for */
    bool append;
    bool new_keys;
} kinds[] = {
    {"append", 100000, 0, true, true},
    {"update 10,000 a commit", 10000, 30, false, false},
    {"insert 10,000 a commit", 10000, 30, false, true},
    {"update 10 a commit", 10, 10000, false, false},
};

static struct err fault;
static uint8_t (*keys)[KEY_LEN]; /* of one commit */

static void must(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "store_put: %s: %s\n", what, fault.text);
        exit(1);
    }
}

static double cpu_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, KEY_LEN);
}

/* Source 0, a number, and for keys between those of the appended rows a second one. */
static void key_make(uint8_t *key, uint64_t number, uint32_t between)
{
    char text[KEY_LEN - KAPPA_KEY_SOURCE_BYTES + 1];
    store_u16_be(key, 0);
    (void)snprintf(text, sizeof text, "%08" PRIu64 "%04" PRIu32, number % 100000000,
                   between % 10000);
    memcpy(key + KAPPA_KEY_SOURCE_BYTES, text, sizeof text - 1);
}

static uint32_t keys_make(const struct kind *kind, struct prng *prng, uint64_t first, uint64_t rows)
{
    for (uint32_t i = 0; i < kind->commit; i++) {
        bool between = kind->new_keys && !kind->append;
        key_make(keys[i], kind->append ? first + i : prng_below(prng, rows),
                 between ? 1 + (uint32_t)prng_below(prng, 9999) : 0);
    }
    qsort(keys, kind->commit, KEY_LEN, by_bytes);
    uint32_t count = 1;
    for (uint32_t i = 1; i < kind->commit; i++) {
        if (memcmp(keys[i], keys[count - 1], KEY_LEN) != 0) {
            memcpy(keys[count++], keys[i], KEY_LEN);
        }
    }
    return count;
}

/* One commit of the keys at hand. */
static void commit(struct store *store, const struct kind *kind, uint32_t count, uint64_t mark)
{
    uint8_t value[VALUE_LEN] = {0};
    struct kappa_source_state state = {.next_offset = (int64_t)mark};
    int rc;
    memcpy(value, &mark, sizeof mark);
    do { /* AGAIN: the map has grown */
        rc = store_begin(store, &fault);
        const struct kappa_change_sink *sink = store_sink(store);
        for (uint32_t i = 0; rc == 0 && i < count; i++) {
            rc = sink->put(sink->ctx, 0, keys[i], KEY_LEN, value, sizeof value, kind->append,
                           &fault);
        }
        rc = rc == 0 ? store_source_put(store, 0, &state, &fault) : rc;
        rc = rc == 0 ? store_commit(store, &fault) : rc;
    } while (rc == -KE_AGAIN);
    must(rc == 0, kind->name);
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 3;
    double best[array_len(kinds)][STORES] = {{0}};
    must(rows >= kinds[0].commit && rounds > 0, "too few rows or rounds");
    keys = xcalloc(kinds[0].commit, sizeof *keys);
    for (uint32_t round = 0; round < rounds * STORES; round++) {
        uint32_t which = round % STORES;
        char dir[] = "/tmp/kappa-store-put-XXXXXX";
        const struct kappa_table_shape shape = {.name = "t", .leaves = which == 1};
        const struct store_options options = {
            .dir = dir, .tables = &shape, .table_count = 1, .building = true};
        struct store *store = NULL;
        struct prng prng;
        uint64_t mark = 0;
        prng_init(&prng, 1 + round / STORES);
        must(mkdtemp(dir) != NULL && store_open(&options, &store, &fault) == 0, "open");
        for (size_t k = 0; k < array_len(kinds); k++) {
            const struct kind *kind = &kinds[k];
            uint64_t commits = kind->append ? rows / kind->commit : kind->commits;
            uint64_t put = 0;
            double spent = 0;
            for (uint64_t c = 0; c < commits; c++) {
                uint32_t count = keys_make(kind, &prng, c * kind->commit, rows);
                double began = cpu_seconds();
                commit(store, kind, count, ++mark);
                spent += cpu_seconds() - began;
                put += count;
            }
            double rate = (double)put / spent;
            best[k][which] = rate > best[k][which] ? rate : best[k][which];
        }
        store_close(store);
        char *command = xasprintf("rm -rf '%s'", dir);
        must(system(command) == 0, "rm"); // NOLINT
        free(command);
    }
    for (size_t k = 0; k < array_len(kinds); k++) {
        printf("{\"kind\": \"%s\", \"rows_per_s\": %.0f, \"without_leaves_per_s\": %.0f, "
               "\"ratio\": %.2f}\n",
               kinds[k].name, best[k][1], best[k][0], best[k][1] / best[k][0]);
    }
    free(keys);
    return 0;
}
