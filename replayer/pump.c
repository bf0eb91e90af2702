/* The pump: read a batch, apply it, commit when due. One step does each at most once.
 *
 * Running to a cut: a batch is applied up to the cut and the rest waits in shard->pending, as do
 * batches of sources that stand at their cut while others still read. That is the quick way, which
 * a swap takes: a few batches. When more than keep_bytes wait there (a long run to a cut with
 * uneven sources), the reader is closed, the queue forgotten, and a reader opened that delivers
 * only the unfinished sources; the log is the truth and gives the rest again after the release. */
#include <inttypes.h>

#include "base/cond.h"
#include "base/limits.h"
#include "base/trace.h"
#include "replayer/shard_inside.h"
#include "replayer/topic_same.h"

#define SERVING_COMMIT_US    4000
#define END_COMMIT_US        100000
#define BEHIND_COMMIT_US     2000000
#define RETRY_WAIT_US_MIN    50000
#define RETRY_WAIT_US_MAX    2000000
#define TROUBLE_FORGOTTEN_US 5000000 /* a log that is quiet and does not complain is well again */
#define COMMIT_BYTES         ((size_t)128 << 20) /* of pages that LMDB copies for one commit */
#define APPEND_COMMIT_BYTES  ((size_t)4 << 20)   /* about what a processor's cache holds */
#define TRIM_ROWS            20000   /* of a source, taken out of the outbox by one commit */
#define TRIM_US              1000000 /* between commits that only trim */
#define READERS_US           1000000
#define STAMP_EARLY_US       10000000 /* a record may be so much older than its arrival */
#define COMMIT_ATTEMPTS      48       /* the map doubles at each: more would exceed 64 bits */

static int64_t now_us(const struct shard *shard)
{
    return clock_mono_us(shard->clock);
}

void pump_spent(struct shard *shard, enum shard_time on)
{
    int64_t now = now_us(shard);
    shard->time_us[on] += i64_max(now - shard->time_from_us, 0);
    shard->time_from_us = now;
}

/* ---- The reader */

static bool wanted(const struct shard *shard, const struct shard_input *input)
{
    return shard->hold != HOLD_TO_CUT || input->next < input->cut;
}

void pump_reader_close(struct shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    struct log_reader *reader = shard->reader;
    shard->reader = NULL;
    pthread_mutex_unlock(&shard->lock);
    pending_clear(&shard->pending);
    for (uint32_t i = 0; i < shard->input_count; i++) {
        shard->inputs[i].reading = false;
        shard->inputs[i].at_end = false;
    }
    if (reader) {
        reader->ops->close(reader);
    }
}

static int reader_open(struct shard *shard, struct err *err)
{
    struct log_reader *reader = NULL;
    int rc = shard->log->ops->reader_open(shard->log, shard->group, &reader, err);
    for (uint32_t i = 0; rc == 0 && i < shard->input_count; i++) {
        struct shard_input *input = &shard->inputs[i];
        input->reading = wanted(shard, input);
        if (input->reading) {
            rc = reader->ops->add(reader, i, input->spec.topic, input->spec.partition, input->next,
                                  err);
        }
    }
    if (rc != 0) {
        if (reader) {
            reader->ops->close(reader);
        }
        return rc;
    }
    pthread_mutex_lock(&shard->lock);
    shard->reader = reader;
    pthread_mutex_unlock(&shard->lock);
    return 0;
}

/* Makes a reader that delivers every wanted source, and may be called. */
static int reader_ready(struct shard *shard, struct err *err)
{
    pending_keep(&shard->pending);
    bool fits = shard->pending.bytes <= shard->keep_bytes;
    for (uint32_t i = 0; i < shard->input_count; i++) {
        fits &= shard->inputs[i].reading || !wanted(shard, &shard->inputs[i]);
    }
    if (shard->reader && !fits) {
        pump_reader_close(shard);
    }
    return shard->reader ? 0 : reader_open(shard, err);
}

/* ---- Waiting */

