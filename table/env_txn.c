/* Transactions of an environment, and the size of its map. Own header: env.h.
 *
 * The gate (mutex `gate`, count `readers`) lets the map move: a read transaction is counted from
 * before it begins until after it ended; env_remap waits until none is counted and moves the map
 * with the mutex held, so none can begin meanwhile. Readers that come while one waits are let in: a
 * thread may hold one snapshot and begin another, and must not wait for somebody who waits for it.
 */
#include "table/env_inner.h"

#include "base/cond.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the map */

/* A reader maps more than the writer has, so that it must follow a growing map only now and then:
 * following waits until all of the process's reads have ended. */
size_t env_map_bytes_for_reading(uint64_t file_bytes)
{
    size_t room = file_bytes * 8;
    size_t least = (size_t)1 << 30;
    return room < least ? least : room;
}

static size_t map_bytes_now(struct env *env)
{
    MDB_envinfo info;
    ASSERT(mdb_env_info(env->mdb, &info) == 0);
    return info.me_mapsize;
}

bool env_outgrown(struct env *env)
{
    (void)pthread_mutex_lock(&env->gate); /* so that the map does not move meanwhile */
    size_t map = map_bytes_now(env);
    (void)pthread_mutex_unlock(&env->gate);
    return env_file_bytes(env) > map;
}

/* LMDB lets the old map go before it makes the new one, and stands without any where that fails: so whether
 * there is room is tried before. */
