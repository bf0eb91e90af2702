/* The archiver's thread. Own header: archiver.h.
 *
 * One reader delivers the partitions of all topics that are open; each partition has a writer. When
 * the set changes, the reader is closed and another is opened at the ends of the writers: what these
 * have not flushed stays in their packs. A topic in trouble is closed, which drops what was not
 * flushed, and opened again later: the archive's own end is the only position there is. */
#include "log/archiver.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/limits.h"
#include "base/trace.h"
#include "log/archive_fetch.h"
#include "log/archive_topic.h"
#include "log/archiver_figures.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_US       INT64_C(1000000)
#define HOUSEWORK_US  INT64_C(10000000)
#define RETRY_US      INT64_C(5000000)
#define READ_MS       100
#define PAUSE_MS      500
#define PACE_MS       100 /* at the end: many records at a time cost less than one at a time */
#define PACKED_MAX    ((int64_t)32 << 20) /* bytes that wait in packs, of all partitions */
#define SEAL_MS_MIN   INT64_C(1000)       /* a topic with retention: between two segments */
#define STOP_WAIT_MS  1000
#define FILES_FLUSHES 2 /* flush_us between two looks at all files, for their figures, at least, */
#define FILES_SHARE   100 /* and this often as long as one takes */

struct archiver_partition {
    struct archive_writer writer;
    int64_t packed_us;  /* since when something waits to be flushed; 0: nothing does */
    int64_t segment_us; /* since when the open segment is written */
};

struct archiver_topic {
    char *name;
    struct archive_topic settings;
    bool open, seen;
    int lock;                              /* -1: not held */
    struct archiver_partition *partitions; /* settings.partitions of them, while open */
    uint32_t source;                       /* of the first partition, in the reader */
    int64_t retry_us;                      /* not opened before */
    bool told;                             /* state.json says that all is well */
    bool trouble;                          /* it says that all is not */
    struct archiver_figure *figures;       /* as last known, per partition */
    uint32_t figure_count;
    int64_t files_us; /* of the next look at its files */
};

struct archiver {
    struct log *log; /* NULL: not opened yet */
    json_t *config;  /* of a log of its own, or NULL */
    char *dir;
    int64_t flush_us;
    int64_t segment_bytes;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the next five */
    pthread_cond_t wake;
    bool stop, ended;
    struct log_reader *reader; /* changed under lock, by the thread */
    json_t *report;            /* replaced whole, as often as it looks */

    struct archiver_topic *topics;
    uint32_t topic_count;
    struct archive_press press;
    int64_t packed; /* bytes in packs, about */
    int64_t look_us, housework_us;
};

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- State, for people */

static void tell(const struct archiver *self, struct archiver_topic *topic,
                 const struct err *trouble)
{
    if (trouble == NULL && topic->told) {
        return;
    }
    topic->told = trouble == NULL;
    topic->trouble = trouble != NULL;
    json_t *state = json_pack("{s:I}", "time", (json_int_t)clock_wall_ms(clock_real()));
    json_t *error = trouble == NULL ? NULL : json_from_err(trouble);
    json_t *inner = json_object_get(error, "error");
    (void)json_object_set_new(state, "error", inner == NULL ? json_null() : json_incref(inner));
    json_decref(error);
    archive_topic_state_store(self->dir, topic->name, state);
    json_decref(state);
    if (trouble != NULL) {
        trace(TRACE_WARN, "archive of %s: %s", topic->name, trouble->text);
    }
}

/* ---- Topics: open and close */

static void topic_close(struct archiver *self, struct archiver_topic *topic, bool flush)
{
    for (uint32_t i = 0; topic->partitions != NULL && i < topic->settings.partitions; i++) {
        struct archiver_partition *partition = &topic->partitions[i];
        struct err trouble = {0};
        if (flush && topic->open &&
            (archive_writer_flush(&partition->writer, &trouble) != 0 ||
             archive_writer_sync(&partition->writer, &trouble) != 0)) {
            trace(TRACE_WARN, "archive of %s: %s", topic->name, trouble.text);
        }
        self->packed -= (int64_t)partition->writer.pack.records.len;
        archive_writer_close(&partition->writer);
    }
    free(topic->partitions);
    topic->partitions = NULL;
    if (topic->lock >= 0) {
        (void)close(topic->lock);
        topic->lock = -1;
    }
    topic->open = false;
}

