/* What was sent before: reading the ends of the topics. Own header: sender_inside.h.
 *
 * From its checkpoint to its end at the fence, each partition is read, and for each input the
 * greatest name of ours is kept, but for those of corrections, which come late. A message that was not
 * sent is one whose name is greater than the one found for its input in its partition: rounds append in
 * the order of names, and partitions are written in the order of appends.
 *
 * The number of partitions that messages are spread over must be the one of then: a topic that has
 * grown meanwhile is spread over all of its partitions only once SENT is clean. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/trace.h"
#include "replayer/sender_inside.h"

#define READ_WAIT_MS 100
#define STUCK_US     30000000 /* nothing came for so long: somebody's transaction hangs */
#define TAIL_RECORDS LIMIT_BATCH_RECORDS

void sender_topic_free(struct sender_topic *topic)
{
    for (uint32_t p = 0; p < topic->partitions && topic->found != NULL; p++) {
        free(topic->found[p]);
    }
    free(topic->found);
    free(topic->checkpoints);
    free(topic->written);
    topic->found = NULL;
    topic->checkpoints = NULL;
    topic->written = NULL;
    topic->partitions = 0;
}

uint32_t sender_partition(const struct sender_topic *topic, uint32_t input_partition,
                          const struct kappa_record *record)
{
    return record->key_len == KAPPA_NULL_LEN
               ? input_partition % topic->partitions
               : log_partition_of_key(record->key, record->key_len, topic->partitions);
}

/* The topic as it is now; what is known of another one of that name is forgotten. */
static int topic_ready(struct sender *sender, struct sender_topic *topic, struct err *err)
{
    uint32_t partitions = 0;
    uint64_t identity = 0;
    int rc = sender->log->ops->topic_partitions(sender->log, topic->name, &partitions, err);
    if (rc == 0) {
        rc = sender->log->ops->topic_identity(sender->log, topic->name, &identity, err);
    }
    if (rc != 0) {
        err_prefix(err, "output");
        return rc;
    }
    bool known = topic->partitions != 0 && topic->identity == identity;
    if (known && partitions < topic->partitions) {
        known = false; /* Kafka's topics never shrink: it was made anew */
    }
    if (known && (partitions == topic->partitions || !sender->clean)) {
        return 0;
    }
    int64_t *checkpoints = xcalloc(partitions, sizeof *checkpoints);
    for (uint32_t p = 0; p < partitions; p++) {
        checkpoints[p] = known && p < topic->partitions ? topic->checkpoints[p] : -1;
    }
    sender_topic_free(topic);
    topic->partitions = partitions;
    topic->identity = identity;
    topic->checkpoints = checkpoints;
    topic->written = xcalloc(partitions, sizeof *topic->written);
    topic->found = xcalloc(partitions, sizeof(struct sender_place *));
    return 0;
}

/* ---- The end of one topic */

struct tail {
    struct sender *sender;
    struct sender_topic *topic;
    struct log_reader *reader;
    int64_t *next; /* per partition: read up to here */
    int64_t *end;
    uint64_t ours;
};

