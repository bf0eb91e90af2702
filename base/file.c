/* Files. Own header: file.h. */
#include "base/file.h"

#include "base/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_DEPTH 16
#define TREE_FILES 16 /* open at a time */

int file_read_fd(int fd, const char *path, size_t most, struct buf *out, struct err *err)
{
    uint8_t block[4096];
    while (out->len <= most) {
        ssize_t n = read(fd, block, sizeof block);
        if (n == 0) {
            return 0;
        }
        if (n > 0) {
            buf_append(out, block, (size_t)n);
        } else if (errno != EINTR) {
            return err_errno(err, errno, "cannot read %s", path);
        }
    }
    return 0;
}

int file_read(const char *path, size_t most, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    int rc = file_read_fd(fd, path, most, out, err);
    (void)close(fd);
    return rc;
}

int file_write_at(int fd, const void *bytes, size_t len, int64_t at, const char *path,
                  struct err *err)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return err_errno(err, n == 0 ? ENOSPC : errno, "cannot write %s", path);
        }
        p += n;
        len -= (size_t)n;
        at += n;
    }
    return 0;
}

/* Where the kernel does not copy between these two. */
static int copy_bytes(int from, int to, const char *path, int64_t at, struct err *err)
{
    uint8_t block[65536];
    for (;;) {
        ssize_t n = pread(from, block, sizeof block, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? 0 : err_errno(err, errno, "cannot copy to %s", path);
        }
        int rc = file_write_at(to, block, (size_t)n, at, path, err);
        if (rc != 0) {
            return rc;
        }
        at += n;
    }
}

static int copy_open(int from, int to, const char *path, struct err *err)
{
    off_t in = 0;
    off_t out = 0;
    for (;;) {
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)1 << 30, 0);
        if (n == 0) {
            return 0;
        }
        if (n < 0 && (errno == ENOSPC || errno == EIO || errno == EDQUOT)) {
            return err_errno(err, errno, "cannot write %s", path);
        }
        if (n < 0 && errno != EINTR) {
            return copy_bytes(from, to, path, out, err);
        }
    }
}

int file_copy(const char *from, const char *to, struct err *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        return err_errno(err, errno, "cannot read %s", from);
    }
    int out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    int rc = out < 0 ? err_errno(err, errno, "cannot make %s", to) : copy_open(in, out, to, err);
    (void)close(in);
    if (out >= 0) {
        (void)close(out);
    }
    if (rc != 0 && out >= 0) {
        (void)unlink(to);
    }
    return rc;
}

int file_sync(int fd, const char *path, struct err *err)
{
    if (fdatasync(fd) != 0) {
        return err_errno(err, errno, "cannot sync %s", path);
    }
    return 0;
}

int file_create(const char *path, const void *bytes, size_t len, int *fd, struct err *err)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        return err_errno(err, errno, "cannot create %s", path);
    }
    int rc = file_write_at(file, bytes, len, 0, path, err);
    if (rc == 0) {
        rc = file_sync(file, path, err);
    }
    if (rc != 0) {
        (void)close(file);
        (void)unlink(path);
        return rc;
    }
    *fd = file;
    return 0;
}

int file_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "cannot open %s", path);
    }
    int rc = fsync(fd) == 0 ? 0 : err_errno(err, errno, "cannot sync %s", path);
    (void)close(fd);
    return rc;
}

int file_make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return err_errno(err, errno, "cannot make the folder %s", path);
    }
    return 0;
}

static uint64_t tree_bytes(int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t bytes = 0;
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (S_ISDIR(status.st_mode) && depth > 0) {
            bytes += tree_bytes(fd, entry->d_name, depth - 1);
        }
        bytes += (uint64_t)status.st_blocks * 512;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    } else if (fd >= 0) {
        (void)close(fd);
    }
    return bytes;
}

uint64_t file_tree_bytes(const char *path)
{
    return tree_bytes(AT_FDCWD, path, TREE_DEPTH);
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    if (remove(path) != 0 && errno != ENOENT) {
        trace(TRACE_WARN, "cannot remove %s: %s", path, strerror(errno));
    }
    return 0;
}

void file_remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, TREE_FILES, FTW_DEPTH | FTW_PHYS);
}