static void topic_free(struct archiver_topic *topic)
{
    free(topic->figures);
    free(topic->name);
}

static void topic_fails(struct archiver *self, struct archiver_topic *topic,
                        const struct err *trouble)
{
    topic_close(self, topic, false);
    if (trouble->code == -KE_BUSY) { /* somebody repairs it */
        topic->retry_us = now_us() + LOOK_US;
        return;
    }
    topic->retry_us = now_us() + RETRY_US;
    tell(self, topic, trouble);
}

/* The topic is the one that was archived, and has this many partitions. */
static int topic_check(struct archiver *self, struct archiver_topic *topic, struct err *err)
{
    uint32_t partitions = 0;
    bool known = false;
    int rc = self->log->ops->topic_partitions(self->log, topic->name, &partitions, err);
    if (rc == 0) {
        rc = archive_topic_same(self->log, self->dir, topic->name, &topic->settings, &known, err);
    }
    if (rc != 0 || partitions <= topic->settings.partitions) {
        return rc;
    }
    struct archive_topic settings; /* as they are now: somebody may have set them since the look */
    rc = archive_topic_load(self->dir, topic->name, &settings, err);
    if (rc == 0) {
        settings.partitions = partitions;
        rc = archive_topic_store(self->dir, topic->name, &settings, err);
    }
    if (rc == 0) {
        topic->settings = settings;
    }
    return rc;
}

/* Where the log begins, for an archive that is empty or that the log's retention has overtaken: then
 * a gap stays. */
static int partition_open(struct archiver *self, const struct archiver_topic *topic,
                          uint32_t number, struct err *err)
{
    struct archive_writer *writer = &topic->partitions[number].writer;
    int64_t start = -1;
    int64_t end = -1;
    int rc = archive_writer_open(writer, self->dir, topic->name, number, err);
    if (rc != 0) {
        return rc;
    }
    writer->press = &self->press;
    writer->segment_bytes = self->segment_bytes;
    topic->partitions[number].segment_us = now_us();
    rc = self->log->ops->offsets(self->log, topic->name, number, &start, &end, err);
    if (rc == 0 && writer->end < start) {
        if (writer->end >= 0) {
            trace(TRACE_WARN,
                  "archive of %s: partition %" PRIu32 " has lost offsets %" PRId64 " to %" PRId64
                  ": the log removed them before they were archived",
                  topic->name, number, writer->end, start);
        }
        rc = archive_writer_begin(writer, start, err);
    }
    return rc;
}

/* The archiver is in no hurry: brokers collect for it what comes within a second. */
static json_t *patient(const json_t *config)
{
    json_t *copy = json_deep_copy(config);
    if (strcmp(json_text(copy, "kind", ""), "kafka") == 0) {
        json_t *properties = json_object_get(copy, "properties");
        if (properties == NULL) {
            properties = json_object();
            (void)json_object_set_new(copy, "properties", properties);
        }
        (void)json_object_set_new(properties, "fetch.min.bytes", json_string("1000000"));
        (void)json_object_set_new(properties, "fetch.wait.max.ms", json_string("1000"));
    }
    return copy;
}

static int topic_open(struct archiver *self, struct archiver_topic *topic, struct err *err)
{
    int rc = self->log != NULL ? 0 : log_open_config(self->config, &self->log, err);
    if (rc == 0) {
        rc = archive_topic_lock(self->dir, topic->name, 0, &topic->lock, err);
    }
    if (rc == 0) {
        rc = topic_check(self, topic, err);
    }
    if (rc != 0) {
        return rc;
    }
    topic->partitions = xcalloc(topic->settings.partitions, sizeof *topic->partitions);
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        topic->partitions[i].writer.fd = -1;
    }
    for (uint32_t i = 0; rc == 0 && i < topic->settings.partitions; i++) {
        rc = partition_open(self, topic, i, err);
    }
    topic->open = rc == 0;
    return rc;
}

