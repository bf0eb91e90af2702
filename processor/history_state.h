/* What a join by time remembers of one key of its right side in one source: the versions of its row,
 * ordered by the time from which each is valid.
 *
 *     history_layout_init                  once per operator
 *     history_add -> history_trim          a row of the right side
 *     history_find                         the version that is valid at a time
 *
 * A row that is valid from the same time as another replaces it: whoever looks later finds the later
 * one. So a state has one version for each time, and is a function of the rows that came, in their order.
 *
 * A history is bounded. When it has more versions or bytes than it may, and when a version was replaced
 * long ago (history_trim), the oldest ones go; from then on the state says so, and whoever asks for a
 * time before the first version learns that nobody knows (HISTORY_GONE), never that there was none.
 *
 * A state is the one slot of a row of a hidden table, kept, written, loaded and evicted as aggregates
 * are: history_operator. Encoded:
 *
 *     u8 1 if older versions have gone | varint count | per version: zigzag varint time - time before,
 *     varint bytes, a row as row_encode makes it */
#ifndef KAPPA_PROCESSOR_HISTORY_STATE_H
#define KAPPA_PROCESSOR_HISTORY_STATE_H

#include "processor/agg_operator.h"

struct history_row {
    int64_t time;
    uint8_t *bytes; /* NULL: none */
    uint32_t len;
};

struct history_state {
    struct history_row *rows; /* [first, first + count) are there */
    uint32_t first;
    uint32_t count;
    uint32_t capacity;
    bool gone;    /* older ones have been let go */
    size_t bytes; /* of all rows */
};

enum history_found {
    HISTORY_FOUND,
    HISTORY_NONE, /* no version is valid at this time */
    HISTORY_GONE  /* the one that was is not kept */
};

extern const struct agg_operator history_operator;

void history_layout_init(struct agg_layout *layout, struct arena *arena);
/* A version that is valid from `time` on; len <= LIMIT_HISTORY_BYTES. */
void history_add(struct history_state *state, struct pool *pool, int64_t time, const void *bytes,
                 uint32_t len);
/* Lets go of versions that another one had replaced at `limit` or before. */
void history_trim(struct history_state *state, struct pool *pool, int64_t limit);
/* The newest version with time <= t; before: < t. */
enum history_found history_find(const struct history_state *state, int64_t t, bool before,
                                const struct history_row **row);

#endif
