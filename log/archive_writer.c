/* Writing a partition of an archive. Own header: archive_partition.h.
 *
 * Records are packed until a block is full or somebody flushes; blocks are appended to the last
 * segment, which is sealed when it is large. Nothing else says how far the archive is: the end of
 * the last sound block is where the next writer goes on, so that a kill at any instruction costs
 * only what is read from the log again. */
#include "base/file.h"
#include "log/archive_partition.h"
#include "log/crc32c.h"
#include "log/segment_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make_dirs(const char *archive_dir, const char *topic, uint32_t partition,
                     struct err *err)
{
    char *topic_dir = xasprintf("%s/%s", archive_dir, topic);
    char *dir = xasprintf("%s/%u", topic_dir, partition);
    int rc = file_make_dir(archive_dir, err);
    if (rc == 0) {
        rc = file_make_dir(topic_dir, err);
    }
    if (rc == 0) {
        rc = file_make_dir(dir, err);
    }
    free(dir);
    free(topic_dir);
    return rc;
}

/* Opens the unsealed last segment to go on in it, without what lies behind its last sound block. */
static int resume(struct archive_writer *writer, const struct archive_segment *last,
                  struct err *err)
{
    bool more = false;
    int rc = archive_segment_more(writer->dir, last, &more, err);
    char *path = segment_name_path(writer->dir, last->base, ARCHIVE_SUFFIX);
    if (rc == 0 && more) {
        rc = archive_segment_corrupt(writer->dir, last->base, last->used, last->end,
                                     "there is no sound block here, but there is one behind it",
                                     err);
    }
    if (rc == 0) {
        rc = archive_segment_load(writer->dir, &writer->owner, last->base, true, &writer->segment,
                                  err);
    }
    if (rc == 0) {
        writer->fd = open(path, O_RDWR | O_CLOEXEC);
        if (writer->fd < 0) {
            rc = err_errno(err, errno, "cannot open %s", path);
        } else if (writer->segment.size > writer->segment.used &&
                   ftruncate(writer->fd, writer->segment.used) != 0) {
            rc = err_errno(err, errno, "cannot shorten %s", path);
        }
        writer->cut = writer->segment.size - writer->segment.used;
        writer->segment.size = writer->segment.used;
        writer->unsynced = true;
    }
    free(path);
    return rc;
}

static void writer_begin(struct archive_writer *writer, const struct archive_view *view)
{
    *writer = (struct archive_writer){.dir = xstrdup(view->dir),
                                      .owner = view->owner,
                                      .fd = -1,
                                      .end = -1,
                                      .stop = -1,
                                      .segment_bytes = ARCHIVE_SEGMENT_BYTES};
}

int archive_writer_open(struct archive_writer *writer, const char *archive_dir, const char *topic,
                        uint32_t partition, struct err *err)
{
    struct archive_view view;
    int rc = make_dirs(archive_dir, topic, partition, err);
    if (rc == 0) {
        rc = archive_view_load(archive_dir, topic, partition, &view, err);
    }
    if (rc != 0) {
        return rc;
    }
    writer_begin(writer, &view);
    if (view.count > 0) {
        const struct archive_segment *last = &view.spans[view.count - 1];
        writer->end = last->end;
        rc = last->sealed ? 0 : resume(writer, last, err);
    } else if (view.first > 0) {
        writer->end = view.first;
    }
    archive_view_free(&view);
    if (rc != 0) {
        archive_writer_close(writer);
    } else if (writer->end >= 0) {
        archive_pack_begin(&writer->pack, writer->end);
    }
    return rc;
}

int archive_writer_open_gap(struct archive_writer *writer, const struct archive_view *view,
                            int64_t from, int64_t to, struct err *err)
{
    ASSERT_CMP(from, <, to);
    writer_begin(writer, view);
    int rc = file_make_dir(writer->dir, err);
    writer->end = from;
    writer->stop = to;
    archive_pack_begin(&writer->pack, from);
    return rc;
}

/* The open segment gets no more. */
static int seal(struct archive_writer *writer, struct err *err)
{
    if (writer->fd < 0) {
        return 0;
    }
    int rc = archive_segment_seal(writer->fd, writer->dir, &writer->segment, err);
    if (rc == 0) {
        (void)close(writer->fd);
        writer->fd = -1;
        archive_segment_free(&writer->segment);
        writer->unsynced = false;
    }
    return rc;
}