/* ---- The reader */

static void reader_close(struct archiver *self)
{
    pthread_mutex_lock(&self->lock);
    struct log_reader *reader = self->reader;
    self->reader = NULL;
    pthread_mutex_unlock(&self->lock);
    if (reader != NULL) {
        reader->ops->close(reader);
    }
}

static bool any_open(const struct archiver *self)
{
    bool any = false;
    for (uint32_t t = 0; t < self->topic_count; t++) {
        any |= self->topics[t].open;
    }
    return any;
}

/* For all topics that are open. A topic that cannot be added is closed. */
static int reader_open(struct archiver *self, struct err *err)
{
    struct log_reader *reader = NULL;
    uint32_t source = 0;
    if (!any_open(self)) {
        return 0;
    }
    int rc = self->log->ops->reader_open(self->log, ARCHIVE_GROUP, &reader, err);
    for (uint32_t t = 0; rc == 0 && t < self->topic_count; t++) {
        struct archiver_topic *topic = &self->topics[t];
        struct err trouble = {0};
        if (topic->open && source + topic->settings.partitions > LIMIT_SOURCES) {
            (void)err_set(&trouble, KE_LIMIT, "topics with archive=on have more than %d partitions",
                          LIMIT_SOURCES);
            topic_fails(self, topic, &trouble);
        }
        topic->source = source;
        for (uint32_t i = 0; topic->open && i < topic->settings.partitions; i++) {
            if (reader->ops->add(reader, source++, topic->name, i, topic->partitions[i].writer.end,
                                 &trouble) != 0) {
                topic_fails(self, topic, &trouble);
            }
        }
    }
    pthread_mutex_lock(&self->lock);
    self->reader = rc == 0 ? reader : NULL;
    pthread_mutex_unlock(&self->lock);
    return rc;
}

static struct archiver_topic *topic_of(const struct archiver *self, uint32_t source)
{
    for (uint32_t t = 0; t < self->topic_count; t++) {
        struct archiver_topic *topic = &self->topics[t];
        if (topic->partitions != NULL && source >= topic->source &&
            source - topic->source < topic->settings.partitions) {
            return topic;
        }
    }
    return NULL;
}

/* ---- Looking at the settings */

static struct archiver_topic *topic_get(struct archiver *self, const char *name)
{
    for (uint32_t t = 0; t < self->topic_count; t++) {
        if (strcmp(self->topics[t].name, name) == 0) {
            return &self->topics[t];
        }
    }
    self->topics = xrealloc(self->topics, (self->topic_count + 1) * sizeof *self->topics);
    struct archiver_topic *topic = &self->topics[self->topic_count++];
    *topic = (struct archiver_topic){.name = xstrdup(name), .lock = -1};
    return topic;
}

static void topics_load(struct archiver *self)
{
    json_t *names = NULL;
    if (archive_topic_list(self->dir, &names, NULL) != 0) {
        return;
    }
    for (uint32_t t = 0; t < self->topic_count; t++) {
        self->topics[t].seen = false;
    }
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        struct archive_topic settings;
        if (archive_topic_load(self->dir, json_string_value(name), &settings, NULL) == 0 &&
            settings.on) {
            struct archiver_topic *topic = topic_get(self, json_string_value(name));
            uint32_t partitions = topic->settings.partitions;
            topic->seen = true;
            topic->settings = settings;
            if (topic->open) { /* as many as there are writers */
                topic->settings.partitions = partitions;
            }
        }
    }
    json_decref(names);
}

/* Opens and closes topics as the settings say. True: the reader has to be another. */
static bool look(struct archiver *self)
{
    bool changed = false;
    topics_load(self);
    for (uint32_t t = 0; t < self->topic_count;) {
        struct archiver_topic *topic = &self->topics[t];
        struct err trouble = {0};
        bool wanted = topic->seen && archive_topic_wanted(self->dir, topic->name);
        if (topic->open && (!topic->seen || wanted)) {
            topic_close(self, topic, true);
            changed = true;
        }
        if (!topic->seen) {
            topic_close(self, topic, false);
            topic_free(topic);
            *topic = self->topics[--self->topic_count];
            continue;
        }
        if (!topic->open && !wanted && now_us() >= topic->retry_us) {
            if (topic_open(self, topic, &trouble) == 0) {
                tell(self, topic, NULL);
                changed = true;
            } else {
                topic_fails(self, topic, &trouble);
            }
        }
        t++;
    }
    return changed;
}

