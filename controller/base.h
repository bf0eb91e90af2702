/* From what a new version begins when it is asked to begin at a time: `--from @TIME`, -DURATION.
 *
 *     base_window      in the core's thread, of --in-window: may it be, and from which window on?
 *     base_wants       in the core's thread: is there anything to decide?
 *     base_look        in the job: looks at the snapshots, and at where the log begins
 *     base_settle      in the core's thread, when the topics' identities are known
 *     base_set         into the version's object -> base_free
 *
 * A definition without state (rows and messages of single records) begins at that time, as for any other
 * position. One with state does, in this order:
 *
 *     empty        --empty-state: at that time, knowing nothing of what was before; not complete
 *     snapshot     with the last snapshot of any version of the processor that was made of records at or
 *                  before that time only, in each partition, by a definition with the same state
 *                  (plan_state_hash), complete itself, and which the log goes on from: it has not lost any
 *                  of these records since
 *     beginning    else: reads all
 *
 *     window       --in-window: takes the windows of the serving version over that end at or before the time
 *                  (of events here), and recomputes the others (table/copy.h); complete since the first
 *                  of them starts
 *
 * The version's object then has the start of the snapshot's version: it is what a replay from there would
 * be, and only got there sooner. If the snapshot is gone when the worker begins, it is replayed. */
#ifndef KAPPA_CONTROLLER_BASE_H
#define KAPPA_CONTROLLER_BASE_H

#include "base/json.h"
#include "log/position.h"
#include "processor/plan.h"

enum base_kind { BASE_POSITION, BASE_EMPTY, BASE_SNAPSHOT, BASE_BEGINNING, BASE_WINDOW };

struct base {
    bool empty_state; /* asked for */
    /* What it is about; borrowed from the deploy. */
    const char *data_dir;
    const char *processor;
    const struct plan *plan;
    const json_t *plugins; /* or NULL */
    /* What was found. */
    enum base_kind kind;
    json_t *note;                 /* of the snapshot, or NULL; owned */
    char *why;                    /* a sentence; owned, or NULL */
    struct position_range *begin; /* the ranges from the beginning; owned, or NULL */
    bool begin_complete;
    /* Of --in-window: {"of","since_us","first_us":[per table],"from_us"} and the object of the version that
     * the windows are taken from; owned, or NULL. */
    json_t *window;
    json_t *serving;
    int64_t window_since_us; /* all tables are complete from here on */
};

/* serving: the object of the version that serves, or NULL. REFUSED with what is in the way. */
int base_window(struct base *base, const struct position *position, const json_t *serving,
                struct err *err) must_check;

/* Is it a time, and does the plan keep state? */
bool base_wants(const struct base *base, const struct position *position);
/* ranges: of the position, one per source. On return they are those from which reading begins (of a
 * snapshot: its cut), and *complete belongs to them. */
int base_look(struct base *base, const struct position *position, struct log *log,
              const struct position_topic *topics, struct position_range *ranges,
              uint32_t source_count, bool *complete, struct err *err) must_check;
/* A snapshot of topics that were made again meanwhile is none. serving: as it is now, or NULL. */
int base_settle(struct base *base, const uint64_t *identities, struct position_range *ranges,
                const json_t *serving, uint32_t source_count, bool *complete,
                struct err *err) must_check;
/* Members of the version's object: begins, base, start, shards, complete, complete_since_ms. */
void base_set(const struct base *base, const struct position *position, int64_t now_ms,
              json_t *object);
void base_free(struct base *base);

#endif