int archive_writer_begin(struct archive_writer *writer, int64_t from, struct err *err)
{
    if (writer->end == from) {
        return 0;
    }
    ASSERT_CMP(writer->end, <, from);
    int rc = archive_writer_flush(writer, err);
    if (rc == 0) {
        rc = seal(writer, err);
    }
    if (rc == 0) {
        writer->end = from;
        archive_pack_begin(&writer->pack, from);
    }
    return rc;
}

/* Makes a segment for the pack. What lies below it is asked of the folder: the new one vouches for
 * that. */
static int segment_open(struct archive_writer *writer, struct err *err)
{
    int64_t from = writer->pack.head.from;
    int64_t after = -1;
    int64_t *bases = NULL;
    size_t count = 0;
    int rc = segment_name_list(writer->dir, ARCHIVE_SUFFIX, &bases, &count, err);
    for (size_t i = count; rc == 0 && after < 0 && i-- > 0;) {
        struct archive_segment below;
        if (bases[i] < from &&
            archive_segment_load(writer->dir, &writer->owner, bases[i], false, &below, NULL) == 0) {
            after = below.end;
            archive_segment_free(&below);
        }
    }
    free(bases);
    return rc != 0 ? rc
                   : archive_segment_create(writer->dir, &writer->owner, from, after,
                                            &writer->segment, &writer->fd, err);
}

int archive_writer_flush(struct archive_writer *writer, struct err *err)
{
    struct archive_pack *pack = &writer->pack;
    if (writer->end < 0 || pack->head.from == pack->head.next) {
        return 0;
    }
    struct archive_press *press = writer->press != NULL ? writer->press : &writer->own_press;
    archive_pack_close(pack, press);
    int rc = writer->fd >= 0 ? 0 : segment_open(writer, err);
    if (rc == 0) {
        rc = archive_segment_append(writer->fd, writer->dir, &writer->segment, &pack->head,
                                    &press->out, err);
    }
    if (rc != 0) {
        return rc;
    }
    writer->unsynced = true;
    archive_pack_begin(pack, writer->end);
    return writer->segment.used >= writer->segment_bytes ? seal(writer, err) : 0;
}

static void cover(struct archive_writer *writer, int64_t next)
{
    if (next > writer->end) {
        archive_pack_cover(&writer->pack, next);
        writer->end = next;
    }
}

int archive_writer_add(struct archive_writer *writer, const struct kappa_record *records,
                       uint32_t count, int64_t next, struct err *err)
{
    ASSERT_CMP(writer->end, >=, 0);
    for (uint32_t i = 0; i < count; i++) {
        if (records[i].offset < writer->end) {
            continue;
        }
        if (writer->pack.records.len >= ARCHIVE_PACK_BYTES) {
            int rc = archive_writer_flush(writer, err);
            if (rc != 0) {
                return rc;
            }
        }
        if (writer->stop >= 0 && records[i].offset >= writer->stop) {
            break;
        }
        archive_pack_add(&writer->pack, &records[i]);
        writer->end = records[i].offset + 1;
    }
    cover(writer, writer->stop < 0 ? next : i64_min(next, writer->stop));
    return 0;
}

int archive_writer_sync(struct archive_writer *writer, struct err *err)
{
    if (writer->fd < 0 || !writer->unsynced) {
        return 0;
    }
    char *path = segment_name_path(writer->dir, writer->segment.base, ARCHIVE_SUFFIX);
    int rc = file_sync(writer->fd, path, err);
    writer->unsynced = rc != 0;
    free(path);
    return rc;
}

int archive_writer_finish(struct archive_writer *writer, struct err *err)
{
    int rc = archive_writer_flush(writer, err);
    return rc != 0 ? rc : seal(writer, err);
}

void archive_writer_close(struct archive_writer *writer)
{
    if (writer->fd >= 0) {
        (void)close(writer->fd);
    }
    archive_segment_free(&writer->segment);
    archive_pack_free(&writer->pack);
    archive_press_free(&writer->own_press);
    free(writer->dir);
    *writer = (struct archive_writer){.fd = -1};
}