/* ---- Writing */

/* Whether a segment of a topic with retention is old enough to end, so that it can be removed whole
 * one day. */
static bool segment_due(const struct archiver_topic *topic,
                        const struct archiver_partition *partition, int64_t now)
{
    int64_t every_ms = i64_max(topic->settings.retain.ms / 4, SEAL_MS_MIN);
    return topic->settings.retain.ms >= 0 && partition->writer.fd >= 0 &&
           now - partition->segment_us > every_ms * 1000;
}

static int partition_flush(struct archiver *self, const struct archiver_topic *topic,
                           struct archiver_partition *partition, struct err *err)
{
    int64_t now = now_us();
    struct archive_writer *writer = &partition->writer;
    int64_t before = (int64_t)writer->pack.records.len;
    if (writer->fd < 0) {
        partition->segment_us = now;
    }
    int rc = archive_writer_flush(writer, err);
    if (rc == 0 && segment_due(topic, partition, now)) {
        rc = archive_writer_finish(writer, err);
    }
    if (rc == 0) {
        self->packed -= before;
        buf_free(&writer->pack.records); /* partitions are many, and most are quiet */
        partition->packed_us = 0;
    }
    return rc;
}

/* all: whatever waits; else what has waited long enough. */
static void flush_due(struct archiver *self, bool all)
{
    int64_t now = now_us();
    for (uint32_t t = 0; t < self->topic_count; t++) {
        struct archiver_topic *topic = &self->topics[t];
        struct err trouble = {0};
        int rc = 0;
        for (uint32_t i = 0; topic->open && rc == 0 && i < topic->settings.partitions; i++) {
            struct archiver_partition *partition = &topic->partitions[i];
            if (partition->packed_us != 0 &&
                (all || now - partition->packed_us >= self->flush_us)) {
                rc = partition_flush(self, topic, partition, &trouble);
            }
        }
        if (rc != 0) {
            topic_fails(self, topic, &trouble);
        }
    }
}

static void take(struct archiver *self, const struct log_batch *batch)
{
    struct archiver_topic *topic = topic_of(self, batch->source);
    struct err trouble = {0};
    if (topic == NULL || !topic->open) {
        return; /* it was closed; the reader ends soon */
    }
    struct archiver_partition *partition = &topic->partitions[batch->source - topic->source];
    struct archive_writer *writer = &partition->writer;
    int64_t before = (int64_t)writer->pack.records.len;
    int rc = archive_writer_add(writer, batch->records, batch->count, batch->next_offset, &trouble);
    self->packed += (int64_t)writer->pack.records.len - before;
    if (rc != 0) {
        topic_fails(self, topic, &trouble);
    } else if (partition->packed_us == 0 && writer->pack.head.next > writer->pack.head.from) {
        partition->packed_us = now_us();
    }
    if (self->packed > PACKED_MAX) {
        flush_due(self, true);
    }
}

/* ---- Housework: retention, syncs, new partitions */

/* Removes what retention lets go. */
static int partition_retain(const struct archiver *self, const struct archiver_topic *topic,
                            uint32_t number, struct err *err)
{
    struct archive_view view;
    const struct archive_retain *retain = &topic->settings.retain;
    if (retain->ms < 0 && retain->bytes < 0) {
        return 0; /* a look at all its files would be for nothing */
    }
    int rc = archive_view_load(self->dir, topic->name, number, &view, err);
    if (rc == 0) {
        uint32_t old = archive_view_expired(&view, retain, clock_wall_ms(clock_real()));
        rc = archive_view_remove(&view, old, err);
        archive_view_free(&view);
    }
    return rc;
}

