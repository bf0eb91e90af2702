/* Reading a log through its archive. Own header: log_archived.h.
 *
 * Each source is in one of three places and only moves down:
 *
 *     ARCHIVE   the archive has its position: blocks are read, one source's block after another's
 *     WAITS     the archive does not go on: it is to be read from the log behind
 *     LOG       the reader of the log behind delivers it
 *
 * A reader of a log takes all its sources before it begins, so whoever WAITS makes a new one
 * necessary. That happens at once when nobody reads the archive any more, else every JOIN_US.
 *
 *     archive    ... a b c d e f |                  the last records of the archive are compared with
 *     log                  d e f | g h ...          those of the log, where the log still has them
 *                          ^ seam->from  ^ seam->at
 *
 * Invariants:
 *  1. `next` is the next offset to hand out; nothing below it is handed out again.
 *  2. A gap of the archive is never read over: what it does not hold comes from the log behind, or is
 *     RANGE_LOST, or, when a file is damaged that nobody else has, CORRUPT.
 *  3. A record that the archive and the log have differently is TOPIC_CHANGED.
 *
 * progress() and wake() may run in other threads: `lock` guards `base` and who is joined to it. */
#include "log/log_archived.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/limits.h"
#include "base/trace.h"
#include "log/archive_seam.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define READER_MAGIC 0x44524741U      /* "AGRD" */
#define JOIN_US      INT64_C(2000000) /* between two readers of the log behind */
#define SHORT_US     INT64_C(3000000) /* a log that ends below its archive for so long has changed */
#define LOOK_US      INT64_C(1000000) /* at an archive that is all there is, for more */
#define GO_ON        INT64_C(100000) /* offsets that came meanwhile, for which the archive is not left */

enum place { IN_ARCHIVE, WAITS, IN_LOG };

struct archived_source {
    char *topic;
    uint32_t partition;
    uint32_t number; /* the caller's */
    enum place place;
    bool joined; /* under lock: `base` knows it */
    int64_t next;
    struct archive_view view;       /* as last looked at */
    struct archive_segment segment; /* entry_count 0: none is open */
    struct archive_seam *seam;      /* compared while the log is read below seam->at */
    int64_t short_us;               /* since when the log ends below seam->at; 0 */
    bool stays;                     /* with the archive to its very end: the log has lost `next` */
    struct err damage;              /* why the archive did not go on; code 0: it ended */
    _Atomic int64_t start, end;     /* of the archive, for progress(); -1 */
};

struct archived_reader {
    struct log_reader reader;
    uint32_t magic;
    struct log_archived *log; /* borrowed */
    char *group;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken;              /* under lock */
    struct log_reader *base; /* changed under lock; NULL: none */
    int64_t joined_us;
    struct archived_source *sources[LIMIT_SOURCES];   /* in the order of add() */
    struct archived_source *by_number[LIMIT_SOURCES]; /* for batches and progress() */
    uint32_t count;
    uint32_t turn;
    uint32_t archive_count, wait_count; /* of sources in these places */
    uint32_t behind_most; /* records of a batch of the log behind; 0: not to be asked */
    bool base_turn;       /* a block was finished: the log behind is asked next */
    int64_t looked_us;
    int failed; /* an error for good, given again by every next() */
    uint32_t failed_source;
    struct err failure;

    struct archived_source *open; /* whose block is open, or NULL */
    struct archive_block block;
    struct archive_unpack unpack;
    struct kappa_record *records; /* of the batch */
    uint32_t room;
};

static struct archived_reader *reader_of(struct log_reader *reader)
{
    struct archived_reader *self = container_of(reader, struct archived_reader, reader);
    MAGIC_ASSERT(self, READER_MAGIC);
    return self;
}

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- Places */

static void move_to(struct archived_reader *self, struct archived_source *source, enum place place)
{
    self->archive_count -= source->place == IN_ARCHIVE;
    self->wait_count -= source->place == WAITS;
    source->place = place;
    self->archive_count += place == IN_ARCHIVE;
    self->wait_count += place == WAITS;
}

