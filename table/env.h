/* LMDB, wrapped: the one header that includes it. Private to table/.
 *
 *     env_open -> env_read_begin .. env_read_end          (any thread, any number at once)
 *              -> env_write_begin -> env_write_commit     (one writer, in one thread)
 *              -> env_close
 *
 * Cursors, gets and puts are called as LMDB gives them; every code they return that is not expected
 * goes through env_error or env_write_failed, so that nobody else knows what it means.
 *
 * Invariants:
 *  1. A process opens an environment once (LMDB's locks break otherwise): env_open of one already
 *     open, found by device and inode of its data file, gives the same struct env.
 *  2. The map is moved only when no read transaction of this process is active: env_read_begin and
 *     env_read_end count them.
 *  3. Nothing of an environment is used in a forked child; there it answers CLOSED. The child may
 *     open it again.
 */
#ifndef KAPPA_TABLE_ENV_H
#define KAPPA_TABLE_ENV_H

#include "base/err.h"
#include "base/library.h"

#include <lmdb.h>

#define ENV_DBS        104  /* named databases: 3 per table, meta, dead, late, some to spare */
#define ENV_READERS    4096 /* slots of the reader table; the lock file is sparse */
#define ENV_MAP_BYTES  ((size_t)64 << 20)  /* first map size of a writer */
#define ENV_MAP_MIN    ((size_t)128 << 10) /* smallest map that holds all empty databases */
#define ENV_MAP_MAX    ((size_t)16 << 40)  /* the address space is 128 TiB */
#define ENV_POOL       32                  /* idle read transactions kept */
#define ENV_REMAP_WAIT 5                   /* seconds to wait for readers before the map moves */
#define ENV_NO_HANDLE  UINT32_MAX          /* no MDB_dbi */

struct env;

/* dir: of the environment. create: made when missing, and must be writable; else NOT_FOUND when
 * missing or still empty. map_bytes: least map size, 0: as the file says with room to grow. */
int env_open(const char *dir, bool create, size_t map_bytes, struct env **out,
             struct err *err) must_check;
void env_close(struct env *env);

MDB_env *env_mdb(struct env *env);
const char *env_dir(const struct env *env);
/* Handles of databases are opened by one transaction of a process at a time: hold this around it.
 */
void env_handles_lock(struct env *env);
void env_handles_unlock(struct env *env);

/* Read transactions come from a pool of idle ones. Follows the map when another process grew it. */
int env_read_begin(struct env *env, MDB_txn **out, struct err *err) must_check;
void env_read_end(struct env *env, MDB_txn *txn);
/* Ends it, and keeps the handles of databases that it opened. */
int env_read_commit(struct env *env, MDB_txn *txn, struct err *err) must_check;
/* The database without a name, of an environment that has no other. */
int env_open_only(struct env *env, MDB_dbi *dbi, struct err *err) must_check;

/* Is this, of mdb_txn_id of a read transaction, still what a new one would see? Nothing is begun for it. */
bool env_is_at(const struct env *env, uint64_t commit);

int env_write_begin(struct env *env, MDB_txn **out, struct err *err) must_check;
/* The transaction is gone, whatever comes back. A full map: as env_write_failed. */
int env_write_commit(struct env *env, MDB_txn *txn, const char *what, struct err *err) must_check;
void env_write_abort(struct env *env, MDB_txn *txn);
/* rc came from a call within the write transaction: aborts it. When the map was full, it has grown
 * (or room was found) and the answer is AGAIN: begin again and repeat. */
int env_write_failed(struct env *env, MDB_txn *txn, int rc, const char *what,
                     struct err *err) must_check;

/* Writes what the environment holds as of one commit to fd, without its free pages (the result is not
 * synced). It counts as a read transaction for as long as it takes. */
int env_copy(struct env *env, int fd, struct err *err) must_check;

/* Doubles the map once no read transaction of this process is active; BUSY after ENV_REMAP_WAIT. */
int env_grow(struct env *env, struct err *err) must_check;

/* From now on the map keeps its size: when it is full, writing fails with LIMIT. */
void env_fix_map(struct env *env);

/* Frees the slots of readers that died; returns how many. */
int env_reader_check(struct env *env);

/* Read transactions that are open now, in any process. *oldest: the commit that the oldest of them
 * sees when it is not the last one, else 0. */
uint32_t env_readers(struct env *env, uint64_t *oldest);

/* on: commits do not sync (a version under construction). */
void env_set_nosync(struct env *env, bool on);
int env_sync(struct env *env, struct err *err) must_check;
/* Syncs the directory and its parent, so that the files are found after a power cut. */
int env_sync_dir(struct env *env, struct err *err) must_check;
uint64_t env_file_bytes(struct env *env);
/* Makes the file this much longer than what the environment uses, in blocks that have been written and
 * are synced: a commit that grows a file waits for the journal of the file system, and so for what
 * others write. Not within a write transaction, and by who writes. */
int env_reserve(struct env *env, uint32_t bytes, struct err *err) must_check;
/* Is the file larger than the map? */
bool env_outgrown(struct env *env);

/* Translates a code of LMDB or an errno into ours: "DIR: what: why". */
int env_error(struct env *env, int rc, const char *what, struct err *err);

/* REFUSED when the directory is on a file system that LMDB's locks do not work on. */
int env_refuse_network(const char *dir, struct err *err) must_check;

/* Of LMDB. */
void env_library(struct library *out);

#endif
