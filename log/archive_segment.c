/* Segment files of an archive. Own header: archive_segment.h. */
#include "log/archive_segment.h"

#include "base/file.h"
#include "log/archive_known.h"
#include "log/crc32c.h"
#include "log/segment_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAGIC    UINT64_C(0x31435241504B00FF) /* "\xff\0KPARC1" */
#define TRAILER_MAGIC UINT64_C(0x31444E45504B00FF) /* "\xff\0KPEND1" */
#define VERSION       1
#define HEAD_BYTES    64
#define ENTRY_BYTES   24
#define TRAILER_BYTES 80
#define ENTRIES_MAX   (1U << 24) /* of a file that says how many it has */

/* ---- Bytes ---- */

static int corrupt(const char *path, int64_t at, int64_t offset, const char *what, struct err *err)
{
    int rc = err_set(err, KE_CORRUPT, "%s, byte %" PRId64 ", offset %" PRId64 ": %s", path, at,
                     offset, what);
    err_hint(err, "kappa archive verify --repair fetches it again if the log still has it; else "
                  "restore the file from a copy");
    return rc;
}

int archive_segment_corrupt(const char *dir, int64_t base, int64_t at, int64_t offset,
                            const char *what, struct err *err)
{
    char *path = segment_name_path(dir, base, ARCHIVE_SUFFIX);
    int rc = corrupt(path, at, offset, what, err);
    free(path);
    return rc;
}

/* A file that is looked at. */
struct look {
    char *path;
    int fd; /* -1: it could not be opened */
};

static int look_begin(struct look *look, const char *dir, int64_t base, struct err *err)
{
    look->path = segment_name_path(dir, base, ARCHIVE_SUFFIX);
    look->fd = open(look->path, O_RDONLY | O_CLOEXEC);
    return look->fd < 0 ? err_errno(err, errno, "cannot open %s", look->path) : 0;
}

static void look_end(struct look *look)
{
    if (look->fd >= 0) {
        (void)close(look->fd);
    }
    free(look->path);
}

/* All len bytes, or false: the file ends before, or cannot be read. */
static bool read_at(int fd, void *bytes, size_t len, int64_t at)
{
    uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = pread(fd, p, len, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
        at += n;
    }
    return true;
}

static void head_make(uint8_t *p, const struct archive_owner *owner, int64_t base, int64_t after)
{
    memset(p, 0, HEAD_BYTES);
    store_u64_le(p, HEAD_MAGIC);
    store_u32_le(p + 8, VERSION);
    store_u64_le(p + 16, (uint64_t)base);
    store_u64_le(p + 24, (uint64_t)after);
    store_u32_le(p + 32, owner->topic_crc);
    store_u32_le(p + 36, owner->partition);
    store_u32_le(p + 12, crc32c(0, p + 16, HEAD_BYTES - 16));
}

static const char *head_parse(const uint8_t *p, const struct archive_owner *owner, int64_t base,
                              int64_t *after)
{
    if (load_u64_le(p) != HEAD_MAGIC || load_u32_le(p + 12) != crc32c(0, p + 16, HEAD_BYTES - 16)) {
        return "the header is damaged";
    }
    if (load_u32_le(p + 8) != VERSION) {
        return "the header is of another version of the format";
    }
    if (load_u64_le(p + 16) != (uint64_t)base || load_u32_le(p + 32) != owner->topic_crc ||
        load_u32_le(p + 36) != owner->partition) {
        return "the file belongs to another topic, partition or offset";
    }
    *after = (int64_t)load_u64_le(p + 24);
    return NULL;
}

static void entry_add(struct archive_segment *segment, const struct archive_block *block)
{
    if (segment->entry_count == segment->entry_room) {
        segment->entry_room = segment->entry_room == 0 ? 64 : 2 * segment->entry_room;
        segment->entries =
            xrealloc(segment->entries, segment->entry_room * sizeof *segment->entries);
    }
    segment->entries[segment->entry_count++] = (struct archive_entry){
        .from = block->from, .time_max = segment->time_max, .at = segment->used};
}

/* The block at `used` belongs to the segment from now on. */
static void take_block(struct archive_segment *segment, const struct archive_block *block)
{
    segment->time_min = i64_min(segment->time_min, block->time_min);
    segment->time_max = i64_max(segment->time_max, block->time_max);
    entry_add(segment, block);
    segment->end = block->next;
    segment->records += block->count;
    segment->raw_bytes += block->raw;
    segment->used += ARCHIVE_BLOCK_HEAD + (int64_t)block->stored;
}

