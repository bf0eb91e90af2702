/* One partition of the embedded log. Own header: partition.h. */
#include "log/partition.h"

#include "base/file.h"
#include "log/segment.h"
#include "log/segment_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Open, close, lock ---- */

/* A crash of the machine may have left half a record behind what readers may see: nobody reads before it
 * was looked at, and what is found is written. */
static int recovery_check(const struct partition *partition, struct err *err)
{
    if (faccessat(AT_FDCWD, partition->dir, W_OK, AT_EACCESS) == 0) {
        return 0;
    }
    int rc = err_set(err, KE_IO,
                     "it has not been opened since the machine started, and who does it first has "
                     "to write in %s: %s",
                     partition->dir, strerror(errno));
    err_hint(err, "let the user to whom it belongs read the topic once: kappa cat TOPIC --exit");
    return rc;
}

static int open_or_recover(struct partition *partition, struct err *err)
{
    enum head_found found = HEAD_MISSING;
    int rc = head_open(&partition->head, partition->dir, &found, err);
    if (rc != 0 || found == HEAD_GOOD) {
        return rc;
    }
    head_close(&partition->head);
    rc = recovery_check(partition, err);
    rc = rc == 0 ? partition_lock(partition, err) : rc;
    if (rc != 0) {
        return rc;
    }
    /* Another process may have done it while this one waited. */
    rc = head_open(&partition->head, partition->dir, &found, err);
    if (rc == 0 && found != HEAD_GOOD) {
        rc = partition_recover(partition, found, err);
    }
    partition_unlock(partition);
    partition_lock_close(partition);
    return rc;
}

int partition_open(struct partition *partition, const char *log_dir, const char *topic,
                   uint32_t number, const struct topic_info *info, struct err *err)
{
    ASSERT(number < info->partitions);
    *partition = (struct partition){
        .dir = xasprintf("%s/%s/%u", log_dir, topic, number),
        .label = xasprintf("topic '%s' partition %u", topic, number),
        .info = *info,
        .lock_fd = -1,
    };
    int rc = open_or_recover(partition, err);
    if (rc != 0) {
        err_prefix(err, "%s", partition->label);
        partition_close(partition);
    }
    return rc;
}

void partition_close(struct partition *partition)
{
    head_close(&partition->head);
    partition_lock_close(partition);
    free(partition->dir);
    free(partition->label);
    partition->dir = NULL;
    partition->label = NULL;
}

void partition_lock_close(struct partition *partition)
{
    if (partition->lock_fd >= 0) {
        (void)close(partition->lock_fd);
        partition->lock_fd = -1;
    }
}

/* The lock file and the head must be of the same folder: a topic may have been deleted, and made
 * again under the same name, since the head was opened. */
static bool still_there(const struct partition *partition, bool opened_now)
{
    struct stat st;
    if (fstat(partition->lock_fd, &st) != 0 || st.st_nlink == 0) {
        return false;
    }
    return !opened_now || partition->head.page == NULL ||
           !head_gone(&partition->head, partition->dir);
}

int partition_lock(struct partition *partition, struct err *err)
{
    bool opened_now = partition->lock_fd < 0;
    if (partition->head.page != NULL && partition->head.refused != 0) {
        return err_errno(err, partition->head.refused, "cannot write to %s", partition->label);
    }
    if (opened_now) {
        char *path = xasprintf("%s/lock", partition->dir);
        partition->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        int rc = partition->lock_fd < 0 ? err_errno(err, errno, "cannot open %s", path) : 0;
        free(path);
        if (rc != 0) {
            return rc;
        }
    }
    while (flock(partition->lock_fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return err_errno(err, errno, "cannot lock %s", partition->label);
        }
    }
    if (!still_there(partition, opened_now)) {
        partition_lock_close(partition);
        return err_set(err, KE_TOPIC_CHANGED, "%s was deleted", partition->label);
    }
    return 0;
}

void partition_unlock(struct partition *partition)
{
    (void)flock(partition->lock_fd, LOCK_UN);
}

/* ---- Retention ---- */

static void remove_segment(const struct partition *partition, int64_t base)
{
    char *path = segment_name_path(partition->dir, base, SEGMENT_SUFFIX);
    (void)unlink(path); /* what stays is below start, read by nobody, and tried again */
    free(path);
}

static int read_seal(const struct partition *partition, int64_t base, struct segment_seal *seal,
                     struct err *err)
{
    struct segment_map map;
    int rc = segment_map_open(&map, partition->dir, base, err);
    if (rc == 0) {
        if (!segment_map_seal(&map, seal)) {
            rc = segment_corrupt(&map, 0, base, "the seal is damaged", err);
        }
        segment_map_close(&map);
    }
    return rc;
}

/* Bytes of sealed segments and the active one. */
static int count_bytes(const struct partition *partition, const struct head_state *state,
                       const int64_t *bases, size_t count, int64_t *bytes, struct err *err)
{
    int64_t sum = state->position;
    for (size_t i = 0; i < count && bases[i] < state->segment_base; i++) {
        struct segment_seal seal;
        if (bases[i] < state->start_offset) {
            continue;
        }
        int rc = read_seal(partition, bases[i], &seal, err);
        if (rc != 0) {
            return rc;
        }
        sum += seal.used;
    }
    *bytes = sum;
    return 0;
}

