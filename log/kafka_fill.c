/* What one look at librdkafka's queue brings, as records and runs. Own header: kafka_reader.h, which
 * has the drawing.
 *
 * Also here: keeping librdkafka 2.0.2 awake. Its broker threads look at full queues and new
 * partitions only once a second, see nudge() and start_look(). */
#include "log/kafka_reader.h"

#include "base/clock.h"
#include "base/trace.h"

#include <string.h>
#include <strings.h>

#define FILL_BYTES      (2 * (size_t)LIMIT_BATCH_BYTES) /* wanted in one, by the last's average */
#define AVERAGE_FIRST   256                             /* bytes of a message, before any came */
#define PAGE_SIZE       4096U
#define PREFETCH_AHEAD  12 /* messages, see prefetch_value_end() and prefetch_message() */
#define CACHE_LINE      64
#define NUDGE_MESSAGES  25000 /* a quarter of queued.min.messages, see nudge() */
#define NUDGE_BYTES     (8U << 20)
#define NUDGE_DRY_BYTES (64U << 10)
#define GAP_US          1000000 /* for so long nobody read: what then comes is doubtful */
#define STARTUP_US      3000000 /* see starting() */
#define STARTUP_WAIT_MS 20

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COPY_ALWAYS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COPY_ALWAYS true
#endif
#endif
#ifndef COPY_ALWAYS
#define COPY_ALWAYS false
#endif

_Static_assert(KAPPA_RECORD_TAIL < PAGE_SIZE, "a value's tail fits a page");

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- Messages to records and runs */

static bool tail_is_readable(const uint8_t *value, size_t len)
{
    uintptr_t last = (uintptr_t)value + len - 1;
    return !COPY_ALWAYS && last % PAGE_SIZE + KAPPA_RECORD_TAIL < PAGE_SIZE;
}

static const uint8_t *value_with_tail(struct kafka_reader *reader, const uint8_t *value, size_t len)
{
    static const uint8_t nothing[KAPPA_RECORD_TAIL];
    if (len == 0) {
        return nothing;
    }
    if (tail_is_readable(value, len)) {
        return value;
    }
    uint8_t *copy = arena_alloc(&reader->copies, len + KAPPA_RECORD_TAIL);
    memcpy(copy, value, len);
    memset(copy + len, 0, KAPPA_RECORD_TAIL);
    return copy;
}

static void put(uint8_t *out, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(out, bytes, len);
    }
}

/* Headers in Kappa's layout (include/kappa/record.h); out NULL: only their length. */
static size_t headers_write(const rd_kafka_headers_t *headers, uint8_t *out)
{
    const char *name = NULL;
    const void *value = NULL;
    size_t value_len = 0;
    size_t size = 0;
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &value_len) ==
                       RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        size_t name_len = strlen(name);
        size_t copied = value == NULL ? 0 : value_len;
        if (out != NULL) {
            store_u32_le(out + size, u32_from(name_len));
            put(out + size + 4, name, name_len);
            store_u32_le(out + size + 4 + name_len,
                         value == NULL ? KAPPA_NULL_LEN : u32_from(copied));
            put(out + size + 8 + name_len, value, copied);
        }
        size += 8 + name_len + copied;
    }
    return size;
}

static void record_fill(struct kafka_reader *reader, const rd_kafka_message_t *message,
                        struct kappa_record *record)
{
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    int64_t time_ms = rd_kafka_message_timestamp(message, &kind);
    rd_kafka_headers_t *headers = NULL;
    *record = (struct kappa_record){
        .offset = message->offset,
        .time_ms = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? KAPPA_NO_TIME : time_ms,
        .key = message->key,
        .key_len = message->key == NULL ? KAPPA_NULL_LEN : (uint32_t)message->key_len,
        .value_len = KAPPA_NULL_LEN,
    };
    if (message->payload != NULL) {
        record->value_len = u32_from(message->len);
        record->value = value_with_tail(reader, message->payload, message->len);
    }
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t size = headers_write(headers, NULL);
        uint8_t *bytes = arena_alloc(&reader->copies, size + 1);
        (void)headers_write(headers, bytes);
        record->headers = bytes;
        record->headers_len = u32_from(size);
    }
}

/* Index of the source a message belongs to, or KAFKA_NO_INDEX. Neighbours mostly share it. */
static uint32_t source_of(struct kafka_reader *reader, const rd_kafka_message_t *message)
{
    if (message->rkt == NULL) {
        return KAFKA_NO_INDEX;
    }
    if (message->rkt != reader->last_topic ||
        reader->sources[reader->last_index].partition != message->partition) {
        uint32_t index =
            kafka_source_find(reader, rd_kafka_topic_name(message->rkt), message->partition);
        if (index == KAFKA_NO_INDEX) {
            return KAFKA_NO_INDEX;
        }
        reader->last_topic = message->rkt;
        reader->last_index = index;
    }
    return reader->last_index;
}