static int topic_housework(struct archiver *self, struct archiver_topic *topic, bool *again,
                           struct err *err)
{
    uint32_t partitions = 0;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < topic->settings.partitions; i++) {
        rc = archive_writer_sync(&topic->partitions[i].writer, err);
        if (rc == 0) {
            rc = partition_retain(self, topic, i, err);
        }
    }
    *again = rc == 0 &&
             self->log->ops->topic_partitions(self->log, topic->name, &partitions, NULL) == 0 &&
             partitions > topic->settings.partitions;
    return rc;
}

/* True: the reader has to be another. */
static bool housework(struct archiver *self)
{
    bool changed = false;
    for (uint32_t t = 0; t < self->topic_count; t++) {
        struct archiver_topic *topic = &self->topics[t];
        struct err trouble = {0};
        bool again = false;
        if (topic->open && topic_housework(self, topic, &again, &trouble) != 0) {
            topic_fails(self, topic, &trouble);
            changed = true;
        } else if (again) {
            topic_close(self, topic, true); /* and opened with all partitions */
            topic->retry_us = 0;
            changed = true;
        }
    }
    return changed;
}

/* ---- Figures */

static void figures_make(struct archiver_topic *topic, uint32_t count)
{
    topic->figures = xrealloc(topic->figures, count * sizeof *topic->figures);
    while (topic->figure_count < count) {
        topic->figures[topic->figure_count++] = (struct archiver_figure){-1, -1, -1, -1, -1, -1};
    }
}

/* Costs an opened file for each segment, so rarely. */
static void figures_of_files(const struct archiver *self, struct archiver_topic *topic)
{
    int64_t began = now_us();
    if (began < topic->files_us) {
        return;
    }
    for (uint32_t i = 0; i < topic->figure_count; i++) {
        archiver_figure_look(self->dir, topic->name, i, &topic->figures[i]);
    }
    int64_t ended = now_us();
    topic->files_us =
        ended + i64_max(FILES_FLUSHES * self->flush_us, FILES_SHARE * (ended - began));
}

/* What is in the files, and what the reader knows of the log. */
static void figure_now(const struct archiver *self, const struct archiver_topic *topic, uint32_t i)
{
    const struct archive_writer *writer = &topic->partitions[i].writer;
    const struct archive_block *packed = &writer->pack.head;
    struct archiver_figure *figure = &topic->figures[i];
    int64_t start = -1;
    int64_t end = -1;
    int64_t high = -1;
    figure->end = packed->from < packed->next ? packed->from : writer->end;
    if (self->reader != NULL) {
        self->reader->ops->progress(self->reader, topic->source + i, &start, &end, &high);
    }
    figure->lag = end >= 0 && figure->end >= 0 ? i64_max(end - figure->end, 0) : -1;
}

static void report(struct archiver *self)
{
    json_t *all = json_array();
    for (uint32_t t = 0; t < self->topic_count; t++) {
        struct archiver_topic *topic = &self->topics[t];
        if (topic->open) {
            figures_make(topic, topic->settings.partitions);
            figures_of_files(self, topic);
        }
        for (uint32_t i = 0; topic->open && i < topic->settings.partitions; i++) {
            figure_now(self, topic, i);
        }
        (void)json_array_append_new(all,
                                    archiver_figures_json(topic->name, topic->trouble,
                                                          topic->figures, topic->figure_count));
    }
    pthread_mutex_lock(&self->lock);
    json_t *old = self->report;
    self->report = all;
    pthread_mutex_unlock(&self->lock);
    json_decref(old);
}

json_t *archiver_figures(struct archiver *self)
{
    pthread_mutex_lock(&self->lock);
    json_t *copy = json_deep_copy(self->report); /* counts of references are not atomic */
    pthread_mutex_unlock(&self->lock);
    return copy;
}

/* ---- The thread */

static bool stopping(struct archiver *self, int64_t pause_ms)
{
    pthread_mutex_lock(&self->lock);
    struct timespec until = cond_until(pause_ms);
    while (!self->stop && pause_ms > 0 &&
           pthread_cond_timedwait(&self->wake, &self->lock, &until) == 0) {
    }
    bool stop = self->stop;
    pthread_mutex_unlock(&self->lock);
    return stop;
}

