/* Reading the embedded log. Own header: log_segment.h.
 *
 * A source is a partition, a position in it, and a mapping of the segment that holds the position.
 * Records are handed out where they lie in the mapping; a batch never spans two segments, and a
 * mapping is replaced only by the next call of next(), when that batch is over. Each record's
 * checksum is checked on the way: about 25 ns for 200 bytes.
 *
 * progress() and wake() may run in other threads beside next(): they touch the heads, which are
 * atomic and open until close(), and one flag. */
#include "log/log_segment.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/partition.h"
#include "log/segment.h"
#include "log/segment_name.h"
#include "log/segment_record.h"
#include "log/topic_dir.h"
#include "log/topic_name.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#define READER_MAGIC 0x4C535244U /* "LSRD" */

/* A waiting reader looks again after so long even if nobody rang: the ring of a writer that was
 * killed between publishing and ringing is made good by this. */
#define WAIT_MS_MAX 100

/* How often a reader that waits looks whether its topics were deleted. */
#define GONE_CHECK_US 1000000

struct segment_source {
    struct partition partition;
    uint32_t number;        /* the caller's, as in batches */
    int64_t next;           /* position: next offset to hand out */
    struct segment_map map; /* bytes NULL: none open; else map.base <= next */
    size_t at;              /* byte of `next` in the map */
};

struct segment_reader {
    struct log_reader reader; /* first */
    uint32_t magic;
    struct log_segment *log;                         /* borrowed */
    struct segment_source *sources[LIMIT_SOURCES];   /* in the order of add() */
    struct segment_source *by_number[LIMIT_SOURCES]; /* for progress() */
    uint32_t count;
    uint32_t turn; /* index of the source to look at first */
    _Atomic bool woken;
    struct kappa_record *records; /* of the batch, reused */
    uint32_t room;                /* of records */
    int64_t gone_checked_us;
};

static struct segment_reader *reader_of(struct log_reader *reader)
{
    struct segment_reader *self = container_of(reader, struct segment_reader, reader);
    MAGIC_ASSERT(self, READER_MAGIC);
    return self;
}

/* ---- Finding the segment ---- */

/* Base of the segment below the active one that holds the offset; NOT_FOUND: retention was faster. */
static int find_base(const struct segment_source *source, int64_t *base, struct err *err)
{
    int64_t *bases = NULL;
    size_t count = 0;
    int64_t found = -1;
    int rc = segment_name_list(source->partition.dir, SEGMENT_SUFFIX, &bases, &count, err);
    for (size_t i = 0; rc == 0 && i < count && bases[i] <= source->next; i++) {
        found = bases[i];
    }
    free(bases);
    if (rc == 0 && found < 0) {
        rc = err_set(err, KE_NOT_FOUND, "no segment holds offset %" PRId64, source->next);
    }
    *base = found;
    return rc;
}

/* Maps the segment that holds `next`. A reader that goes on from one segment to the next finds it by
 * name; only one that begins in the middle has to look through the folder. */
static int map_segment(struct segment_source *source, const struct head_state *state,
                       struct err *err)
{
    const char *dir = source->partition.dir;
    if (source->next >= state->segment_base) {
        return segment_map_open(&source->map, dir, state->segment_base, err);
    }
    int rc = segment_map_open(&source->map, dir, source->next, NULL);
    if (rc == -KE_NOT_FOUND) {
        int64_t base = -1;
        rc = find_base(source, &base, err);
        return rc != 0 ? rc : segment_map_open(&source->map, dir, base, err);
    }
    return rc == 0 ? 0 : segment_map_open(&source->map, dir, source->next, err);
}

