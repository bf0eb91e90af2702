/* MOTION: one shard: pulls its partitions from the log, feeds the processor, commits to the store.
 * Live is a replay that never ends: there is one pump.
 *
 *     shard_open -> shard_step, shard_step, ... (with commands in between) -> shard_close
 *
 * A shard has one thread, which calls everything here except shard_wake. It has no loop of its own:
 * the worker's thread, or the simulator, steps it. Commands take effect between steps.
 *
 * Modes:
 *
 *     running -- hold --> held -- run_to(C) --> to_cut -- all sources at C, committed --> at_cut
 *        ^                 |                                                                |
 *        +---- release ----+------------------------- release ------------------------------+
 *
 *     running -- pause --> paused -- resume --> running
 *
 * A paused shard may be held and run to a cut; released, it is paused again. A new run_to from
 * to_cut or at_cut is allowed, as long as no cut lies below a position.
 *
 * Commits come at the end of a step when something was applied (records, or a position moved over
 * a hole) and
 *     serving, or near a cut:
 *               nothing more is readable now and the last commit began 4 ms ago; or 4 ms have
 *               passed since the first unwritten record (or as long as the last commit took: a
 *               slow disk must not eat the whole thread);
 *     else:     nothing more is readable now; or the end was reached and 100 ms have passed since
 *               the last commit began; or 2 s have passed since the first unwritten record;
 *     unsealed: rows that are only added reach 4 MiB and outweigh the pages of changed groups;
 *     always:   the processor's dirty bytes reach half its budget, or the pages that the commit would
 *               copy 128 MiB (tables without windows); before at_cut and paused are
 *               reported; before an error of the log is returned; at shard_close with `drain`.
 *
 * Batches: 64 records when caught up, doubling to LIMIT_BATCH_RECORDS while each next() comes back
 * full. While the version does not serve and is free to run, a governor may make them smaller and
 * keep the log, or only what is not its archive, from being read for a while (governor.h); it neither
 * counts as the end nor makes a commit due. A shard on its way to a cut is not slowed down: somebody
 * waits for it.
 *
 * Invariants:
 *  1. Records of a source are applied in offset order, each at most once, none skipped: a record
 *     below the position is dropped and counted, one at or above the cut is kept for later.
 *  2. The store's position of a source is the one its rows were made from (one transaction).
 *  3. Every source has a committed position from shard_open on, if only where it started.
 *  4. While held, paused or at the cut, the log is not read and nothing is applied.
 */
#ifndef KAPPA_REPLAYER_SHARD_H
#define KAPPA_REPLAYER_SHARD_H

#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/histogram.h"
#include "log/log.h"
#include "processor/processor.h"
#include "replayer/governor.h"
#include "table/store.h"

/* An input partition of the version; its index in the version's list is the "source". */
struct shard_source {
    uint32_t source;
    uint32_t input;    /* of the plan */
    const char *topic; /* borrowed while the shard is open */
    uint32_t partition;
    uint32_t partitions; /* of the topic, when the version was made */
    int64_t start;       /* where the version began; used when the store holds no position */
};

/* Who looks at rows on the way (tap.h). Both in the shard's thread. */
struct shard_tap {
    /* processor_apply, in as many calls as it likes. */
    int (*apply)(void *ctx, struct processor *processor, uint32_t source,
                 const struct kappa_record *records, uint32_t count, int64_t next_offset,
                 struct err *err);
    /* The source stands at the cut; once all of the shard do. */
    int (*end)(void *ctx, struct processor *processor, uint32_t source, struct err *err);
    void *ctx;
};

/* A new version takes the windows before some time over from another one (table/copy.h). */
struct shard_take {
    const char *from;          /* the other version's directory */
    int64_t since;             /* us */
    const int64_t *first_ends; /* per table of the plan, us */
};

struct shard_options {
    const struct plan *plan;
    struct log *log;
    const char *group;
    const char *dir;     /* the environment */
    const char *base;    /* of a new one: the snapshot whose shard it begins with, or NULL */
    uint32_t base_shard; /* which of its, and of take's */
    const struct shard_take *take;      /* or NULL; borrowed */
    const struct shard_source *sources; /* of this shard only; copied */
    uint32_t source_count;              /* may be 0: then there is only the environment */
    struct schemas *schemas;            /* for inputs with a schema_registry; borrowed, or NULL */
    struct governor *governor;          /* how fast it may read; borrowed, or NULL */
    bool governed_to_cut;               /* nobody waits at a cut: on the way there, too */
    bool building;
    size_t cache_bytes;
    const struct kappa_plugin *const *plugins; /* per plugin of the plan; borrowed */
    uint32_t batch_records;                    /* upper bound; 0: LIMIT_BATCH_RECORDS */
    size_t keep_bytes;           /* of batches kept behind a cut (pump.c); 0: 32 MiB */
    const struct shard_tap *tap; /* borrowed, or NULL */
    bool outbox_drop; /* nobody will send or list messages: only their digests are kept */
    /* Called after each commit; may be NULL. */
    void (*committed)(void *ctx);
    void *committed_ctx;
    const struct clock_ops *clock;
    int (*fail_point)(void *ctx, const char *step); /* as in store.h */
    void *fail_ctx;
};

