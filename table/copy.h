/* Copies of a version's environments that stand still: snapshots, and versions that begin with one.
 *
 *     store_copy       the environment of a shard, at one commit of its own, into a new directory
 *     store_adopt      such a copy becomes the environment of a version that is being built
 *
 * A copy holds what the commit held, byte for byte in its rows, states and digests, but for one thing:
 * it is not sealed, since who adopts it has yet to sync it. It has no free pages, and no lock file
 * until it is opened.
 *
 * Each shard's copy is at a commit of its own. Sources live in one shard, so any commits of the shards
 * together are a cut of the version. */
#ifndef KAPPA_TABLE_COPY_H
#define KAPPA_TABLE_COPY_H

#include "base/digest.h"
#include "base/err.h"
#include "include/kappa/record.h"
#include "include/kappa/row.h"

struct store_copy_source {
    uint32_t source;
    struct kappa_source_state state;
    struct digest digest; /* over all tables and outputs */
};

/* What a copy holds. */
struct store_copied {
    struct store_copy_source *sources; /* ascending; owned by who asked */
    uint32_t count;
    uint64_t bytes; /* on disk */
};

/* from: an environment, perhaps with a writer in another process (in none of this one). to: a directory
 * that is not there yet; made, with the file in it synced. NOT_FOUND when there is no environment. */
int store_copy(const char *from, const char *to, struct store_copied *out,
               struct err *err) must_check;

/* `dir` becomes a copy of the copy, whole or not at all. Nothing happens when it is there already, and
 * *adopted is false. NOT_FOUND when there is no copy. Not synced. */
int store_adopt(const char *copy, const char *dir, bool *adopted, struct err *err) must_check;

#endif