/* Opens the segment that holds `next` and finds the byte. NOT_FOUND: retention was faster. */
static int open_segment(struct segment_source *source, const struct head_state *state,
                        struct err *err)
{
    int rc = map_segment(source, state, err);
    if (rc != 0) {
        return rc;
    }
    int64_t base = source->map.base;
    struct segment_seal seal = {.used = state->position};
    if (base != state->segment_base && !segment_map_seal(&source->map, &seal)) {
        rc = segment_corrupt(&source->map, 0, base, "the seal is damaged", err);
    } else if ((size_t)seal.used + KAPPA_RECORD_TAIL > source->map.size) {
        rc = segment_corrupt(&source->map, source->map.size, base,
                             "the file is shorter than its records", err);
    } else {
        rc = segment_find_offset(&source->map, (size_t)seal.used, source->next, &source->at, err);
    }
    if (rc != 0) {
        segment_map_close(&source->map);
    }
    return rc;
}

/* Up to which byte and offset the open segment may be read. False: the mapping is too short, since
 * the file grew for a large record. */
static bool find_limits(const struct segment_source *source, const struct head_state *state,
                        size_t *limit, int64_t *limit_offset)
{
    struct segment_seal seal = {.used = state->position, .end_offset = state->end_offset};
    if (source->map.base != state->segment_base && !segment_map_seal(&source->map, &seal)) {
        return false; /* opening it again tells */
    }
    *limit = (size_t)seal.used;
    *limit_offset = seal.end_offset;
    return *limit + KAPPA_RECORD_TAIL <= source->map.size;
}

/* Makes the map hold `next` < end. */
static int position_segment(struct segment_source *source, const struct head_state *state,
                            size_t *limit, int64_t *limit_offset, struct err *err)
{
    if (source->map.bytes != NULL && find_limits(source, state, limit, limit_offset) &&
        source->next < *limit_offset) {
        return 0;
    }
    segment_map_close(&source->map);
    int rc = open_segment(source, state, err);
    if (rc == 0 && !find_limits(source, state, limit, limit_offset)) {
        rc = segment_corrupt(&source->map, source->map.size, source->next,
                             "the file is shorter than its records", err);
    }
    if (rc == 0 && source->next >= *limit_offset) {
        rc = segment_corrupt(&source->map, *limit, source->next, "the next segment file is missing",
                             err);
    }
    return rc;
}

/* ---- Reading ---- */

static int range_error(const struct segment_source *source, const struct head_state *state,
                       struct err *err)
{
    int rc;
    if (source->next < state->start_offset) {
        rc = err_set(err, KE_RANGE_LOST,
                     "%s: offset %" PRId64 " is asked for, but retention has removed it: the log "
                     "holds %" PRId64 " to %" PRId64,
                     source->partition.label, source->next, state->start_offset, state->end_offset);
        err_hint(err, "deploy again from 'beginning' to take what is left, and make the topic keep "
                      "records longer");
        return rc;
    }
    rc = err_set(err, KE_TOPIC_CHANGED,
                 "%s: offset %" PRId64 " is asked for, but the log ends at %" PRId64
                 " (it begins at %" PRId64 "): records were lost, or the topic was made again",
                 source->partition.label, source->next, state->end_offset, state->start_offset);
    err_hint(err, "deploy a new version from 'beginning': the old one read records that are gone");
    return rc;
}

static int bad_record(const struct segment_source *source, size_t at, int64_t offset,
                      struct err *err)
{
    int rc = segment_corrupt(&source->map, at, offset, "the record fails its checksum", err);
    err_prefix(err, "%s", source->partition.label);
    return rc;
}

/* Hands out records from source->at. An error only when there is none before it. */
static int read_records(struct segment_reader *self, struct segment_source *source, size_t limit,
                        int64_t limit_offset, uint32_t max, uint32_t *count, struct err *err)
{
    const uint8_t *bytes = source->map.bytes;
    size_t at = source->at;
    size_t stop = at + LIMIT_BATCH_BYTES; /* the record that crosses it is the last */
    int64_t next = source->next;
    uint32_t n = 0;
    int rc = 0;
    while (n < max && next < limit_offset && at < stop) {
        size_t size = segment_record_size(bytes, at, limit);
        const uint8_t *record = bytes + at;
        if (size == 0 || segment_record_offset(record) != next ||
            !segment_record_sound(record, size)) {
            rc = n > 0 ? 0 : bad_record(source, at, next, err);
            break;
        }
        segment_record_view(record, &self->records[n++]);
        at += size;
        next++;
    }
    source->at = at;
    source->next = next;
    *count = n;
    return rc;
}

