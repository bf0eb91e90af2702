/* The inside of a reader's view, shared by view.c and panes.c. Private to table/. */
#ifndef KAPPA_TABLE_VIEW_INSIDE_H
#define KAPPA_TABLE_VIEW_INSIDE_H

#include "table/format.h"

#define VIEW_MAGIC     0x7769764bU /* "Kviw" */
#define SNAPSHOT_MAGIC 0x70616e53U /* "Snap" */

struct view_shard {
    struct env *env;
    struct format_dbs dbs;
};

struct view {
    uint32_t magic;
    uint32_t table_count;
    uint32_t shard_count;
    uint32_t snapshots; /* not ended yet; atomic */
    bool windowed[STORE_DIGESTS];
    bool history[STORE_DIGESTS];
    struct view_shard shards[];
};

struct view_snapshot {
    uint32_t magic;
    struct view *view;
    MDB_txn *txns[]; /* per shard */
};

#endif
