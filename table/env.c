/* Environments of LMDB: opening each once, and what the library's codes mean. Own header: env.h;
 * transactions and the map: env_txn.c.
 *
 * fork: the child gets a new generation number and an empty registry. Environments of an older
 * generation are never touched again, not even closed: closing would drop locks of the parent's
 * lock file that the child may have taken by opening it anew.
 */
#include "table/env_inner.h"

#include "base/cond.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct env *registry;         /* registry_mutex */
static unsigned registry_generation; /* changes only in a forked child, while it has one thread */
static pthread_once_t registry_once = PTHREAD_ONCE_INIT;

/* ---- fork */

static void fork_prepare(void)
{
    (void)pthread_mutex_lock(&registry_mutex);
}

static void fork_parent(void)
{
    (void)pthread_mutex_unlock(&registry_mutex);
}

static void fork_child(void)
{
    registry = NULL;
    registry_generation++;
    (void)pthread_mutex_unlock(&registry_mutex);
}

static void registry_start(void)
{
    ASSERT(pthread_atfork(fork_prepare, fork_parent, fork_child) == 0);
}

bool env_is_of_this_process(const struct env *env)
{
    MAGIC_ASSERT(env, ENV_MAGIC);
    return env->generation == registry_generation;
}

int env_check(const struct env *env, struct err *err)
{
    if (env_is_of_this_process(env)) {
        return 0;
    }
    return err_set(err, KE_CLOSED,
                   "%s was opened before this process was forked and cannot be used here; "
                   "open it again",
                   env->dir);
}

/* ---- codes */

static int disk_full(struct env *env, int rc, const char *what, struct err *err)
{
    struct statfs fs;
    if (statfs(env->dir, &fs) != 0) {
        return err_set(err, KE_DISK_FULL, "%s: %s: %s", env->dir, what, strerror(rc));
    }
    double unit = (double)fs.f_bsize / (1024.0 * 1024.0);
    int code = err_set(err, KE_DISK_FULL,
                       "%s: %s: %s; its file system has %.1f MiB of %.1f MiB free", env->dir, what,
                       strerror(rc), (double)fs.f_bavail * unit, (double)fs.f_blocks * unit);
    /* LMDB turns a short write into EIO, so a full disk shows as either. */
    err_hint(err, "free some space there; the last commit is intact, and work goes on from it");
    return code;
}