enum shard_mode { SHARD_RUNNING, SHARD_PAUSED, SHARD_HELD, SHARD_TO_CUT, SHARD_AT_CUT };

struct shard_position {
    int64_t next; /* committed or not: the next offset to apply */
    int64_t
        least; /* below it the rows are of no cut: windows that were taken over are newer; or 0 */
    int64_t committed;       /* cut of the last commit */
    int64_t start, end;      /* of the log as known; -1 unknown */
    int64_t high;            /* behind all that is there, readable or not; -1 unknown */
    bool at_end;             /* next reached end when last looked */
    int64_t record_time_max; /* ms, or KAPPA_NO_TIME */
};

/* Where the time of a shard's thread goes. FETCH: reading the log, until a batch is there; WAIT: asked
 * in vain, held or paused; LIMITED: kept from reading by the governor; COMMIT: writing rows and
 * syncing. */
enum shard_time {
    SHARD_FETCH,
    SHARD_WAIT,
    SHARD_LIMITED,
    SHARD_DECODE,
    SHARD_COMPUTE,
    SHARD_COMMIT,
    SHARD_TIME_COUNT
};

struct shard_status {
    enum shard_mode mode;
    bool sealed;
    uint64_t records, dead, late; /* sums over sources */
    uint64_t bytes;               /* of keys, values and headers read since shard_open */
    uint64_t archived_bytes;      /* of them, from archives */
    uint64_t commits;
    int64_t commit_us_max; /* spent in the slowest */
    int64_t held_us;       /* since when it has been held (monotonic) */
    int64_t cut_commit_us; /* in that of the last cut: 0 when there was nothing to write */
    struct histogram commits_took;
    struct histogram freshness; /* while serving, a count a commit: pump.c */
    int64_t time_us[SHARD_TIME_COUNT];
    uint64_t duplicates; /* records below the position that the log delivered again: dropped */
    struct processor_stats processor;
    uint64_t file_bytes, used_bytes;
    uint32_t readers; /* snapshots of the environment that are open */
    int64_t
        oldest_age_us;    /* for how long the oldest of them has kept pages from being used again */
    uint64_t outbox_rows; /* messages in the outbox */
    struct err trouble;   /* passing trouble (broker away): code 0 when none */
    uint32_t failed_source; /* of the version: whose records ended the shard, or UINT32_MAX */
};

struct shard;

#define SHARD_SHADOW_ROWS 1000

int shard_open(const struct shard_options *options, struct shard **out, struct err *err) must_check;
/* One round: at most one batch, at most one commit. Waits for records up to timeout_ms (0 in the
 * simulator). Errors are for good: look at the status, then close the shard without drain. What
 * was applied before an error of the log has been committed. */
int shard_step(struct shard *shard, int timeout_ms, struct err *err) must_check;
/* Ends a step's wait early. Any thread. */
void shard_wake(struct shard *shard);
/* drain: commit what is applied first (not after an error). Always frees; the code is the commit's.
 * The log and the plan outlive the shard. */
int shard_close(struct shard *shard, bool drain, struct err *err);

/* A cut comes soon: commits, and from now on as often as what serves, so that little is left to be
 * written while everybody is held. Until released. */
int shard_near(struct shard *shard, struct err *err) must_check;
/* Stops applying. What was applied is written at the cut, or when it is released. */
void shard_hold(struct shard *shard);
/* From held, to_cut or at_cut. cut: per source of the version (all of them; this shard looks at its
 * own); copied. Every cut is >= the position. */
void shard_run_to(struct shard *shard, const int64_t *cut);
void shard_release(struct shard *shard);
int shard_pause(struct shard *shard, struct err *err) must_check;
void shard_resume(struct shard *shard);
void shard_serving(struct shard *shard, bool on);
int shard_seal(struct shard *shard, struct err *err) must_check;
/* Messages of records below these offsets (one per source of the version; copied) are sent, or never
 * will be: they are taken out of the outbox with the next commits, or once a second. A version that
 * does not serve keeps the newest SHARD_SHADOW_ROWS of each source, to be listed. */
void shard_outbox_below(struct shard *shard, const int64_t *below);

void shard_status(struct shard *shard, struct shard_status *out);
/* index: of options.sources. */
void shard_position(struct shard *shard, uint32_t index, struct shard_position *out);
/* Digests per table of one source at its last commit. */
void shard_source_digests(struct shard *shard, uint32_t index, struct store_source *out);

#endif
