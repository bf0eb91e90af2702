/* Own header: topic_same.h. */
#include "replayer/topic_same.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

#define WAIT_US INT64_C(5000000)
#define NEXT_MS 200

/* *newer: the first record that readers see from `offset` on was read, and is newer. AGAIN: none came. */
static int look_at(struct log_reader *reader, const struct topic_read *read, int64_t offset,
                   bool *newer)
{
    int64_t until = clock_mono_us(clock_real()) + WAIT_US;
    int rc = reader->ops->add(reader, 0, read->topic, read->partition, offset, NULL);
    while (rc == 0 && clock_mono_us(clock_real()) < until) {
        struct log_batch batch;
        rc = reader->ops->next(reader, NEXT_MS, 1, &batch, NULL);
        if (rc == 0 && !batch.none && batch.next_offset > offset) {
            *newer = batch.count > 0 && batch.records[0].offset < read->next &&
                     batch.records[0].time_ms > read->time_ms;
            return 0;
        }
    }
    return rc == 0 ? -KE_AGAIN : rc;
}

/* The log itself, without an archive in front. */
static struct log *behind(struct log *log)
{
    return log->ops->archived == NULL ? log : log_archived_behind(log);
}

/* The embedded log tells identities, and its end as it is: a topic of this name is the one that was read,
 * but a machine that died may have lost its newest records. */
static int look_at_end(struct log *base, const struct topic_read *read, bool *asked,
                       struct err *err)
{
    int64_t start = 0;
    int64_t end = 0;
    int rc = base->ops->offsets(base, read->topic, read->partition, &start, &end, NULL);
    *asked = rc == 0;
    if (rc != 0 || end >= read->next) {
        return 0;
    }
    err_set(err, KE_TOPIC_CHANGED,
            "topic '%s' partition %" PRIu32 " ends at offset %" PRId64
            ", but was read up to %" PRId64 ": records were lost when the machine stopped",
            read->topic, read->partition, end, read->next);
    err_hint(err, "replay the processor: it has read records that are gone");
    return -KE_TOPIC_CHANGED;
}

static int other_records(const struct topic_read *read, int64_t offset, bool embedded,
                         struct err *err)
{
    err_set(err, KE_TOPIC_CHANGED,
            "topic '%s' %s: its record at offset %" PRId64 " of partition %" PRIu32
            " is newer than all that was read up to %" PRId64,
            read->topic,
            embedded ? "lost records when the machine stopped" : "was deleted and made again",
            offset, read->partition, read->next);
    err_hint(err, "replay the processor: its offsets mean other records now");
    return -KE_TOPIC_CHANGED;
}

int topic_same(struct log *log, const char *group, const struct topic_read *read, bool *asked,
               struct err *err)
{
    int64_t offset = -1;
    bool newer = false;
    bool embedded = strcmp(log->kind, "embedded") == 0;
    struct log *base = behind(log);
    struct log_reader *reader = NULL;
    *asked = true;
    if ((!embedded && strcmp(log->kind, "kafka") != 0) || read->next <= read->start) {
        return 0;
    }
    int rc = embedded ? look_at_end(base, read, asked, err) : 0;
    if (rc != 0 || !*asked || read->time_ms < 0) {
        return rc;
    }
    rc = base->ops->offset_at_time(base, read->topic, read->partition, read->time_ms + 1, &offset,
                                   NULL);
    if (offset >= 0 && offset < read->start) {
        offset = read->start; /* what lies in front was never read, and may have any time */
    }
    if (rc == 0 && offset >= read->start && offset < read->next) {
        rc = base->ops->reader_open(base, group, &reader, NULL);
    }
    if (reader != NULL) {
        rc = look_at(reader, read, offset, &newer);
        reader->ops->close(reader);
    }
    *asked = rc == 0;
    return newer ? other_records(read, offset, embedded, err) : 0;
}
