/* Recovery of a partition: a new head from the segment files, when there is none of this boot. Own
 * header: partition.h.
 *
 * The kill of a process never leads here: its published records are in the page cache and the head
 * lives on. A crash of the machine does, and it may have lost any bytes that were not synced. What
 * was promised (log.h, flush) is that records below the head's synced_offset are there. So:
 *
 *  1. Sealed segments were synced before the next one existed: each must be sealed, whole, and end
 *     where the next begins. Otherwise CORRUPT. (Their records are checked when they are read.)
 *  2. The last segment is read from its beginning, each record by checksum, offset and length.
 *     At the first that is not sound:
 *       below synced_offset                                              CORRUPT
 *       synced_offset unknown (no head) and a sound record lies behind   CORRUPT
 *       else                          a torn tail: cut off and zeroed, with a warning
 *  3. The new head says start, end and position as found, and is synced with everything else.
 *
 * A version whose cut lies behind an end that moved back is told so: TOPIC_CHANGED. */
#include "log/partition.h"

#include "base/file.h"
#include "base/trace.h"
#include "log/segment.h"
#include "log/segment_name.h"
#include "log/segment_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* How far offsets may jump for bytes to be taken as a later record of the same file. */
#define OFFSET_JUMP_MAX (INT64_C(1) << 32)

/* What is known and what was found. */
struct recovery {
    struct partition *partition;
    int64_t synced; /* -1: unknown */
    int64_t start;  /* of the old head; -1: unknown */
    int64_t *bases;
    size_t count;
    struct head_state state;
};

/* ---- Sealed segments ---- */

static int check_sealed(struct recovery *recovery, size_t index, struct err *err)
{
    int64_t base = recovery->bases[index];
    int64_t next = recovery->bases[index + 1];
    struct segment_map map;
    struct segment_seal seal;
    int rc = segment_map_open(&map, recovery->partition->dir, base, err);
    if (rc != 0) {
        return rc;
    }
    if (!segment_map_seal(&map, &seal)) {
        rc = segment_corrupt(&map, 0, base, "the seal is missing or damaged", err);
    } else if (seal.used + KAPPA_RECORD_TAIL > (int64_t)map.size) {
        rc = segment_corrupt(&map, map.size, base, "the file is shorter than its records", err);
    } else if (seal.end_offset != next) {
        rc = segment_corrupt(&map, (size_t)seal.used, seal.end_offset,
                             "the next segment file does not begin here: one is missing", err);
    }
    segment_map_close(&map);
    return rc;
}

/* ---- The last segment ---- */

/* Where the last bytes lie that were ever written: what follows is a hole of the sparse file, which
 * would be slow to read. The size of the file where the file system cannot tell. */