static uint32_t input_of(const struct sender *sender, const struct sender_name *name)
{
    for (uint32_t i = 0; i < sender->input_count; i++) {
        const struct sender_input *input = &sender->inputs[i];
        if (input->partition == name->partition && input->identity == name->identity &&
            strlen(input->topic) == name->topic_len &&
            memcmp(input->topic, name->topic, name->topic_len) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void found(struct tail *tail, uint32_t partition, const struct kappa_record *record)
{
    const struct sender *sender = tail->sender;
    struct sender_name name;
    if (sender_name_corrects(record) || !sender_name_find(record, &name) ||
        name.sender_len != strlen(sender->name) ||
        memcmp(name.sender, sender->name, name.sender_len) != 0) {
        return;
    }
    uint32_t input = input_of(sender, &name);
    if (input == UINT32_MAX) {
        return;
    }
    struct sender_place **places = &tail->topic->found[partition];
    if (*places == NULL) {
        *places = xcalloc(sender->input_count, sizeof **places);
        for (uint32_t i = 0; i < sender->input_count; i++) {
            (*places)[i].offset = -1;
        }
    }
    if (sender_place_order(&name.place, &(*places)[input]) > 0) {
        (*places)[input] = name.place;
    }
    sender_marks_found(tail->topic, input, &name.place, record->time_ms);
    tail->ours++;
}

/* Where to begin with a partition. */
static int tail_start(struct tail *tail, uint32_t partition, struct err *err)
{
    struct sender_topic *topic = tail->topic;
    int64_t start = 0;
    int rc = tail->sender->out->ops->range(tail->sender->out, topic->name, partition, &start,
                                           &tail->end[partition], err);
    if (rc != 0) {
        return rc;
    }
    int64_t from = topic->checkpoints[partition];
    if (from >= 0 && from < start) {
        (void)err_set(err, KE_RANGE_LOST,
                      "topic '%s' partition %" PRIu32 " begins at offset %" PRId64
                      " now: what was sent from %" PRId64 " on, just before the last sender died, "
                      "cannot be recognised any more",
                      topic->name, partition, start, from);
        err_hint(err,
                 "if a few messages may come twice, remove %s/SENT: then what is left of the "
                 "topic is taken for all that was sent",
                 tail->sender->dir);
        return -KE_RANGE_LOST;
    }
    tail->next[partition] = from < 0 || from > tail->end[partition] ? start : from;
    return 0;
}

static bool tail_read(const struct tail *tail)
{
    for (uint32_t p = 0; p < tail->topic->partitions; p++) {
        if (tail->next[p] < tail->end[p]) {
            return false;
        }
    }
    return true;
}

static int tail_open(struct tail *tail, struct err *err)
{
    struct log *log = tail->sender->log;
    char *group = xasprintf("kappa-%s-sender", tail->sender->name);
    int rc = log->ops->reader_open(log, group, &tail->reader, err);
    free(group);
    for (uint32_t p = 0; p < tail->topic->partitions && rc == 0; p++) {
        if (tail->next[p] < tail->end[p]) {
            rc = tail->reader->ops->add(tail->reader, p, tail->topic->name, p, tail->next[p], err);
        }
    }
    return rc;
}

static int tail_drain(struct tail *tail, struct err *err)
{
    int64_t moved_us = clock_mono_us(tail->sender->clock);
    while (!tail_read(tail)) {
        struct log_batch batch = {.source = UINT32_MAX};
        if (atomic_load(&tail->sender->stopped)) {
            return err_set(err, KE_CLOSED, "told to stop");
        }
        int rc = tail->reader->ops->next(tail->reader, READ_WAIT_MS, TAIL_RECORDS, &batch, err);
        if (rc != 0) {
            return rc;
        }
        int64_t now = clock_mono_us(tail->sender->clock);
        if (batch.none) {
            if (now - moved_us > STUCK_US) {
                return err_set(err, KE_BROKER,
                               "topic '%s': its end cannot be read, a transaction of another "
                               "writer has been open for long",
                               tail->topic->name);
            }
            continue;
        }
        for (uint32_t i = 0; i < batch.count; i++) {
            found(tail, batch.source, &batch.records[i]);
        }
        if (batch.next_offset > tail->next[batch.source]) {
            tail->next[batch.source] = batch.next_offset;
            moved_us = now;
        }
    }
    return 0;
}

static int read_tail(struct sender *sender, struct sender_topic *topic, struct err *err)
{
    struct tail tail = {.sender = sender, .topic = topic};
    int rc = 0;
    tail.next = xcalloc(topic->partitions, sizeof *tail.next);
    tail.end = xcalloc(topic->partitions, sizeof *tail.end);
    sender_marks_forget(sender, topic);
    for (uint32_t p = 0; p < topic->partitions && rc == 0; p++) {
        free(topic->found[p]);
        topic->found[p] = NULL;
        rc = tail_start(&tail, p, err);
    }
    if (rc == 0 && !tail_read(&tail)) {
        rc = tail_open(&tail, err);
        rc = rc == 0 ? tail_drain(&tail, err) : rc;
    }
    if (tail.reader != NULL) {
        tail.reader->ops->close(tail.reader);
    }
    free(tail.next);
    free(tail.end);
    if (rc == 0 && tail.ours > 0) {
        trace(TRACE_DEBUG, "topic %s: %" PRIu64 " messages found that were sent before",
              topic->name, tail.ours);
    }
    return rc;
}

int sender_recover(struct sender *sender, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < sender->topic_count && rc == 0; i++) {
        rc = topic_ready(sender, &sender->topics[i], err);
        if (rc == 0 && !sender->clean) {
            rc = read_tail(sender, &sender->topics[i], err);
        }
    }
    return rc;
}

/* Have all messages that were found been passed? What lies ahead must be found again after a crash. */
static bool settled(const struct sender *sender)
{
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        const struct sender_topic *topic = &sender->topics[i];
        for (uint32_t p = 0; p < topic->partitions; p++) {
            for (uint32_t k = 0; topic->found[p] != NULL && k < sender->input_count; k++) {
                if (topic->found[p][k].offset >= sender->inputs[k].sent &&
                    topic->found[p][k].offset >= 0) {
                    return false;
                }
            }
        }
    }
    return true;
}

int sender_checkpoint(struct sender *sender, bool *moved, struct err *err)
{
    *moved = settled(sender);
    for (uint32_t i = 0; i < sender->topic_count && *moved; i++) {
        struct sender_topic *topic = &sender->topics[i];
        for (uint32_t p = 0; p < topic->partitions; p++) {
            int64_t start = 0;
            int64_t end = 0;
            free(topic->found[p]);
            topic->found[p] = NULL;
            if (!topic->written[p] && topic->checkpoints[p] >= 0) {
                continue;
            }
            int rc = sender->out->ops->range(sender->out, topic->name, p, &start, &end, err);
            if (rc != 0) {
                return rc;
            }
            topic->checkpoints[p] = end;
            topic->written[p] = false;
        }
    }
    sender->checked_us = clock_mono_us(sender->clock);
    return 0;
}