int env_error(struct env *env, int rc, const char *what, struct err *err)
{
    ASSERT(rc != 0);
    const char *dir = env->dir;
    switch (rc) {
    case ENOSPC:
    case EDQUOT:
    case EIO:
        return disk_full(env, rc, what, err);
    case EROFS:
        (void)err_set(
            err, KE_REFUSED,
            "%s: %s: it is mounted read-only, so that nobody can take a reader's place in "
            "its lock.mdb: rows would be written over while they are read",
            dir, what);
        err_hint(err, "mount it for writing (rights to the files say who writes); where nobody "
                      "writes to it elsewhere either, set KAPPA_ANY_FS=1");
        return -KE_REFUSED;
    case ENOMEM: {
        int code = err_errno(err, rc, "%s: %s: there is no room for its map", dir, what);
        err_hint(err, "raise the limit of address space (`ulimit -v`, LimitAS=)");
        return code;
    }
    case EAGAIN:
        (void)err_set(err, KE_BUSY, "%s: %s: another process with the same process id reads it",
                      dir, what);
        err_hint(err, "two containers with process namespaces of their own share this directory: "
                      "give them one namespace (docker: --pid=container:NAME), or read over HTTP");
        return -KE_BUSY;
    case MDB_READERS_FULL:
        return err_set(err, KE_LIMIT, "%s: %s: %d read transactions are open, no more fit", dir,
                       what, ENV_READERS);
    case MDB_MAP_FULL:
        return err_set(err, KE_LIMIT, "%s: %s: its map is full", dir, what);
    case MDB_TXN_FULL:
        return err_set(err, KE_LIMIT, "%s: %s: the transaction has too many changed pages", dir,
                       what);
    case MDB_MAP_RESIZED:
        return err_set(err, KE_AGAIN, "%s: %s: another process made its map larger", dir, what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
        (void)err_set(err, KE_CORRUPT, "%s: %s: %s", dir, what, mdb_strerror(rc));
        err_hint(err, "drop this version and replay it: the log is the truth");
        return -KE_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return err_set(err, KE_CORRUPT, "%s: %s: made by another version of LMDB", dir, what);
    case MDB_PANIC:
        (void)err_set(err, KE_IO, "%s: %s: an earlier write of its root page failed", dir, what);
        err_hint(err, "look for disk errors, then start the process again");
        return -KE_IO;
    case MDB_NOTFOUND:
        return err_set(err, KE_NOT_FOUND, "%s: %s: not there", dir, what);
    default:
        if (rc > 0) {
            return err_errno(err, rc, "%s: %s", dir, what);
        }
        return err_set(err, KE_INTERNAL, "%s: %s: %s", dir, what, mdb_strerror(rc));
    }
}

/* ---- opening */

static bool takes_any_fs(void)
{
    const char *any = getenv("KAPPA_ANY_FS");
    return any != NULL && strcmp(any, "1") == 0;
}

int env_refuse_network(const char *dir, struct err *err)
{
    static const struct {
        uint32_t type;
        const char *name;
    } network[] = {
        {0x6969U, "NFS"}, {0xFF534D42U, "CIFS"}, {0xFE534D42U, "CIFS"},
        {0x517BU, "SMB"}, {0x01021997U, "9p"},
    };
    struct statfs fs;
    if (takes_any_fs() || statfs(dir, &fs) != 0) {
        return 0;
    }
    for (size_t i = 0; i < array_len(network); i++) {
        if ((uint32_t)fs.f_type == network[i].type) {
            (void)err_set(err, KE_REFUSED,
                          "%s is on %s: file locks and shared memory do not work on network file "
                          "systems, tables would be damaged",
                          dir, network[i].name);
            err_hint(err, "use a local disk (ext4, xfs), or set KAPPA_ANY_FS=1 at your own risk");
            return -KE_REFUSED;
        }
    }
    return 0;
}

/* 1 and *st: there is a data file with something in it; 0: there is none, or it is empty because
 * its maker is still at it or died there. */
static int data_file_stat(const char *dir, struct stat *st, struct err *err)
{
    char *path = xasprintf("%s/data.mdb", dir);
    int answer = 0;
    if (stat(path, st) == 0) {
        answer = st->st_size > 0 ? 1 : 0;
    } else if (errno != ENOENT && errno != ENOTDIR) {
        answer = err_errno(err, errno, "cannot look at %s", path);
    }
    free(path);
    return answer;
}

static int lmdb_open_once(struct env *env, size_t map_bytes)
{
    int rc = mdb_env_create(&env->mdb);
    if (rc != 0) {
        return rc;
    }
    ASSERT(mdb_env_set_maxdbs(env->mdb, ENV_DBS) == 0);
    ASSERT(mdb_env_set_maxreaders(env->mdb, ENV_READERS) == 0);
    if (map_bytes > 0) {
        ASSERT(mdb_env_set_mapsize(env->mdb, map_bytes) == 0);
    }
    unsigned flags = MDB_NOTLS | (env->read_only ? MDB_RDONLY : 0U);
    rc = mdb_env_open(env->mdb, env->dir, flags, 0640);
    if (rc != 0) {
        mdb_env_close(env->mdb);
        env->mdb = NULL;
    }
    return rc;
}

/* Opened for writing where that is allowed, although most only read: a process that reads may come
 * to write later, and could not open it twice. Where a mount is read-only, LMDB would read without a place in
 * the lock file, while who has it mounted for writing uses the pages again. */
static int lmdb_open(struct env *env, bool create, size_t map_bytes)
{
    int rc = lmdb_open_once(env, map_bytes);
    if ((rc == EACCES || rc == EPERM || (rc == EROFS && takes_any_fs())) && !create) {
        env->read_only = true;
        rc = lmdb_open_once(env, map_bytes);
    }
    return rc;
}

/* A reader has a place in the lock file: the group that may read the data must be able to write there. */
static void let_group_read(const char *dir)
{
    char *path = xasprintf("%s/lock.mdb", dir);
    struct stat lock;
    if (stat(path, &lock) == 0 && lock.st_uid == geteuid()) {
        (void)chmod(path, (lock.st_mode & 0777) | S_IRGRP | S_IWGRP); /* else it is left out */
    }
    free(path);
}

static void env_free(struct env *env)
{
    (void)pthread_mutex_destroy(&env->gate);
    (void)pthread_mutex_destroy(&env->handles);
    (void)pthread_cond_destroy(&env->idle);
    env->magic = 0;
    free(env->dir);
    free(env);
}

static struct env *env_new(const char *dir)
{
    struct env *env = xcalloc(1, sizeof *env);
    env->magic = ENV_MAGIC;
    env->refs = 1;
    env->generation = registry_generation;
    env->dir = xstrdup(dir);
    cond_init(&env->idle);
    ASSERT(pthread_mutex_init(&env->gate, NULL) == 0);
    ASSERT(pthread_mutex_init(&env->handles, NULL) == 0);
    return env;
}

static int env_make(const char *dir, bool create, size_t map_bytes, struct env **out,
                    struct err *err)
{
    struct env *env = env_new(dir);
    int rc = lmdb_open(env, create, map_bytes);
    if (rc != 0) {
        rc = env_error(env, rc, "cannot open the environment", err);
        env_free(env);
        return rc;
    }
    struct stat st;
    rc = data_file_stat(dir, &st, err);
    if (rc <= 0) {
        mdb_env_close(env->mdb);
        env_free(env);
        return rc < 0 ? rc : err_set(err, KE_NOT_FOUND, "%s was removed", dir);
    }
    env->device = st.st_dev;
    env->inode = st.st_ino;
    if (create && (st.st_mode & S_IRGRP) != 0) {
        let_group_read(dir);
    }
    (void)env_reader_check(env);
    env->next = registry;
    registry = env;
    *out = env;
    return 0;
}

static struct env *registry_find(const struct stat *st)
{
    for (struct env *env = registry; env != NULL; env = env->next) {
        if (env->device == st->st_dev && env->inode == st->st_ino) {
            return env;
        }
    }
    return NULL;
}

static int open_locked(const char *dir, bool create, size_t map_bytes, struct env **out,
                       struct err *err)
{
    struct stat st = {0};
    int there = data_file_stat(dir, &st, err);
    if (there < 0) {
        return there;
    }
    if (there == 0 && !create) {
        return err_set(err, KE_NOT_FOUND, "%s holds no environment", dir);
    }
    struct env *env = there == 1 ? registry_find(&st) : NULL;
    if (env != NULL) {
        if (create && env->read_only) {
            return err_set(err, KE_IO, "%s may not be written by this process", dir);
        }
        env->refs++;
        *out = env;
        return 0;
    }
    if (there == 0 || create) {
        /* An existing file remembers its map size; a smaller first size must not shrink it. */
        return env_make(dir, create, there == 0 ? map_bytes : 0, out, err);
    }
    if (map_bytes == 0) {
        map_bytes = env_map_bytes_for_reading(u64_from_i64(st.st_size));
    }
    return env_make(dir, create, map_bytes, out, err);
}

int env_open(const char *dir, bool create, size_t map_bytes, struct env **out, struct err *err)
{
    ASSERT(pthread_once(&registry_once, registry_start) == 0);
    if (create && mkdir(dir, 0750) != 0 && errno != EEXIST) {
        return err_errno(err, errno, "cannot make the directory %s", dir);
    }
    int rc = env_refuse_network(dir, err);
    if (rc != 0) {
        return rc;
    }
    (void)pthread_mutex_lock(&registry_mutex);
    rc = open_locked(dir, create, map_bytes, out, err);
    (void)pthread_mutex_unlock(&registry_mutex);
    return rc;
}

void env_close(struct env *env)
{
    if (env == NULL || !env_is_of_this_process(env)) {
        return;
    }
    (void)pthread_mutex_lock(&registry_mutex);
    ASSERT_CMP(env->refs, >, 0);
    env->refs--;
    if (env->refs == 0) {
        struct env **at = &registry;
        while (*at != env) {
            at = &(*at)->next;
        }
        *at = env->next;
        ASSERT_CMP(env->readers, ==, 0);
        for (uint32_t i = 0; i < env->pool_count; i++) {
            mdb_txn_abort(env->pool[i]);
        }
        mdb_env_close(env->mdb); /* under the mutex: nobody may open it in between */
        env_free(env);
    }
    (void)pthread_mutex_unlock(&registry_mutex);
}

MDB_env *env_mdb(struct env *env)
{
    return env->mdb;
}

const char *env_dir(const struct env *env)
{
    return env->dir;
}

void env_handles_lock(struct env *env)
{
    (void)pthread_mutex_lock(&env->handles);
}

void env_handles_unlock(struct env *env)
{
    (void)pthread_mutex_unlock(&env->handles);
}

void env_library(struct library *out)
{
    *out = (struct library){.name = "LMDB"};
    int major;
    int minor;
    int patch;
    (void)mdb_version(&major, &minor, &patch);
    (void)snprintf(out->built, sizeof out->built, "%d.%d.%d", MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
                   MDB_VERSION_PATCH);
    (void)snprintf(out->runs, sizeof out->runs, "%d.%d.%d", major, minor, patch);
}
