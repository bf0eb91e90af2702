/* Rate of a log reader alone: the same work as bench/kafka_read.c, through log/log.h. Payloads are
 * not decoded; one byte of each is looked at.
 *
 *     log_read CONFIG TOPIC [RECORDS [NANOSECONDS]]
 *
 * CONFIG is what log_open_config takes, e.g. {"kind":"kafka","brokers":"127.0.0.1:9092"}. Reads all
 * partitions with one reader, to their ends or to RECORDS. NANOSECONDS are spent on each record, as
 * a processor would: the rate must then be near what they allow. Prints one line of JSON. */
#include "base/clock.h"
#include "base/limits.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 100 };

static void must(int rc, const struct err *err)
{
    if (rc != 0) {
        (void)fprintf(stderr, "log_read: %s\n  %s\n", err->text, err->hint);
        exit(1);
    }
}

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

static void spend(int64_t start_us, uint64_t records, int64_t nanoseconds)
{
    static int64_t busy_until; /* of the pretended processor, in ns since start */
    int64_t now = (now_us() - start_us) * 1000;
    busy_until = i64_max(busy_until, now) + (int64_t)records * nanoseconds;
    while (nanoseconds > 0 && (now_us() - start_us) * 1000 < busy_until) {
    }
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct log *log = NULL;
    struct log_reader *reader = NULL;
    uint32_t open = 0;
    if (argc < 3 || argc > 5) {
        (void)fprintf(stderr, "usage: log_read CONFIG TOPIC [RECORDS [NANOSECONDS]]\n");
        return 2;
    }
    json_t *config = json_parse(argv[1], strlen(argv[1]), &err);
    must(config == NULL ? -1 : 0, &err);
    must(log_open_config(config, &log, &err), &err);
    json_decref(config);
    must(log->ops->topic_partitions(log, argv[2], &open, &err), &err);
    must(log->ops->reader_open(log, "kappa-bench", &reader, &err), &err);
    for (uint32_t partition = 0; partition < open; partition++) {
        int64_t start = 0;
        int64_t end = 0;
        must(log->ops->offsets(log, argv[2], partition, &start, &end, &err), &err);
        must(reader->ops->add(reader, partition, argv[2], partition, start, &err), &err);
    }
    const uint64_t wanted = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
    const int64_t nanoseconds = argc > 4 ? strtoll(argv[4], NULL, 10) : 0;
    static bool ended[LIMIT_SOURCES];
    uint64_t records = 0, bytes = 0, batches = 0, sum = 0;
    int64_t start_us = 0;
    while (open > 0 && records < wanted) {
        struct log_batch batch;
        must(reader->ops->next(reader, WAIT_MS, LIMIT_BATCH_RECORDS, &batch, &err), &err);
        if (batch.none) {
            continue;
        }
        start_us = records == 0 ? now_us() : start_us;
        for (uint32_t i = 0; i < batch.count; i++) {
            bytes += batch.records[i].value_len;
            sum += batch.records[i].value[0];
        }
        records += batch.count;
        batches++;
        spend(start_us, batch.count, nanoseconds);
        if (batch.at_end && !ended[batch.source]) {
            ended[batch.source] = true;
            open--;
        }
    }
    double seconds = (double)(now_us() - start_us) / 1e6;
    printf("{\"bench\":\"log_read\",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"batches\":%" PRIu64 ",\"seconds\":%.3f,\"records_per_s\":%.0f,\"sum\":%" PRIu64
           "}\n",
           records, bytes, batches, seconds, seconds > 0 ? (double)records / seconds : 0.0, sum);
    reader->ops->close(reader);
    log->ops->close(log);
    return 0;
}
