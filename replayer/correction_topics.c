/* What the topics hold, into the ledger. Own header: correction.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "replayer/correction_inside.h"

#define READ_WAIT_MS 100
#define STUCK_US     30000000 /* nothing came for so long: somebody's transaction hangs */

/* Headers that are not the message's own. */
static bool is_ours(const uint8_t *name, uint32_t len)
{
    static const char *const ours[] = {SENDER_HEADER, SENDER_CORRECTION};
    for (size_t i = 0; i < array_len(ours); i++) {
        if (len == strlen(ours[i]) && memcmp(name, ours[i], len) == 0) {
            return true;
        }
    }
    return false;
}

struct digest correction_content(struct buf *scratch, const struct kappa_record *record)
{
    const uint8_t *at = record->headers;
    size_t left = record->headers_len;
    bool null = record->value_len == KAPPA_NULL_LEN;
    buf_reset(scratch);
    buf_append_u32_le(scratch, record->value_len);
    buf_append(scratch, record->value, null ? 0 : record->value_len);
    while (left >= 8) {
        size_t name = load_u32_le(at);
        if (name > left - 8) {
            break;
        }
        uint32_t len = load_u32_le(at + 4 + name);
        size_t size = 8 + name + (len == KAPPA_NULL_LEN ? 0 : len);
        if (size > left) {
            break;
        }
        if (!is_ours(at + 4, (uint32_t)name)) {
            buf_append(scratch, at, size);
        }
        at += size;
        left -= size;
    }
    return hash_content(scratch->data, scratch->len);
}

/* ---- May the topic be trusted? */

static int topic_settings(struct corrections *c, struct correction_output *topic, struct err *err)
{
    struct log *log = c->options.base;
    struct log_extent extent = LOG_EXTENT_UNKNOWN;
    int rc = 0;
    if (log->ops->extent != NULL) {
        rc = log->ops->extent(log, topic->name, 0, 0, 0, &extent, err);
    }
    if (rc == 0 && extent.compacted == 1) {
        rc = err_set(err, KE_REFUSED,
                     "topic '%s' is compacted: messages may be gone, and of each key it keeps the "
                     "one that came last, which a correction of an earlier one would be",
                     topic->name);
        err_hint(err, "deploy the definition under another name, with a topic of its own");
    } else if (rc == 0 && extent.compacted == LOG_UNKNOWN && log->ops->extent != NULL) {
        rc = err_set(err, KE_REFUSED,
                     "it cannot be told whether topic '%s' is compacted: the log does not show its "
                     "settings",
                     topic->name);
        err_hint(err, "the right DescribeConfigs on the topic lets Kafka show them");
    }
    topic->timed = extent.stamped != 1;
    return rc;
}

static int topic_range(struct corrections *c, const struct correction_output *topic,
                       uint32_t partition, int64_t *end, struct err *err)
{
    struct log *log = c->options.log;
    int64_t start = 0;
    int64_t ignored = 0;
    int rc = log->ops->offsets(log, topic->name, partition, &start, end, err);
    if (rc == 0 && c->sender != NULL) { /* also what an open transaction still hides */
        rc = c->sender->ops->range(c->sender, topic->name, partition, &ignored, end, err);
    }
    if (rc == 0 && start > 0) {
        rc = err_set(err, KE_RANGE_LOST,
                     "topic '%s' partition %" PRIu32 " begins at offset %" PRId64
                     ": what was sent before that is not known any more",
                     topic->name, partition, start);
        err_hint(err,
                 "deploy the definition under another name, with a topic of its own; an archive "
                 "would have kept it (kappa topic set %s archive=on)",
                 topic->name);
    }
    return rc;
}

/* ---- Reading one */

