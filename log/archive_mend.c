/* Checking and repairing archives. Own header: archive_mend.h. */
#include "log/archive_mend.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "log/segment_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GROUP      "kappa.archive"
#define READ_MS    1000
#define PATIENT_US INT64_C(30000000) /* with brokers */

/* ---- Looking */

static void add_problem(json_t *problems, const char *topic, uint32_t partition, int64_t offset,
                        const char *what)
{
    (void)json_array_append_new(problems, json_pack("{s:s,s:I,s:I,s:s}", "topic", topic,
                                                    "partition", (json_int_t)partition, "offset",
                                                    (json_int_t)offset, "what", what));
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
    if (rc == 0 && bad_end &&
        i + 1 == view->count) { /* being written, or torn: the writer's work */
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

/* ---- Taking out what is damaged */

static int set_aside(const char *dir, int64_t base, struct err *err)
{
    char *path = segment_name_path(dir, base, ARCHIVE_SUFFIX);
    char *aside = xasprintf("%s.bad", path);
    int rc = rename(path, aside) == 0 ? file_sync_dir(dir, err)
                                      : err_errno(err, errno, "cannot rename %s", path);
    free(aside);
    free(path);
    return rc;
}

static int bad_headers(const struct archive_view *view, struct err *err)
{
    int64_t *bases = NULL;
    size_t count = 0;
    struct err trouble = {0};
    int rc = segment_name_list(view->dir, ARCHIVE_SUFFIX, &bases, &count, &trouble);
    rc = rc == -KE_NOT_FOUND ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct archive_segment segment;
        rc = archive_segment_load(view->dir, &view->owner, bases[i], false, &segment, &trouble);
        if (rc == 0) {
            archive_segment_free(&segment);
        } else if (rc == -KE_CORRUPT) {
            rc = set_aside(view->dir, bases[i], &trouble);
        }
    }
    free(bases);
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

/* Ends a file that is not the last, after its last sound block. */
static int seal_again(const struct archive_view *view, int64_t base, struct err *err)
{
    struct archive_segment segment;
    struct err trouble = {0};
    int rc = archive_segment_load(view->dir, &view->owner, base, true, &segment, &trouble);
    if (rc == 0 && !segment.sealed && segment.entry_count > 0) {
        char *path = segment_name_path(view->dir, base, ARCHIVE_SUFFIX);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || ftruncate(fd, segment.used) != 0) {
            rc = err_errno(&trouble, errno, "cannot shorten %s", path);
        } else {
            rc = archive_segment_seal(fd, view->dir, &segment, &trouble);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        free(path);
    }
    if (rc == 0) {
        archive_segment_free(&segment);
    }
    rc = rc == -KE_NOT_FOUND ? 0 : rc; /* nothing of it was left */
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
}

/* The file is cut at its first bad block, if the log has everything from there on. */
static int cut_bad(const struct archive_view *view, uint32_t i, int64_t bad_from, int64_t start,
                   struct err *err)
{
    struct archive_segment segment;
    if (bad_from < start) {
        return 0;
    }
    int rc =
        archive_segment_load(view->dir, &view->owner, view->spans[i].base, true, &segment, err);
    if (rc != 0) {
        return rc;
    }
    uint32_t entry = archive_segment_find(&segment, bad_from);
    rc = archive_segment_cut(view->dir, &segment, entry, err);
    archive_segment_free(&segment);
    return rc;
}

/* Behind the sound blocks of the last file there is something else: a torn end, which a writer takes
 * off by itself, or damage with sound blocks behind it. */
static int cut_end(const struct archive_view *view, int64_t start, struct err *err)
{
    const struct archive_segment *last = &view->spans[view->count - 1];
    if (last->sealed || last->size == last->used || last->end < start) {
        return 0;
    }
    char *path = segment_name_path(view->dir, last->base, ARCHIVE_SUFFIX);
    int rc = truncate(path, last->used) == 0 ? 0 : err_errno(err, errno, "cannot shorten %s", path);
    free(path);
    return rc;
}

int archive_mend_repair(const char *archive_dir, const char *topic, uint32_t partition,
                        int64_t start, struct err *err)
{
    struct archive_view view;
    int rc = archive_view_load(archive_dir, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    rc = bad_headers(&view, err);
    for (uint32_t i = 0; rc == 0 && i < view.count; i++) {
        struct archive_check check = {0};
        rc = archive_view_check(&view, i, &check, err);
        if (rc == 0 && check.bad_from >= 0) {
            rc = cut_bad(&view, i, check.bad_from, start, err);
        }
        if (rc == 0 && i + 1 < view.count && view.spans[i].end >= start) {
            rc = seal_again(&view, view.spans[i].base, err);
        }
    }
    if (rc == 0 && view.count > 0) {
        rc = cut_end(&view, start, err);
    }
    archive_view_free(&view);
    return rc;
}

/* ---- Fetching */

/* Reads until the writer has everything below `to`. */
static int fetch_records(struct log_reader *reader, struct archive_writer *writer, int64_t to,
                         int64_t *records, struct err *err)
{
    int64_t deadline = clock_mono_us(clock_real()) + PATIENT_US;
    while (writer->end < to) {
        struct log_batch batch;
        int rc = reader->ops->next(reader, READ_MS, LIMIT_BATCH_RECORDS, &batch, err);
        bool passing = rc == -KE_BROKER || rc == -KE_AGAIN || (rc == 0 && batch.none);
        if (passing && clock_mono_us(clock_real()) < deadline) {
            continue;
        }
        if (rc != 0) {
            return rc;
        }
        if (batch.none) {
            return err_set(err, KE_TIMEOUT, "the log gave nothing at offset %" PRId64, writer->end);
        }
        rc = archive_writer_add(writer, batch.records, batch.count, batch.next_offset, err);
        if (rc != 0) {
            return rc;
        }
        for (uint32_t i = 0; i < batch.count; i++) {
            *records += batch.records[i].offset < to;
        }
        deadline = clock_mono_us(clock_real()) + PATIENT_US;
    }
    return 0;
}

static int fetch(struct log *log, struct archive_writer *writer, const char *topic,
                 uint32_t partition, int64_t to, int64_t *records, struct err *err)
{
    struct log_reader *reader = NULL;
    struct err trouble = {0};
    int rc = log->ops->reader_open(log, GROUP, &reader, &trouble);
    if (rc == 0) {
        rc = reader->ops->add(reader, 0, topic, partition, writer->end, &trouble);
        if (rc == 0) {
            rc = fetch_records(reader, writer, to, records, &trouble);
        }
        reader->ops->close(reader);
    }
    if (rc == 0) {
        rc = archive_writer_finish(writer, &trouble);
    }
    if (rc != 0 && err != NULL) {
        *err = trouble;
    }
    return rc;
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
                      uint32_t partition, int64_t start, int64_t end, bool tail, int64_t *records,
                      struct err *err)
{
    struct archive_view view;
    int rc = archive_view_load(archive_dir, topic, partition, &view, err);
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