static struct kafka_run *run_add(struct kafka_reader *reader, uint32_t index)
{
    ASSERT_CMP(reader->run_count, <, KAFKA_FILL_MAX);
    struct kafka_run *run = &reader->runs[reader->run_count++];
    *run = (struct kafka_run){.index = index,
                              .first = reader->record_count,
                              .next = index == KAFKA_NO_INDEX ? 0 : reader->sources[index].read};
    return run;
}

/* The run that this source's next record or end joins, or NULL. */
static struct kafka_run *run_open(struct kafka_reader *reader, uint32_t index)
{
    struct kafka_run *run = reader->run_count == 0 ? NULL : &reader->runs[reader->run_count - 1];
    return run != NULL && run->index == index && run->bad == NULL && !run->at_end ? run : NULL;
}

static void take_end(struct kafka_reader *reader, uint32_t index, int64_t offset)
{
    struct kafka_source *source = &reader->sources[index];
    if (offset < source->read) {
        return; /* an end from before a position we already passed */
    }
    struct kafka_run *run = run_open(reader, index);
    if (run == NULL) {
        run = run_add(reader, index);
    }
    source->read = offset;
    run->next = offset;
    run->at_end = true;
}

/* Errors that belong to no partition, and those that pass, are remembered as trouble. */
static void take_error(struct kafka_reader *reader, uint32_t index,
                       const rd_kafka_message_t *message)
{
    if (index != KAFKA_NO_INDEX) {
        run_add(reader, index)->bad = message;
        return;
    }
    /* For example that the group has no coordinator: its offsets are not used. */
    trace(TRACE_DEBUG, "kafka: %s", rd_kafka_message_errstr(message));
}

static void take_message(struct kafka_reader *reader, const rd_kafka_message_t *message)
{
    uint32_t index = source_of(reader, message);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && index != KAFKA_NO_INDEX) {
        take_end(reader, index, message->offset);
    } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_error(reader, index, message);
    } else if (index == KAFKA_NO_INDEX || message->offset < reader->sources[index].read) {
        reader->dropped++;
    } else {
        struct kafka_run *run = run_open(reader, index);
        if (run == NULL) {
            run = run_add(reader, index);
        }
        record_fill(reader, message, &reader->records[reader->record_count++]);
        run->count++;
        run->next = message->offset + 1;
        reader->sources[index].read = message->offset + 1;
    }
}

/* Freed messages were last looked at a whole fill ago: they and what librdkafka keeps around them
 * come from memory, or a far cache. */
static void prefetch_message(const rd_kafka_message_t *message)
{
    uintptr_t at = (uintptr_t)message;
    for (int line = -2; line < 2; line++) {
        __builtin_prefetch((const void *)(at + (uintptr_t)(line * CACHE_LINE)), 1);
    }
}

void kafka_fill_release(struct kafka_reader *reader)
{
    for (uint32_t i = 0; i < reader->message_count; i++) {
        if (i + PREFETCH_AHEAD < reader->message_count) {
            prefetch_message(reader->messages[i + PREFETCH_AHEAD]);
        }
        rd_kafka_message_destroy(reader->messages[i]);
    }
    reader->message_count = 0;
    reader->record_count = 0;
    reader->run_count = 0;
    reader->run_now = 0;
    reader->last_topic = NULL; /* a handle lives as long as a message refers to it */
    arena_reset(&reader->copies);
}

/* ---- Keeping librdkafka awake */

/* Fetching stops while librdkafka's queue is full, and in 2.0.2 a broker thread that stopped looks
 * again only after a second, however fast the queue is emptied: a replay slower than the network
 * would stand still most of the time (fixed by fetch.queue.backoff.ms in 2.2). The only call that
 * wakes these threads without talking to a broker is the one that sets SASL credentials; it gets
 * those it already has. Called when a good part of a full queue was consumed. */
static void nudge(struct kafka_reader *reader)
{
    if (reader->user == NULL) {
        return;
    }
    reader->nudge_messages = 0;
    reader->nudge_bytes = 0;
    rd_kafka_error_t *error =
        rd_kafka_sasl_set_credentials(reader->client.rk, reader->user, reader->password);
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
}

/* A consumer assigned before its first connection is up may look for the leaders of its partitions
 * only at librdkafka's next round, a second later. Until something came, waits are short and
 * followed by a question that makes it look. */
static bool starting(const struct kafka_reader *reader)
{
    return !reader->started && now_us() - reader->assigned_us < STARTUP_US;
}

