/* Reading from Kafka: one consumer client per reader, explicit positions, batches without copies.
 *
 *     kafka_reader_open -> add... -> next, next, ... -> close          (one thread)
 *     progress, wake                                                   (any thread)
 *
 * Here are its life, positions, ends and errors; kafka_fill.c turns messages into records. The
 * invariants are in kafka_reader.h. */
#include "log/kafka_reader.h"

#include "base/clock.h"
#include "base/trace.h"

#include <string.h>

#define DRAIN_ROUNDS 100     /* at the close; more than a full queue */
#define REPORT_US    1000000 /* trouble with brokers is reported once a second */
#define GONE_LOOKS   3       /* at a topic that no broker knows, until it counts as deleted */
#define RANGE_MS     2000    /* asking for the range once a position is lost */

static struct kafka_reader *reader_of(struct log_reader *base)
{
    struct kafka_reader *reader = container_of(base, struct kafka_reader, base);
    MAGIC_ASSERT(reader, KAFKA_READER_MAGIC);
    return reader;
}

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- Sources */

static int compare_name(const char *topic, int32_t partition, const struct kafka_source *source)
{
    int order = strcmp(topic, source->topic);
    return order != 0 ? order : (partition > source->partition) - (partition < source->partition);
}

uint32_t kafka_source_place(const struct kafka_reader *reader, const char *topic, int32_t partition)
{
    uint32_t low = 0;
    uint32_t high = reader->source_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_name(topic, partition, &reader->sources[reader->by_name[middle]]) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t kafka_source_find(const struct kafka_reader *reader, const char *topic, int32_t partition)
{
    uint32_t place = kafka_source_place(reader, topic, partition);
    if (place < reader->source_count) {
        uint32_t index = reader->by_name[place];
        if (compare_name(topic, partition, &reader->sources[index]) == 0) {
            return index;
        }
    }
    return KAFKA_NO_INDEX;
}

static int kafka_reader_add(struct log_reader *base, uint32_t source, const char *topic,
                            uint32_t partition, int64_t offset, struct err *err)
{
    struct kafka_reader *reader = reader_of(base);
    ASSERT(!reader->assigned);
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    ASSERT(reader->by_source[source] == KAFKA_NO_INDEX);
    if (offset < 0 || partition > INT32_MAX) {
        return err_set(err, KE_INVALID, "%s [%u]: %lld is no position", topic, partition,
                       (long long)offset);
    }
    if (kafka_source_find(reader, topic, (int32_t)partition) != KAFKA_NO_INDEX) {
        return err_set(err, KE_INVALID, "%s [%u] is read twice", topic, partition);
    }
    if (reader->source_count == reader->source_cap) {
        reader->source_cap = reader->source_cap == 0 ? 16 : 2 * reader->source_cap;
        reader->sources = xrealloc(reader->sources, reader->source_cap * sizeof *reader->sources);
        reader->by_name = xrealloc(reader->by_name, reader->source_cap * sizeof *reader->by_name);
    }
    uint32_t index = reader->source_count;
    uint32_t place = kafka_source_place(reader, topic, (int32_t)partition);
    memmove(&reader->by_name[place + 1], &reader->by_name[place],
            (index - place) * sizeof *reader->by_name);
    reader->by_name[place] = index;
    struct kafka_source *added = &reader->sources[index];
    *added = (struct kafka_source){
        .topic = xstrdup(topic), .partition = (int32_t)partition, .source = source, .read = offset};
    atomic_init(&added->position, offset);
    atomic_init(&added->end_seen, -1);
    atomic_init(&added->quiet_high, -1);
    reader->by_source[source] = index;
    reader->source_count++;
    return 0;
}

static int assign(struct kafka_reader *reader, struct err *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)reader->source_count);
    for (uint32_t i = 0; i < reader->source_count; i++) {
        const struct kafka_source *source = &reader->sources[i];
        rd_kafka_topic_partition_list_add(list, source->topic, source->partition)->offset =
            source->read;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(reader->client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(&reader->client, code, NULL, err, "cannot assign partitions");
    }
    reader->assigned = true;
    reader->assigned_us = now_us();
    return 0;
}

/* The cached watermarks of the last fetch; -1 where unknown. Any thread. */
static void watermarks(struct kafka_reader *reader, const struct kafka_source *source, int64_t *low,
                       int64_t *high)
{
    int64_t start = -1;
    int64_t end = -1;
    if (rd_kafka_get_watermark_offsets(reader->client.rk, source->topic, source->partition, &start,
                                       &end) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        start = -1;
        end = -1;
    }
    *low = i64_max(start, -1); /* "unknown" is below -1000 */
    *high = i64_max(end, -1);
}

