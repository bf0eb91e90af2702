/* Appending to one partition. Own header: partition_writer.h. */
#include "log/partition_writer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/trace.h"
#include "log/segment.h"
#include "log/segment_name.h"
#include "log/segment_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel begins to write after so many bytes, so that the sync at the end of a segment, during
 * which others wait for the lock, finds little left. */
#define WRITE_BEHIND_BYTES (4 << 20)

/* Room that a buffer keeps after a flush. */
#define BUFFER_KEEP_BYTES (1 << 20)

void partition_writer_init(struct partition_writer *writer, struct notify *notify)
{
    *writer = (struct partition_writer){.notify = notify, .fd = -1, .unsynced_end = -1};
    writer->partition.lock_fd = -1;
}

int partition_writer_open(struct partition_writer *writer, const char *log_dir, const char *topic,
                          uint32_t number, const struct topic_info *info, struct err *err)
{
    if (writer->partition.dir != NULL) {
        return 0;
    }
    return partition_open(&writer->partition, log_dir, topic, number, info, err);
}

void partition_writer_add(struct partition_writer *writer, const struct kappa_record *record,
                          int64_t time_ms)
{
    segment_record_encode(&writer->buffer, record, time_ms);
}

/* ---- The active segment ---- */

static void close_segment(struct partition_writer *writer)
{
    if (writer->fd >= 0) {
        (void)close(writer->fd);
        writer->fd = -1;
    }
}

/* A writer was killed while it began the next segment: what it left goes, then the seal. */
static int undo_roll(struct partition_writer *writer, const char *path, struct err *err)
{
    const char *dir = writer->partition.dir;
    int64_t *bases = NULL;
    size_t count = 0;
    int rc = segment_name_list(dir, SEGMENT_SUFFIX, &bases, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (bases[i] > writer->fd_base) {
            char *orphan = segment_name_path(dir, bases[i], SEGMENT_SUFFIX);
            if (unlink(orphan) != 0) {
                rc = err_errno(err, errno, "cannot remove %s", orphan);
            }
            free(orphan);
        }
    }
    free(bases);
    if (rc == 0) {
        rc = file_sync_dir(dir, err);
    }
    return rc != 0 ? rc : segment_unseal(writer->fd, path, err);
}

/* Zeroes what a writer wrote behind the end and never published, so that recovery cannot take it
 * for records that follow those written next. A hole is punched, not the file cut: readers may look
 * at the bytes behind the last record. */
static int clean_tail(const struct partition_writer *writer, const struct head_state *state,
                      const char *path, struct err *err)
{
    uint8_t bytes[8] = {0};
    if (pread(writer->fd, bytes, sizeof bytes, state->position) < 0) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    if (load_u64_le(bytes) == 0) {
        return 0;
    }
    if (fallocate(writer->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, state->position,
                  writer->capacity + SEGMENT_PAD_BYTES - state->position) != 0) {
        return err_errno(err, errno, "cannot clean the end of %s", path);
    }
    return 0;
}

/* Opens the segment that the head calls active, unless it is open. */
static int attach_segment(struct partition_writer *writer, const struct head_state *state,
                          struct err *err)
{
    if (writer->fd >= 0 && writer->fd_base != state->segment_base) {
        close_segment(writer);
    }
    char *path = segment_name_path(writer->partition.dir, state->segment_base, SEGMENT_SUFFIX);
    int rc = 0;
    if (writer->fd < 0) {
        writer->fd = open(path, O_RDWR | O_CLOEXEC);
        writer->fd_base = state->segment_base;
    }
    struct stat st;
    if (writer->fd < 0 || fstat(writer->fd, &st) != 0) {
        rc = err_errno(err, errno, "cannot open %s", path);
    } else if (st.st_size < state->position + SEGMENT_PAD_BYTES) {
        rc = err_set(err, KE_CORRUPT,
                     "%s has %" PRId64 " bytes, less than the %" PRId64 " that were published",
                     path, (int64_t)st.st_size, state->position);
    } else {
        writer->capacity = st.st_size - SEGMENT_PAD_BYTES;
        if (segment_is_sealed(writer->fd)) {
            rc = undo_roll(writer, path, err);
        }
        if (rc == 0) {
            rc = clean_tail(writer, state, path, err);
        }
    }
    free(path);
    return rc;
}

/* Seals the active segment and begins the next; see segment.h invariant 3 for the order. */
static int roll(struct partition_writer *writer, struct head_state *state, size_t need,
                struct err *err)
{
    struct partition *partition = &writer->partition;
    struct segment_seal seal = {state->end_offset, state->time_min, state->time_max,
                                state->position};
    int next = -1;
    char *path = segment_name_path(partition->dir, writer->fd_base, SEGMENT_SUFFIX);
    int rc = segment_seal(writer->fd, writer->fd_base, &seal, path, err);
    if (rc == 0) {
        int64_t capacity =
            SEGMENT_HEADER_BYTES + i64_max(partition->info.segment_bytes, i64_from(need));
        rc = segment_create(partition->dir, state->end_offset, capacity, &next, err);
        writer->capacity = rc == 0 ? capacity : writer->capacity;
    }
    free(path);
    if (rc != 0) {
        return rc; /* a seal that was set is taken off by the next flush */
    }
    head_set_synced(&partition->head, state->end_offset);
    state->segment_base = state->end_offset;
    state->position = SEGMENT_HEADER_BYTES;
    state->time_min = INT64_MAX;
    state->time_max = INT64_MIN;
    head_publish(&partition->head, state);
    if (ftruncate(writer->fd, seal.used + SEGMENT_PAD_BYTES) != 0) {
        trace(TRACE_DEBUG, "%s: the unused end of a segment stays", partition->label);
    }
    close_segment(writer);
    writer->fd = next;
    writer->fd_base = state->segment_base;
    writer->unsynced_end = -1;
    struct err trouble = {0};
    if (partition_expire(partition, state, clock_wall_ms(clock_real()), &trouble) != 0) {
        trace(TRACE_WARN, "%s: retention: %s", partition->label, trouble.text);
    }
    return 0;
}

