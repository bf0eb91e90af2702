/* The data directory as its one server holds it: lock, leftovers, server.json.
 *
 *     datadir_open -> datadir_forget -> datadir_publish -> datadir_trash -> datadir_sweep (any thread) ->
 *     datadir_close */
#ifndef KAPPA_CONTROLLER_DATADIR_H
#define KAPPA_CONTROLLER_DATADIR_H

#include "base/err.h"
#include "base/json.h"

/* Directories of DATA/versions that begin so are trash. */
#define DATADIR_TRASH ".trash-"

struct datadir;

/* INVALID when a folder that has been in use for something else is taken for a data directory: there is no
 * catalog in it, but what no data directory has. */
int datadir_check(const char *path, struct err *err) must_check;
/* datadir_check; made when missing. BUSY when another server holds DATA/lock; the text names its pid. */
int datadir_open(const char *path, struct datadir **out, struct err *err) must_check;
/* Removes server.json if it was published, and gives up the lock. */
void datadir_close(struct datadir *datadir);
/* Absolute. */
const char *datadir_path(const struct datadir *datadir);
/* Writes DATA/server.json, whole or not at all; readable by the owner only, for it may hold the
 * log's passwords, and the token of local users. */
int datadir_publish(struct datadir *datadir, const json_t *server, struct err *err) must_check;
/* Says in the log when other users of the machine may read the tables as files. */
void datadir_warn_open(const struct datadir *datadir);
/* DATA/versions/<dir> becomes DATA/versions/.trash-...: gone at once, its disk space with the next
 * sweep. Nothing happens when it is not there. */
int datadir_trash(struct datadir *datadir, const char *dir, struct err *err) must_check;
/* Trashes the versions that known() does not know: one was dropped just before the machine stopped, and the
 * disk has not kept that it was moved away. At start, before any worker. */
void datadir_forget(struct datadir *datadir,
                    bool (*known)(void *ctx, const char *processor, uint32_t version), void *ctx);
/* Frees what was trashed, by this server or one that died. scratch: also the directories of
 * verifies (only at start: later they may be in use). Touches nothing of struct datadir but its
 * path. */
void datadir_sweep(const struct datadir *datadir, bool scratch);

#endif