void pump_wait(struct shard *shard, int timeout_ms)
{
    pthread_mutex_lock(&shard->lock);
    if (!shard->woken && timeout_ms > 0) {
        struct timespec until = cond_until(timeout_ms);
        while (!shard->woken && pthread_cond_timedwait(&shard->wake, &shard->lock, &until) == 0) {
        }
    }
    shard->woken = false;
    pthread_mutex_unlock(&shard->lock);
}

/* Whether a wake came since the last wait; takes it. */
static bool take_woken(struct shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    bool woken = shard->woken;
    shard->woken = false;
    pthread_mutex_unlock(&shard->lock);
    return woken;
}

static bool commits_often(const struct shard *shard)
{
    return shard->serving || shard->near;
}

/* Commits must not wait for records that may not come. */
static int read_timeout(struct shard *shard, int timeout_ms)
{
    if (take_woken(shard)) {
        return 0;
    }
    if (!shard->dirty) {
        return timeout_ms;
    }
    int64_t pace = commits_often(shard) ? SERVING_COMMIT_US : END_COMMIT_US;
    int64_t due = i64_min(shard->dirty_us + BEHIND_COMMIT_US,
                          i64_max(shard->commit_began_us + pace, shard->dirty_us));
    int64_t left_ms = (i64_max(due - now_us(shard), 0) + 999) / 1000;
    return (int)i64_min(timeout_ms, left_ms);
}

/* ---- Reading */

static bool passes(int code)
{
    return code == -KE_BROKER || code == -KE_AGAIN;
}

static void trouble_met(struct shard *shard, const struct err *trouble)
{
    if (shard->trouble.code == 0) {
        trace(TRACE_WARN, "%s", trouble->text);
        shard->retry_wait_us = RETRY_WAIT_US_MIN;
    }
    shard->trouble = *trouble;
    shard->trouble_us = now_us(shard);
    shard->retry_us = shard->trouble_us + shard->retry_wait_us;
    shard->retry_wait_us = i64_min(2 * shard->retry_wait_us, RETRY_WAIT_US_MAX);
}

static void trouble_over(struct shard *shard)
{
    if (shard->trouble.code != 0) {
        trace(TRACE_INFO, "the trouble is over");
        shard->trouble = (struct err){.code = 0};
    }
    shard->retry_wait_us = RETRY_WAIT_US_MIN;
    shard->retry_us = 0;
}

/* An error for good: what was applied is kept, then it is passed on. */
static int failed_for_good(struct shard *shard, uint32_t index, const struct err *cause,
                           struct err *err)
{
    int rc = pump_commit(shard, err);
    if (rc != 0) {
        return rc;
    }
    shard->failed = true;
    if (err) {
        *err = *cause;
    }
    if (index < shard->input_count) {
        shard->failed_source = shard->inputs[index].spec.source;
    }
    return cause->code;
}

/* Has every source reached the end that its newest batch showed? */
static bool all_at_end(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->input_count; i++) {
        if (!shard->inputs[i].at_end) {
            return false;
        }
    }
    return true;
}

static void batch_adapt(struct shard *shard, const struct log_batch *batch)
{
    if (batch->none || all_at_end(shard)) {
        shard->batch_now = SHARD_BATCH_RECORDS_MIN;
    } else if (batch->count >= shard->batch_now) {
        shard->batch_now *= 2;
    }
    if (shard->batch_now > shard->batch_max) {
        shard->batch_now = shard->batch_max;
    }
}

static uint64_t batch_bytes(const struct log_batch *batch)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct kappa_record *record = &batch->records[i];
        bytes += (record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len) +
                 (record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len) +
                 record->headers_len;
    }
    return bytes;
}

/* What serves, and what somebody waits for at a cut, is not slowed down. */
static struct governor *governor_of(const struct shard *shard)
{
    bool waited_for = shard->hold != HOLD_NONE && !shard->governed_to_cut;
    return shard->serving || waited_for ? NULL : shard->governor;
}

