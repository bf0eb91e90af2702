/* A snapshot of a version: its environments copied, each at a commit of its own, into a directory with a
 * note of what they are.
 *
 *     DATA/versions/P/snapshots/ID/SHARD/data.mdb    table/copy.h
 *     DATA/versions/P/snapshots/ID/snapshot.json     written last
 *     DATA/versions/P/.making-ID                     while it is being made: renamed when whole and
 *                                                    synced, so a crash leaves none half
 *
 * snapshot.json: what the order gave in "info" (controller/snapshot.c), and
 *     "sources"  [{"next","records","dead","late","event_time_ms"|null,"record_time_ms"|null,"digest"}]
 *     "digest"   the sum of the sources' digests
 *     "bytes"    on disk
 *
 * It is made by a worker process that does nothing else (its first command is `copy`), of the lowest
 * priority: a copy that lives for minutes would keep the map of the process that makes it from
 * growing, and that must be neither the writer nor the server. */
#ifndef KAPPA_REPLAYER_SNAPSHOT_H
#define KAPPA_REPLAYER_SNAPSHOT_H

#include "base/err.h"
#include "base/json.h"

/* order: {"do":"copy","from": directory of the version,"to","making","shards","info"}. fail_point as in
 * store.h: "copied" before each shard's copy but the first and before the note, "whole" before the
 * rename, "there" behind it. *note: what stands in snapshot.json; a new reference. */
int snapshot_make(const json_t *order, int (*fail_point)(void *ctx, const char *step),
                  json_t **note, struct err *err) must_check;

/* The process yields to all others, in CPU and disk. */
void snapshot_lower_priority(void);

#endif