/* ---- Loading ---- */

/* False: there is no sound trailer. */
static bool load_trailer(int fd, struct archive_segment *segment, uint32_t *entries,
                         uint32_t *index_crc)
{
    uint8_t p[TRAILER_BYTES];
    int64_t at = segment->size - TRAILER_BYTES;
    if (at < HEAD_BYTES || !read_at(fd, p, sizeof p, at) || load_u64_le(p) != TRAILER_MAGIC ||
        load_u32_le(p + 76) != crc32c(0, p, 76) || load_u64_le(p + 64) != (uint64_t)segment->base) {
        return false;
    }
    segment->end = (int64_t)load_u64_le(p + 8);
    segment->time_min = (int64_t)load_u64_le(p + 16);
    segment->time_max = (int64_t)load_u64_le(p + 24);
    segment->records = (int64_t)load_u64_le(p + 32);
    segment->raw_bytes = (int64_t)load_u64_le(p + 40);
    segment->used = (int64_t)load_u64_le(p + 48);
    segment->sealed = true;
    *entries = load_u32_le(p + 56);
    *index_crc = load_u32_le(p + 60);
    return *entries > 0 && *entries < ENTRIES_MAX &&
           segment->used + (int64_t)*entries * ENTRY_BYTES == at;
}

static bool load_index(int fd, struct archive_segment *segment, uint32_t count, uint32_t crc)
{
    size_t len = (size_t)count * ENTRY_BYTES;
    uint8_t *bytes = xmalloc(len);
    bool good = read_at(fd, bytes, len, segment->used) && crc32c(0, bytes, len) == crc;
    if (good) {
        segment->entries = xmalloc(count * sizeof *segment->entries);
        segment->entry_count = count;
        segment->entry_room = count;
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t *p = bytes + (size_t)i * ENTRY_BYTES;
            segment->entries[i] = (struct archive_entry){.from = (int64_t)load_u64_le(p),
                                                         .time_max = (int64_t)load_u64_le(p + 8),
                                                         .at = (int64_t)load_u64_le(p + 16)};
        }
    }
    free(bytes);
    return good;
}

/* The bytes behind the header are whole: asked of the last block only, which may be torn. */
static bool block_whole(int fd, int64_t at, const struct archive_block *block)
{
    uint8_t *bytes = xmalloc((size_t)block->stored + 1);
    bool whole = read_at(fd, bytes, block->stored, at + ARCHIVE_BLOCK_HEAD) &&
                 crc32c(0, bytes, block->stored) == block->stored_crc;
    free(bytes);
    return whole;
}

/* Whether the file has room for a header there, and it is sound. */
static bool head_at(int fd, const struct archive_segment *segment, int64_t at,
                    struct archive_block *out)
{
    uint8_t head[ARCHIVE_BLOCK_HEAD];
    return at + ARCHIVE_BLOCK_HEAD <= segment->size && read_at(fd, head, sizeof head, at) &&
           archive_block_parse(head, out);
}

/* Hops over the blocks as far as they are sound. */
static void load_blocks(int fd, struct archive_segment *segment)
{
    struct archive_block block;
    bool there = head_at(fd, segment, segment->used, &block);
    while (there && block.from == segment->end) {
        struct archive_block next;
        int64_t behind = segment->used + ARCHIVE_BLOCK_HEAD + (int64_t)block.stored;
        there = head_at(fd, segment, behind, &next);
        if (behind > segment->size || (!there && !block_whole(fd, segment->used, &block))) {
            return;
        }
        take_block(segment, &block);
        block = next;
    }
}

static void segment_begin(struct archive_segment *segment, int64_t base, int64_t after)
{
    *segment = (struct archive_segment){.base = base,
                                        .end = base,
                                        .after = after,
                                        .time_min = INT64_MAX,
                                        .time_max = INT64_MIN,
                                        .used = HEAD_BYTES,
                                        .size = HEAD_BYTES};
}

