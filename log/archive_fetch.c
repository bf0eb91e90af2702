/* Reading the log behind an archive. Own header: archive_fetch.h. */
#include "log/archive_fetch.h"

#include "base/clock.h"
#include "base/limits.h"

#include <inttypes.h>

#define WAIT_MS     1000
#define PATIENCE_US INT64_C(30000000) /* how long passing trouble with brokers is waited out */

int archive_fetch_open(struct log *log, const char *topic, uint32_t partition, int64_t from,
                       struct log_reader **out, struct err *err)
{
    struct log_reader *reader = NULL;
    int rc = log->ops->reader_open(log, ARCHIVE_GROUP, &reader, err);
    if (rc != 0) {
        return rc;
    }
    rc = reader->ops->add(reader, 0, topic, partition, from, err);
    if (rc == 0) {
        *out = reader;
    } else {
        reader->ops->close(reader);
    }
    return rc;
}

int archive_fetch_next(struct log_reader *reader, int64_t at, struct log_batch *batch,
                       struct err *err)
{
    int64_t deadline = clock_mono_us(clock_real()) + PATIENCE_US;
    for (;;) {
        struct err trouble = {0}; /* of tries that passed too */
        int rc = reader->ops->next(reader, WAIT_MS, LIMIT_BATCH_RECORDS, batch, &trouble);
        bool passing = rc == -KE_BROKER || rc == -KE_AGAIN || (rc == 0 && batch->none);
        if (passing && clock_mono_us(clock_real()) < deadline) {
            continue;
        }
        if (rc != 0 && err != NULL) {
            *err = trouble;
        }
        return rc == 0 && batch->none
                   ? err_set(err, KE_TIMEOUT, "the log gave nothing at offset %" PRId64, at)
                   : rc;
    }
}
