/* What a partition of an archive holds. Own header: archive_partition.h. Writing: archive_writer.c. */
#include "log/archive_partition.h"

#include "base/file.h"
#include "log/crc32c.h"
#include "log/segment_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_BYTES_MAX 64

/* ---- Looking ---- */

static int load_first(struct archive_view *view, struct err *err)
{
    char *path = xasprintf("%s/first", view->dir);
    struct buf text = {0};
    struct err trouble = {0};
    int rc = file_read(path, FIRST_BYTES_MAX, &text, &trouble);
    if (rc == 0) {
        char *end = NULL;
        view->first = strtoll(buf_text(&text), &end, 10);
        if (view->first < 0 || end == buf_text(&text)) {
            rc = err_set(err, KE_CORRUPT, "%s does not hold an offset", path);
        }
    } else if (rc == -KE_NOT_FOUND) {
        rc = 0;
    } else if (err != NULL) {
        *err = trouble;
    }
    buf_free(&text);
    free(path);
    return rc;
}

/* A segment that overlaps the one before it (none is ever written so) is left out. */
static int load_spans(struct archive_view *view, struct err *err)
{
    int64_t *bases = NULL;
    size_t count = 0;
    struct err missing = {0};
    int rc = segment_name_list(view->dir, ARCHIVE_SUFFIX, &bases, &count, &missing);
    if (rc == -KE_NOT_FOUND) {
        return 0;
    }
    if (rc != 0 && err != NULL) {
        *err = missing;
    }
    view->spans = count == 0 ? NULL : xcalloc(count, sizeof *view->spans);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct archive_segment *span = &view->spans[view->count];
        struct err trouble = {0};
        int failed = archive_segment_load(view->dir, &view->owner, bases[i], false, span, &trouble);
        int64_t behind = view->count == 0 ? 0 : span[-1].end;
        if (failed == -KE_CORRUPT || (failed == 0 && span->base < behind)) {
            view->damaged++;
        } else if (failed == 0 && span->end > span->base) {
            free(span->entries);
            span->entries = NULL;
            view->count++;
            continue;
        } else if (failed != 0 && failed != -KE_NOT_FOUND) { /* gone: retention was at work */
            rc = failed;
            if (err != NULL) {
                *err = trouble;
            }
        }
        archive_segment_free(span);
    }
    free(bases);
    return rc;
}

int archive_view_load(const char *archive_dir, const char *topic, uint32_t partition,
                      struct archive_view *out, struct err *err)
{
    *out = (struct archive_view){
        .dir = xasprintf("%s/%s/%u", archive_dir, topic, partition),
        .owner = {.topic_crc = crc32c(0, topic, strlen(topic)), .partition = partition}};
    int rc = load_first(out, err);
    if (rc == 0) {
        rc = load_spans(out, err);
    }
    if (rc != 0) {
        archive_view_free(out);
    }
    return rc;
}

void archive_view_free(struct archive_view *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        archive_segment_free(&view->spans[i]);
    }
    free(view->spans);
    free(view->dir);
    *view = (struct archive_view){0};
}