/* Freshness: for how long the oldest record of a commit had been in the log. When it came there is told
 * by its own time, if that can be: if it is not from long before the log was last seen without it;
 * what a producer and a broker need counts. Times that say when something happened long ago tell
 * nothing: then it came when it was read or, while more is there than is read, when the log's end was
 * last seen. */
static void note_arrival(struct shard *shard, const struct shard_input *input,
                         const struct log_batch *batch)
{
    int64_t now = now_us(shard);
    int64_t came = input->at_end ? now : input->end_us;
    if (batch->count == 0) {
        return;
    }
    int64_t time_ms = batch->records[0].time_ms;
    if (time_ms != KAPPA_NO_TIME) {
        int64_t age_us =
            1000 * i64_min(i64_max(clock_wall_ms(shard->clock) - i64_max(time_ms, 0), 0),
                           INT64_C(1) << 50);
        came = now - age_us >= input->end_us - STAMP_EARLY_US ? now - age_us : came;
    }
    if (shard->unseen_us == 0 || came < shard->unseen_us) {
        shard->unseen_us = came;
    }
}

/* Nothing came since it was asked for: those at their end were there then. */
static void note_ends(struct shard *shard, int64_t asked_us)
{
    for (uint32_t i = 0; i < shard->input_count; i++) {
        if (shard->inputs[i].at_end) {
            shard->inputs[i].end_us = asked_us;
        }
    }
}

static void batch_arrived(struct shard *shard, const struct log_batch *batch)
{
    struct governor *governor = governor_of(shard);
    uint64_t bytes = batch_bytes(batch);
    shard->bytes += bytes;
    shard->archived_bytes += batch->archived ? bytes : 0;
    if (governor != NULL) {
        governor_spent(governor, now_us(shard), batch->count, bytes, batch->archived);
    }
    ASSERT_CMP(batch->source, <, shard->input_count);
    struct shard_input *input = &shard->inputs[batch->source];
    ASSERT(input->reading);
    if (shard->serving) {
        note_arrival(shard, input, batch);
    }
    input->at_end = batch->at_end;
    input->end_us = batch->at_end ? now_us(shard) : input->end_us;
    if (batch->end_offset >= 0) {
        input->log_end = batch->end_offset;
    }
    trouble_over(shard);
    pending_push(&shard->pending, batch);
}

/* When the log itself may be read; 0: now. Where it has no archive, nothing else can be read. */
static int64_t broker_wait_us(const struct shard *shard)
{
    struct governor *governor = governor_of(shard);
    return governor != NULL ? governor_broker_wait_us(governor, now_us(shard)) : 0;
}

static bool has_archive(const struct shard *shard)
{
    return shard->reader == NULL || shard->reader->ops->behind_most != NULL;
}

static void wait_limited(struct shard *shard, int timeout_ms, int64_t wait_us)
{
    pump_wait(shard, (int)i64_min(timeout_ms, (wait_us + 999) / 1000));
    pump_spent(shard, SHARD_LIMITED);
}

/* Sleeps when nothing may be read yet. */
static bool read_limited(struct shard *shard, int timeout_ms)
{
    struct governor *governor = governor_of(shard);
    int64_t wait_us = governor != NULL ? governor_wait_us(governor, now_us(shard)) : 0;
    if (!has_archive(shard)) {
        wait_us = i64_max(wait_us, broker_wait_us(shard));
    }
    if (wait_us > 0) {
        wait_limited(shard, timeout_ms, wait_us);
    }
    return wait_us > 0;
}

/* How many records next() may give, and says how many of them from behind an archive. */
static uint32_t read_most(const struct shard *shard, bool behind)
{
    struct governor *governor = governor_of(shard);
    uint32_t most = governor != NULL ? governor_batch(governor) : UINT32_MAX;
    uint32_t broker = governor != NULL ? governor_broker_batch(governor) : UINT32_MAX;
    if (shard->reader->ops->behind_most != NULL) {
        shard->reader->ops->behind_most(shard->reader, behind ? broker : 0);
    } else {
        most = most < broker ? most : broker;
    }
    return shard->batch_now < most ? shard->batch_now : most;
}

