/* Senders of the embedded log and of the log in memory: a writer per topic, synced at commit. Own
 * header: log.h.
 *
 * A commit is not one act: killed in the middle of it, some partitions have their records and others
 * do not. Within a partition they come in the order of the appends, and none is published by halves,
 * so that reading the end of each partition tells what has been sent. */
#include "log/log.h"

#include <stdlib.h>
#include <string.h>

#define SENDER_MAGIC 0x4c53504cU

struct plain_topic {
    char *name;
    struct log_writer *writer;
};

struct plain_sender {
    struct log_sender sender; /* first */
    uint32_t magic;
    struct log *log; /* borrowed */
    struct plain_topic *topics;
    uint32_t topic_count;
};

static struct plain_sender *sender_of(struct log_sender *sender)
{
    struct plain_sender *self = container_of(sender, struct plain_sender, sender);
    MAGIC_ASSERT(self, SENDER_MAGIC);
    return self;
}

static int plain_range(struct log_sender *sender, const char *topic, uint32_t partition,
                       int64_t *start, int64_t *end, struct err *err)
{
    struct log *log = sender_of(sender)->log;
    return log->ops->offsets(log, topic, partition, start, end, err);
}

static int writer_for(struct plain_sender *self, const char *topic, struct log_writer **out,
                      struct err *err)
{
    for (uint32_t i = 0; i < self->topic_count; i++) {
        if (strcmp(self->topics[i].name, topic) == 0) {
            *out = self->topics[i].writer;
            return 0;
        }
    }
    int rc = self->log->ops->writer_open(self->log, topic, out, err);
    if (rc != 0) {
        return rc;
    }
    self->topics = xrealloc(self->topics, (self->topic_count + 1) * sizeof *self->topics);
    self->topics[self->topic_count++] = (struct plain_topic){xstrdup(topic), *out};
    return 0;
}

static int plain_append(struct log_sender *sender, const char *topic, uint32_t partition,
                        const struct kappa_record *record, struct err *err)
{
    struct log_writer *writer = NULL;
    int rc = writer_for(sender_of(sender), topic, &writer, err);
    return rc != 0 ? rc : writer->ops->append(writer, (int32_t)partition, record, err);
}

static int plain_commit(struct log_sender *sender, struct err *err)
{
    struct plain_sender *self = sender_of(sender);
    int rc = 0;
    for (uint32_t i = 0; i < self->topic_count && rc == 0; i++) {
        rc = self->topics[i].writer->ops->flush(self->topics[i].writer, true, err);
    }
    return rc;
}

/* Closing a writer publishes what it still holds: that is no harm, since what was sent is read from
 * the topic before anything else is. */
static void plain_close(struct log_sender *sender)
{
    struct plain_sender *self = sender_of(sender);
    for (uint32_t i = 0; i < self->topic_count; i++) {
        self->topics[i].writer->ops->close(self->topics[i].writer);
        free(self->topics[i].name);
    }
    free(self->topics);
    self->magic = 0;
    free(self);
}

static const struct log_sender_ops plain_ops = {
    .close = plain_close,
    .range = plain_range,
    .append = plain_append,
    .commit = plain_commit,
};

int log_sender_plain(struct log *log, const char *name, struct log_sender **out, struct err *err)
{
    (void)name;
    (void)err;
    struct plain_sender *self = xcalloc(1, sizeof *self);
    self->sender.ops = &plain_ops;
    self->magic = SENDER_MAGIC;
    self->log = log;
    *out = &self->sender;
    return 0;
}