/* The end as a reader sees it. Behind a PARTITION_EOF it is that offset, although the high
 * watermark may lie further on: markers, or an open transaction. */
static int64_t end_now(const struct kafka_source *source, int64_t position, int64_t high)
{
    if (position == atomic_load(&source->end_seen) && high <= atomic_load(&source->quiet_high)) {
        return position;
    }
    return high < 0 ? -1 : i64_max(high, position);
}

static void kafka_reader_progress(struct log_reader *base, uint32_t number, int64_t *start,
                                  int64_t *end, int64_t *high)
{
    struct kafka_reader *reader = reader_of(base);
    ASSERT_CMP(number, <, LIMIT_SOURCES);
    ASSERT(reader->by_source[number] != KAFKA_NO_INDEX);
    const struct kafka_source *source = &reader->sources[reader->by_source[number]];
    watermarks(reader, source, start, high);
    *end = end_now(source, atomic_load(&source->position), *high);
    *high = i64_max(*high, *end);
}

/* Nothing came in a wait: what lay below the high watermarks before it is not readable. */
static void remember_quiet(struct kafka_reader *reader)
{
    for (uint32_t i = 0; i < reader->source_count; i++) {
        struct kafka_source *source = &reader->sources[i];
        int64_t low = -1;
        int64_t high = -1;
        if (source->read == atomic_load(&source->end_seen)) {
            watermarks(reader, source, &low, &high);
            atomic_store(&source->quiet_high, high);
        }
    }
}

/* ---- Errors of a partition */

static int gone(const struct kafka_source *source, struct err *err)
{
    int rc =
        err_set(err, KE_TOPIC_CHANGED, "%s [%d] does not exist any more (offset %lld was next)",
                source->topic, source->partition, (long long)source->read);
    err_hint(err, "the topic was deleted or lost partitions; make a new version that replays what "
                  "is there");
    return rc;
}