static int load_file(int fd, const char *path, const struct archive_owner *owner, int64_t base,
                     bool entries, struct archive_segment *out, struct err *err)
{
    uint8_t head[HEAD_BYTES];
    struct stat st;
    int64_t after = -1;
    uint32_t count = 0;
    uint32_t crc = 0;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "cannot look at %s", path);
    }
    const char *wrong = read_at(fd, head, sizeof head, 0) ? head_parse(head, owner, base, &after)
                                                          : "the file is too short for its header";
    if (wrong != NULL) {
        return corrupt(path, 0, base, wrong, err);
    }
    segment_begin(out, base, after);
    out->size = st.st_size;
    if (load_trailer(fd, out, &count, &crc) && (!entries || load_index(fd, out, count, crc))) {
        return 0;
    }
    segment_begin(out, base, after);
    out->size = st.st_size;
    load_blocks(fd, out);
    return 0;
}

static int load_anew(const char *dir, const struct archive_owner *owner, int64_t base, bool entries,
                     struct archive_segment *out, struct err *err)
{
    struct look look;
    struct stat file;
    int rc = look_begin(&look, dir, base, err);
    if (rc == 0) {
        bool told =
            fstat(look.fd, &file) == 0; /* before it is read: what changes meanwhile is another */
        rc = load_file(look.fd, look.path, owner, base, entries, out, err);
        if (rc == 0 && told && out->sealed && !entries) {
            archive_known_put(&file, owner, out);
        }
    }
    look_end(&look);
    return rc;
}

int archive_segment_load(const char *dir, const struct archive_owner *owner, int64_t base,
                         bool entries, struct archive_segment *out, struct err *err)
{
    struct stat file;
    bool known = false;
    if (!entries) {
        char *path = segment_name_path(dir, base, ARCHIVE_SUFFIX);
        known = stat(path, &file) == 0 && archive_known_get(&file, owner, base, out);
        free(path);
    }
    return known ? 0 : load_anew(dir, owner, base, entries, out, err);
}

void archive_segment_free(struct archive_segment *segment)
{
    free(segment->entries);
    *segment = (struct archive_segment){0};
}

