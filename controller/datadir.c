/* The data directory. Own header: datadir.h. */
#include "controller/datadir.h"

#include "base/file.h"
#include "base/scratch.h"
#include "base/trace.h"
#include "controller/snapshot_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRASH       DATADIR_TRASH
#define SCRATCH     ".verify-"
#define HOLDER_LEN  32
#define TRASH_TRIES 10000
#define DEAD_TRIES  500 /* of 20 ms: for what a killed server left */

struct datadir {
    char *path;     /* absolute; owned */
    int lock;       /* fd, holds the flock */
    bool published; /* server.json is ours */
    unsigned trashed;
};

const char *datadir_path(const struct datadir *datadir)
{
    return datadir->path;
}

/* ---- Open ---- */

/* mkdir -p */
static int make_dirs(const char *path, struct err *err)
{
    char *part = xstrdup(path);
    int rc = 0;
    for (char *at = part + 1; rc == 0; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char kept = *at;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            rc = err_errno(err, errno, "cannot make the directory %s", part);
        }
        *at = kept;
        if (kept == '\0') {
            break;
        }
    }
    free(part);
    return rc;
}

static int make_below(const struct datadir *datadir, const char *name, struct err *err)
{
    char *path = xasprintf("%s/%s", datadir->path, name);
    int rc = make_dirs(path, err);
    free(path);
    return rc;
}