/* What the reader says is wrong. Returns how long to wait. */
static int64_t read_failed(struct archiver *self, int rc, uint32_t source,
                           const struct err *trouble)
{
    struct archiver_topic *topic = source < LIMIT_SOURCES ? topic_of(self, source) : NULL;
    if (rc == -KE_BROKER || rc == -KE_AGAIN) {
        return PAUSE_MS;
    }
    reader_close(self);
    self->look_us = 0;
    if (topic != NULL) {
        topic_fails(self, topic, trouble);
        topic->retry_us = rc == -KE_RANGE_LOST ? 0 : topic->retry_us;
        return 0;
    }
    trace(TRACE_WARN, "archives: %s", trouble->text);
    return PAUSE_MS;
}

/* Reads one batch. Returns how long to wait before the next. */
static int64_t read_some(struct archiver *self)
{
    struct log_batch batch = {.source = UINT32_MAX};
    struct err trouble = {0};
    if (self->reader == NULL) {
        return PAUSE_MS;
    }
    int rc = self->reader->ops->next(self->reader, READ_MS, LIMIT_BATCH_RECORDS, &batch, &trouble);
    if (rc != 0) {
        return read_failed(self, rc, batch.source, &trouble);
    }
    if (!batch.none) {
        take(self, &batch);
    }
    return !batch.none && batch.at_end ? PACE_MS : 0;
}

static void *archiver_main(void *ctx)
{
    struct archiver *self = ctx;
    for (int64_t pause = 0; !stopping(self, pause);) {
        int64_t now = now_us();
        struct err trouble = {0};
        bool changed = false;
        bool due = now - self->look_us >= LOOK_US;
        if (due) {
            self->look_us = now;
            changed = look(self);
        }
        if (now - self->housework_us >= HOUSEWORK_US) {
            self->housework_us = now;
            changed |= housework(self);
        }
        if (changed || self->reader == NULL) {
            reader_close(self);
            if (reader_open(self, &trouble) != 0) {
                trace(TRACE_WARN, "archives: %s", trouble.text);
            }
        }
        pause = read_some(self);
        flush_due(self, false);
        if (due) {
            report(self);
        }
    }
    for (uint32_t t = 0; t < self->topic_count; t++) { /* first: the reader may take its time */
        topic_close(self, &self->topics[t], true);
        topic_free(&self->topics[t]);
    }
    reader_close(self);
    free(self->topics);
    archive_press_free(&self->press);
    if (self->config != NULL && self->log != NULL) {
        self->log->ops->close(self->log);
    }
    pthread_mutex_lock(&self->lock);
    self->ended = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

struct archiver *archiver_start(const struct archiver_options *options)
{
    struct archiver *self = xcalloc(1, sizeof *self);
    self->log = options->log;
    self->config = options->config == NULL ? NULL : patient(options->config);
    self->dir = xstrdup(options->dir);
    self->flush_us = options->flush_ms * 1000;
    self->segment_bytes =
        options->segment_bytes > 0 ? options->segment_bytes : ARCHIVE_SEGMENT_BYTES;
    self->housework_us = now_us();
    pthread_mutex_init(&self->lock, NULL);
    cond_init(&self->wake);
    int rc = pthread_create(&self->thread, NULL, archiver_main, self);
    ASSERT_CMP(rc, ==, 0);
    return self;
}

bool archiver_stop(struct archiver *self)
{
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_cond_broadcast(&self->wake);
    if (self->reader != NULL) {
        self->reader->ops->wake(self->reader);
    }
    struct timespec until = cond_until(STOP_WAIT_MS);
    int rc = 0;
    while (!self->ended && rc == 0) {
        rc = pthread_cond_timedwait(&self->wake, &self->lock, &until);
    }
    bool ended = self->ended;
    pthread_mutex_unlock(&self->lock);
    if (!ended) {
        return false;
    }
    (void)pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    json_decref(self->config);
    json_decref(self->report);
    free(self->dir);
    free(self);
    return true;
}