/* Asks the reader for one batch. *idle: there was nothing to read. */
static int read_batch(struct shard *shard, int timeout_ms, bool *idle, struct err *err)
{
    struct err cause = {.code = 0};
    struct log_batch batch = {.source = UINT32_MAX};
    int64_t now = now_us(shard);
    *idle = false;
    if (now < shard->retry_us) {
        *idle = true;
        pump_wait(shard, (int)i64_min(timeout_ms, (shard->retry_us - now + 999) / 1000));
        return 0;
    }
    int rc = reader_ready(shard, &cause);
    int64_t behind_us = has_archive(shard) ? broker_wait_us(shard) : 0;
    if (rc == 0) {
        rc = shard->reader->ops->next(shard->reader, read_timeout(shard, timeout_ms),
                                      read_most(shard, behind_us == 0), &batch, &cause);
    }
    if (rc != 0) {
        ASSERT_CMP(rc, <, 0);
        cause.code = rc;
        if (!passes(rc)) {
            return failed_for_good(shard, batch.source, &cause, err);
        }
        trouble_met(shard, &cause);
        *idle = true;
        return 0;
    }
    if (batch.none && behind_us > 0) { /* not asked, so that it says nothing of the log's end */
        wait_limited(shard, timeout_ms, behind_us);
        return 0;
    }
    *idle = batch.none;
    if (!batch.none) {
        batch_arrived(shard, &batch);
    } else {
        note_ends(shard, now);
        if (shard->trouble.code != 0 && now - shard->trouble_us > TROUBLE_FORGOTTEN_US) {
            trouble_over(shard);
        }
    }
    batch_adapt(shard, &batch);
    return 0;
}

/* ---- Applying */

/* The first waiting batch that may be applied now. */
static struct pending_batch *next_usable(const struct shard *shard)
{
    struct pending_batch *batch = shard->pending.first;
    while (batch && !wanted(shard, &shard->inputs[batch->index])) {
        batch = batch->next;
    }
    return batch;
}