static void start_look(struct kafka_reader *reader)
{
    const struct rd_kafka_metadata *metadata = NULL;
    if (rd_kafka_metadata(reader->client.rk, 0, NULL, &metadata, KAFKA_PROBE_MS) ==
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
}

/* What nudge() may pass: the credentials in use; empty ones where none are used (no SASL, or
 * tokens); nothing for Kerberos, where an empty name might mean something. */
void kafka_fill_prepare(struct kafka_reader *reader)
{
    const struct kafka_settings *settings = reader->client.settings;
    reader->average = AVERAGE_FIRST;
    const char *protocol = kafka_settings_find(settings, "security.protocol");
    const char *mechanism = kafka_settings_find(settings, "sasl.mechanism");
    const char *user = kafka_settings_find(settings, "sasl.username");
    const char *password = kafka_settings_find(settings, "sasl.password");
    if (mechanism == NULL) {
        mechanism = kafka_settings_find(settings, "sasl.mechanisms");
    }
    bool sasl = protocol != NULL && strncasecmp(protocol, "sasl", 4) == 0;
    bool tokens = mechanism != NULL && strcasecmp(mechanism, "OAUTHBEARER") == 0;
    if (user != NULL && password != NULL) {
        reader->user = xstrdup(user);
        reader->password = xstrdup(password);
    } else if (!sasl || tokens) {
        reader->user = xstrdup("");
        reader->password = xstrdup("");
    }
}

/* Up to `wanted` messages; waits only for the first, since librdkafka itself would wait until it
 * has all of them. */
static uint32_t consume(struct kafka_reader *reader, int timeout_ms, uint32_t wanted)
{
    rd_kafka_message_t **messages = reader->messages;
    ssize_t count = rd_kafka_consume_batch_queue(reader->queue, 0, messages, wanted);
    if (count <= 0 && timeout_ms > 0 && !atomic_load(&reader->woken)) {
        if (reader->nudge_bytes >= NUDGE_DRY_BYTES) {
            nudge(reader); /* it ran dry after a stream */
        }
        count = rd_kafka_consume_batch_queue(reader->queue, timeout_ms, messages, 1);
        if (count == 1 && wanted > 1) {
            ssize_t more = rd_kafka_consume_batch_queue(reader->queue, 0, messages + 1, wanted - 1);
            count += more > 0 ? more : 0;
        }
    }
    return count < 0 ? 0 : (uint32_t)count;
}

/* librdkafka reads the count of headers, the byte behind the value, and nobody has looked at it yet:
 * it comes from memory. Asked for early, it is there in time. */
static void prefetch_value_end(const rd_kafka_message_t *message)
{
    if (message->payload != NULL) {
        __builtin_prefetch((const uint8_t *)message->payload + message->len);
    }
}

/* Nobody looked for a while, or this process stood still: librdkafka's queue was full and nothing asked for,
 * or a connection had no fetch on it, when the topic was made again. */
static void note_gap(struct kafka_reader *reader, int64_t from_us, int64_t expected_us)
{
    if (from_us != 0 && now_us() - from_us > expected_us + GAP_US) {
        kafka_client_doubt(&reader->client);
    }
}

void kafka_fill(struct kafka_reader *reader, int timeout_ms)
{
    kafka_fill_release(reader);
    int64_t began_us = now_us();
    note_gap(reader, reader->filled_us, 0);
    if (starting(reader) && timeout_ms > STARTUP_WAIT_MS) {
        timeout_ms = STARTUP_WAIT_MS;
    }
    size_t wanted = FILL_BYTES / reader->average;
    wanted = wanted < 1 ? 1 : wanted > KAFKA_FILL_MAX ? KAFKA_FILL_MAX : wanted;
    uint32_t count = consume(reader, timeout_ms, (uint32_t)wanted);
    note_gap(reader, began_us, (int64_t)timeout_ms * 1000);
    reader->filled_us = now_us();
    size_t bytes = 0;
    reader->message_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count) {
            prefetch_value_end(reader->messages[i + PREFETCH_AHEAD]);
        }
        take_message(reader, reader->messages[i]);
        bytes += reader->messages[i]->len + reader->messages[i]->key_len;
    }
    if (count > 0) {
        reader->average = bytes / count + 1;
        reader->started = true;
    } else if (timeout_ms > 0 && starting(reader)) {
        start_look(reader);
    }
    reader->nudge_messages += count;
    reader->nudge_bytes += bytes;
    if (reader->nudge_messages >= NUDGE_MESSAGES || reader->nudge_bytes >= NUDGE_BYTES) {
        nudge(reader);
    }
}