/* Who says in the lock file that it holds it; "" when nobody does. */
static void holder(int fd, char pid[HOLDER_LEN])
{
    ssize_t len = pread(fd, pid, HOLDER_LEN - 1, 0);
    pid[len > 0 ? len : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
}

static bool holder_is_dead(int fd)
{
    char pid[HOLDER_LEN];
    holder(fd, pid);
    long long number = strtoll(pid, NULL, 10);
    return number > 0 && number <= INT32_MAX && kill((pid_t)number, 0) != 0 && errno == ESRCH;
}

/* A server that was killed while it started a worker has a child that holds the lock for a moment
 * more, until it is the worker: that is waited for. */
static bool lock_file(int fd)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        int failed = errno;
        if (failed != EWOULDBLOCK || tries == DEAD_TRIES || !holder_is_dead(fd)) {
            errno = failed;
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static int refuse_busy(int fd, const char *path, struct err *err)
{
    char pid[HOLDER_LEN];
    holder(fd, pid);
    int rc = err_set(err, KE_BUSY, "another kappa up (pid %s) serves %s",
                     pid[0] != '\0' ? pid : "unknown", path);
    err_hint(err, "stop it first, or give another --data");
    return rc;
}

static int take_lock(struct datadir *datadir, struct err *err)
{
    char *path = xasprintf("%s/lock", datadir->path);
    int rc = 0;
    datadir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (datadir->lock < 0) {
        rc = err_errno(err, errno, "cannot open %s", path);
    } else if (!lock_file(datadir->lock)) {
        rc = errno == EWOULDBLOCK ? refuse_busy(datadir->lock, datadir->path, err)
                                  : err_errno(err, errno, "cannot lock %s", path);
    } else if (ftruncate(datadir->lock, 0) != 0 ||
               dprintf(datadir->lock, "%ld\n", (long)getpid()) < 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    free(path);
    return rc;
}

/* Names of a data directory, and what a new file system or a backup's tool may have put there. */
static bool may_be_there(const char *name)
{
    static const char *const names[] = {"archive", "catalog", "exports",  "lock",       "log",
                                        "plugins", "schemas", "versions", "lost+found", NULL};
    if (name[0] == '.' || strncmp(name, "server.json", strlen("server.json")) == 0) {
        return true;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

int datadir_check(const char *path, struct err *err)
{
    char *catalog = xasprintf("%s/catalog", path);
    bool known = access(catalog, F_OK) == 0;
    free(catalog);
    DIR *dir = known ? NULL : opendir(path);
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!may_be_there(entry->d_name)) {
            rc = err_set(err, KE_INVALID, "%s is no data directory: there is %s in it", path,
                         entry->d_name);
            err_hint(err,
                     "name one that is empty or not there yet, as --data %s/kappa-data: it is made",
                     strcmp(path, "/") == 0 ? "" : path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return rc;
}

int datadir_open(const char *path, struct datadir **out, struct err *err)
{
    if (path[0] == '\0') {
        return err_set(err, KE_INVALID, "the data directory has no name");
    }
    int rc = datadir_check(path, err);
    rc = rc != 0 ? rc : make_dirs(path, err);
    if (rc != 0) {
        return rc;
    }
    char *absolute = realpath(path, NULL);
    if (absolute == NULL) {
        return err_errno(err, errno, "cannot use the directory %s", path);
    }
    struct datadir *datadir = xcalloc(1, sizeof *datadir);
    datadir->path = absolute;
    rc = take_lock(datadir, err);
    if (rc == 0) {
        rc = make_below(datadir, "versions", err);
    }
    if (rc != 0) {
        datadir_close(datadir);
        return rc;
    }
    *out = datadir;
    return 0;
}

void datadir_close(struct datadir *datadir)
{
    if (datadir == NULL) {
        return;
    }
    if (datadir->published) {
        char *path = xasprintf("%s/server.json", datadir->path);
        (void)unlink(path);
        free(path);
    }
    if (datadir->lock >= 0) {
        (void)close(datadir->lock);
    }
    free(datadir->path);
    free(datadir);
}

/* ---- server.json ---- */

static int write_all(int fd, const struct buf *text)
{
    size_t done = 0;
    while (done < text->len) {
        ssize_t count = write(fd, text->data + done, text->len - done);
        if (count < 0 && errno != EINTR) {
            return -1;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}

int datadir_publish(struct datadir *datadir, const json_t *server, struct err *err)
{
    char *path = xasprintf("%s/server.json", datadir->path);
    char *temporary = xasprintf("%s/server.json.new", datadir->path);
    struct buf text = {0};
    json_write(&text, server);
    buf_append_u8(&text, '\n');
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = 0;
    if (fd < 0 || write_all(fd, &text) != 0 || rename(temporary, path) != 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    datadir->published = rc == 0;
    buf_free(&text);
    free(temporary);
    free(path);
    return rc;
}

void datadir_warn_open(const struct datadir *datadir)
{
    struct stat status;
    if (stat(datadir->path, &status) == 0 && (status.st_mode & S_IRWXO) != 0) {
        trace(TRACE_WARN,
              "every user of this machine may look into %s (mode %04o), and needs no token to read "
              "tables there: chmod o= %s",
              datadir->path, (unsigned)(status.st_mode & 07777), datadir->path);
    }
}

/* ---- Trash ---- */

/* Under a name that is free: in a container the server before had the same process id, and what it left may
 * not be gone yet. 0, or an errno. */
static int trash_once(struct datadir *datadir, const char *from)
{
    char *to =
        xasprintf("%s/versions/" TRASH "%ld-%u", datadir->path, (long)getpid(), datadir->trashed++);
    int failed = rename(from, to) == 0 ? 0 : errno;
    free(to);
    return failed;
}

int datadir_trash(struct datadir *datadir, const char *dir, struct err *err)
{
    char *from = xasprintf("%s/versions/%s", datadir->path, dir);
    int failed = trash_once(datadir, from);
    for (int tries = 0; (failed == ENOTEMPTY || failed == EEXIST) && tries < TRASH_TRIES; tries++) {
        failed = trash_once(datadir, from);
    }
    int rc =
        failed == 0 || failed == ENOENT ? 0 : err_errno(err, failed, "cannot move %s away", from);
    free(from);
    return rc;
}

/* Of a version: a number as it is written. */
static bool is_version(const char *name, uint32_t *number)
{
    char *end = NULL;
    unsigned long value = name[0] >= '1' && name[0] <= '9' ? strtoul(name, &end, 10) : 0;
    *number = (uint32_t)value;
    return end != NULL && *end == '\0' && value <= UINT32_MAX;
}

static void forget_version(struct datadir *datadir, const char *processor, uint32_t number)
{
    struct err err = {0};
    char *dir = xasprintf("%s/%u", processor, number);
    if (datadir_trash(datadir, dir, &err) == 0) {
        trace(TRACE_WARN, "%s/versions/%s is of no version: removed", datadir->path, dir);
    } else {
        trace(TRACE_WARN, "%s/versions/%s is of no version: %s", datadir->path, dir, err.text);
    }
    free(dir);
}

void datadir_forget(struct datadir *datadir,
                    bool (*known)(void *ctx, const char *processor, uint32_t version), void *ctx)
{
    char *versions = xasprintf("%s/versions", datadir->path);
    DIR *dir = opendir(versions);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *processor = xasprintf("%s/%s", versions, entry->d_name);
        DIR *below = entry->d_name[0] == '.' ? NULL : opendir(processor);
        const struct dirent *version;
        uint32_t number = 0;
        while (below != NULL && (version = readdir(below)) != NULL) {
            if (is_version(version->d_name, &number) && !known(ctx, entry->d_name, number)) {
                forget_version(datadir, entry->d_name, number);
            }
        }
        if (below != NULL) {
            (void)closedir(below);
        }
        free(processor);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(versions);
}

/* The directories of `path` whose names begin with prefix go, with all that is in them. */
static void remove_matching(const char *path, const char *prefix)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            char *child = xasprintf("%s/%s", path, entry->d_name);
            file_remove_tree(child);
            free(child);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

/* DATA/versions/P/.verify-... of every P. */
static void remove_scratch(const char *versions)
{
    DIR *dir = opendir(versions);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            char *processor = xasprintf("%s/%s", versions, entry->d_name);
            remove_matching(processor, SCRATCH);
            remove_matching(processor, SNAPSHOT_MAKING);
            free(processor);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

void datadir_sweep(const struct datadir *datadir, bool scratch)
{
    char *versions = xasprintf("%s/versions", datadir->path);
    if (scratch) {
        char *exports = xasprintf("%s/exports", datadir->path);
        remove_scratch(versions);
        scratch_sweep(exports);
        free(exports);
    }
    remove_matching(versions, TRASH);
    free(versions);
}