/* Retention took the segment between looking and opening, or it is really missing. */
static int explain_missing(const struct segment_source *source, struct err *err)
{
    struct head_state state;
    head_read(&source->partition.head, &state);
    if (source->next < state.start_offset) {
        return range_error(source, &state, err);
    }
    if (head_gone(&source->partition.head, source->partition.dir)) {
        return err_set(err, KE_TOPIC_CHANGED, "%s was deleted", source->partition.label);
    }
    return err_set(err, KE_CORRUPT,
                   "%s: the segment file that holds offset %" PRId64 " is missing in %s",
                   source->partition.label, source->next, source->partition.dir);
}

/* *got: whether the batch was filled. */
static int read_source(struct segment_reader *self, struct segment_source *source, uint32_t max,
                       struct log_batch *batch, bool *got, struct err *err)
{
    struct head_state state;
    size_t limit = 0;
    int64_t limit_offset = 0;
    uint32_t count = 0;
    head_read(&source->partition.head, &state);
    if (source->next < state.start_offset || source->next > state.end_offset) {
        return range_error(source, &state, err);
    }
    if (source->next == state.end_offset) {
        return 0;
    }
    int rc = position_segment(source, &state, &limit, &limit_offset, err);
    if (rc == 0) {
        segment_map_forget(&source->map, source->at);
        rc = read_records(self, source, limit, limit_offset, max, &count, err);
    } else if (rc == -KE_NOT_FOUND) {
        rc = explain_missing(source, err);
    }
    if (rc != 0) {
        return rc;
    }
    *batch = (struct log_batch){
        .source = source->number,
        .count = count,
        .records = self->records,
        .next_offset = source->next,
        .end_offset = state.end_offset,
        .at_end = source->next == state.end_offset,
    };
    *got = true;
    return 0;
}

/* One round over the sources, from the one whose turn it is. */
static int read_round(struct segment_reader *self, uint32_t max, struct log_batch *batch, bool *got,
                      struct err *err)
{
    uint32_t first = self->turn;
    for (uint32_t i = 0; i < self->count && !*got; i++) {
        uint32_t index = (first + i) % self->count;
        struct segment_source *source = self->sources[index];
        self->turn = (index + 1) % self->count;
        int rc = read_source(self, source, max, batch, got, err);
        if (rc != 0) {
            batch->source = source->number;
            return rc;
        }
    }
    return 0;
}

/* A deleted topic's head stays mapped and never moves again: only the folder tells. */
static int check_gone(struct segment_reader *self, int64_t now_us, struct log_batch *batch,
                      struct err *err)
{
    if (now_us - self->gone_checked_us < GONE_CHECK_US) {
        return 0;
    }
    self->gone_checked_us = now_us;
    for (uint32_t i = 0; i < self->count; i++) {
        const struct segment_source *source = self->sources[i];
        if (head_gone(&source->partition.head, source->partition.dir)) {
            batch->source = source->number;
            return err_set(err, KE_TOPIC_CHANGED, "%s was deleted while it was read",
                           source->partition.label);
        }
    }
    return 0;
}

