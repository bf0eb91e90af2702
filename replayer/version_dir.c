/* A version's directory: lock, boot id, sealing. Own header: version_dir.h. */
#include "replayer/version_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/trace.h"

#define LOCK_WAIT_MS    5000
#define LOCK_PAUSE_MS   20
#define BOOT_ID_LEN_MAX 64
#define BOOT_ID_FILE    "/proc/sys/kernel/random/boot_id"

struct version_dir {
    char *path;
    int lock_fd; /* holds the flock */
    bool building;
    bool wiped;
};

/* ---- Small files */

static char *join(const char *dir, const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

/* Makes the directory and those above it. */
static int make_path(const char *path, struct err *err)
{
    char *copy = xstrdup(path);
    int rc = 0;
    for (char *end = copy + 1; rc == 0; end++) {
        char here = *end;
        if (here != '/' && here != '\0') {
            continue;
        }
        *end = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            rc = err_errno(err, errno, "cannot make directory %s", copy);
        }
        *end = here;
        if (here == '\0') {
            break;
        }
    }
    free(copy);
    return rc;
}

/* First line of a small file, without its newline; -KE_NOT_FOUND when there is no file. */
static int read_line(const char *path, char *text, size_t size, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "cannot open %s", path);
    }
    ssize_t n = read(fd, text, size - 1);
    int failed = errno;
    close(fd);
    if (n < 0) {
        return err_errno(err, failed, "cannot read %s", path);
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

static int write_building(const char *dir, const char *boot_id, struct err *err)
{
    char *path = join(dir, "BUILDING");
    int rc = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    size_t len = strlen(boot_id);
    if (fd < 0 || write(fd, boot_id, len) != (ssize_t)len || fsync(fd) != 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(path);
    return rc == 0 ? file_sync_dir(dir, err) : rc;
}

/* ---- Environments: directories with a number as name */

static bool is_shard(const char *name)
{
    return name[0] != '\0' && strspn(name, "0123456789") == strlen(name);
}

/* Removes the files of one environment, and its directory. */
static int remove_shard(const char *path, struct err *err)
{
    DIR *dir = opendir(path);
    int rc = 0;
    if (!dir) {
        return err_errno(err, errno, "cannot open %s", path);
    }
    for (const struct dirent *entry = readdir(dir); rc == 0 && entry; entry = readdir(dir)) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!dots && unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
            rc = err_errno(err, errno, "cannot remove %s/%s", path, entry->d_name);
        }
    }
    closedir(dir);
    if (rc == 0 && rmdir(path) != 0) {
        rc = err_errno(err, errno, "cannot remove %s", path);
    }
    return rc;
}

/* Counts the environments, or removes them all. */
static int each_shard(const char *path, bool removing, uint32_t *count, struct err *err)
{
    DIR *dir = opendir(path);
    int rc = 0;
    *count = 0;
    if (!dir) {
        return err_errno(err, errno, "cannot open %s", path);
    }
    for (const struct dirent *entry = readdir(dir); rc == 0 && entry; entry = readdir(dir)) {
        if (!is_shard(entry->d_name)) {
            continue;
        }
        (*count)++;
        if (removing) {
            char *shard = join(path, entry->d_name);
            rc = remove_shard(shard, err);
            free(shard);
        }
    }
    closedir(dir);
    return rc;
}

/* ---- Opening */

static int take_lock(struct version_dir *dir, struct err *err)
{
    char *path = join(dir->path, "LOCK");
    int rc = 0;
    dir->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (dir->lock_fd < 0) {
        rc = err_errno(err, errno, "cannot open %s", path);
    }
    for (int waited = 0; rc == 0; waited += LOCK_PAUSE_MS) {
        const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
        if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) == 0) {
            break;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            rc = err_errno(err, errno, "cannot lock %s", path);
        } else if (waited >= LOCK_WAIT_MS) {
            rc = err_set(err, KE_BUSY, "another worker holds %s", path);
            err_hint(err, "see who with: fuser %s", path);
        } else {
            nanosleep(&pause, NULL);
        }
    }
    free(path);
    return rc;
}

/* Decides between new, building and sealed; see the header. */
static int settle(struct version_dir *dir, const char *boot_id, struct err *err)
{
    char *building = join(dir->path, "BUILDING");
    char found[BOOT_ID_LEN_MAX];
    uint32_t shards = 0;
    int rc = read_line(building, found, sizeof found, err);
    free(building);
    if (rc == -KE_NOT_FOUND) {
        rc = each_shard(dir->path, false, &shards, err);
        dir->building = shards == 0;
        return rc == 0 && dir->building ? write_building(dir->path, boot_id, err) : rc;
    }
    dir->building = true;
    if (rc != 0 || strcmp(found, boot_id) == 0) {
        return rc;
    }
    rc = each_shard(dir->path, true, &shards, err);
    dir->wiped = shards > 0;
    if (dir->wiped) {
        trace(TRACE_WARN, "%s was not sealed when the system went down: it is built again",
              dir->path);
    }
    /* BUILDING keeps the other boot's id until everything is gone. */
    return rc == 0 ? write_building(dir->path, boot_id, err) : rc;
}

int version_dir_open(const char *path, const char *boot_id, struct version_dir **out,
                     struct err *err)
{
    char own[BOOT_ID_LEN_MAX];
    int rc = boot_id ? 0 : read_line(BOOT_ID_FILE, own, sizeof own, err);
    if (rc == 0) {
        rc = make_path(path, err);
    }
    if (rc != 0) {
        return rc;
    }
    struct version_dir *dir = xcalloc(1, sizeof *dir);
    dir->path = xstrdup(path);
    rc = take_lock(dir, err);
    if (rc == 0) {
        rc = settle(dir, boot_id ? boot_id : own, err);
    }
    if (rc != 0) {
        version_dir_close(dir);
        return rc;
    }
    *out = dir;
    return 0;
}

bool version_dir_building(const struct version_dir *dir)
{
    return dir->building;
}

bool version_dir_wiped(const struct version_dir *dir)
{
    return dir->wiped;
}

int version_dir_sealed(struct version_dir *dir, struct err *err)
{
    if (!dir->building) {
        return 0;
    }
    char *path = join(dir->path, "BUILDING");
    int rc = 0;
    if (unlink(path) != 0 && errno != ENOENT) {
        rc = err_errno(err, errno, "cannot remove %s", path);
    }
    free(path);
    if (rc == 0) {
        rc = file_sync_dir(dir->path, err);
    }
    dir->building = rc != 0;
    return rc;
}

void version_dir_close(struct version_dir *dir)
{
    if (dir->lock_fd >= 0) {
        close(dir->lock_fd);
    }
    free(dir->path);
    free(dir);
}

char *version_dir_shard(const struct version_dir *dir, uint32_t shard)
{
    return xasprintf("%s/%u", dir->path, (unsigned)shard);
}
