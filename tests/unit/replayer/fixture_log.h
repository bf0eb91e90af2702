/* A log for tests of the replayer, nastier than a real one: seeded holes, batches of odd sizes in
 * odd order, batches that only move the position, records delivered twice, passing errors, and
 * memory that is gone at the next call (a use of old records is a use after free). One topic,
 * "events".
 *
 * Events are {"user","kind","amount","ts"}; some are not JSON at all. fixture_event tells what was
 * made, so that a test can count by itself. */
#ifndef KAPPA_TESTS_FIXTURE_LOG_H
#define KAPPA_TESTS_FIXTURE_LOG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "log/log.h"

#define FIXTURE_PARTITIONS 5
#define FIXTURE_USERS      40
#define FIXTURE_VALUE      128

/* One event in the log. */
struct fixture_event {
    int64_t offset;
    int64_t ts_ms;
    int64_t amount;
    uint32_t user;
    uint32_t kind;
    bool bad; /* not JSON */
};

struct fixture_partition {
    struct fixture_event *events;
    uint32_t count;
    int64_t start, end; /* the end may lie behind a hole */
};

struct fixture_log {
    struct log base;
    struct fixture_partition partitions[FIXTURE_PARTITIONS];
    struct prng prng; /* of deliveries */
    uint32_t errors;  /* one call in this many fails with BROKER; 0: none */
    uint32_t repeats; /* one batch in this many goes back a little; 0: none */
    uint32_t readers; /* opened so far */
    uint32_t next_calls;
};

struct fixture_source {
    uint32_t number, partition;
    int64_t offset;
};

struct fixture_reader {
    struct log_reader base;
    struct fixture_log *log;
    struct fixture_source sources[FIXTURE_PARTITIONS];
    uint32_t source_count;
    struct kappa_record *records; /* of the last batch */
    uint8_t **bytes;
    uint32_t record_count;
};

/* Partition 3 stays empty; partition 4 is one long hole. */
static inline void fixture_fill(struct fixture_log *log, struct prng *prng, uint32_t events)
{
    for (uint32_t i = 0; i < events; i++) {
        struct fixture_partition *p = &log->partitions[prng_below(prng, 3)];
        if (prng_below(prng, 10) == 0) {
            p->end += 1 + (int64_t)prng_below(prng, 20); /* a hole */
        }
        if ((p->count & (p->count + 1)) == 0) {
            p->events = xrealloc(p->events, 2 * ((size_t)p->count + 1) * sizeof *p->events);
        }
        p->events[p->count++] = (struct fixture_event){
            .offset = p->end++,
            .ts_ms = 1700000000000 + (int64_t)i * 150 - (int64_t)prng_below(prng, 9000),
            .amount = (int64_t)prng_below(prng, 1000),
            .user = (uint32_t)prng_below(prng, FIXTURE_USERS),
            .kind = (uint32_t)prng_below(prng, 4),
            .bad = prng_below(prng, 50) == 0};
    }
    log->partitions[0].end += 60; /* a hole at the end */
    log->partitions[4].end = 400;
}

static inline void fixture_reader_clear(struct fixture_reader *reader)
{
    for (uint32_t i = 0; i < reader->record_count; i++) {
        free(reader->bytes[i]);
    }
    free(reader->bytes);
    free(reader->records);
    reader->records = NULL;
    reader->bytes = NULL;
    reader->record_count = 0;
}

static inline void fixture_reader_close(struct log_reader *base)
{
    struct fixture_reader *reader = container_of(base, struct fixture_reader, base);
    fixture_reader_clear(reader);
    free(reader);
}

static inline int fixture_reader_add(struct log_reader *base, uint32_t source, const char *topic,
                                     uint32_t partition, int64_t offset, struct err *err)
{
    struct fixture_reader *reader = container_of(base, struct fixture_reader, base);
    (void)err;
    ASSERT(strcmp(topic, "events") == 0);
    ASSERT(reader->source_count < FIXTURE_PARTITIONS);
    reader->sources[reader->source_count++] =
        (struct fixture_source){.number = source, .partition = partition, .offset = offset};
    return 0;
}

/* Each record in its own block, the value with exactly its tail behind it. */
static inline void fixture_deliver(struct fixture_reader *reader,
                                   const struct fixture_event *events, uint32_t count)
{
    fixture_reader_clear(reader);
    reader->records = xcalloc(count + 1, sizeof *reader->records);
    reader->bytes = xcalloc(count + 1, sizeof *reader->bytes);
    reader->record_count = count;
    for (uint32_t i = 0; i < count; i++) {
        char text[FIXTURE_VALUE];
        const struct fixture_event *e = &events[i];
        int len = snprintf(
            text, sizeof text, "{\"user\":\"u%u\",\"kind\":\"k%u\",\"amount\":%lld,\"ts\":%lld%s",
            e->user, e->kind, (long long)e->amount, (long long)e->ts_ms, e->bad ? "" : "}");
        reader->bytes[i] = xcalloc(1, (size_t)len + KAPPA_RECORD_TAIL);
        memcpy(reader->bytes[i], text, (size_t)len);
        reader->records[i] = (struct kappa_record){.offset = e->offset,
                                                   .time_ms = e->ts_ms,
                                                   .key_len = KAPPA_NULL_LEN,
                                                   .value = reader->bytes[i],
                                                   .value_len = (uint32_t)len};
    }
}