static int view_again(struct archived_reader *self, struct archived_source *source, struct err *err)
{
    int64_t start = -1;
    int64_t end = -1;
    archive_view_free(&source->view);
    int rc = log_archived_view(self->log, source->topic, source->partition, &source->view, err);
    if (rc == 0 && self->log->base == NULL) { /* empty: where retention left it */
        start = source->view.first;
        end = start;
    }
    if (rc == 0 && (archive_view_tail(&source->view, &start, &end) || start >= 0)) {
        atomic_store(&source->start, start);
        atomic_store(&source->end, end);
    }
    return rc;
}

/* The archive cannot give `next`. */
static void leave_archive(struct archived_reader *self, struct archived_source *source,
                          const struct err *damage)
{
    archive_segment_free(&source->segment);
    if (damage != NULL) {
        trace(TRACE_WARN, "%s [%u]: offset %" PRId64 " is read from the log: %s", source->topic,
              source->partition, source->next, damage->text);
        source->damage = *damage;
    } else if (self->log->base != NULL && source->next > 0 &&
               archive_view_find(&source->view, source->next - 1) != UINT32_MAX) {
        /* Without it (the archive's end is damaged) there is nothing to compare with. */
        if (archive_seam_load(&source->view, source->next, &source->seam, NULL) != 0) {
            source->seam = NULL;
        }
    }
    move_to(self, source, WAITS);
}

static bool is_damage(int rc)
{
    return rc == -KE_CORRUPT || rc == -KE_NOT_FOUND;
}

/* ---- Reading the archive */

/* The span that holds `next`, by what is known of the archive, else by another look. What came since
 * the last look is worth staying for only when it is much: the archive is always a little behind. */
static int find_span(struct archived_reader *self, struct archived_source *source, uint32_t *span,
                     struct err *err)
{
    *span = archive_view_find(&source->view, source->next);
    if (*span != UINT32_MAX) {
        return 0;
    }
    int rc = view_again(self, source, err);
    if (rc != 0) {
        return rc;
    }
    *span = archive_view_find(&source->view, source->next);
    if (*span != UINT32_MAX && self->log->base != NULL && !source->stays &&
        source->view.spans[source->view.count - 1].end - source->next < GO_ON) {
        *span = UINT32_MAX;
    }
    return 0;
}

/* Opens the segment that holds `next`. *found: there is one. */
static int segment_ready(struct archived_reader *self, struct archived_source *source, bool *found,
                         struct err *err)
{
    uint32_t span = UINT32_MAX;
    *found = source->segment.entry_count > 0 && source->next < source->segment.end;
    if (*found) {
        return 0;
    }
    archive_segment_free(&source->segment);
    int rc = find_span(self, source, &span, err);
    if (rc != 0 || span == UINT32_MAX) {
        return rc;
    }
    rc = archive_segment_load(source->view.dir, &source->view.owner, source->view.spans[span].base,
                              true, &source->segment, err);
    if (rc == 0 && (source->segment.entry_count == 0 || source->segment.end <= source->next)) {
        rc = archive_segment_corrupt(source->view.dir, source->view.spans[span].base,
                                     source->segment.used, source->segment.end,
                                     "the file is shorter than it was", err);
    }
    *found = rc == 0;
    return rc;
}

