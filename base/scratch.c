/* Own header: scratch.h. */
#include "base/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define TRIES 1000

struct scratch {
    char *dir;
    int lock;
};

/* The lock of a folder; how: of flock. -1: somebody has it, or it cannot be opened (errno). */
static int lock_take(const char *dir, int how)
{
    char *path = xasprintf("%s/LOCK", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    free(path);
    if (fd >= 0 && flock(fd, how) != 0) {
        int cause = errno;
        (void)close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

/* With the parent's lock. */
static void sweep(const char *parent)
{
    DIR *dir = opendir(parent);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "LOCK") == 0) {
            continue;
        }
        char *child = xasprintf("%s/%s", parent, entry->d_name);
        int lock = lock_take(child, LOCK_EX | LOCK_NB);
        if (lock >= 0) {
            file_remove_tree(child);
            (void)close(lock);
        }
        free(child);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

void scratch_sweep(const char *parent)
{
    struct stat st;
    if (stat(parent, &st) != 0) {
        return;
    }
    int lock = lock_take(parent, LOCK_EX);
    if (lock >= 0) {
        sweep(parent);
        (void)close(lock);
    }
}

static int make(const char *parent, struct scratch *scratch, struct err *err)
{
    for (int n = 0; n < TRIES; n++) {
        char *dir = xasprintf("%s/%d-%d", parent, (int)getpid(), n);
        if (mkdir(dir, 0777) == 0) {
            scratch->dir = dir;
            scratch->lock = lock_take(dir, LOCK_EX);
            return scratch->lock >= 0 ? 0 : err_errno(err, errno, "cannot lock %s", dir);
        }
        free(dir);
        if (errno != EEXIST) {
            break;
        }
    }
    return err_errno(err, errno, "cannot make a folder in %s", parent);
}

int scratch_open(const char *parent, struct scratch **out, struct err *err)
{
    int rc = file_make_dir(parent, err);
    int lock = rc == 0 ? lock_take(parent, LOCK_EX) : -1;
    if (rc == 0 && lock < 0) {
        rc = err_errno(err, errno, "cannot lock %s", parent);
    }
    if (rc != 0) {
        return rc;
    }
    struct scratch *scratch = xcalloc(1, sizeof *scratch);
    scratch->lock = -1;
    sweep(parent);
    rc = make(parent, scratch, err);
    (void)close(lock);
    if (rc != 0) {
        scratch_close(scratch);
        return rc;
    }
    *out = scratch;
    return 0;
}

const char *scratch_dir(const struct scratch *scratch)
{
    return scratch->dir;
}

void scratch_close(struct scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    if (scratch->dir != NULL) {
        file_remove_tree(scratch->dir);
    }
    if (scratch->lock >= 0) {
        (void)close(scratch->lock);
    }
    free(scratch->dir);
    free(scratch);
}