static int record_found(struct corrections *c, uint32_t topic, uint32_t partition,
                        const struct kappa_record *record, struct err *err)
{
    struct sender_name name;
    const char *text = NULL;
    size_t len = 0;
    if (!sender_name_find(record, &name) || name.sender_len != strlen(c->options.name) ||
        memcmp(name.sender, c->options.name, name.sender_len) != 0 || name.place.offset < 0) {
        return 0;
    }
    bool correction = sender_header_find(record, SENDER_CORRECTION, &text, &len);
    const char *word = correction_word(CORRECTION_RETRACTED);
    bool retracted = correction && len > strlen(word) &&
                     memcmp(text + len - strlen(word), word, strlen(word)) == 0;
    c->counts.names += correction ? 0 : 1;
    struct ledger_entry entry = {.input = correction_input(c, &name),
                                 .offset = name.place.offset,
                                 .output = name.place.output,
                                 .seq = name.place.seq,
                                 .topic = topic,
                                 .key = record->key,
                                 .key_len = record->key_len,
                                 .partition = partition,
                                 .retracted = retracted,
                                 .time_ms = record->time_ms,
                                 .content = correction_content(&c->scratch, record)};
    return ledger_put(c->ledger, &entry, err);
}

static int drain(struct corrections *c, uint32_t number, struct log_reader *reader, int64_t *next,
                 const int64_t *end, struct err *err)
{
    const struct correction_output *topic = &c->topics[number];
    int64_t moved_us = clock_mono_us(c->options.clock);
    uint32_t left = 0;
    for (uint32_t p = 0; p < topic->partitions; p++) {
        left += next[p] < end[p] ? 1 : 0;
    }
    while (left > 0) {
        struct log_batch batch = {.source = UINT32_MAX};
        int64_t now = clock_mono_us(c->options.clock);
        if (atomic_load(c->options.stop)) {
            return err_set(err, KE_CLOSED, "stopped");
        }
        int rc = reader->ops->next(reader, READ_WAIT_MS, LIMIT_BATCH_RECORDS, &batch, err);
        if (rc != 0) {
            return rc;
        }
        if (batch.none && now - moved_us > STUCK_US) {
            return err_set(err, KE_BROKER,
                           "topic '%s': its end cannot be read, a transaction of another writer "
                           "has been open for long",
                           topic->name);
        }
        for (uint32_t i = 0; !batch.none && i < batch.count && rc == 0; i++) {
            rc = record_found(c, number, batch.source, &batch.records[i], err);
        }
        if (rc != 0) {
            return rc;
        }
        if (!batch.none && batch.next_offset > next[batch.source]) {
            bool before = next[batch.source] < end[batch.source];
            next[batch.source] = batch.next_offset;
            left -= before && batch.next_offset >= end[batch.source] ? 1 : 0;
            moved_us = now;
        }
    }
    return 0;
}

static int topic_read(struct corrections *c, uint32_t number, struct err *err)
{
    struct correction_output *topic = &c->topics[number];
    struct log *log = c->options.log;
    struct log_reader *reader = NULL;
    char *group = xasprintf("kappa-%s-corrections", c->options.name);
    int64_t *next = xcalloc(topic->partitions, sizeof *next);
    int64_t *end = xcalloc(topic->partitions, sizeof *end);
    int rc = log->ops->reader_open(log, group, &reader, err);
    for (uint32_t p = 0; p < topic->partitions && rc == 0; p++) {
        rc = topic_range(c, topic, p, &end[p], err);
        if (rc == 0 && end[p] > 0) {
            rc = reader->ops->add(reader, p, topic->name, p, 0, err);
        }
    }
    rc = rc == 0 ? drain(c, number, reader, next, end, err) : rc;
    if (reader != NULL) {
        reader->ops->close(reader);
    }
    free(next);
    free(end);
    free(group);
    return rc;
}

int correction_find(struct corrections *corrections, bool send, struct err *err)
{
    struct log *log = corrections->options.log;
    char *name = xasprintf("kappa-%s-corrections", corrections->options.name);
    int rc = send ? log->ops->sender_open(log, name, &corrections->sender, err) : 0;
    free(name);
    for (uint32_t t = 0; t < corrections->options.topic_count && rc == 0; t++) {
        struct correction_output *topic = &corrections->topics[t];
        rc = log->ops->topic_partitions(log, topic->name, &topic->partitions, err);
        if (rc == 0 && (topic->spread == 0 || topic->spread > topic->partitions)) {
            topic->spread = topic->partitions;
        }
        rc = rc == 0 ? topic_settings(corrections, topic, err) : rc;
        rc = rc == 0 ? topic_read(corrections, t, err) : rc;
    }
    return rc == 0 ? ledger_flush(corrections->ledger, err) : rc;
}
