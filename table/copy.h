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

#include "base/buf.h"
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

/* Rows of a table of hop windows are of panes, and count for the windows that their part is in
 * (processor/event_time.h). All zero: a table of other windows, whose rows are of one window each. */
struct store_take_hop {
    int64_t window_us, slide_us;
};

/* A new environment that begins with the closed past of another version's: of tables of tumbling and hop
 * windows, with the same shapes.
 *
 * It holds, as of one commit of the other one (of a source at offset C):
 *     rows of windows that end before `first_ends` of their table, with leaves and digests; of hops as below;
 *     dead and late records below O;
 *     each source's state as it was at O: the last entry of "times" whose largest event time lies before
 *     `since`, or its start. So whatever belongs to a later window lies at or behind O;
 *     nothing in the outbox, and "taken": C of each source.
 * Who goes on from O must not change windows that end before first_ends by records below C: they were
 * taken over with them.
 *
 * Hops. E: first_ends; S = E - window, where the window that ends there starts. Panes up to S have no window
 * but such as end before E: they are taken as they stand. A pane in (S, E) has windows of both kinds. What
 * its rows are for those that end before E goes to pane S, whose last window is the last of these, E - slide:
 * into the part that begins with the same window as the row did. So readers find it in the windows
 * [that one, E - slide], in which it was, and in no other, and its pane is free for what is computed anew:
 *
 *     windows that end before E        |---------------|        pane S and those before: the other version's
 *                                          |---------------|
 *     the first to be recomputed       S       |---------------| E      panes behind S: the new one's,
 *                                                                 of records below C from part E on
 *
 * Rows of one key that come to the same part of S are merged by `merge`. */
struct store_take {
    const char
        *from;       /* the other version's environment, perhaps being written by another process */
    const char *dir; /* made, whole or not at all; nothing happens when it is there */
    const struct kappa_table_shape *tables; /* all windowed, without history */
    uint32_t table_count;
    uint32_t output_count;             /* of the new version */
    const int64_t *first_ends;         /* per table, us */
    const struct store_take_hop *hops; /* per table; NULL: there are none */
    /* Appends to `out` the value of two rows of a table in one. */
    int (*merge)(void *ctx, uint32_t table, const uint8_t *a, size_t a_len, const uint8_t *b,
                 size_t b_len, struct buf *out, struct err *err);
    void *merge_ctx;
    int64_t since;           /* us */
    const uint32_t *sources; /* those that live in it, and where they began */
    const int64_t *starts;
    uint32_t source_count;
};

int store_take(const struct store_take *take, struct err *err) must_check;

#endif