/* First record in [from, count) at or above the limit: by halves, since offsets ascend. */
static uint32_t find_limit(const struct pending_batch *batch, uint32_t from, int64_t limit)
{
    uint32_t low = from;
    uint32_t high = batch->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch->records[middle].offset < limit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Gets the schemas that these records need; how many of them, from the first on, can be applied. */
static uint32_t get_schemas(struct shard *shard, const struct shard_input *input,
                            const struct kappa_record *records, uint32_t count)
{
    uint32_t source = input->spec.source;
    const char *registry = shard->plan->inputs[input->spec.input].schema_registry;
    for (;;) {
        uint32_t id = 0;
        bool missing = false;
        struct err cause = {.code = 0};
        uint32_t ready = processor_ready(shard->processor, source, records, count, &id);
        if (ready == count) {
            return ready;
        }
        int rc = shard->schemas == NULL
                     ? err_set(&cause, KE_UNREACHABLE, "no schemas can be asked for here")
                     : schemas_get(shard->schemas, registry, id, &shard->schema, &missing, &cause);
        if (rc != 0) {
            cause.code = rc;
            trouble_met(shard, &cause);
            return ready;
        }
        if (shard->trouble.code == -KE_UNREACHABLE) {
            trouble_over(shard);
        }
        processor_schema(shard->processor, source, id, missing ? NULL : buf_text(&shard->schema),
                         shard->schema.len);
    }
}

/* A registry that did not answer is left alone for a while, and with it the batch. */
static bool waits_for_schema(const struct shard *shard, const struct pending_batch *batch)
{
    const struct shard_input *input = &shard->inputs[batch->index];
    return shard->plan->inputs[input->spec.input].schema_registry != NULL &&
           shard->trouble.code == -KE_UNREACHABLE && now_us(shard) < shard->retry_us;
}

/* ---- Doubt */

/* Something happened behind which the topic may have been made again: nothing that was read since is
 * applied before the log was asked. What it answers holds for all that was read before the question. */
static bool is_doubtful(const struct shard *shard, const struct pending_batch *batch)
{
    return batch->doubt != 0 && batch->doubt != shard->inputs[batch->index].trusted;
}

/* Nobody could answer just now. */
static bool waits_for_answer(const struct shard *shard, const struct pending_batch *batch)
{
    return is_doubtful(shard, batch) && shard->trouble.code == -KE_BROKER &&
           now_us(shard) < shard->retry_us;
}

static int look_into(struct shard *shard, const struct pending_batch *batch, struct err *err)
{
    struct shard_input *input = &shard->inputs[batch->index];
    struct err cause = {.code = 0};
    struct kappa_source_state state;
    bool asked = true;
    processor_source_state(shard->processor, input->spec.source, &state);
    const struct topic_read read = {.topic = input->spec.topic,
                                    .partition = input->spec.partition,
                                    .start = input->spec.start,
                                    .next = input->next,
                                    .time_ms = state.record_time_max};
    int rc = topic_same(shard->log, shard->group, &read, &asked, &cause);
    pump_spent(shard, SHARD_FETCH);
    if (rc != 0) {
        cause.code = rc;
        return failed_for_good(shard, batch->index, &cause, err);
    }
    if (asked) {
        trace(TRACE_DEBUG, "%s [%u] is still the topic that was read", input->spec.topic,
              input->spec.partition);
        input->trusted = batch->doubt;
        if (shard->trouble.code == -KE_BROKER) {
            trouble_over(shard);
        }
        return 0;
    }
    cause.code = err_set(&cause, KE_BROKER,
                         "%s [%u]: Kafka was away, and does not answer whether the topic is the "
                         "same: nothing is applied until then",
                         input->spec.topic, input->spec.partition);
    trouble_met(shard, &cause);
    return 0;
}

static int apply_records(struct shard *shard, uint32_t source, const struct kappa_record *records,
                         uint32_t count, int64_t next, struct err *err)
{
    const struct shard_tap *tap = shard->tap;
    return tap == NULL ? processor_apply(shard->processor, source, records, count, next, err)
                       : tap->apply(tap->ctx, shard->processor, source, records, count, next, err);
}

/* Applies a batch up to the cut, and drops it when nothing of it is left. */
static int apply_batch(struct shard *shard, struct pending_batch *batch, struct err *err)
{
    struct shard_input *input = &shard->inputs[batch->index];
    int64_t limit = shard->hold == HOLD_TO_CUT ? input->cut : INT64_MAX;
    uint32_t from = find_limit(batch, batch->taken, input->next);
    uint32_t to = find_limit(batch, from, limit);
    /* What is left begins at or above the limit, so next_offset lies above it then. */
    int64_t next = i64_max(i64_min(batch->next_offset, limit), input->next);
    shard->duplicates += from - batch->taken;
    if (shard->plan->inputs[input->spec.input].schema_registry != NULL) {
        uint32_t ready = get_schemas(shard, input, batch->records + from, to - from);
        pump_spent(shard, SHARD_FETCH);
        if (ready < to - from) { /* the first of the rest waits, at its offset */
            to = from + ready;
            next = batch->records[to].offset;
        }
    }
    if (from < to || next > input->next) {
        int rc =
            apply_records(shard, input->spec.source, batch->records + from, to - from, next, err);
        if (rc != 0) {
            shard->failed = true;
            return rc;
        }
        if (!shard->dirty) {
            shard->dirty = true;
            shard->dirty_us = now_us(shard);
        }
        input->next = next;
        struct err excess = {.code = 0};
        if (processor_check(shard->processor, &excess) != 0) {
            return failed_for_good(shard, batch->index, &excess, err);
        }
    }
    batch->taken = to;
    if (to == batch->count && batch->next_offset <= next) {
        pending_drop(&shard->pending, batch);
    }
    return 0;
}

/* ---- Committing */

static uint64_t outbox_keep(const struct shard *shard)
{
    return shard->serving || shard->outbox_drop ? 0 : SHARD_SHADOW_ROWS;
}

/* Takes messages that are not needed out of the outbox. */
static int trim(struct shard *shard, struct err *err)
{
    int rc = 0;
    bool more = false;
    for (uint32_t i = 0; rc == 0 && i < shard->input_count; i++) {
        const struct shard_input *input = &shard->inputs[i];
        uint64_t gone = 0;
        if (input->below >= 0) {
            rc = store_outbox_trim(shard->store, input->spec.source, input->below,
                                   outbox_keep(shard), TRIM_ROWS, &gone, err);
        }
        more |= gone == TRIM_ROWS;
    }
    shard->trim_due = more;
    shard->trim_more = more;
    return rc;
}

static int commit_once(struct shard *shard, struct err *err)
{
    int rc = store_begin(shard->store, err);
    if (rc == 0) {
        rc = processor_flush(shard->processor, store_sink(shard->store), err);
    }
    if (rc == 0) {
        rc = trim(shard, err);
    }
    for (uint32_t i = 0; rc == 0 && i < shard->input_count; i++) {
        const struct shard_input *input = &shard->inputs[i];
        struct kappa_source_state state;
        if (input->next == input->committed) {
            continue;
        }
        processor_source_state(shard->processor, input->spec.source, &state);
        ASSERT_CMP(state.next_offset, ==, input->next);
        rc = store_source_put(shard->store, input->spec.source, &state, err);
    }
    return rc == 0 ? store_commit(shard->store, err) : rc;
}

/* Who reads, once a second at most: LMDB lists its readers as text. */
static void look_at_readers(struct shard *shard)
{
    int64_t now = now_us(shard);
    if (shard->readers_us != 0 && now - shard->readers_us < READERS_US) {
        return;
    }
    uint64_t oldest = shard->readers.oldest;
    store_readers(shard->store, &shard->readers);
    shard->readers_us = now;
    if (shard->readers.oldest != oldest) {
        shard->oldest_us = now;
    }
}

static void commit_done(struct shard *shard, int64_t started)
{
    processor_committed(shard->processor);
    for (uint32_t i = 0; i < shard->input_count; i++) {
        struct shard_input *input = &shard->inputs[i];
        if (input->next != input->committed) {
            bool found = store_source_get(shard->store, input->spec.source, &input->kept);
            ASSERT(found);
            ASSERT_CMP(input->kept.state.next_offset, ==, input->next);
            input->committed = input->next;
        }
    }
    store_sizes(shard->store, &shard->file_bytes, &shard->used_bytes);
    shard->dirty = false;
    shard->commit_began_us = started;
    shard->commit_spent_us = now_us(shard) - started;
    shard->commit_us_max = i64_max(shard->commit_us_max, shard->commit_spent_us);
    histogram_add(&shard->commits_took, shard->commit_spent_us);
    if (shard->serving && shard->unseen_us != 0) {
        histogram_add(&shard->freshness, now_us(shard) - shard->unseen_us);
    }
    shard->unseen_us = 0;
    look_at_readers(shard);
    shard->commits++;
    if (shard->committed != NULL) {
        shard->committed(shard->committed_ctx);
    }
}

static int commit_now(struct shard *shard, struct err *err)
{
    int64_t started = now_us(shard);
    int rc = -KE_AGAIN;
    for (int attempt = 0; rc == -KE_AGAIN && attempt < COMMIT_ATTEMPTS; attempt++) {
        rc = commit_once(shard, err);
    }
    if (rc != 0) {
        shard->failed = true;
        return rc;
    }
    commit_done(shard, started);
    if (shard->hold == HOLD_NONE) {
        store_reserve(shard->store);
    }
    pump_spent(shard, SHARD_COMMIT);
    return 0;
}

int pump_commit(struct shard *shard, struct err *err)
{
    ASSERT(!shard->failed);
    return shard->dirty ? commit_now(shard, err) : 0;
}

/* Rows that are only ever added cost the same in many commits as in one, as long as nothing is
 * synced; in small ones they and the pages made of them stay in the processor's cache, and the same
 * memory serves again. Groups are better written seldom, so they must be the smaller part. */
static bool append_due(const struct shard *shard, const struct processor_stats *stats)
{
    return stats->append_bytes >= APPEND_COMMIT_BYTES && !shard->serving &&
           !store_sealed(shard->store) &&
           store_commit_bytes(shard->store, stats->dirty_rows) <= stats->append_bytes;
}

/* The cadence of shard.h. */
static bool commit_due(const struct shard *shard, bool idle)
{
    if (!shard->dirty) {
        return false;
    }
    int64_t now = now_us(shard);
    int64_t unwritten_us = now - shard->dirty_us;
    int64_t since_last_us = now - shard->commit_began_us;
    if (commits_often(shard)) {
        int64_t bound = i64_max(SERVING_COMMIT_US, shard->commit_spent_us);
        if (unwritten_us >= i64_min(bound, BEHIND_COMMIT_US) ||
            (idle && since_last_us >= SERVING_COMMIT_US)) {
            return true;
        }
    } else if (idle || unwritten_us >= BEHIND_COMMIT_US ||
               (since_last_us >= END_COMMIT_US && !shard->pending.first && all_at_end(shard))) {
        return true;
    }
    struct processor_stats stats;
    processor_stats(shard->processor, &stats);
    return stats.dirty_bytes >= shard->cache_bytes / 2 || append_due(shard, &stats) ||
           (shard->scattered && store_commit_bytes(shard->store, stats.dirty_rows) >= COMMIT_BYTES);
}

/* Messages are to go, and no commit has come that would take them along. */
static bool trim_due(const struct shard *shard)
{
    return shard->trim_due && !shard->dirty &&
           (shard->trim_more || now_us(shard) - shard->commit_began_us >= TRIM_US);
}

/* ---- The step */

static bool cut_reached(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->input_count; i++) {
        if (shard->inputs[i].next < shard->inputs[i].cut) {
            return false;
        }
    }
    return true;
}

