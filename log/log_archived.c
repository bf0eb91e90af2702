/* A log and its archive as one log: what the archive holds is there, also when the log behind it has
 * removed it. Reading is in log_archived_reader.c.
 *
 * The log behind is the truth about its end, its partitions and all that is written; the archive
 * only adds records in front of the log's start. So:
 *
 *     archive      [s ................ e)
 *     log behind            [b ................. end)        start s, when e >= b; else b
 *
 * Where there is no log behind, the archive is all there is, and nothing can be written. */
#include "log/log_archived.h"

#include "log/topic_name.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- What there is of a topic */

/* *found: there is an archive of this very topic. */
static int archive_find(struct log_archived *self, const char *topic, struct archive_topic *out,
                        bool *found, struct err *err)
{
    uint64_t identity = 0;
    struct err trouble = {0};
    *found = false;
    int rc = archive_topic_load(self->dir, topic, out, &trouble);
    if (rc == -KE_NOT_FOUND) {
        return 0;
    }
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    if (rc == 0 && out->identity != 0 && self->base != NULL) {
        rc = self->base->ops->topic_identity(self->base, topic, &identity, err);
    }
    *found = rc == 0 && (identity == 0 || identity == out->identity);
    return rc;
}

int log_archived_view(struct log_archived *self, const char *topic, uint32_t partition,
                      struct archive_view *out, struct err *err)
{
    struct archive_topic settings;
    bool found = false;
    *out = (struct archive_view){0};
    int rc = archive_find(self, topic, &settings, &found, err);
    return rc == 0 && found ? archive_view_load(self->dir, topic, partition, out, err) : rc;
}

static int missing(struct log_archived *self, const char *topic, struct err *err)
{
    json_t *topics = NULL;
    if (self->log.ops->topic_list(&self->log, &topics, NULL) != 0) {
        topics = NULL;
    }
    int rc = topic_name_not_found(topic, topics, err);
    json_decref(topics);
    return rc;
}

static int read_only(struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "this log is an archive: nothing can be written to it");
    err_hint(err, "produce to the log that it was made of, or use another data directory");
    return rc;
}

/* ---- Topics */

static int archived_topic_create(struct log *log, const char *topic,
                                 const struct log_topic_options *options, struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base == NULL ? read_only(err) : base->ops->topic_create(base, topic, options, err);
}

/* Names of archives become {"name","partitions"}. */
static int list_archives(struct log_archived *self, json_t **out, struct err *err)
{
    json_t *names = NULL;
    int rc = archive_topic_list(self->dir, &names, err);
    if (rc != 0) {
        return rc;
    }
    *out = json_array();
    size_t i;
    json_t *name;
    json_array_foreach (names, i, name) {
        struct archive_topic settings;
        if (archive_topic_load(self->dir, json_string_value(name), &settings, NULL) == 0) {
            (void)json_array_append_new(*out, json_pack("{s:O,s:I}", "name", name, "partitions",
                                                        (json_int_t)settings.partitions));
        }
    }
    json_decref(names);
    return 0;
}

static int archived_topic_list(struct log *log, json_t **out, struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    return self->base == NULL ? list_archives(self, out, err)
                              : self->base->ops->topic_list(self->base, out, err);
}

/* Without a log behind: the archive's settings. */
static int settings_alone(struct log_archived *self, const char *topic, struct archive_topic *out,
                          struct err *err)
{
    int rc = archive_topic_load(self->dir, topic, out, err);
    return rc == -KE_NOT_FOUND ? missing(self, topic, err) : rc;
}

static int archived_topic_partitions(struct log *log, const char *topic, uint32_t *count,
                                     struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    struct archive_topic settings;
    if (self->base != NULL) {
        return self->base->ops->topic_partitions(self->base, topic, count, err);
    }
    int rc = settings_alone(self, topic, &settings, err);
    *count = rc == 0 ? settings.partitions : 0;
    return rc;
}

static int archived_topic_identity(struct log *log, const char *topic, uint64_t *identity,
                                   struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    struct archive_topic settings;
    if (self->base != NULL) {
        return self->base->ops->topic_identity(self->base, topic, identity, err);
    }
    int rc = settings_alone(self, topic, &settings, err);
    *identity = rc == 0 ? settings.identity : 0;
    return rc;
}

/* ---- Offsets */

