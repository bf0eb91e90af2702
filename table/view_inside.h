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

#define VIEW_LASTS 128

/* The last window of a source in a table, as of a commit of its shard. All atomic; whoever makes seq odd
 * writes the others, and who has read them looks at it again. */
struct view_last {
    uint32_t seq;
    uint64_t what; /* table and source, never 0 */
    uint64_t commit;
    int64_t window_end;
};

struct view {
    uint32_t magic;
    uint32_t table_count;
    uint32_t shard_count;
    uint32_t snapshots; /* not ended yet; atomic */
    bool windowed[STORE_DIGESTS];
    bool history[STORE_DIGESTS];
    struct view_last lasts[VIEW_LASTS];
    struct view_shard shards[];
};

struct view_snapshot {
    uint32_t magic;
    struct view *view;
    MDB_txn *txns[]; /* per shard */
};

#endif