/* Room for a record larger than a whole segment, in one that is empty. */
static int grow(struct partition_writer *writer, size_t need, struct err *err)
{
    int64_t capacity = SEGMENT_HEADER_BYTES + i64_from(need);
    if (ftruncate(writer->fd, capacity + SEGMENT_PAD_BYTES) != 0) {
        return err_errno(err, errno, "cannot extend a segment of %s", writer->partition.label);
    }
    writer->capacity = capacity;
    return 0;
}

/* ---- Flush ---- */

static size_t buffered_size(const struct partition_writer *writer, size_t at)
{
    return (size_t)load_u32_le(writer->buffer.data + at) + SEGMENT_RECORD_CHECKED;
}

/* Stamps the records that fit behind *state, from byte `from` of the buffer. *after: the state with
 * them. Returns their bytes. */
static size_t stamp_run(struct partition_writer *writer, size_t from,
                        const struct head_state *state, struct head_state *after)
{
    *after = *state;
    size_t at = from;
    while (at < writer->buffer.len) {
        size_t size = buffered_size(writer, at);
        if (after->position + i64_from(size) > writer->capacity) {
            break;
        }
        uint8_t *record = writer->buffer.data + at;
        segment_record_stamp(record, size, after->end_offset);
        after->position += i64_from(size);
        after->end_offset++;
        after->time_min = i64_min(after->time_min, segment_record_time(record));
        after->time_max = i64_max(after->time_max, segment_record_time(record));
        at += size;
    }
    return at - from;
}

static int write_run(struct partition_writer *writer, size_t from, size_t len,
                     struct head_state *state, const struct head_state *after, struct err *err)
{
    int rc = file_write_at(writer->fd, writer->buffer.data + from, len, state->position,
                           "its segment", err);
    if (rc != 0) {
        err_hint(err, "readers see nothing of it; free some space and try again");
        return rc;
    }
    *state = *after;
    head_publish(&writer->partition.head, state);
    notify_ring(writer->notify);
    writer->unsynced_end = state->end_offset;
    writer->write_behind += i64_from(len);
    if (writer->write_behind >= WRITE_BEHIND_BYTES) {
        (void)sync_file_range(writer->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        writer->write_behind = 0;
    }
    return 0;
}

/* One step: writes what fits, or makes room. *done grows by the bytes published. */
static int flush_step(struct partition_writer *writer, struct head_state *state, size_t *done,
                      struct err *err)
{
    struct head_state after;
    size_t len = stamp_run(writer, *done, state, &after);
    if (len > 0) {
        int rc = write_run(writer, *done, len, state, &after, err);
        *done += rc == 0 ? len : 0;
        return rc;
    }
    size_t need = buffered_size(writer, *done);
    return state->position == SEGMENT_HEADER_BYTES ? grow(writer, need, err)
                                                   : roll(writer, state, need, err);
}

static void drop_front(struct buf *buffer, size_t len)
{
    if (len == buffer->len && buffer->cap > BUFFER_KEEP_BYTES) {
        buf_free(buffer);
    } else if (len > 0) {
        memmove(buffer->data, buffer->data + len, buffer->len - len);
        buffer->len -= len;
        buffer->data[buffer->len] = 0;
    }
}

int partition_writer_flush(struct partition_writer *writer, struct err *err)
{
    if (writer->buffer.len == 0) {
        return 0;
    }
    size_t done = 0;
    int rc = partition_lock(&writer->partition, err);
    if (rc != 0) {
        return rc;
    }
    struct head_state state;
    head_read(&writer->partition.head, &state);
    rc = attach_segment(writer, &state, err);
    while (rc == 0 && done < writer->buffer.len) {
        rc = flush_step(writer, &state, &done, err);
    }
    partition_unlock(&writer->partition);
    drop_front(&writer->buffer, done);
    if (rc != 0) {
        err_prefix(err, "%s", writer->partition.label);
        close_segment(writer);
    }
    return rc;
}

int partition_writer_sync(struct partition_writer *writer, struct err *err)
{
    if (writer->unsynced_end < 0) {
        return 0;
    }
    /* Earlier segments were synced by whoever sealed them, so the active one is enough; and one that
     * is gone by now was sealed and expired. */
    struct head_state state;
    head_read(&writer->partition.head, &state);
    char *path = segment_name_path(writer->partition.dir, state.segment_base, SEGMENT_SUFFIX);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = 0;
    if (fd >= 0) {
        rc = file_sync(fd, path, err);
        (void)close(fd);
    } else if (errno != ENOENT || head_gone(&writer->partition.head, writer->partition.dir)) {
        rc = err_errno(err, errno, "cannot open %s", path);
    }
    free(path);
    if (rc == 0) {
        head_set_synced(&writer->partition.head, writer->unsynced_end);
        writer->unsynced_end = -1;
    }
    return rc;
}

void partition_writer_rest(struct partition_writer *writer)
{
    close_segment(writer);
    partition_lock_close(&writer->partition);
}

void partition_writer_close(struct partition_writer *writer)
{
    partition_writer_rest(writer);
    if (writer->partition.dir != NULL) {
        head_sync(&writer->partition.head);
        partition_close(&writer->partition);
    }
    buf_free(&writer->buffer);
}
