/* The snapshots of a processor as files: DATA/versions/P/snapshots/ID/snapshot.json, written last before the
 * directory gets its name (replayer/snapshot.h), so what has a name is whole. There is no other list.
 * Reading files: for jobs. */
#ifndef KAPPA_CONTROLLER_SNAPSHOT_FILES_H
#define KAPPA_CONTROLLER_SNAPSHOT_FILES_H

#include "base/json.h"

#define SNAPSHOT_MAKING ".making-" /* DATA/versions/P/.making-ID: not whole yet */

/* The notes, oldest first. What cannot be read is left out, with a message. */
json_t *snapshot_list(const char *data_dir, const char *processor);
/* The one with this id or name; borrowed, or NULL. */
json_t *snapshot_named(const json_t *list, const char *text);
int64_t snapshot_bytes(const json_t *list);

#endif