static int stand_at_cut(struct shard *shard, struct err *err)
{
    int64_t began_us = now_us(shard);
    int rc = 0;
    for (uint32_t i = 0; shard->tap != NULL && i < shard->input_count && rc == 0; i++) {
        rc = shard->tap->end(shard->tap->ctx, shard->processor, shard->inputs[i].spec.source, err);
    }
    if (rc != 0) {
        shard->failed = true;
        return rc;
    }
    rc = pump_commit(shard, err);
    if (rc == 0) {
        shard->hold = HOLD_AT_CUT;
        shard->cut_commit_us = now_us(shard) - began_us;
    }
    return rc;
}

int pump_step(struct shard *shard, int timeout_ms, struct err *err)
{
    bool to_cut = shard->hold == HOLD_TO_CUT;
    bool idle = false;
    if (to_cut && cut_reached(shard)) {
        return stand_at_cut(shard, err);
    }
    struct pending_batch *batch = next_usable(shard);
    if (!batch && !read_limited(shard, timeout_ms)) {
        int rc = read_batch(shard, timeout_ms, &idle, err);
        pump_spent(shard, idle ? SHARD_WAIT : SHARD_FETCH);
        if (rc != 0) {
            return rc;
        }
        batch = next_usable(shard);
    }
    if (batch && (waits_for_schema(shard, batch) || waits_for_answer(shard, batch))) {
        int64_t left_us = shard->retry_us - now_us(shard);
        pump_wait(shard, (int)i64_min(timeout_ms, (left_us + 999) / 1000));
        pump_spent(shard, SHARD_WAIT);
        idle = true;
    } else if (batch) {
        int rc = is_doubtful(shard, batch) ? look_into(shard, batch, err) : 0;
        if (rc == 0 && !is_doubtful(shard, batch)) {
            rc = apply_batch(shard, batch, err);
        }
        if (rc != 0) {
            return rc;
        }
    }
    if (to_cut && cut_reached(shard)) {
        return stand_at_cut(shard, err);
    }
    return commit_due(shard, idle) || trim_due(shard) ? commit_now(shard, err) : 0;
}
