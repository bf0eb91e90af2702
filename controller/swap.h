/* The exact swap: the rule of the cut, and the steps around it. Pure: positions in, decisions out;
 * who sends messages and writes the catalog is conduct.c.
 *
 *     swap_open -> swap_held (both) -> swap_at_cut (both) -> swap_may_commit -> swap_committed
 *     at any time before swap_committed: swap_fail, or swap_expired and then swap_fail
 *     at last swap_close
 *
 *     PREPARE --both held--> RUN_TO --both at the cut--> CHECK --right--> COMMIT --> RELEASE
 *        |                      |                          |                |
 *        '----------------------'-----------> FAILED <-----'----------------'
 *
 * The two versions may number their sources differently (another order of inputs, one input more):
 * they meet in the union of their partitions. In the union, the cut of a partition is the larger
 * position of those that read it.
 *
 * Invariants:
 *  1. No party is told to run to a cut below the position it reported.
 *  2. Until COMMIT nothing has changed; behind it everything has.
 *  3. Answers that carry another id (of an earlier try) change nothing.
 */
#ifndef KAPPA_CONTROLLER_SWAP_H
#define KAPPA_CONTROLLER_SWAP_H

#include "base/err.h"
#include "base/state.h"

enum swap_step {
    SWAP_PREPARE, /* both were told to hold */
    SWAP_RUN_TO,  /* both run to the cut */
    SWAP_CHECK,   /* both say they are there */
    SWAP_COMMIT,  /* the catalog is being written */
    SWAP_RELEASE, /* done: both go on in their new roles */
    SWAP_FAILED,  /* nothing changed; both are released */
    SWAP_STEP_COUNT
};

extern const struct state_table swap_steps;

enum swap_side { SWAP_OLD, SWAP_NEW, SWAP_SIDES };

enum swap_part {
    SWAP_ABSENT, /* the first version of a processor has no old one */
    SWAP_STILL,  /* its worker cannot go on: it stands at its last position */
    SWAP_LIVE    /* a worker that holds and runs */
};

/* What one version brings to a swap. */
struct swap_party {
    enum swap_part part;
    uint32_t count; /* sources of the version */
    uint32_t *map;  /* source -> partition of the union; owned */
    int64_t *next;  /* reported position per source; -1 unknown (still parties only); owned */
    int64_t *at;    /* the cut it says it has committed; owned */
    bool held;
    bool at_cut;
};

struct swap {
    uint32_t step;      /* enum swap_step */
    uint64_t id;        /* of this try: comes back in the workers' answers */
    int64_t started_us; /* monotonic: when PREPARE was sent, or since when the old one holds */
    int64_t hold_us_max;
    uint32_t partition_count; /* of the union */
    int64_t *cut;             /* per partition of the union; set from RUN_TO on; owned */
    struct swap_party party[SWAP_SIDES];
};

/* Copies maps. The new one is always live. */
void swap_open(struct swap *swap, uint64_t id, uint32_t partition_count, int64_t now_us,
               int64_t hold_us_max);
void swap_party_set(struct swap *swap, enum swap_side side, enum swap_part part,
                    const uint32_t *map, const int64_t *next, uint32_t count);
void swap_close(struct swap *swap);

/* A party holds at these positions. When all do, the cut is made and the step is RUN_TO: the caller
 * sends each live party its part of it. INVALID when the count is not the version's. */
int swap_held(struct swap *swap, enum swap_side side, uint64_t id, const int64_t *next,
              uint32_t count, struct err *err) must_check;
/* The old version has held since then. */
void swap_held_since(struct swap *swap, int64_t at_us);
/* The cut in the numbering of one side; out has its count. From RUN_TO on. */
void swap_cut_of(const struct swap *swap, enum swap_side side, int64_t *out);
/* A party has committed this cut. When all have, the step is CHECK. */
int swap_at_cut(struct swap *swap, enum swap_side side, uint64_t id, const int64_t *cut,
                uint32_t count, struct err *err) must_check;
/* CHECK to COMMIT when both stand at exactly the cut and the hold has not run out; else an error,
 * and the step is as before. */
int swap_may_commit(struct swap *swap, int64_t now_us, struct err *err) must_check;
void swap_committed(struct swap *swap);

/* From any step before RELEASE. */
void swap_fail(struct swap *swap);
bool swap_expired(const struct swap *swap, int64_t now_us);
/* Not done and not failed. */
bool swap_running(const struct swap *swap);
/* For messages: what is waited for, e.g. "v2 to hold". */
const char *swap_waits_for(const struct swap *swap, enum swap_side *side);

#endif
