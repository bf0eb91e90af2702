/* Threads that read as much as they can through libkappa, from a data directory that is served by
 * `kappa up` or by nobody.
 *
 *     reader_load DATA TABLE USERS THREADS SECONDS
 *
 * Each read is a scope, one row by a random key of u0, u1, ... u(USERS-1), and the scope's end. Prints one
 * JSON line: reads/s of all threads, CPU microseconds a read, and how many of the keys had a row. */
#include "base/prng.h"
#include "include/kappa/reader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS_MAX 64

struct load {
    struct kappa_reader *reader;
    const char *table;
    uint32_t users;
    uint64_t seed;
    pthread_t thread;
    uint64_t reads;
    uint64_t found;
};

static int64_t until_ns;

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int rc, const struct kappa_error *error)
{
    if (rc < 0) {
        (void)fprintf(stderr, "reader_load: %s\n", error->text);
        exit(1);
    }
}

static void *load_main(void *arg)
{
    struct load *load = arg;
    struct prng prng;
    prng_init(&prng, load->seed);
    while ((load->reads & 15) != 0 || now_ns() < until_ns) {
        struct kappa_error error;
        struct kappa_scope *scope = NULL;
        struct kappa_table *table = NULL;
        const struct kappa_value *row = NULL;
        char key[24];
        int len = snprintf(key, sizeof key, "u%u", (unsigned)prng_below(&prng, load->users));
        struct kappa_value value = {.type = KAPPA_TYPE_TEXT, .s = {key, (uint32_t)len}};
        must(kappa_scope_begin(load->reader, load->table, &scope, &error), &error);
        must(kappa_scope_table(scope, NULL, &table, &error), &error);
        int rc = kappa_get(table, &value, 1, KAPPA_NEWEST, &row, &error);
        must(rc, &error);
        load->found += rc == 1 ? 1 : 0;
        load->reads++;
        kappa_scope_end(scope);
    }
    return NULL;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    static struct load loads[THREADS_MAX];
    struct kappa_error error;
    struct kappa_reader *reader = NULL;
    uint32_t threads = argc == 6 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    if (threads == 0 || threads > THREADS_MAX || strtoul(argv[3], NULL, 10) == 0) {
        (void)fprintf(stderr, "usage: reader_load DATA TABLE USERS THREADS SECONDS\n");
        return 2;
    }
    must(kappa_reader_open(argv[1], &reader, &error), &error);
    int64_t begun_ns = now_ns();
    double cpu = cpu_seconds();
    until_ns = begun_ns + (int64_t)(strtod(argv[5], NULL) * 1e9);
    for (uint32_t i = 0; i < threads; i++) {
        loads[i] = (struct load){.reader = reader,
                                 .table = argv[2],
                                 .users = (uint32_t)strtoul(argv[3], NULL, 10),
                                 .seed = i + 1};
        if (pthread_create(&loads[i].thread, NULL, load_main, &loads[i]) != 0) {
            (void)fprintf(stderr, "reader_load: no thread\n");
            return 1;
        }
    }
    uint64_t reads = 0;
    uint64_t found = 0;
    for (uint32_t i = 0; i < threads; i++) {
        (void)pthread_join(loads[i].thread, NULL);
        reads += loads[i].reads;
        found += loads[i].found;
    }
    double seconds = (double)(now_ns() - begun_ns) / 1e9;
    (void)printf("{\"threads\":%u,\"reads_per_s\":%.0f,\"cpu_us\":%.3f,\"found\":%.3f}\n", threads,
                 (double)reads / seconds, 1e6 * (cpu_seconds() - cpu) / (double)reads,
                 (double)found / (double)reads);
    must(kappa_reader_close(reader, &error), &error);
    return 0;
}
