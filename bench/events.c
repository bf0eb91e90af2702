/* Seeded user events as JSON lines on stdout: the input of the main scenario, for the demo, tests
 * and benches.
 *
 * Event n is a pure function of (seed, n), so that any range can be made again. About 150 bytes:
 *     {"user_id":"u42","event_type":"view","product_id":"p7","amount":12.34,"event_time":...,...}
 * Types: 60 % view, 30 % click, 10 % purchase. Event time: start + n * step, less a jitter of up to
 * `disorder` ms. With --rate, events leave at that rate (in steps of about 2 ms), and with --now
 * their event time is the wall clock. Every --bad-th line is broken on purpose. */
#include "base/clock.h"
#include "base/prng.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct settings {
    uint64_t seed;
    uint64_t users;
    uint64_t first;
    uint64_t count; /* 0: until killed */
    double rate;    /* events/s; 0: as fast as possible */
    int64_t start_ms;
    double step_us;
    uint64_t disorder_ms;
    uint64_t bad; /* 0: none */
    bool now;
};

static const char *const broken[] = {
    "{\"user_id\":\"u1\",\"event_type\":\"view\"",
    "not json at all",
    "{\"user_id\":\"u1\",\"event_type\":\"view\",\"product_id\":\"p1\",\"amount\":\"much\","
    "\"event_time\":1760000000000}",
    "{\"user_id\":\"u1\",\"event_type\":\"view\",\"product_id\":\"p1\",\"amount\":1.5}",
};

static const char *type_of(uint64_t draw)
{
    uint64_t percent = draw % 100;
    return percent < 60 ? "view" : percent < 90 ? "click" : "purchase";
}

static int64_t time_of(const struct settings *settings, uint64_t n, struct prng *prng)
{
    int64_t at = settings->now
                     ? clock_wall_ms(clock_real())
                     : settings->start_ms + (int64_t)((double)n * settings->step_us / 1e3);
    return settings->disorder_ms == 0 ? at : at - (int64_t)prng_below(prng, settings->disorder_ms);
}

static void write_event(const struct settings *settings, uint64_t n)
{
    struct prng prng;
    prng_init(&prng, settings->seed ^ (n * UINT64_C(0xD1342543DE82EF95)));
    (void)prng_next(&prng);
    if (settings->bad > 0 && n % settings->bad == settings->bad - 1) {
        (void)puts(broken[n / settings->bad % array_len(broken)]);
        return;
    }
    uint64_t user = prng_below(&prng, settings->users);
    const char *type = type_of(prng_next(&prng));
    uint64_t product = prng_below(&prng, 5000);
    uint64_t cents = 100 + prng_below(&prng, 50000);
    int64_t time_ms = time_of(settings, n, &prng);
    (void)printf("{\"user_id\":\"u%llu\",\"event_type\":\"%s\",\"product_id\":\"p%llu\",\"amount\":"
                 "%llu.%02llu,"
                 "\"event_time\":%lld,\"session\":\"s%08llx\",\"page\":\"/shop/item/%llu\"}\n",
                 (unsigned long long)user, type, (unsigned long long)product,
                 (unsigned long long)(cents / 100), (unsigned long long)(cents % 100),
                 (long long)time_ms, (unsigned long long)(prng_next(&prng) & 0xffffffff),
                 (unsigned long long)product);
}

/* Sleeps until event `done` of a paced stream is due. */
static void pace(const struct settings *settings, int64_t begin_us, uint64_t done)
{
    int64_t due_us = begin_us + (int64_t)((double)done / settings->rate * 1e6);
    int64_t wait_us = due_us - clock_mono_us(clock_real());
    if (wait_us > 0) {
        struct timespec wait = {wait_us / 1000000, wait_us % 1000000 * 1000};
        (void)nanosleep(&wait, NULL);
    }
}

static int run(const struct settings *settings)
{
    int64_t begin_us = clock_mono_us(clock_real());
    uint64_t burst = settings->rate > 0 ? (uint64_t)(settings->rate / 500) + 1 : 1024;
    for (uint64_t done = 0; settings->count == 0 || done < settings->count;) {
        for (uint64_t i = 0; i < burst && (settings->count == 0 || done < settings->count); i++) {
            write_event(settings, settings->first + done++);
        }
        if (settings->rate > 0) {
            if (fflush(stdout) != 0) {
                break;
            }
            pace(settings, begin_us, done);
        }
        if (ferror(stdout)) {
            break;
        }
    }
    return fflush(stdout) == 0 || errno == EPIPE ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct settings settings = {1, 100000, 0, 1000, 0, INT64_C(1760000000000), 100, 0, 0, false};
    static const struct option options[] = {
        {"seed", 1, NULL, 's'},    {"users", 1, NULL, 'u'},
        {"first", 1, NULL, 'f'},   {"count", 1, NULL, 'n'},
        {"rate", 1, NULL, 'r'},    {"start-ms", 1, NULL, 't'},
        {"step-us", 1, NULL, 'd'}, {"disorder-ms", 1, NULL, 'j'},
        {"bad", 1, NULL, 'b'},     {"now", 0, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            settings.seed = strtoull(optarg, NULL, 10);
            break;
        case 'u':
            settings.users = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            settings.first = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            settings.count = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            settings.rate = strtod(optarg, NULL);
            break;
        case 't':
            settings.start_ms = strtoll(optarg, NULL, 10);
            break;
        case 'd':
            settings.step_us = strtod(optarg, NULL);
            break;
        case 'j':
            settings.disorder_ms = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            settings.bad = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            settings.now = true;
            break;
        default:
            (void)fprintf(stderr,
                          "usage: events [--seed S] [--users U] [--first N] [--count M] [--rate R] "
                          "[--start-ms T] [--step-us D] [--disorder-ms J] [--bad N] [--now]\n");
            return 2;
        }
    }
    static char buffer[1 << 20];
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    return run(&settings);
}