/* The view of a partition that there is, where the archive is all there is. */
static int view_alone(struct log_archived *self, const char *topic, uint32_t partition,
                      struct archive_view *out, struct err *err)
{
    struct archive_topic settings;
    int rc = settings_alone(self, topic, &settings, err);
    if (rc == 0 && partition >= settings.partitions) {
        rc = err_set(err, KE_NOT_FOUND, "topic '%s' has no partition %u: it has %u, from 0", topic,
                     partition, settings.partitions);
    }
    return rc == 0 ? archive_view_load(self->dir, topic, partition, out, err) : rc;
}

/* What there is to look at: with a log behind, an empty view when there is no archive. */
static int view_get(struct log_archived *self, const char *topic, uint32_t partition,
                    struct archive_view *out, struct err *err)
{
    return self->base == NULL ? view_alone(self, topic, partition, out, err)
                              : log_archived_view(self, topic, partition, out, err);
}

static int archive_longer(const char *topic, uint32_t partition, int64_t archived, int64_t end,
                          struct err *err)
{
    int rc = err_set(err, KE_TOPIC_CHANGED,
                     "%s [%u]: the archive holds records up to offset %" PRId64
                     ", but the log ends at %" PRId64,
                     topic, partition, archived, end);
    err_hint(err,
             "the topic was deleted and made again, or lost records; move the folder "
             "archive/%s of the data directory away to work with what is there",
             topic);
    return rc;
}

static int archived_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                            int64_t *end, struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    struct archive_view view;
    int64_t from = -1;
    int64_t to = -1;
    int rc = view_get(self, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    /* Looked at before the log is asked, so that its end cannot lie below what is archived. */
    bool any = archive_view_tail(&view, &from, &to);
    if (self->base == NULL) {
        *start = any ? from : view.first;
        *end = any ? to : view.first;
    } else {
        rc = self->base->ops->offsets(self->base, topic, partition, start, end, err);
    }
    if (rc == 0 && any && to > *end) {
        rc = archive_longer(topic, partition, to, *end, err);
    } else if (rc == 0 && any && to >= *start) {
        *start = i64_min(*start, from);
    }
    archive_view_free(&view);
    return rc;
}

/* Of what the archive holds in front of the log behind, at or after its start: -1, none. */
static int time_in_archive(struct log_archived *self, const char *topic, uint32_t partition,
                           int64_t time_ms, int64_t *offset, struct err *err)
{
    struct archive_view view;
    int64_t from = -1;
    int64_t to = -1;
    int64_t start = -1;
    int64_t end = -1;
    *offset = -1;
    int rc = view_get(self, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    bool any = archive_view_tail(&view, &from, &to);
    if (any && self->base != NULL) {
        rc = self->base->ops->offsets(self->base, topic, partition, &start, &end, err);
        any = rc == 0 && from < start && start <= to;
    }
    if (any) {
        rc = archive_view_time(&view, from, time_ms, offset, err);
    }
    archive_view_free(&view);
    return rc;
}

static int archived_offset_at_time(struct log *log, const char *topic, uint32_t partition,
                                   int64_t time_ms, int64_t *offset, struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    if (time_ms < 0) {
        return err_set(err, KE_INVALID, "a time before 1970 cannot be looked up");
    }
    int rc = time_in_archive(self, topic, partition, time_ms, offset, err);
    if (rc == 0 && *offset < 0 && self->base != NULL) {
        rc = self->base->ops->offset_at_time(self->base, topic, partition, time_ms, offset, err);
    }
    return rc;
}

/* ---- Extent */

/* Stored bytes of [from, to): whole segments as they are, of others a share. */
static int64_t view_bytes(const struct archive_view *view, int64_t from, int64_t to)
{
    double bytes = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct archive_segment *span = &view->spans[i];
        int64_t low = i64_max(from, span->base);
        int64_t high = i64_min(to, span->end);
        if (low < high) {
            bytes += (double)span->size * (double)(high - low) / (double)(span->end - span->base);
        }
    }
    return (int64_t)bytes;
}

/* The part that the archive serves, and the settings that keep it. Returns where the log behind goes
 * on. */
