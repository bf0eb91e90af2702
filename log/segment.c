/* One segment file. Own header: segment.h. */
#include "log/segment.h"

#include "base/file.h"
#include "log/segment_name.h"
#include "log/segment_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_MAGIC   UINT64_C(0x31474553504B00FF) /* "\xff\0KPSEG1" */
#define SEGMENT_VERSION 1
#define SEAL_MARK       0x4C414553U       /* "SEAL" */
#define SEAL_AT         24                /* where the seal begins */
#define FORGET_BYTES    ((size_t)4 << 20) /* one madvise for so much; a multiple of any page */

_Static_assert(SEGMENT_PAD_BYTES >= KAPPA_RECORD_TAIL, "the pad holds the tail of the last record");

/* ---- Header ---- */

static uint32_t identity_crc(const uint8_t *header)
{
    return crc32c(crc32c(0, header, 12), header + 16, 8);
}

static uint32_t seal_crc(const uint8_t *header)
{
    return crc32c(0, header + 16, 44);
}

static void header_begin(uint8_t *header, int64_t base)
{
    memset(header, 0, SEGMENT_HEADER_BYTES);
    store_u64_le(header, SEGMENT_MAGIC);
    store_u32_le(header + 8, SEGMENT_VERSION);
    store_u64_le(header + 16, (uint64_t)base);
    store_u32_le(header + 12, identity_crc(header));
}

static bool header_sound(const uint8_t *header, int64_t base)
{
    return load_u64_le(header) == SEGMENT_MAGIC && load_u32_le(header + 8) == SEGMENT_VERSION &&
           load_u64_le(header + 16) == (uint64_t)base &&
           load_u32_le(header + 12) == identity_crc(header);
}

int segment_create(const char *dir, int64_t base, int64_t capacity, int *fd, struct err *err)
{
    ASSERT_CMP(capacity, >=, SEGMENT_HEADER_BYTES);
    char *path = segment_name_path(dir, base, SEGMENT_SUFFIX);
    char *temp = xasprintf("%s/new.tmp", dir);
    uint8_t header[SEGMENT_HEADER_BYTES];
    header_begin(header, base);
    int file = -1;
    int rc = file_create(temp, header, sizeof header, &file, err);
    if (rc != 0) {
        goto out;
    }
    if (ftruncate(file, capacity + SEGMENT_PAD_BYTES) != 0) {
        rc = err_errno(err, errno, "cannot extend %s", temp);
        goto undo;
    }
    rc = file_sync(file, temp, err);
    if (rc == 0 && rename(temp, path) != 0) {
        rc = err_errno(err, errno, "cannot rename %s to %s", temp, path);
    }
    if (rc != 0) {
        goto undo;
    }
    rc = file_sync_dir(dir, err);
    if (rc == 0) {
        *fd = file;
        goto out;
    }
undo:
    (void)close(file);
    (void)unlink(temp);
out:
    free(temp);
    free(path);
    return rc;
}

int segment_seal(int fd, int64_t base, const struct segment_seal *seal, const char *path,
                 struct err *err)
{
    uint8_t header[SEGMENT_HEADER_BYTES];
    header_begin(header, base);
    store_u64_le(header + 24, (uint64_t)seal->end_offset);
    store_u64_le(header + 32, (uint64_t)seal->time_min);
    store_u64_le(header + 40, (uint64_t)seal->time_max);
    store_u64_le(header + 48, (uint64_t)seal->used);
    store_u32_le(header + 56, SEAL_MARK);
    store_u32_le(header + 60, seal_crc(header));
    int rc =
        file_write_at(fd, header + SEAL_AT, SEGMENT_HEADER_BYTES - SEAL_AT, SEAL_AT, path, err);
    return rc != 0 ? rc : file_sync(fd, path, err);
}

int segment_unseal(int fd, const char *path, struct err *err)
{
    static const uint8_t zeros[SEGMENT_HEADER_BYTES - SEAL_AT];
    int rc = file_write_at(fd, zeros, sizeof zeros, SEAL_AT, path, err);
    return rc != 0 ? rc : file_sync(fd, path, err);
}

bool segment_is_sealed(int fd)
{
    uint8_t mark[4];
    return pread(fd, mark, sizeof mark, 56) == (ssize_t)sizeof mark && load_u32_le(mark) != 0;
}