static inline uint32_t fixture_find(const struct fixture_partition *p, int64_t offset)
{
    uint32_t i = 0;
    while (i < p->count && p->events[i].offset < offset) {
        i++;
    }
    return i;
}

static inline int fixture_next(struct log_reader *base, int timeout_ms, uint32_t max_records,
                               struct log_batch *batch, struct err *err)
{
    struct fixture_reader *reader = container_of(base, struct fixture_reader, base);
    struct fixture_log *log = reader->log;
    (void)timeout_ms;
    log->next_calls++;
    *batch = (struct log_batch){.source = UINT32_MAX, .none = true, .end_offset = -1};
    fixture_reader_clear(reader);
    if (log->errors > 0 && prng_below(&log->prng, log->errors) == 0) {
        return err_set(err, KE_BROKER, "the broker is away");
    }
    uint32_t first = (uint32_t)prng_below(&log->prng, reader->source_count);
    for (uint32_t k = 0; k < reader->source_count; k++) {
        struct fixture_source *s = &reader->sources[(first + k) % reader->source_count];
        const struct fixture_partition *p = &log->partitions[s->partition];
        if (s->offset < p->start) {
            batch->source = s->number;
            return err_set(err, KE_RANGE_LOST, "offset %lld is gone", (long long)s->offset);
        }
        if (s->offset >= p->end) {
            continue;
        }
        uint32_t from = fixture_find(p, s->offset);
        if (log->repeats > 0 && prng_below(&log->prng, log->repeats) == 0) {
            from -= from < 5 ? from : 5;
        }
        uint32_t count = (uint32_t)prng_below(&log->prng, (uint64_t)max_records + 1);
        count = count > p->count - from ? p->count - from : count;
        fixture_deliver(reader, p->events + from, count);
        int64_t behind = count > 0 ? p->events[from + count - 1].offset + 1 : s->offset;
        int64_t hole = from + count < p->count ? p->events[from + count].offset : p->end;
        if (prng_below(&log->prng, 2) == 0 || behind < s->offset) {
            behind = hole;
        } else if (count == 0 && hole > behind) {
            behind += 1 + (int64_t)prng_below(&log->prng, (uint64_t)(hole - behind)); /* a part */
        }
        s->offset = i64_max(behind, s->offset);
        *batch = (struct log_batch){.source = s->number,
                                    .count = count,
                                    .records = reader->records,
                                    .next_offset = s->offset,
                                    .end_offset = p->end,
                                    .at_end = s->offset == p->end};
        return 0;
    }
    return 0;
}

static inline void fixture_progress(struct log_reader *base, uint32_t source, int64_t *start,
                                    int64_t *end, int64_t *high)
{
    struct fixture_reader *reader = container_of(base, struct fixture_reader, base);
    for (uint32_t i = 0; i < reader->source_count; i++) {
        if (reader->sources[i].number == source) {
            *start = reader->log->partitions[reader->sources[i].partition].start;
            *end = reader->log->partitions[reader->sources[i].partition].end;
            *high = *end;
        }
    }
}

static inline void fixture_wake(struct log_reader *base)
{
    (void)base;
}

static inline int fixture_reader_open(struct log *base, const char *group, struct log_reader **out,
                                      struct err *err)
{
    static const struct log_reader_ops ops = {.close = fixture_reader_close,
                                              .add = fixture_reader_add,
                                              .next = fixture_next,
                                              .progress = fixture_progress,
                                              .wake = fixture_wake};
    struct fixture_reader *reader = xcalloc(1, sizeof *reader);
    (void)group;
    (void)err;
    reader->base.ops = &ops;
    reader->log = container_of(base, struct fixture_log, base);
    reader->log->readers++;
    *out = &reader->base;
    return 0;
}

static inline struct fixture_log *fixture_log_new(uint64_t seed, uint32_t events)
{
    static const struct log_ops ops = {.reader_open = fixture_reader_open};
    struct fixture_log *log = xcalloc(1, sizeof *log);
    struct prng prng;
    prng_init(&prng, seed);
    log->base = (struct log){.ops = &ops, .kind = "fixture"};
    prng_init(&log->prng, prng_next(&prng));
    fixture_fill(log, &prng, events);
    return log;
}

static inline void fixture_log_free(struct fixture_log *log)
{
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        free(log->partitions[p].events);
    }
    free(log);
}

#endif