static int extent_archived(struct log_archived *self, const char *topic, uint32_t partition,
                           int64_t from, int64_t to, struct log_extent *out, int64_t *next,
                           struct err *err)
{
    struct archive_topic settings;
    struct archive_view view = {0};
    bool found = false;
    int64_t low = -1;
    int64_t high = -1;
    *next = from;
    int rc = archive_find(self, topic, &settings, &found, err);
    if (rc == 0 && found) {
        rc = archive_view_load(self->dir, topic, partition, &view, err);
    }
    if (rc == 0 && found && archive_view_tail(&view, &low, &high) && low <= from && from < high) {
        *next = i64_min(high, to);
        *out = (struct log_extent){.bytes = view_bytes(&view, from, *next),
                                   .retain_ms = settings.retain.ms,
                                   .retain_bytes = settings.retain.bytes,
                                   .compacted = 0,
                                   .stamped = LOG_UNKNOWN};
    }
    archive_view_free(&view);
    return rc;
}

static int archived_extent(struct log *log, const char *topic, uint32_t partition, int64_t from,
                           int64_t to, struct log_extent *out, struct err *err)
{
    struct log_archived *self = log_archived_of(log);
    struct log_extent first = LOG_EXTENT_UNKNOWN;
    struct log *base = self->base;
    int64_t next = from;
    int rc = extent_archived(self, topic, partition, from, to, &first, &next, err);
    if (rc != 0 || base == NULL || base->ops->extent == NULL || (next > from && next >= to)) {
        *out = first;
        return rc;
    }
    rc = base->ops->extent(base, topic, partition, next, to, out, err);
    if (rc == 0 && next > from) { /* the archive keeps the start, whatever the log does */
        first.bytes = out->bytes < 0 ? LOG_UNKNOWN : first.bytes + out->bytes;
        *out = first;
    }
    return rc;
}

static int archived_archived(struct log *log, const char *topic, uint32_t partition, int64_t from,
                             int64_t *to, struct err *err)
{
    struct archive_view view;
    int rc = view_get(log_archived_of(log), topic, partition, &view, err);
    *to = from;
    if (rc == 0) {
        *to = archive_view_reach(&view, from);
        archive_view_free(&view);
    }
    return rc;
}

/* ---- The rest */

static int archived_expire(struct log *log, int64_t now_ms, struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base == NULL ? 0 : base->ops->expire(base, now_ms, err);
}

static int archived_writer_open(struct log *log, const char *topic, struct log_writer **out,
                                struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base == NULL ? read_only(err) : base->ops->writer_open(base, topic, out, err);
}

static int archived_sender_open(struct log *log, const char *name, struct log_sender **out,
                                struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base == NULL ? read_only(err) : base->ops->sender_open(base, name, out, err);
}

static int archived_group_commit(struct log *log, const char *group, const struct log_place *places,
                                 uint32_t count, struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base->ops->group_commit(base, group, places, count, err);
}

static int archived_groups_delete(struct log *log, const char *const *groups, uint32_t count,
                                  struct err *err)
{
    struct log *base = log_archived_of(log)->base;
    return base->ops->groups_delete(base, groups, count, err);
}

static void archived_close(struct log *log)
{
    struct log_archived *self = log_archived_of(log);
    if (self->base != NULL) {
        self->base->ops->close(self->base);
    }
    free(self->dir);
    self->magic = 0;
    free(self);
}

static const struct log_ops archived_ops = {
    .close = archived_close,
    .topic_create = archived_topic_create,
    .topic_list = archived_topic_list,
    .topic_partitions = archived_topic_partitions,
    .topic_identity = archived_topic_identity,
    .offsets = archived_offsets,
    .offset_at_time = archived_offset_at_time,
    .extent = archived_extent,
    .archived = archived_archived,
    .expire = archived_expire,
    .group_commit = archived_group_commit,
    .groups_delete = archived_groups_delete,
    .reader_open = log_archived_reader_open,
    .writer_open = archived_writer_open,
    .sender_open = archived_sender_open,
};

struct log *log_archived_behind(struct log *log)
{
    return log_archived_of(log)->base;
}

struct log *log_open_archived(const char *dir, struct log *base)
{
    struct log_archived *self = xcalloc(1, sizeof *self);
    self->ops = archived_ops;
    if (base == NULL || base->ops->group_commit == NULL) {
        self->ops.group_commit = NULL;
        self->ops.groups_delete = NULL;
    }
    self->log = (struct log){.ops = &self->ops, .kind = base == NULL ? "archive" : base->kind};
    self->magic = LOG_ARCHIVED_MAGIC;
    self->base = base;
    self->dir = xstrdup(dir);
    return &self->log;
}
