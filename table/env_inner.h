/* The inside of an environment, shared by env.c and env_txn.c. */
#ifndef KAPPA_TABLE_ENV_INNER_H
#define KAPPA_TABLE_ENV_INNER_H

#include "table/env.h"

#include <pthread.h>
#include <sys/types.h>

#define ENV_MAGIC 0x766e654bU /* "Kenv" */

struct env {
    uint32_t magic;
    uint32_t refs;           /* registry_mutex */
    struct env *next;        /* registry_mutex */
    dev_t device;            /* of data.mdb, with inode: who it is */
    ino_t inode;             /* stays ours while LMDB holds the file open */
    unsigned generation;     /* of the process that opened it */
    bool read_only;          /* the file may not be written by this process */
    bool fixed_map;          /* a full map is an error */
    char *dir;               /* for messages */
    MDB_env *mdb;            /* never NULL */
    pthread_mutex_t gate;    /* guards the fields below */
    pthread_cond_t idle;     /* readers became 0 */
    uint32_t readers;        /* read transactions begun or beginning */
    uint32_t remaps;         /* times the map moved */
    uint32_t pool_count;     /* of pool */
    MDB_txn *pool[ENV_POOL]; /* reset, ready to be renewed */
    pthread_mutex_t handles; /* see env_handles_lock */
};

/* False in a child forked since it was opened. */
bool env_is_of_this_process(const struct env *env);
/* CLOSED in such a child. */
int env_check(const struct env *env, struct err *err) must_check;
/* The map a reader takes for a file of this size. */
size_t env_map_bytes_for_reading(uint64_t file_bytes);

#endif
