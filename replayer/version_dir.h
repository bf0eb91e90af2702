/* The directory of one version, DATA/versions/PROCESSOR/N, as its one worker holds it.
 *
 *     version_dir_open -> environments are opened below it -> [version_dir_sealed] ->
 *     version_dir_close
 *
 * LOCK      flock: one worker at a time. A predecessor that is dying is waited for.
 * BUILDING  boot id of the machine. While it is there the environments are written without syncing:
 *           they survive the death of a process, not that of the system. It is made, synced, before
 *           the first environment, and removed once all shards are sealed.
 *
 * So at open: no BUILDING and environments = sealed. BUILDING of this boot = go on building.
 * BUILDING of another boot = what is there may be torn: the environments are removed and the
 * version is built again, for the log is the truth. */
#ifndef KAPPA_REPLAYER_VERSION_DIR_H
#define KAPPA_REPLAYER_VERSION_DIR_H

#include "base/err.h"

struct version_dir;

/* boot_id: NULL for the machine's own (tests give others). BUSY when another process keeps the lock
 * for 5 s. */
int version_dir_open(const char *dir, const char *boot_id, struct version_dir **out,
                     struct err *err) must_check;
/* Are environments still being built (opened without syncing)? */
bool version_dir_building(const struct version_dir *dir);
/* Were environments of another boot removed at open? */
bool version_dir_wiped(const struct version_dir *dir);
/* All shards are sealed: removes BUILDING, durably. */
int version_dir_sealed(struct version_dir *dir, struct err *err) must_check;
void version_dir_close(struct version_dir *dir);
/* Path of a shard's environment: malloc'd. */
char *version_dir_shard(const struct version_dir *dir, uint32_t shard);

#endif