static int lost(struct kafka_reader *reader, const struct kafka_source *source, struct err *err)
{
    int64_t start = -1;
    int64_t end = -1;
    long long wanted = (long long)source->read;
    int rc = kafka_query_range(&reader->client, source->topic, source->partition, RANGE_MS, &start,
                               &end, err);
    if (rc == -KE_NOT_FOUND) {
        return gone(source, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (source->read < start) {
        rc = err_set(err, KE_RANGE_LOST,
                     "%s [%d]: offset %lld was wanted, but the log now starts at %lld (end %lld)",
                     source->topic, source->partition, wanted, (long long)start, (long long)end);
        err_hint(err, "retention removed records that were not read yet; replay from what is "
                      "left, or keep records longer (retention.ms, retention.bytes)");
        return rc;
    }
    if (source->read > end) {
        rc = err_set(err, KE_TOPIC_CHANGED,
                     "%s [%d]: offset %lld was wanted, but the log ends at %lld (start %lld)",
                     source->topic, source->partition, wanted, (long long)end, (long long)start);
        err_hint(err, "the topic was deleted and made again, or lost records; make a new version "
                      "that replays it");
        return rc;
    }
    /* A start never falls: the end was below it, and has passed it since. */
    rc = err_set(err, KE_TOPIC_CHANGED,
                 "%s [%d]: offset %lld was refused, which the log has by now (%lld to %lld)",
                 source->topic, source->partition, wanted, (long long)start, (long long)end);
    err_hint(err, "the topic was deleted and made again, or lost records; make a new version that "
                  "replays it");
    return rc;
}

static int partition_error(struct kafka_reader *reader, const struct kafka_source *source,
                           const rd_kafka_message_t *message, struct err *err)
{
    const char *detail = rd_kafka_message_errstr(message);
    switch ((int)kafka_error_code(message->err)) {
    case KE_NOT_FOUND:
        return gone(source, err);
    case KE_CORRUPT: {
        int rc = err_set(err, KE_CORRUPT, "%s [%d]: damaged records at offset %lld: %s",
                         source->topic, source->partition, (long long)message->offset, detail);
        err_hint(err, "the broker's log is damaged there; restore it from a replica");
        return rc;
    }
    default: /* librdkafka goes on trying */
        return kafka_error_brokers(&reader->client, err, "%s [%d]: %s", source->topic,
                                   source->partition, detail);
    }
}

/* Remembers an error for good: every next() gives it again. Returns rc. */
static int reader_fail(struct kafka_reader *reader, const struct kafka_source *source, int rc,
                       const struct err *err)
{
    if (rc != -KE_BROKER && rc != -KE_AGAIN) {
        reader->failed = rc;
        reader->failed_source = source->source;
        reader->failure = err == NULL ? (struct err){.code = rc} : *err;
    }
    return rc;
}

/* bad: NULL when the range of a lost source is asked for again. */
static int source_error(struct kafka_reader *reader, uint32_t index, const rd_kafka_message_t *bad,
                        struct log_batch *batch, struct err *err)
{
    const struct kafka_source *source = &reader->sources[index];
    struct err local = {0};
    bool range = bad == NULL || bad->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
    int rc = range ? lost(reader, source, &local) : partition_error(reader, source, bad, &local);
    batch->source = source->source;
    reader->lost = range ? index : reader->lost; /* librdkafka has stopped fetching it */
    if (err != NULL) {
        *err = local;
    }
    return reader_fail(reader, source, rc, &local);
}

/* ---- Trouble with brokers */

static const struct rd_kafka_metadata_partition *metadata_find(
    const struct rd_kafka_metadata *metadata, const struct kafka_source *source, bool *known)
{
    *known = true;
    for (int t = 0; t < metadata->topic_cnt; t++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[t];
        if (strcmp(topic->topic, source->topic) != 0) {
            continue;
        }
        for (int p = 0; p < topic->partition_cnt; p++) {
            if (topic->partitions[p].id == source->partition) {
                return &topic->partitions[p];
            }
        }
        *known = topic->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
                 topic->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        return NULL;
    }
    return NULL;
}

/* 0 when every source has a leader; BROKER when one has none now. A source that the brokers do not
 * know is gone, but only when they say so several times: one that just started may not know yet. */
static int metadata_check(struct kafka_reader *reader, const struct rd_kafka_metadata *metadata,
                          struct log_batch *batch, struct err *err)
{
    for (uint32_t i = 0; i < reader->source_count; i++) {
        const struct kafka_source *source = &reader->sources[i];
        bool known = true;
        const struct rd_kafka_metadata_partition *found = metadata_find(metadata, source, &known);
        if (!known) {
            batch->source = source->source;
            if (++reader->gone_looks >= GONE_LOOKS) {
                return reader_fail(reader, source, gone(source, err), err);
            }
            return err_set(err, KE_BROKER, "%s [%d]: no broker knows it now", source->topic,
                           source->partition);
        }
        if (found != NULL && found->leader < 0) {
            batch->source = source->source;
            return kafka_error_brokers(&reader->client, err, "%s [%d] has no leader", source->topic,
                                       source->partition);
        }
    }
    reader->gone_looks = 0;
    return 0;
}

/* Something went wrong since we last looked: is it still so? The word of librdkafka alone is not
 * enough, since it also tells of connections closed for being idle. A deleted topic is told in the
 * same way. */
static int trouble_look(struct kafka_reader *reader, struct log_batch *batch, struct err *err)
{
    int64_t now = now_us();
    if (!atomic_load(&reader->client.trouble) || now - reader->probed_us < REPORT_US) {
        return 0;
    }
    reader->probed_us = now;
    const struct rd_kafka_metadata *metadata = NULL;
    if (rd_kafka_metadata(reader->client.rk, 0, NULL, &metadata, KAFKA_PROBE_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error_brokers(&reader->client, err, "Kafka does not answer");
    }
    int rc = metadata_check(reader, metadata, batch, err);
    rd_kafka_metadata_destroy(metadata);
    if (rc == 0) {
        kafka_client_trouble_over(&reader->client);
    }
    return rc;
}

/* ---- next */

/* Hands out the present run, or its first max_records. */
static void run_give(struct kafka_reader *reader, uint32_t max_records, struct log_batch *batch)
{
    struct kafka_run *run = &reader->runs[reader->run_now];
    struct kafka_source *source = &reader->sources[run->index];
    const struct kappa_record *records = &reader->records[run->first];
    size_t bytes = 0;
    uint32_t count = 0;
    for (; count < run->count && count < max_records && bytes < LIMIT_BATCH_BYTES; count++) {
        bytes += records[count].value_len == KAPPA_NULL_LEN ? 0 : records[count].value_len;
    }
    bool whole = count == run->count;
    int64_t next = whole ? run->next : records[count - 1].offset + 1;
    int64_t low = -1;
    int64_t high = -1;
    watermarks(reader, source, &low, &high);
    if (whole && run->at_end) {
        atomic_store(&source->end_seen, next);
        atomic_store(&source->quiet_high, high);
    }
    atomic_store(&source->position, next);
    *batch = (struct log_batch){
        .source = source->source,
        .count = count,
        .records = records,
        .next_offset = next,
        /* Without transactions the watermark tells of the end sooner than PARTITION_EOF does. */
        .at_end = (whole && run->at_end) || next == high,
        .doubt = atomic_load(&reader->client.doubt),
    };
    batch->end_offset = batch->at_end ? next : end_now(source, next, high);
    run->first += count;
    run->count -= count;
    reader->run_now += whole;
}

static int kafka_reader_next(struct log_reader *base, int timeout_ms, uint32_t max_records,
                             struct log_batch *batch, struct err *err)
{
    struct kafka_reader *reader = reader_of(base);
    ASSERT_CMP(max_records, >, 0);
    *batch = (struct log_batch){.source = UINT32_MAX, .none = true};
    if (reader->failed != 0) {
        batch->source = reader->failed_source;
        if (err != NULL) {
            *err = reader->failure;
        }
        return reader->failed;
    }
    if (reader->lost != KAFKA_NO_INDEX) {
        return source_error(reader, reader->lost, NULL, batch, err);
    }
    int rc = reader->assigned ? 0 : assign(reader, err);
    if (rc != 0) {
        return rc;
    }
    int64_t deadline = now_us() + (int64_t)timeout_ms * 1000;
    if (reader->run_now == reader->run_count) {
        rc = trouble_look(reader, batch, err);
    }
    while (rc == 0 && reader->run_now == reader->run_count) {
        int64_t left = deadline - now_us();
        kafka_fill(reader, left <= 0 ? 0 : (int)((left + 999) / 1000));
        if (reader->run_count > 0) {
            break;
        }
        if (reader->message_count == 0 &&
            (atomic_exchange(&reader->woken, false) || now_us() >= deadline)) {
            remember_quiet(reader);
            return 0;
        }
    }
    if (rc != 0) {
        return rc;
    }
    const struct kafka_run *run = &reader->runs[reader->run_now];
    if (run->bad != NULL) {
        reader->run_now++;
        return source_error(reader, run->index, run->bad, batch, err);
    }
    run_give(reader, max_records, batch);
    return 0;
}

static void kafka_reader_wake(struct log_reader *base)
{
    struct kafka_reader *reader = reader_of(base);
    atomic_store(&reader->woken, true);
    rd_kafka_queue_yield(reader->queue);
}

/* ---- Life */

/* Stops fetching and serves what is queued, so that a deleted topic is heard of before the close. */
static void drain(struct kafka_reader *reader)
{
    if (!reader->assigned || rd_kafka_assign(reader->client.rk, NULL) != 0) {
        return;
    }
    for (int round = 0; round < DRAIN_ROUNDS; round++) {
        ssize_t count =
            rd_kafka_consume_batch_queue(reader->queue, 0, reader->messages, KAFKA_FILL_MAX);
        if (count <= 0) {
            break;
        }
        reader->message_count = (uint32_t)count;
        kafka_fill_release(reader);
    }
}

static void kafka_reader_close(struct log_reader *base)
{
    struct kafka_reader *reader = reader_of(base);
    if (reader->dropped > 0) {
        trace(TRACE_DEBUG, "kafka: %llu records came again and were dropped",
              (unsigned long long)reader->dropped);
    }
    kafka_fill_release(reader);
    drain(reader);
    rd_kafka_queue_destroy(reader->queue);
    kafka_client_close(&reader->client);
    for (uint32_t i = 0; i < reader->source_count; i++) {
        free(reader->sources[i].topic);
    }
    free(reader->sources);
    free(reader->by_name);
    free(reader->user);
    free(reader->password);
    arena_free(&reader->copies);
    reader->magic = 0;
    free(reader);
}

static const struct log_reader_ops kafka_reader_ops = {
    .close = kafka_reader_close,
    .add = kafka_reader_add,
    .next = kafka_reader_next,
    .progress = kafka_reader_progress,
    .wake = kafka_reader_wake,
};

int kafka_reader_open(struct log *log, const char *group, struct log_reader **out, struct err *err)
{
    const struct kafka_settings *settings = &kafka_log_of(log)->settings;
    if (group == NULL || group[0] == '\0') {
        return err_set(err, KE_INVALID, "a reader of Kafka needs the name of a group");
    }
    struct kafka_reader *reader = xcalloc(1, sizeof *reader);
    reader->base.ops = &kafka_reader_ops;
    reader->magic = KAFKA_READER_MAGIC;
    int rc = kafka_client_init(&reader->client, settings, KAFKA_READER, group, err);
    if (rc != 0) {
        free(reader);
        return rc;
    }
    (void)rd_kafka_poll_set_consumer(reader->client.rk);
    reader->queue = rd_kafka_queue_get_consumer(reader->client.rk);
    reader->lost = KAFKA_NO_INDEX;
    memset(reader->by_source, 0xff, sizeof reader->by_source); /* KAFKA_NO_INDEX */
    arena_init(&reader->copies);
    kafka_fill_prepare(reader);
    *out = &reader->base;
    return 0;
}