static int reader_next(struct log_reader *reader, int timeout_ms, uint32_t max_records,
                       struct log_batch *batch, struct err *err)
{
    struct segment_reader *self = reader_of(reader);
    ASSERT_CMP(max_records, >, 0);
    *batch = (struct log_batch){.source = UINT32_MAX};
    if (self->room < max_records) {
        self->records = xrealloc(self->records, max_records * sizeof *self->records);
        self->room = max_records;
    }
    int64_t deadline = 0;
    for (bool got = false; !got;) {
        uint32_t sequence = notify_sequence(&self->log->notify);
        int rc = read_round(self, max_records, batch, &got, err);
        if (rc != 0 || got) {
            return rc;
        }
        if (timeout_ms <= 0 || atomic_exchange(&self->woken, false)) {
            break;
        }
        int64_t now = clock_mono_us(clock_real());
        deadline = deadline == 0 ? now + (int64_t)timeout_ms * 1000 : deadline;
        if (now >= deadline) {
            break;
        }
        rc = check_gone(self, now, batch, err);
        if (rc != 0) {
            return rc;
        }
        notify_wait(&self->log->notify, sequence,
                    (int)i64_min(WAIT_MS_MAX, (deadline - now + 999) / 1000));
    }
    batch->none = true;
    return 0;
}

/* ---- Open, add, close ---- */

static int reader_add(struct log_reader *reader, uint32_t number, const char *topic,
                      uint32_t partition, int64_t offset, struct err *err)
{
    struct segment_reader *self = reader_of(reader);
    struct topic_info info;
    ASSERT_CMP(number, <, LIMIT_SOURCES);
    ASSERT(self->by_number[number] == NULL);
    int rc = topic_name_check(topic, err);
    if (rc == 0 && offset < 0) {
        rc = err_set(err, KE_INVALID, "offset %" PRId64 " is negative", offset);
    }
    if (rc == 0) {
        rc = topic_dir_load(self->log->dir, topic, &info, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (partition >= info.partitions) {
        return err_set(err, KE_NOT_FOUND, "topic '%s' has no partition %u: it has %u, from 0",
                       topic, partition, info.partitions);
    }
    struct segment_source *source = xcalloc(1, sizeof *source);
    rc = partition_open(&source->partition, self->log->dir, topic, partition, &info, err);
    if (rc != 0) {
        free(source);
        return rc;
    }
    source->number = number;
    source->next = offset;
    self->sources[self->count++] = source;
    self->by_number[number] = source;
    return 0;
}

static void reader_progress(struct log_reader *reader, uint32_t number, int64_t *start,
                            int64_t *end, int64_t *high)
{
    struct segment_reader *self = reader_of(reader);
    ASSERT_CMP(number, <, LIMIT_SOURCES);
    const struct segment_source *source = self->by_number[number];
    struct head_state state = {.start_offset = -1, .end_offset = -1};
    if (source != NULL) {
        head_read(&source->partition.head, &state);
    }
    *start = state.start_offset;
    *end = state.end_offset;
    *high = state.end_offset;
}

static void reader_wake(struct log_reader *reader)
{
    struct segment_reader *self = reader_of(reader);
    atomic_store(&self->woken, true);
    notify_ring(&self->log->notify); /* wakes others too, who look and sleep again */
}

static void reader_close(struct log_reader *reader)
{
    struct segment_reader *self = reader_of(reader);
    for (uint32_t i = 0; i < self->count; i++) {
        segment_map_close(&self->sources[i]->map);
        partition_close(&self->sources[i]->partition);
        free(self->sources[i]);
    }
    free(self->records);
    self->magic = 0;
    free(self);
}

static const struct log_reader_ops reader_ops = {
    .close = reader_close,
    .add = reader_add,
    .next = reader_next,
    .progress = reader_progress,
    .wake = reader_wake,
};

int log_segment_reader_open(struct log *log, const char *group, struct log_reader **out,
                            struct err *err)
{
    (void)group; /* nobody coordinates readers of files */
    (void)err;
    struct segment_reader *self = xcalloc(1, sizeof *self);
    self->reader.ops = &reader_ops;
    self->magic = READER_MAGIC;
    self->log = log_segment_of(log);
    *out = &self->reader;
    return 0;
}
