/* Checking and repairing archives. Own header: archive_mend.h. */
#include "log/archive_mend.h"

#include "log/archive_fetch.h"
#include "log/archive_patch.h"
#include "log/segment_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Looking */

static void add_problem(json_t *problems, const char *topic, uint32_t partition, int64_t offset,
                        const char *what)
{
    (void)json_array_append_new(problems, json_pack("{s:s,s:I,s:I,s:s}", "topic", topic,
                                                    "partition", (json_int_t)partition, "offset",
                                                    (json_int_t)offset, "what", what));
}

/* Nor is one whose first block is damaged, and its end too. */
static int check_empty(const struct archive_view *view, const struct archive_segment *segment,
                       const char *topic, json_t *problems, struct err *err)
{
    bool more = false;
    int rc =
        segment->end > segment->base ? 0 : archive_segment_more(view->dir, segment, &more, err);
    if (rc == 0 && more) {
        add_problem(problems, topic, view->owner.partition, segment->base,
                    "the file's first block is damaged, and its end");
    }
    return rc;
}

/* Files whose header is damaged are in no view. */
static int check_files(const struct archive_view *view, const char *topic, json_t *problems,
                       struct err *err)
{
    int64_t *bases = NULL;
    size_t count = 0;
    struct err trouble = {0};
    int rc = segment_name_list(view->dir, ARCHIVE_SUFFIX, &bases, &count, &trouble);
    if (rc == -KE_NOT_FOUND) {
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct archive_segment segment;
        rc = archive_segment_load(view->dir, &view->owner, bases[i], false, &segment, &trouble);
        if (rc == 0) {
            rc = check_empty(view, &segment, topic, problems, &trouble);
            archive_segment_free(&segment);
        } else if (rc == -KE_CORRUPT) {
            add_problem(problems, topic, view->owner.partition, bases[i], trouble.text);
            rc = 0;
        } else if (rc == -KE_NOT_FOUND) {
            rc = 0;
        }
    }
    free(bases);
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

static int check_span(const struct archive_view *view, uint32_t i, const char *topic,
                      json_t *problems, struct archive_check *check, struct err *err)
{
    int64_t from = 0;
    int64_t to = 0;
    bool lost = false;
    int64_t bad = check->bad_blocks;
    uint32_t partition = view->owner.partition;
    if (archive_view_gap(view, i, &from, &to, &lost) && lost) {
        char text[128];
        (void)snprintf(text, sizeof text,
                       "offsets %" PRId64 " to %" PRId64 " were archived and are missing", from,
                       to);
        add_problem(problems, topic, partition, from, text);
    }
    int rc = archive_view_check(view, i, check, err);
    if (rc == 0 && check->bad_blocks > bad) {
        add_problem(problems, topic, partition, check->bad_from, check->first.text);
        check->first = (struct err){0};
    }
    bool bad_end = check->unsealed;
    if (rc == 0 && bad_end && i + 1 == view->count &&
        !view->spans[i].sealed) { /* being written, or torn: the writer's work */
        rc = archive_segment_more(view->dir, &view->spans[i], &bad_end, err);
    }
    if (rc == 0 && bad_end) {
        add_problem(problems, topic, partition, view->spans[i].end,
                    "the file has no sound end: it was cut off, or damaged");
    }
    return rc;
}

int archive_mend_check(const char *archive_dir, const char *topic, uint32_t partition,
                       json_t *problems, int64_t *blocks, int64_t *records, struct err *err)
{
    struct archive_view view;
    int rc = archive_view_load(archive_dir, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    rc = check_files(&view, topic, problems, err);
    for (uint32_t i = 0; rc == 0 && i < view.count; i++) {
        struct archive_check check = {0};
        rc = check_span(&view, i, topic, problems, &check, err);
        *blocks += check.blocks;
        *records += check.records;
    }
    archive_view_free(&view);
    return rc;
}

/* ---- Damaged files */

/* What the log behind has, [start, end); TOPIC_CHANGED when it ends below the archive. */
static int ask_range(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                     int64_t *end, struct err *err)
{
    struct log *behind = log_archived_behind(log);
    int rc = log->ops->offsets(log, topic, partition, start, end, err);
    return rc == 0 ? behind->ops->offsets(behind, topic, partition, start, end, err) : rc;
}

static int ask_log(struct log *log, const char *topic, uint32_t partition,
                   struct archive_behind *behind, struct err *err)
{
    struct log_extent extent = LOG_EXTENT_UNKNOWN;
    behind->log = log_archived_behind(log);
    behind->topic = topic;
    int rc = ask_range(log, topic, partition, &behind->start, &behind->end, err);
    if (rc == 0 && behind->log->ops->extent != NULL) {
        rc = behind->log->ops->extent(behind->log, topic, partition, behind->start, behind->end,
                                      &extent, err);
    }
    behind->whole = extent.compacted == 0;
    return rc;
}

static int patch_files(const struct archive_view *view, const struct archive_behind *behind,
                       int64_t *records, struct err *err)
{
    int64_t *bases = NULL;
    size_t count = 0;
    struct err trouble = {0};
    int rc = segment_name_list(view->dir, ARCHIVE_SUFFIX, &bases, &count, &trouble);
    rc = rc == -KE_NOT_FOUND ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = archive_patch(view, bases[i], i + 1 == count, behind, records, &trouble);
    }
    free(bases);
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

int archive_mend_repair(struct log *log, const char *archive_dir, const char *topic,
                        uint32_t partition, bool same, int64_t *records, struct err *err)
{
    struct archive_view view;
    struct archive_behind behind = {.same = same};
    int rc = ask_log(log, topic, partition, &behind, err);
    if (rc == 0) {
        rc = archive_view_load(archive_dir, topic, partition, &view, err);
    }
    if (rc == 0) {
        rc = patch_files(&view, &behind, records, err);
        archive_view_free(&view);
    }
    return rc;
}

/* ---- Fetching */

/* Reads until the writer has everything below `to`. */
static int fetch_records(struct log_reader *reader, struct archive_writer *writer, int64_t to,
                         int64_t *records, struct err *err)
{
    int rc = 0;
    while (rc == 0 && writer->end < to) {
        struct log_batch batch;
        rc = archive_fetch_next(reader, writer->end, &batch, err);
        if (rc == 0) {
            rc = archive_writer_add(writer, batch.records, batch.count, batch.next_offset, err);
        }
        for (uint32_t i = 0; rc == 0 && i < batch.count; i++) {
            *records += batch.records[i].offset < to;
        }
    }
    return rc;
}

static int fetch(struct log *log, struct archive_writer *writer, const char *topic,
                 uint32_t partition, int64_t to, int64_t *records, struct err *err)
{
    struct log_reader *reader = NULL;
    int rc = archive_fetch_open(log, topic, partition, writer->end, &reader, err);
    if (rc == 0) {
        rc = fetch_records(reader, writer, to, records, err);
        reader->ops->close(reader);
    }
    return rc == 0 ? archive_writer_finish(writer, err) : rc;
}

static int fill_gap(struct log *log, const struct archive_view *view, const char *topic,
                    int64_t from, int64_t to, int64_t *records, struct err *err)
{
    struct archive_writer writer;
    int rc = archive_writer_open_gap(&writer, view, from, to, err);
    if (rc == 0) {
        rc = fetch(log, &writer, topic, view->owner.partition, to, records, err);
        archive_writer_close(&writer);
    }
    return rc;
}

static int fill_tail(struct log *log, const char *archive_dir, const char *topic,
                     uint32_t partition, int64_t start, int64_t end, int64_t *records,
                     struct err *err)
{
    struct archive_writer writer;
    int rc = archive_writer_open(&writer, archive_dir, topic, partition, err);
    if (rc != 0) {
        return rc;
    }
    if (writer.end < start) {
        rc = archive_writer_begin(&writer, start, err);
    }
    if (rc == 0 && writer.end < end) {
        rc = fetch(log, &writer, topic, partition, end, records, err);
    }
    archive_writer_close(&writer);
    return rc;
}

int archive_mend_fill(struct log *log, const char *archive_dir, const char *topic,
                      uint32_t partition, bool tail, int64_t *records, struct err *err)
{
    struct archive_view view;
    int64_t start = -1;
    int64_t end = -1;
    int rc = ask_range(log, topic, partition, &start, &end, err);
    if (rc == 0) {
        rc = archive_view_load(archive_dir, topic, partition, &view, err);
    }
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; rc == 0 && i < view.count; i++) {
        /* In front of the first: what retention has removed stays so. */
        int64_t from = i64_max(i == 0 ? view.first : view.spans[i - 1].end, start);
        int64_t to = i64_min(view.spans[i].base, end);
        if (from < to) {
            rc = fill_gap(log, &view, topic, from, to, records, err);
        }
    }
    archive_view_free(&view);
    return rc == 0 && tail ? fill_tail(log, archive_dir, topic, partition, start, end, records, err)
                           : rc;
}