/* Opens the block that holds the source's `next`, or moves the source on to the log. */
static int block_open(struct archived_reader *self, struct archived_source *source, struct err *err)
{
    struct err trouble = {0};
    bool found = false;
    int rc = segment_ready(self, source, &found, &trouble);
    if (rc == 0 && found) {
        uint32_t entry = archive_segment_find(&source->segment, source->next);
        rc = archive_segment_read(source->view.dir, &source->segment, entry, &self->block,
                                  &self->unpack, &trouble);
        self->open = rc == 0 ? source : NULL;
    }
    if (rc == 0 && !found) {
        leave_archive(self, source, NULL);
    } else if (is_damage(rc)) {
        leave_archive(self, source, &trouble);
        rc = 0;
    }
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

static size_t record_bytes(const struct kappa_record *record)
{
    return (record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len) +
           (record->value_len == KAPPA_NULL_LEN ? 0 : (size_t)record->value_len) +
           record->headers_len;
}

/* The next records of the open block. */
static void block_give(struct archived_reader *self, uint32_t max, struct log_batch *batch)
{
    struct archived_source *source = self->open;
    struct kappa_record record;
    size_t bytes = 0;
    uint32_t count = 0;
    bool bad = false;
    while (count < max && bytes < LIMIT_BATCH_BYTES &&
           archive_block_next(&self->unpack, &self->block, &record, &bad)) {
        if (record.offset >= source->next) {
            bytes += record_bytes(&record);
            self->records[count++] = record;
        }
    }
    bool whole = !bad && self->unpack.at == self->unpack.records.len;
    source->next = whole       ? self->block.next
                   : count > 0 ? self->records[count - 1].offset + 1
                               : source->next;
    if (bad || whole) {
        self->open = NULL;
        self->base_turn = whole;
    }
    if (bad && count == 0) {
        struct err trouble = {0};
        uint32_t entry = archive_segment_find(&source->segment, self->block.from);
        (void)archive_segment_bad(source->view.dir, &source->segment, entry, &trouble);
        leave_archive(self, source, &trouble);
    }
    int64_t end = self->log->base == NULL ? atomic_load(&source->end) : -1;
    *batch = (struct log_batch){.source = source->number,
                                .count = count,
                                .records = self->records,
                                .next_offset = source->next,
                                .end_offset = end < source->next ? -1 : end,
                                .at_end = end == source->next,
                                .archived = true};
}

/* Opens the block of the next source in turn. *got: one is open. */
static int archive_turn(struct archived_reader *self, struct log_batch *batch, struct err *err)
{
    for (uint32_t i = 0; i < self->count && self->open == NULL && self->archive_count > 0; i++) {
        struct archived_source *source = self->sources[self->turn];
        self->turn = (self->turn + 1) % self->count;
        if (source->place == IN_ARCHIVE) {
            int rc = block_open(self, source, err);
            if (rc != 0) {
                batch->source = source->number;
                return rc;
            }
        }
    }
    return 0;
}

/* ---- The log behind */

static void base_close(struct archived_reader *self)
{
    pthread_mutex_lock(&self->lock);
    struct log_reader *base = self->base;
    self->base = NULL;
    for (uint32_t i = 0; i < self->count; i++) {
        self->sources[i]->joined = false;
        if (self->sources[i]->place == IN_LOG) {
            move_to(self, self->sources[i], WAITS);
        }
    }
    pthread_mutex_unlock(&self->lock);
    if (base != NULL) {
        base->ops->close(base);
    }
}

/* A new reader of the log behind, for everybody who is not in the archive. */
static int base_join(struct archived_reader *self, struct log_batch *batch, struct err *err)
{
    struct log_reader *base = NULL;
    base_close(self);
    int rc = self->log->base->ops->reader_open(self->log->base, self->group, &base, err);
    for (uint32_t i = 0; rc == 0 && i < self->count; i++) {
        const struct archived_source *source = self->sources[i];
        if (source->place == WAITS) {
            int64_t from = source->seam != NULL ? source->seam->from : source->next;
            batch->source = source->number;
            rc = base->ops->add(base, source->number, source->topic, source->partition, from, err);
        }
    }
    self->joined_us = now_us(); /* of a failure too: the archive is not held up by brokers away */
    if (rc != 0) {
        if (base != NULL) {
            base->ops->close(base);
        }
        return rc;
    }
    batch->source = UINT32_MAX;
    pthread_mutex_lock(&self->lock);
    self->base = base;
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->sources[i]->place == WAITS) {
            move_to(self, self->sources[i], IN_LOG);
            self->sources[i]->joined = true;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* The log has removed `next`. It may be in the archive by now; and where the log was only asked for
 * what is to be compared, it may still have the rest. Returns 0 when that is tried. */
static int range_lost(struct archived_reader *self, struct archived_source *source, int rc,
                      struct err *err)
{
    bool compared = source->seam != NULL;
    free(source->seam);
    source->seam = NULL;
    bool back = source->damage.code == 0 && view_again(self, source, NULL) == 0 &&
                archive_view_find(&source->view, source->next) != UINT32_MAX;
    if (back || compared) {
        base_close(self);
        self->joined_us = 0;
        if (back) {
            source->stays = true;
            move_to(self, source, IN_ARCHIVE);
        }
        return 0;
    }
    if (source->damage.code != 0 && err != NULL) {
        *err = source->damage;
    }
    return source->damage.code != 0 ? source->damage.code : rc;
}

static int not_the_same(const struct archived_source *source, int64_t offset, struct err *err)
{
    int rc = err_set(err, KE_TOPIC_CHANGED,
                     "%s [%u]: the record of the log at offset %" PRId64
                     " is not the one that the archive has there",
                     source->topic, source->partition, offset);
    err_hint(err,
             "the topic was deleted and made again; move the folder archive/%s of the data "
             "directory away, and make a new version that replays what is there",
             source->topic);
    return rc;
}

static int log_shorter(const struct archived_source *source, struct err *err)
{
    int rc =
        err_set(err, KE_TOPIC_CHANGED,
                "%s [%u]: the archive was read up to offset %" PRId64 ", and the log ends below it",
                source->topic, source->partition, source->next);
    err_hint(err, "the topic was deleted and made again, or lost records; make a new version that "
                  "replays it");
    return rc;
}

/* Takes from the batch what lies below seam->at, and compares it. */
static int seam_compare(struct archived_source *source, struct log_batch *batch, struct err *err)
{
    struct archive_seam *seam = source->seam;
    while (batch->count > 0 && batch->records->offset < seam->at) {
        if (!archive_seam_same(seam, batch->records)) {
            return not_the_same(source, batch->records->offset, err);
        }
        batch->records++;
        batch->count--;
    }
    if (batch->next_offset >= seam->at) {
        free(seam);
        source->seam = NULL;
        source->short_us = 0;
        return 0;
    }
    if (batch->at_end && source->short_us == 0) {
        source->short_us = now_us();
    }
    batch->next_offset = seam->at;
    batch->end_offset = -1;
    batch->at_end = false;
    return 0;
}

/* Nothing came, and the log is known to end below what its archive was read up to. */
static bool ends_short(const struct archived_reader *self, const struct archived_source *source)
{
    int64_t start = -1;
    int64_t end = -1;
    int64_t high = -1;
    if (source->seam == NULL || source->place != IN_LOG) {
        return false;
    }
    self->base->ops->progress(self->base, source->number, &start, &end, &high);
    return end >= 0 && i64_max(end, high) < source->seam->at;
}

/* Nothing came: is a log shorter than its archive? For a while it may only be a replica that lags. */
static int check_short(const struct archived_reader *self, struct log_batch *batch, struct err *err)
{
    for (uint32_t i = 0; i < self->count; i++) {
        struct archived_source *source = self->sources[i];
        if (source->short_us == 0 && ends_short(self, source)) {
            source->short_us = now_us();
        }
        if (source->short_us != 0 && now_us() - source->short_us > SHORT_US) {
            batch->source = source->number;
            return log_shorter(source, err);
        }
    }
    return 0;
}

static int base_next(struct archived_reader *self, int timeout_ms, uint32_t max,
                     struct log_batch *batch, struct err *err)
{
    struct err trouble = {0};
    int rc = self->base->ops->next(self->base, timeout_ms, max, batch, &trouble);
    struct archived_source *source =
        batch->source < LIMIT_SOURCES ? self->by_number[batch->source] : NULL;
    if (rc == -KE_RANGE_LOST && source != NULL) {
        rc = range_lost(self, source, rc, &trouble);
        if (rc == 0) {
            *batch = (struct log_batch){.source = UINT32_MAX, .none = true};
        }
    } else if (rc == 0 && batch->none) {
        rc = check_short(self, batch, &trouble);
    } else if (rc == 0 && source != NULL && source->seam != NULL) {
        rc = seam_compare(source, batch, &trouble);
    }
    if (rc == 0 && !batch->none) {
        ASSERT(source != NULL);
        source->next = batch->next_offset;
    } else if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

/* ---- An archive that is all there is */

static int gone(const struct archived_source *source, struct err *err)
{
    int64_t start = atomic_load(&source->start);
    int64_t end = atomic_load(&source->end);
    if (source->damage.code != 0) {
        if (err != NULL) {
            *err = source->damage;
        }
        return source->damage.code;
    }
    if (source->next > end) {
        return err_set(err, KE_TOPIC_CHANGED,
                       "%s [%u]: offset %" PRId64 " is asked for, but the archive ends at %" PRId64,
                       source->topic, source->partition, source->next, end);
    }
    int rc = err_set(err, KE_RANGE_LOST,
                     "%s [%u]: offset %" PRId64 " is asked for, but the archive holds %" PRId64
                     " to %" PRId64,
                     source->topic, source->partition, source->next, start, end);
    err_hint(err, "files of the archive are missing, or retention removed them; kappa archive ls "
                  "shows what there is");
    return rc;
}

/* Looks whether the archive has grown; an error when it never had what is asked for. */
static int look_again(struct archived_reader *self, struct log_batch *batch, struct err *err)
{
    if (now_us() - self->looked_us < LOOK_US) {
        return 0;
    }
    self->looked_us = now_us();
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < self->count; i++) {
        struct archived_source *source = self->sources[i];
        if (source->place != WAITS) {
            continue;
        }
        batch->source = source->number;
        rc = source->damage.code != 0 ? gone(source, err) : view_again(self, source, err);
        if (rc == 0 && archive_view_find(&source->view, source->next) != UINT32_MAX) {
            move_to(self, source, IN_ARCHIVE);
        } else if (rc == 0 && source->next != i64_max(atomic_load(&source->end), 0)) {
            rc = gone(source, err);
        }
    }
    batch->source = rc == 0 ? UINT32_MAX : batch->source;
    return rc;
}

static void wait_for(struct archived_reader *self, int64_t ms)
{
    pthread_mutex_lock(&self->lock);
    struct timespec until = cond_until(i64_max(ms, 0));
    while (!self->woken && pthread_cond_timedwait(&self->wake, &self->lock, &until) == 0) {
    }
    self->woken = false;
    pthread_mutex_unlock(&self->lock);
}

static int archive_only(struct archived_reader *self, int timeout_ms, struct log_batch *batch,
                        struct err *err)
{
    int rc = look_again(self, batch, err);
    batch->none = true;
    if (rc == 0 && timeout_ms > 0 && self->archive_count == 0) {
        wait_for(self, timeout_ms);
    }
    return rc;
}

/* ---- next */

/* A wake that came while there was no reader of the log behind. */
static bool take_woken(struct archived_reader *self)
{
    pthread_mutex_lock(&self->lock);
    bool woken = self->woken;
    self->woken = false;
    pthread_mutex_unlock(&self->lock);
    return woken;
}

/* Asks the log behind, when it is its turn. The batch says `none` when it has nothing. */
static int log_turn(struct archived_reader *self, int timeout_ms, uint32_t max,
                    struct log_batch *batch, struct err *err)
{
    batch->none = true;
    if (self->behind_most == 0) {
        return 0;
    }
    if (self->wait_count > 0 && (self->archive_count == 0 || self->joined_us == 0 ||
                                 now_us() - self->joined_us >= JOIN_US)) {
        int rc = base_join(self, batch, err);
        if (rc != 0) {
            return rc;
        }
    }
    if (self->base == NULL) {
        return 0;
    }
    uint32_t most = max < self->behind_most ? max : self->behind_most;
    return base_next(self, take_woken(self) ? 0 : timeout_ms, most, batch, err);
}

static bool passes(int rc)
{
    return rc == -KE_BROKER || rc == -KE_AGAIN;
}

static int next_batch(struct archived_reader *self, int timeout_ms, uint32_t max_records,
                      struct log_batch *batch, struct err *err)
{
    if (self->open == NULL && self->base_turn && self->archive_count > 0) {
        self->base_turn = false;
        int rc = self->log->base == NULL ? 0 : log_turn(self, 0, max_records, batch, err);
        /* Trouble with brokers does not stop who reads the archive. */
        if ((rc != 0 && !passes(rc)) || (rc == 0 && !batch->none)) {
            return rc;
        }
        *batch = (struct log_batch){.source = UINT32_MAX, .none = true};
    }
    int rc = self->open == NULL ? archive_turn(self, batch, err) : 0;
    if (rc != 0) {
        return rc;
    }
    if (self->open != NULL) {
        block_give(self, max_records, batch);
        return 0;
    }
    return self->log->base != NULL ? log_turn(self, timeout_ms, max_records, batch, err)
                                   : archive_only(self, timeout_ms, batch, err);
}

static int archived_next(struct log_reader *reader, int timeout_ms, uint32_t max_records,
                         struct log_batch *batch, struct err *err)
{
    struct archived_reader *self = reader_of(reader);
    struct err trouble = {0};
    ASSERT_CMP(max_records, >, 0);
    *batch = (struct log_batch){.source = UINT32_MAX, .none = true};
    if (self->room < max_records) {
        self->records = xrealloc(self->records, max_records * sizeof *self->records);
        self->room = max_records;
    }
    int rc = self->failed;
    if (rc == 0) {
        rc = next_batch(self, timeout_ms, max_records, batch, &trouble);
    } else {
        batch->source = self->failed_source;
        trouble = self->failure;
    }
    if (rc != 0 && !passes(rc)) {
        self->failed = rc;
        self->failed_source = batch->source;
        self->failure = trouble;
    }
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

/* ---- Open, add, close */

static int archived_add(struct log_reader *reader, uint32_t number, const char *topic,
                        uint32_t partition, int64_t offset, struct err *err)
{
    struct archived_reader *self = reader_of(reader);
    ASSERT_CMP(number, <, LIMIT_SOURCES);
    ASSERT(self->by_number[number] == NULL);
    if (offset < 0) {
        return err_set(err, KE_INVALID, "%s [%u]: %" PRId64 " is no position", topic, partition,
                       offset);
    }
    struct archived_source *source = xcalloc(1, sizeof *source);
    source->topic = xstrdup(topic);
    source->partition = partition;
    source->number = number;
    source->next = offset;
    source->place = WAITS;
    atomic_init(&source->start, -1);
    atomic_init(&source->end, -1);
    int rc = view_again(self, source, err);
    if (rc != 0) {
        archive_view_free(&source->view);
        free(source->topic);
        free(source);
        return rc;
    }
    self->sources[self->count++] = source;
    self->by_number[number] = source;
    self->wait_count++;
    if (archive_view_find(&source->view, offset) != UINT32_MAX) {
        move_to(self, source, IN_ARCHIVE);
    } else {
        leave_archive(self, source, NULL);
    }
    return 0;
}

static void archived_progress(struct log_reader *reader, uint32_t number, int64_t *start,
                              int64_t *end, int64_t *high)
{
    struct archived_reader *self = reader_of(reader);
    ASSERT_CMP(number, <, LIMIT_SOURCES);
    const struct archived_source *source = self->by_number[number];
    int64_t archived = source != NULL ? atomic_load(&source->start) : -1;
    *start = archived;
    *end = source != NULL && self->log->base == NULL ? atomic_load(&source->end) : -1;
    *high = *end;
    pthread_mutex_lock(&self->lock);
    if (source != NULL && source->joined) {
        self->base->ops->progress(self->base, number, start, end, high);
    }
    pthread_mutex_unlock(&self->lock);
    *start = archived >= 0 && *start >= 0 ? i64_min(archived, *start) : *start;
}

static void archived_wake(struct log_reader *reader)
{
    struct archived_reader *self = reader_of(reader);
    pthread_mutex_lock(&self->lock);
    self->woken = true;
    pthread_cond_signal(&self->wake);
    if (self->base != NULL) {
        self->base->ops->wake(self->base);
    }
    pthread_mutex_unlock(&self->lock);
}

static void archived_behind_most(struct log_reader *reader, uint32_t most)
{
    reader_of(reader)->behind_most = most;
}

static void source_free(struct archived_source *source)
{
    archive_segment_free(&source->segment);
    archive_view_free(&source->view);
    free(source->seam);
    free(source->topic);
    free(source);
}

static void archived_close(struct log_reader *reader)
{
    struct archived_reader *self = reader_of(reader);
    base_close(self);
    for (uint32_t i = 0; i < self->count; i++) {
        source_free(self->sources[i]);
    }
    archive_unpack_free(&self->unpack);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self->records);
    free(self->group);
    self->magic = 0;
    free(self);
}

static const struct log_reader_ops reader_ops = {
    .close = archived_close,
    .add = archived_add,
    .next = archived_next,
    .progress = archived_progress,
    .wake = archived_wake,
    .behind_most = archived_behind_most,
};

int log_archived_reader_open(struct log *log, const char *group, struct log_reader **out,
                             struct err *err)
{
    (void)err;
    struct archived_reader *self = xcalloc(1, sizeof *self);
    self->reader.ops = &reader_ops;
    self->magic = READER_MAGIC;
    self->behind_most = UINT32_MAX;
    self->log = log_archived_of(log);
    self->group = xstrdup(group == NULL ? "" : group);
    pthread_mutex_init(&self->lock, NULL);
    cond_init(&self->wake);
    *out = &self->reader;
    return 0;
}