static size_t find_data_end(const struct segment_map *map, size_t at)
{
    off_t end = (off_t)at;
    int fd = open(map->path, O_RDONLY | O_CLOEXEC);
    for (off_t data = end; fd >= 0;) {
        data = lseek(fd, data, SEEK_DATA);
        if (data < 0) {
            end = errno == ENXIO ? end : (off_t)map->size;
            break;
        }
        data = lseek(fd, data, SEEK_HOLE);
        end = data;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd < 0 || (size_t)end > map->size ? map->size : (size_t)end;
}

/* Does a sound record of a later offset lie behind `at`? */
static bool later_record(const struct segment_map *map, size_t at, size_t data_end,
                         int64_t expected)
{
    for (size_t i = at + 1; i + SEGMENT_RECORD_FIXED <= data_end; i++) {
        size_t size = segment_record_size(map->bytes, i, data_end);
        if (size == 0) {
            continue;
        }
        int64_t offset = segment_record_offset(map->bytes + i);
        if (offset > expected && offset - expected < OFFSET_JUMP_MAX &&
            segment_record_sound(map->bytes + i, size)) {
            return true;
        }
    }
    return false;
}

static bool all_zero(const struct segment_map *map, size_t at, size_t data_end)
{
    for (size_t i = at; i < data_end; i++) {
        if (map->bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Judges the end of the sound records; *cut: bytes behind it must go. */
static int judge_tail(const struct recovery *recovery, const struct segment_map *map, bool *cut,
                      struct err *err)
{
    size_t at = (size_t)recovery->state.position;
    int64_t end = recovery->state.end_offset;
    if (end < recovery->synced) {
        return segment_corrupt(map, at, end, "the record is damaged or missing", err);
    }
    size_t data_end = find_data_end(map, at);
    *cut = !all_zero(map, at, data_end);
    if (!*cut) {
        return 0;
    }
    if (recovery->synced < 0 && later_record(map, at, data_end, end)) {
        return segment_corrupt(map, at, end, "the record is damaged, and sound ones follow", err);
    }
    trace(TRACE_WARN,
          "%s: cut off at offset %" PRId64 ": what followed was not written whole before "
          "the machine stopped (%s, byte %zu)",
          recovery->partition->label, end, map->path, at);
    return 0;
}

/* Reads all sound records; fills position, end and times of the state. */
static void scan_records(struct recovery *recovery, const struct segment_map *map)
{
    struct head_state *state = &recovery->state;
    size_t at = SEGMENT_HEADER_BYTES;
    int64_t expected = map->base;
    for (;;) {
        size_t size = segment_record_size(map->bytes, at, map->size);
        const uint8_t *record = map->bytes + at;
        if (size == 0 || segment_record_offset(record) != expected ||
            !segment_record_sound(record, size)) {
            break;
        }
        state->time_min = i64_min(state->time_min, segment_record_time(record));
        state->time_max = i64_max(state->time_max, segment_record_time(record));
        at += size;
        expected++;
    }
    state->position = i64_from(at);
    state->end_offset = expected;
}

/* Gives the file back its capacity, zeroes behind the records, removes a seal, syncs. */
static int restore_file(const struct recovery *recovery, const char *path, bool cut,
                        struct err *err)
{
    int64_t capacity = i64_max(recovery->partition->info.segment_bytes, recovery->state.position);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "cannot open %s", path);
    }
    int rc = 0;
    if ((cut && ftruncate(fd, recovery->state.position) != 0) ||
        ftruncate(fd, capacity + SEGMENT_PAD_BYTES) != 0) {
        rc = err_errno(err, errno, "cannot cut %s", path);
    }
    if (rc == 0 && segment_is_sealed(fd)) {
        rc = segment_unseal(fd, path, err);
    }
    if (rc == 0) {
        rc = file_sync(fd, path, err);
    }
    (void)close(fd);
    return rc;
}

static int recover_last(struct recovery *recovery, struct err *err)
{
    struct segment_map map;
    struct segment_seal seal;
    bool cut = false;
    int rc = segment_map_open(&map, recovery->partition->dir, recovery->state.segment_base, err);
    if (rc != 0) {
        return rc;
    }
    if (segment_map_seal(&map, &seal)) {
        recovery->synced = i64_max(recovery->synced, seal.end_offset);
    }
    scan_records(recovery, &map);
    rc = judge_tail(recovery, &map, &cut, err);
    if (rc == 0) {
        rc = restore_file(recovery, map.path, cut, err);
    }
    segment_map_close(&map);
    return rc;
}

/* ---- All of it ---- */

static int make_first(struct recovery *recovery, struct err *err)
{
    struct partition *partition = recovery->partition;
    if (recovery->synced > 0) {
        return err_set(err, KE_CORRUPT,
                       "%s holds no segment files, but records up to %" PRId64 " were written",
                       partition->dir, recovery->synced);
    }
    int fd = -1;
    int rc = segment_create(partition->dir, 0, partition->info.segment_bytes + SEGMENT_HEADER_BYTES,
                            &fd, err);
    if (rc == 0) {
        (void)close(fd);
        recovery->state.position = SEGMENT_HEADER_BYTES;
    }
    return rc;
}

static int recover_files(struct recovery *recovery, struct err *err)
{
    struct head_state *state = &recovery->state;
    int rc = segment_name_list(recovery->partition->dir, SEGMENT_SUFFIX, &recovery->bases,
                               &recovery->count, err);
    if (rc != 0) {
        return rc;
    }
    if (recovery->count == 0) {
        return make_first(recovery, err);
    }
    for (size_t i = 0; rc == 0 && i + 1 < recovery->count; i++) {
        rc = check_sealed(recovery, i, err);
    }
    if (rc != 0) {
        return rc;
    }
    state->segment_base = recovery->bases[recovery->count - 1];
    rc = recover_last(recovery, err);
    if (rc == 0) {
        state->start_offset = i64_max(recovery->bases[0], recovery->start);
        state->start_offset = i64_min(state->start_offset, state->segment_base);
    }
    return rc;
}

int partition_recover(struct partition *partition, enum head_found found, struct err *err)
{
    struct recovery recovery = {
        .partition = partition,
        .synced = -1,
        .start = -1,
        .state = {.time_min = INT64_MAX, .time_max = INT64_MIN},
    };
    if (found == HEAD_OTHER_BOOT) {
        struct head_state old;
        head_read(&partition->head, &old);
        recovery.synced = head_synced(&partition->head);
        recovery.start = old.start_offset;
    }
    head_close(&partition->head);
    int rc = recover_files(&recovery, err);
    if (rc == 0) {
        rc = head_create(&partition->head, partition->dir, &recovery.state, err);
    }
    free(recovery.bases);
    return rc;
}