uint32_t archive_segment_find(const struct archive_segment *segment, int64_t offset)
{
    ASSERT_CMP(segment->entry_count, >, 0);
    ASSERT_CMP(segment->base, <=, offset);
    uint32_t low = 0;
    uint32_t high = segment->entry_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->entries[middle].from <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static int read_block(int fd, const char *path, const struct archive_segment *segment,
                      uint32_t entry, struct archive_block *block, struct archive_unpack *unpack,
                      struct err *err)
{
    const struct archive_entry *place = &segment->entries[entry];
    int64_t next =
        entry + 1 < segment->entry_count ? segment->entries[entry + 1].from : segment->end;
    uint8_t head[ARCHIVE_BLOCK_HEAD];
    if (!read_at(fd, head, sizeof head, place->at) || !archive_block_parse(head, block) ||
        block->from != place->from || block->next != next) {
        return corrupt(path, place->at, place->from, "there is no sound block here", err);
    }
    buf_reset(&unpack->stored);
    buf_reserve(&unpack->stored, block->stored);
    if (!read_at(fd, unpack->stored.data, block->stored, place->at + ARCHIVE_BLOCK_HEAD)) {
        return corrupt(path, place->at, place->from, "the block is cut off", err);
    }
    unpack->stored.len = block->stored;
    const char *wrong = archive_block_open(unpack, block);
    return wrong == NULL ? 0 : corrupt(path, place->at, place->from, wrong, err);
}

int archive_segment_read(const char *dir, const struct archive_segment *segment, uint32_t entry,
                         struct archive_block *block, struct archive_unpack *unpack,
                         struct err *err)
{
    ASSERT_CMP(entry, <, segment->entry_count);
    struct look look;
    int rc = look_begin(&look, dir, segment->base, err);
    if (rc == 0) {
        rc = read_block(look.fd, look.path, segment, entry, block, unpack, err);
    }
    look_end(&look);
    return rc;
}

int archive_segment_bad(const char *dir, const struct archive_segment *segment, uint32_t entry,
                        struct err *err)
{
    return archive_segment_corrupt(dir, segment->base, segment->entries[entry].at,
                                   segment->entries[entry].from,
                                   "the records of a block are not sound", err);
}

/* ---- Writing ---- */

int archive_segment_create(const char *dir, const struct archive_owner *owner, int64_t base,
                           int64_t after, struct archive_segment *out, int *fd, struct err *err)
{
    uint8_t head[HEAD_BYTES];
    head_make(head, owner, base, after);
    char *path = segment_name_path(dir, base, ARCHIVE_SUFFIX);
    char *temp = xasprintf("%s/new.tmp", dir);
    int file = -1;
    int rc = file_create(temp, head, sizeof head, &file, err);
    if (rc == 0 && rename(temp, path) != 0) {
        rc = err_errno(err, errno, "cannot rename %s to %s", temp, path);
    }
    if (rc == 0) {
        rc = file_sync_dir(dir, err);
    }
    if (rc == 0) {
        segment_begin(out, base, after);
        *fd = file;
    } else if (file >= 0) {
        (void)close(file);
        (void)unlink(temp);
    }
    free(temp);
    free(path);
    return rc;
}

int archive_segment_append(int fd, const char *dir, struct archive_segment *segment,
                           const struct archive_block *block, const struct buf *bytes,
                           struct err *err)
{
    ASSERT(!segment->sealed);
    ASSERT_CMP(block->from, ==, segment->end);
    ASSERT_CMP(bytes->len, ==, ARCHIVE_BLOCK_HEAD + block->stored);
    char *path = segment_name_path(dir, segment->base, ARCHIVE_SUFFIX);
    int rc = file_write_at(fd, bytes->data, bytes->len, segment->used, path, err);
    if (rc == 0) {
        take_block(segment, block);
        segment->size = segment->used;
    }
    free(path);
    return rc;
}

static void trailer_make(struct buf *out, const struct archive_segment *segment)
{
    for (uint32_t i = 0; i < segment->entry_count; i++) {
        buf_append_u64_le(out, (uint64_t)segment->entries[i].from);
        buf_append_u64_le(out, (uint64_t)segment->entries[i].time_max);
        buf_append_u64_le(out, (uint64_t)segment->entries[i].at);
    }
    uint32_t index_crc = crc32c(0, out->data, out->len);
    size_t at = out->len;
    buf_append_u64_le(out, TRAILER_MAGIC);
    buf_append_u64_le(out, (uint64_t)segment->end);
    buf_append_u64_le(out, (uint64_t)segment->time_min);
    buf_append_u64_le(out, (uint64_t)segment->time_max);
    buf_append_u64_le(out, (uint64_t)segment->records);
    buf_append_u64_le(out, (uint64_t)segment->raw_bytes);
    buf_append_u64_le(out, (uint64_t)segment->used);
    buf_append_u32_le(out, segment->entry_count);
    buf_append_u32_le(out, index_crc);
    buf_append_u64_le(out, (uint64_t)segment->base);
    buf_append_u32_le(out, 0);
    buf_append_u32_le(out, crc32c(0, out->data + at, out->len - at));
    ASSERT_CMP(out->len - at, ==, TRAILER_BYTES);
}

int archive_segment_seal(int fd, const char *dir, struct archive_segment *segment, struct err *err)
{
    ASSERT(!segment->sealed);
    ASSERT_CMP(segment->entry_count, >, 0);
    struct buf bytes = {0};
    trailer_make(&bytes, segment);
    char *path = segment_name_path(dir, segment->base, ARCHIVE_SUFFIX);
    int rc = file_sync(fd, path, err); /* what the trailer vouches for comes first */
    if (rc == 0) {
        rc = file_write_at(fd, bytes.data, bytes.len, segment->used, path, err);
    }
    if (rc == 0) {
        rc = file_sync(fd, path, err);
    }
    if (rc == 0) {
        segment->sealed = true;
        segment->size = segment->used + (int64_t)bytes.len;
    }
    buf_free(&bytes);
    free(path);
    return rc;
}

/* Not the one at the beginning, which is itself cut off. */
static bool sound_block_in(const uint8_t *bytes, size_t len)
{
    for (size_t at = 1; at + ARCHIVE_BLOCK_HEAD <= len; at++) {
        struct archive_block block;
        if (bytes[at] == 'A' && archive_block_parse(bytes + at, &block)) {
            return true;
        }
    }
    return false;
}

int archive_segment_more(const char *dir, const struct archive_segment *segment, bool *more,
                         struct err *err)
{
    struct look look;
    int rc = look_begin(&look, dir, segment->base, err);
    *more = false;
    size_t len = (size_t)(segment->size - segment->used);
    if (rc == 0 && len > 0) {
        uint8_t *bytes = xmalloc(len);
        *more = read_at(look.fd, bytes, len, segment->used) && sound_block_in(bytes, len);
        free(bytes);
    }
    look_end(&look);
    return rc;
}