static int map_move(struct env *env, size_t size)
{
    size_t now = map_bytes_now(env);
    if (size > now) {
        void *more =
            mmap(NULL, size - now, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (more == MAP_FAILED) {
            return errno;
        }
        (void)munmap(more, size - now);
    }
    return mdb_env_set_mapsize(env->mdb, size);
}

/* Moves the map to this size (0: the one in the file, with room), unless it moved since `seen`. */
static int env_remap(struct env *env, size_t bytes, uint32_t seen, struct err *err)
{
    struct timespec until = cond_until((int64_t)ENV_REMAP_WAIT * 1000);
    int rc = 0;
    (void)pthread_mutex_lock(&env->gate);
    while (env->readers > 0 && rc == 0 && env->remaps == seen) {
        rc = pthread_cond_timedwait(&env->idle, &env->gate, &until);
    }
    if (env->remaps != seen) {
        rc = 0;
    } else if (rc != 0) {
        rc = err_set(err, KE_BUSY,
                     "%s: the map must grow, but %u reads of this process have not ended for %d s",
                     env->dir, env->readers, ENV_REMAP_WAIT);
    } else {
        size_t size = bytes > 0 ? bytes : env_map_bytes_for_reading(env_file_bytes(env));
        rc = map_move(env, size);
        env->remaps++;
        rc = rc == 0 ? 0 : env_error(env, rc, "cannot move the map", err);
    }
    (void)pthread_mutex_unlock(&env->gate);
    return rc;
}

int env_grow(struct env *env, struct err *err)
{
    size_t now = map_bytes_now(env);
    if (now >= ENV_MAP_MAX) {
        return err_set(err, KE_LIMIT, "%s: its map has reached %zu bytes, the largest there may be",
                       env->dir, now);
    }
    (void)pthread_mutex_lock(&env->gate);
    uint32_t seen = env->remaps;
    (void)pthread_mutex_unlock(&env->gate);
    return env_remap(env, now * 2, seen, err);
}

void env_fix_map(struct env *env)
{
    env->fixed_map = true;
}

int env_reader_check(struct env *env)
{
    int dead = 0;
    return mdb_reader_check(env->mdb, &dead) == 0 ? dead : 0;
}

struct reader_list {
    uint32_t count;
    uint64_t oldest; /* UINT64_MAX: none */
};

/* A line of mdb_reader_list: "pid thread txnid", or '-' for a slot whose owner does not read. */
static int reader_line(const char *line, void *ctx)
{
    struct reader_list *list = ctx;
    const char *last = strrchr(line, ' ');
    if (last != NULL && last[1] >= '0' && last[1] <= '9') {
        uint64_t txn = strtoull(last + 1, NULL, 10);
        list->count++;
        list->oldest = txn < list->oldest ? txn : list->oldest;
    }
    return 0;
}

uint32_t env_readers(struct env *env, uint64_t *oldest)
{
    struct reader_list list = {.oldest = UINT64_MAX};
    MDB_envinfo info;
    (void)mdb_reader_list(env->mdb, reader_line, &list);
    ASSERT(mdb_env_info(env->mdb, &info) == 0);
    *oldest = list.oldest < info.me_last_txnid ? list.oldest : 0;
    return list.count;
}

/* ---- reading */

/* Does it see the commit that it names? mdb_txn_renew takes the number first and then the roots, from one of
 * the two meta pages in turn. Who is put to sleep between the two, for as long as two commits take, gets the
 * roots of the later one, which may not be on the disk yet: the next transaction would go back. */
static bool sees_its_commit(struct env *env, MDB_txn *txn)
{
    MDB_envinfo info;
    return mdb_env_info(env->mdb, &info) == 0 && info.me_last_txnid <= mdb_txn_id(txn) + 1;
}

/* A counted transaction, or a code of LMDB. */
static int read_try(struct env *env, MDB_txn **out, uint32_t *seen)
{
    MDB_txn *txn = NULL;
    (void)pthread_mutex_lock(&env->gate);
    env->readers++;
    *seen = env->remaps;
    if (env->pool_count > 0) {
        txn = env->pool[--env->pool_count];
    }
    (void)pthread_mutex_unlock(&env->gate);
    int rc = txn != NULL ? mdb_txn_renew(txn) : mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    while (rc == 0 && !sees_its_commit(env, txn)) {
        mdb_txn_reset(txn);
        rc = mdb_txn_renew(txn);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    *out = txn;
    return 0;
}

/* txn: a reset one to keep, or NULL. */
static void read_leave(struct env *env, MDB_txn *txn)
{
    (void)pthread_mutex_lock(&env->gate);
    if (txn != NULL && env->pool_count < ENV_POOL) {
        env->pool[env->pool_count++] = txn;
        txn = NULL;
    }
    ASSERT_CMP(env->readers, >, 0);
    env->readers--;
    if (env->readers == 0) {
        (void)pthread_cond_broadcast(&env->idle);
    }
    (void)pthread_mutex_unlock(&env->gate);
    if (txn != NULL) {
        mdb_txn_abort(txn); /* reset: it touches its slot in the lock file, not the map */
    }
}

int env_read_begin(struct env *env, MDB_txn **out, struct err *err)
{
    int rc = env_check(env, err);
    if (rc != 0) {
        return rc;
    }
    for (int round = 0; round < 8; round++) {
        uint32_t seen = 0;
        rc = read_try(env, out, &seen);
        if (rc == 0) {
            return 0;
        }
        read_leave(env, NULL);
        if (rc == MDB_MAP_RESIZED) {
            int code = env_remap(env, 0, seen, err);
            if (code != 0) {
                return code;
            }
        } else if (rc != MDB_READERS_FULL || env_reader_check(env) == 0) {
            break;
        }
    }
    return env_error(env, rc, "cannot begin to read", err);
}

void env_read_end(struct env *env, MDB_txn *txn)
{
    if (!env_is_of_this_process(env)) {
        return;
    }
    mdb_txn_reset(txn);
    read_leave(env, txn);
}

int env_read_commit(struct env *env, MDB_txn *txn, struct err *err)
{
    int rc = mdb_txn_commit(txn);
    read_leave(env, NULL);
    return rc == 0 ? 0 : env_error(env, rc, "cannot end a read", err);
}

static int open_only(struct env *env, MDB_dbi *dbi, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_dbi_open(txn, NULL, 0, dbi);
    if (rc != 0) {
        env_read_end(env, txn);
        return env_error(env, rc, "cannot open its database", err);
    }
    return env_read_commit(env, txn, err);
}

int env_open_only(struct env *env, MDB_dbi *dbi, struct err *err)
{
    env_handles_lock(env);
    int rc = open_only(env, dbi, err);
    env_handles_unlock(env);
    return rc;
}

/* LMDB begins a transaction of its own: the counted one only keeps the map where it is. */
int env_copy(struct env *env, int fd, struct err *err)
{
    int rc = 0;
    for (int round = 0; round < 8; round++) {
        MDB_txn *txn = NULL;
        int code = env_read_begin(env, &txn, err);
        if (code != 0) {
            return code;
        }
        rc = lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0
                 ? errno
                 : mdb_env_copyfd2(env->mdb, fd, MDB_CP_COMPACT);
        env_read_end(env, txn);
        if (rc != MDB_MAP_RESIZED) {
            break;
        }
    }
    return rc == 0 ? 0 : env_error(env, rc, "cannot copy it", err);
}

/* LMDB's newest commit as the file says it. Readers begin at the one that the lock file names, which is
 * set behind it: so the file may be ahead for a moment, and never behind. */
bool env_is_at(const struct env *env, uint64_t commit)
{
    MDB_envinfo info;
    return env_is_of_this_process(env) && mdb_env_info(env->mdb, &info) == 0 &&
           info.me_last_txnid == commit;
}

/* ---- writing */

int env_write_begin(struct env *env, MDB_txn **out, struct err *err)
{
    int rc = env_check(env, err);
    if (rc != 0) {
        return rc;
    }
    if (env->read_only) {
        return err_set(err, KE_IO, "%s may not be written by this process", env->dir);
    }
    for (int round = 0; round < 8; round++) {
        rc = mdb_txn_begin(env->mdb, NULL, 0, out);
        if (rc != MDB_MAP_RESIZED) {
            break;
        }
        (void)pthread_mutex_lock(&env->gate);
        uint32_t seen = env->remaps;
        (void)pthread_mutex_unlock(&env->gate);
        int code = env_remap(env, 0, seen, err);
        if (code != 0) {
            return code;
        }
    }
    return rc == 0 ? 0 : env_error(env, rc, "cannot begin to write", err);
}

void env_write_abort(struct env *env, MDB_txn *txn)
{
    if (env_is_of_this_process(env)) {
        mdb_txn_abort(txn);
    }
}

/* The write transaction is gone. */
static int after_failure(struct env *env, int rc, const char *what, struct err *err)
{
    if (rc != MDB_MAP_FULL || env->fixed_map) {
        return env_error(env, rc, what, err);
    }
    /* Pages that a killed reader held back may be room enough. */
    if (env_reader_check(env) == 0) {
        int code = env_grow(env, err);
        if (code != 0) {
            return code;
        }
    }
    return err_set(err, KE_AGAIN, "%s: the map was full and has grown: begin again", env->dir);
}

int env_write_failed(struct env *env, MDB_txn *txn, int rc, const char *what, struct err *err)
{
    env_write_abort(env, txn);
    return after_failure(env, rc, what, err);
}

int env_write_commit(struct env *env, MDB_txn *txn, const char *what, struct err *err)
{
    int rc = env_check(env, err);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? 0 : after_failure(env, rc, what, err);
}

void env_set_nosync(struct env *env, bool on)
{
    ASSERT(mdb_env_set_flags(env->mdb, MDB_NOSYNC, on ? 1 : 0) == 0);
}

int env_sync(struct env *env, struct err *err)
{
    int rc = env_check(env, err);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_env_sync(env->mdb, 1);
    return rc == 0 ? 0 : env_error(env, rc, "cannot sync", err);
}

int env_sync_dir(struct env *env, struct err *err)
{
    int rc = file_sync_dir(env->dir, err);
    if (rc == 0) {
        char *parent = xasprintf("%s/..", env->dir);
        rc = file_sync_dir(parent, err);
        free(parent);
    }
    return rc;
}

/* Zeros from the end of the file on. */
static int lengthen(int fd, off_t from, off_t to)
{
    static const uint8_t zeros[1 << 16];
    while (from < to) {
        ssize_t n = pwrite(fd, zeros, (size_t)i64_min(to - from, sizeof zeros), from);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        from += n > 0 ? n : 0;
    }
    return fdatasync(fd) == 0 ? 0 : errno;
}

int env_reserve(struct env *env, uint32_t bytes, struct err *err)
{
    int rc = env_check(env, err);
    if (rc != 0) {
        return rc;
    }
    mdb_filehandle_t fd;
    MDB_envinfo info;
    MDB_stat pages;
    struct stat st;
    rc = mdb_env_get_fd(env->mdb, &fd);
    rc = rc == 0 ? mdb_env_info(env->mdb, &info) : rc;
    rc = rc == 0 ? mdb_env_stat(env->mdb, &pages) : rc;
    rc = rc == 0 && fstat(fd, &st) != 0 ? errno : rc;
    if (rc == 0) {
        off_t used = (off_t)((info.me_last_pgno + 1) * pages.ms_psize);
        off_t from = st.st_size > used ? st.st_size : used;
        off_t to = i64_min(used + (off_t)bytes, (off_t)info.me_mapsize);
        rc = from < to && from - used < (off_t)bytes / 2 ? lengthen(fd, from, to) : 0;
    }
    return rc == 0 ? 0 : env_error(env, rc, "cannot make the file longer", err);
}

uint64_t env_file_bytes(struct env *env)
{
    int fd = -1;
    struct stat st;
    if (mdb_env_get_fd(env->mdb, &fd) != 0 || fstat(fd, &st) != 0) {
        return 0;
    }
    return u64_from_i64(st.st_size);
}