/* ---- Reading ---- */

int segment_corrupt(const struct segment_map *map, size_t at, int64_t offset, const char *what,
                    struct err *err)
{
    int rc = err_set(err, KE_CORRUPT, "%s, byte %zu, offset %" PRId64 ": %s", map->path, at, offset,
                     what);
    err_hint(err,
             "the file was damaged after it was written; restore it from a copy, or remove the "
             "topic and produce it again");
    return rc;
}

static int map_file(struct segment_map *map, int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "cannot look at %s", map->path);
    }
    if (st.st_size < SEGMENT_HEADER_BYTES) {
        return segment_corrupt(map, 0, map->base, "the file is too short for its header", err);
    }
    map->size = (size_t)st.st_size;
    void *bytes = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        return err_errno(err, errno, "cannot map %s", map->path);
    }
    map->bytes = bytes;
    if (!header_sound(map->bytes, map->base)) {
        return segment_corrupt(map, 0, map->base, "the header is not that of this segment", err);
    }
    return 0;
}

int segment_map_open(struct segment_map *map, const char *dir, int64_t base, struct err *err)
{
    *map = (struct segment_map){.base = base, .path = segment_name_path(dir, base, SEGMENT_SUFFIX)};
    int fd = open(map->path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? err_errno(err, errno, "cannot open %s", map->path) : map_file(map, fd, err);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc != 0) {
        segment_map_close(map);
    }
    return rc;
}

/* The system's calls take a pointer that is not const. */
static void *writable(const uint8_t *bytes)
{
    union {
        const uint8_t *in;
        void *out;
    } either = {bytes};

    return either.out;
}

void segment_map_forget(struct segment_map *map, size_t to)
{
    size_t end = to & ~(FORGET_BYTES - 1);
    if (end > map->forgotten) {
        /* A hint: failing changes nothing but memory. */
        (void)madvise(writable(map->bytes + map->forgotten), end - map->forgotten, MADV_DONTNEED);
        map->forgotten = end;
    }
}

void segment_map_close(struct segment_map *map)
{
    if (map->bytes != NULL) {
        (void)munmap(writable(map->bytes), map->size);
    }
    free(map->path);
    *map = (struct segment_map){0};
}

bool segment_map_seal(const struct segment_map *map, struct segment_seal *out)
{
    uint8_t header[SEGMENT_HEADER_BYTES];
    memcpy(header, map->bytes, sizeof header);
    if (load_u32_le(header + 56) != SEAL_MARK || load_u32_le(header + 60) != seal_crc(header)) {
        return false;
    }
    *out = (struct segment_seal){
        .end_offset = (int64_t)load_u64_le(header + 24),
        .time_min = (int64_t)load_u64_le(header + 32),
        .time_max = (int64_t)load_u64_le(header + 40),
        .used = (int64_t)load_u64_le(header + 48),
    };
    return true;
}

int segment_find_offset(const struct segment_map *map, size_t limit, int64_t offset, size_t *at,
                        struct err *err)
{
    ASSERT_CMP(map->base, <=, offset);
    ASSERT_CMP(limit, <=, map->size);
    size_t now = SEGMENT_HEADER_BYTES;
    for (int64_t expected = map->base; expected < offset; expected++) {
        size_t size = segment_record_size(map->bytes, now, limit);
        if (size == 0 || segment_record_offset(map->bytes + now) != expected) {
            return segment_corrupt(map, now, expected, "there is no sound record here", err);
        }
        now += size;
    }
    *at = now;
    return 0;
}

int segment_find_time(const struct segment_map *map, size_t limit, int64_t time_ms, int64_t *offset,
                      struct err *err)
{
    ASSERT_CMP(limit, <=, map->size);
    int64_t expected = map->base;
    for (size_t at = SEGMENT_HEADER_BYTES; at < limit; expected++) {
        size_t size = segment_record_size(map->bytes, at, limit);
        const uint8_t *record = map->bytes + at;
        if (size == 0 || segment_record_offset(record) != expected ||
            !segment_record_sound(record, size)) {
            return segment_corrupt(map, at, expected, "the record fails its checksum", err);
        }
        if (segment_record_time(record) >= time_ms) {
            *offset = expected;
            return 0;
        }
        at += size;
    }
    *offset = -1;
    return 0;
}