uint32_t archive_view_find(const struct archive_view *view, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = view->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view->spans[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < view->count && view->spans[low].base <= offset ? low : UINT32_MAX;
}

int64_t archive_view_reach(const struct archive_view *view, int64_t offset)
{
    int64_t end = offset;
    for (uint32_t i = archive_view_find(view, offset); i < view->count; i++) {
        if (end != offset && view->spans[i].base != end) {
            break;
        }
        end = view->spans[i].end;
    }
    return end;
}

bool archive_view_tail(const struct archive_view *view, int64_t *start, int64_t *end)
{
    if (view->count == 0) {
        return false;
    }
    uint32_t i = view->count - 1;
    *end = view->spans[i].end;
    while (i > 0 && view->spans[i - 1].end == view->spans[i].base) {
        i--;
    }
    *start = view->spans[i].base;
    return true;
}

/* Where what is missed in front of span i would begin: behind the one before it. */
static int64_t gap_start(const struct archive_view *view, uint32_t i)
{
    return i == 0 ? view->first : view->spans[i - 1].end;
}

bool archive_view_gap(const struct archive_view *view, uint32_t i, int64_t *from, int64_t *to,
                      bool *lost)
{
    ASSERT_CMP(i, <, view->count);
    const struct archive_segment *span = &view->spans[i];
    *from = gap_start(view, i);
    *to = span->base;
    *lost = span->after > *from;
    return *from < *to && (i > 0 || *lost);
}

/* Looks into the one block that has such a time first: times within it need not ascend. */
static int block_time(const struct archive_view *view, const struct archive_segment *segment,
                      uint32_t entry, int64_t from, int64_t time_ms, int64_t *offset,
                      struct archive_unpack *unpack, struct err *err)
{
    struct archive_block block;
    struct kappa_record record;
    bool bad = false;
    int rc = archive_segment_read(view->dir, segment, entry, &block, unpack, err);
    while (rc == 0 && *offset < 0 && archive_block_next(unpack, &block, &record, &bad)) {
        if (record.offset >= from && record.time_ms != KAPPA_NO_TIME && record.time_ms >= time_ms) {
            *offset = record.offset;
        }
    }
    return rc == 0 && bad ? archive_segment_bad(view->dir, segment, entry, err) : rc;
}

static int span_time(const struct archive_view *view, const struct archive_segment *span,
                     int64_t from, int64_t time_ms, int64_t *offset, struct err *err)
{
    struct archive_segment segment;
    struct archive_unpack unpack = {0};
    int rc = archive_segment_load(view->dir, &view->owner, span->base, true, &segment, err);
    if (rc != 0) {
        return rc;
    }
    /* time_max is of the block and those before it: blocks below hold no such time. */
    uint32_t entry = segment.entry_count == 0 ? 0 : archive_segment_find(&segment, from);
    for (; rc == 0 && *offset < 0 && entry < segment.entry_count; entry++) {
        if (segment.entries[entry].time_max >= time_ms) {
            rc = block_time(view, &segment, entry, from, time_ms, offset, &unpack, err);
        }
    }
    archive_unpack_free(&unpack);
    archive_segment_free(&segment);
    return rc;
}

int archive_view_time(const struct archive_view *view, int64_t from, int64_t time_ms,
                      int64_t *offset, struct err *err)
{
    int rc = 0;
    *offset = -1;
    for (uint32_t i = archive_view_find(view, from); rc == 0 && *offset < 0 && i < view->count;
         i++) {
        const struct archive_segment *span = &view->spans[i];
        if (span->time_max >= time_ms) {
            rc = span_time(view, span, i64_max(from, span->base), time_ms, offset, err);
        }
        if (i + 1 < view->count && view->spans[i + 1].base != span->end) {
            break;
        }
    }
    return rc;
}

static int check_block(const char *dir, const struct archive_segment *segment, uint32_t entry,
                       struct archive_unpack *unpack, struct archive_check *check, struct err *err)
{
    struct archive_block block;
    struct kappa_record record;
    bool bad = false;
    int64_t count = 0;
    int rc = archive_segment_read(dir, segment, entry, &block, unpack, err);
    if (rc != 0) {
        return rc;
    }
    while (archive_block_next(unpack, &block, &record, &bad)) {
        count++;
    }
    if (bad || count != block.count) {
        return archive_segment_bad(dir, segment, entry, err);
    }
    check->blocks++;
    check->records += count;
    return 0;
}

int archive_view_check(const struct archive_view *view, uint32_t i, struct archive_check *check,
                       struct err *err)
{
    ASSERT_CMP(i, <, view->count);
    struct archive_segment segment;
    check->bad_from = -1;
    int rc =
        archive_segment_load(view->dir, &view->owner, view->spans[i].base, true, &segment, err);
    if (rc != 0) {
        return rc;
    }
    check->unsealed = !segment.sealed && (i + 1 < view->count || segment.size > segment.used);
    struct archive_unpack unpack = {0};
    for (uint32_t k = 0; rc == 0 && k < segment.entry_count; k++) {
        struct err trouble = {0};
        rc = check_block(view->dir, &segment, k, &unpack, check, &trouble);
        if (rc == -KE_CORRUPT) {
            if (check->bad_blocks++ == 0) {
                check->first = trouble;
            }
            check->bad_from = check->bad_from < 0 ? segment.entries[k].from : check->bad_from;
            rc = 0;
        } else if (rc != 0 && err != NULL) {
            *err = trouble;
        }
    }
    archive_unpack_free(&unpack);
    archive_segment_free(&segment);
    return rc;
}

/* ---- Retention ---- */

uint32_t archive_view_expired(const struct archive_view *view, const struct archive_retain *retain,
                              int64_t now_ms)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        bytes += view->spans[i].size;
    }
    uint32_t count = 0;
    for (; count + 1 < view->count; count++) {
        const struct archive_segment *span = &view->spans[count];
        bytes -= span->size;
        bool old = retain->ms >= 0 && span->time_max < now_ms - retain->ms;
        bool many = retain->bytes >= 0 && bytes >= retain->bytes;
        if (!span->sealed || (!old && !many)) {
            break;
        }
    }
    return count;
}

static int store_first(const struct archive_view *view, int64_t first, struct err *err)
{
    char *path = xasprintf("%s/first", view->dir);
    char *temp = xasprintf("%s/first.tmp", view->dir);
    char text[FIRST_BYTES_MAX];
    int len = snprintf(text, sizeof text, "%" PRId64 "\n", first);
    int fd = -1;
    int rc = file_create(temp, text, (size_t)len, &fd, err);
    if (rc == 0) {
        (void)close(fd);
        rc = rename(temp, path) == 0 ? file_sync_dir(view->dir, err)
                                     : err_errno(err, errno, "cannot rename %s", temp);
    }
    free(temp);
    free(path);
    return rc;
}

int archive_view_remove(struct archive_view *view, uint32_t count, struct err *err)
{
    ASSERT_CMP(count, <=, view->count);
    if (count == 0) {
        return 0;
    }
    int64_t first = i64_max(view->first, view->spans[count - 1].end);
    int rc = store_first(view, first, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        char *path = segment_name_path(view->dir, view->spans[i].base, ARCHIVE_SUFFIX);
        if (unlink(path) != 0 && errno != ENOENT) {
            rc = err_errno(err, errno, "cannot remove %s", path);
        }
        free(path);
    }
    if (rc == 0) {
        view->first = first;
        rc = file_sync_dir(view->dir, err);
    }
    return rc;
}