/* How far the start may move: the base of the first segment to keep. */
static int find_start(const struct partition *partition, const struct head_state *state,
                      const int64_t *bases, size_t count, int64_t now_ms, int64_t *start,
                      struct err *err)
{
    const struct topic_info *info = &partition->info;
    int64_t bytes = 0;
    int64_t keep = state->start_offset;
    int rc = 0;
    if (info->retain_bytes >= 0) {
        rc = count_bytes(partition, state, bases, count, &bytes, err);
    }
    for (size_t i = 0; rc == 0 && i < count && bases[i] < state->segment_base; i++) {
        struct segment_seal seal;
        if (bases[i] < state->start_offset) {
            continue;
        }
        rc = read_seal(partition, bases[i], &seal, err);
        if (rc != 0) {
            break;
        }
        bool large = info->retain_bytes >= 0 && bytes - seal.used >= info->retain_bytes;
        bool old = info->retain_ms >= 0 && seal.time_max < now_ms - info->retain_ms;
        if (!large && !old) {
            break;
        }
        bytes -= seal.used;
        keep = seal.end_offset;
    }
    *start = keep;
    return rc;
}

int partition_expire(struct partition *partition, struct head_state *state, int64_t now_ms,
                     struct err *err)
{
    if (partition->info.retain_ms < 0 && partition->info.retain_bytes < 0) {
        return 0;
    }
    int64_t *bases = NULL;
    size_t count = 0;
    int64_t start = 0;
    int rc = segment_name_list(partition->dir, SEGMENT_SUFFIX, &bases, &count, err);
    if (rc == 0) {
        rc = find_start(partition, state, bases, count, now_ms, &start, err);
    }
    if (rc == 0) {
        if (start > state->start_offset) {
            state->start_offset = start;
            head_publish(&partition->head, state);
        }
        /* Also those that a killed process left below the start. */
        for (size_t i = 0; i < count && bases[i] < i64_min(start, state->segment_base); i++) {
            remove_segment(partition, bases[i]);
        }
    }
    free(bases);
    return rc;
}

/* ---- Size ---- */

/* The part of a segment's bytes that lies in [from, to), as if its records were of one size. */
static int64_t share_of(int64_t base, int64_t end, int64_t used, int64_t from, int64_t to)
{
    int64_t inside = i64_min(end, to) - i64_max(base, from);
    return inside <= 0 || end <= base ? 0 : (int64_t)((int128)used * inside / (end - base));
}

int partition_bytes(const struct partition *partition, int64_t from, int64_t to, int64_t *bytes,
                    struct err *err)
{
    struct head_state state;
    int64_t *bases = NULL;
    size_t count = 0;
    head_read(&partition->head, &state);
    int rc = segment_name_list(partition->dir, SEGMENT_SUFFIX, &bases, &count, err);
    *bytes = share_of(state.segment_base, state.end_offset, state.position - SEGMENT_HEADER_BYTES,
                      from, to);
    for (size_t i = 0; rc == 0 && i < count && bases[i] < state.segment_base; i++) {
        struct segment_seal seal;
        if (bases[i] < state.start_offset || bases[i] >= to) {
            continue;
        }
        rc = read_seal(partition, bases[i], &seal, err);
        if (rc == 0) {
            *bytes +=
                share_of(bases[i], seal.end_offset, seal.used - SEGMENT_HEADER_BYTES, from, to);
        }
    }
    free(bases);
    return rc;
}

/* ---- Time look-up ---- */

static int search_segment(const struct partition *partition, const struct head_state *state,
                          int64_t base, int64_t time_ms, int64_t *offset, struct err *err)
{
    struct segment_map map;
    int rc = segment_map_open(&map, partition->dir, base, err);
    if (rc != 0) {
        return rc;
    }
    struct segment_seal seal = {.used = state->position, .time_max = state->time_max};
    if (base != state->segment_base && !segment_map_seal(&map, &seal)) {
        rc = segment_corrupt(&map, 0, base, "the seal is damaged", err);
    } else if (seal.time_max >= time_ms) {
        rc =
            seal.used + KAPPA_RECORD_TAIL > (int64_t)map.size
                ? segment_corrupt(&map, map.size, base, "the file is shorter than its records", err)
                : segment_find_time(&map, (size_t)seal.used, time_ms, offset, err);
    }
    segment_map_close(&map);
    return rc;
}

int partition_offset_at_time(const struct partition *partition, int64_t time_ms, int64_t *offset,
                             struct err *err)
{
    struct head_state state;
    int64_t *bases = NULL;
    size_t count = 0;
    int64_t found = -1;
    int rc;
    do {
        /* Again when retention took a file between looking and opening. */
        head_read(&partition->head, &state);
        free(bases);
        bases = NULL;
        rc = segment_name_list(partition->dir, SEGMENT_SUFFIX, &bases, &count, err);
        for (size_t i = 0; rc == 0 && found < 0 && i < count; i++) {
            if (bases[i] >= state.start_offset && bases[i] <= state.segment_base) {
                rc = search_segment(partition, &state, bases[i], time_ms, &found, err);
            }
        }
        struct head_state after;
        head_read(&partition->head, &after);
        if (rc == -KE_NOT_FOUND && after.start_offset == state.start_offset) {
            rc = err_set(err, KE_CORRUPT, "a segment file of %s is missing", partition->label);
        }
    } while (rc == -KE_NOT_FOUND);
    free(bases);
    if (rc != 0) {
        err_prefix(err, "%s", partition->label);
        return rc;
    }
    *offset = found;
    return 0;
}
