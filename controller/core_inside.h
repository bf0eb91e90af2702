/* What the files of the brain share: its model of processors, versions and workers, and who calls
 * whom. Not for others (core.h is).
 *
 *     core.c      open, close, tick, moves of versions    change.c    catalog transactions
 *     children.c  starting, stopping, removing
 *     events.c    what workers say                    conduct.c   conducts a swap: still.c, commit.c
 *     outputs.c   who sends which messages       gate.c     may a candidate serve? judge.c
 *     group.c     which processors change over together
 *     requests.c  control calls      deploy.c  deploy, replay         verify.c   status.c
 *     diff.c      compares versions               plots.c     lag and rate of the last hour
 *     groups.c    what others than Kappa see of a version's position
 *     limit.c     how fast a version may be replayed: regulate.c, limit_status.c, limit_all.c
 *     canary.c    a share of the keys read from a candidate
 *     snapshot.c  copies of a version's files
 */
#ifndef KAPPA_CONTROLLER_CORE_INSIDE_H
#define KAPPA_CONTROLLER_CORE_INSIDE_H

#include "base/limits.h"
#include "controller/core.h"
#include "controller/lag.h"
#include "controller/pace.h"
#include "controller/partitions.h"
#include "controller/swap.h"
#include "controller/versions.h"
#include "log/position.h"

/* ---- Times ---- */
#define HOLD_US_MAX          INT64_C(2000000) /* readers see an old cut for this long at most */
#define SWAP_BACKOFF_US      INT64_C(200000)  /* after a failed try; doubles */
#define SWAP_BACKOFF_US_MAX  INT64_C(30000000)
#define START_BACKOFF_US     INT64_C(100000) /* after an exit; doubles */
#define START_BACKOFF_US_MAX INT64_C(10000000)
#define LATER_US             INT64_C(3000000) /* a person's swap waits so long for workers to come up */
#define PLUGIN_DEATHS_US     INT64_C(1600000)  /* backoff after 5 deaths: a plugin is at fault */
#define STILL_US             INT64_C(1000000)  /* restart backoff: a swap waits no longer */
#define HEALTHY_US           INT64_C(30000000) /* running for so long: the backoff starts anew */
#define SILENT_US            INT64_C(5000000)  /* of a worker that speaks every second: it hangs */
#define OPENING_US           INT64_C(10000000) /* it opens for so long: it hangs */
#define SNAPSHOT_SILENT_US   INT64_C(300000000) /* nothing more of a snapshot for so long: the same */
#define VERIFY_SILENT_US     INT64_C(60000000) /* so long silent while it verifies: it is given up */
#define STOP_US_MAX          INT64_C(10000000) /* to drain; then it is killed */
#define OUTPUTS_TELL_US      INT64_C(1000000)  /* between tellings of what is sent */
#define CLOCK_SET_MS         2000              /* apart by so much: it was set */
#define CATALOG_RETRY_US     INT64_C(1000000)  /* after a catalog transaction that failed */
#define GATE_RETRY_US        INT64_C(2000000)  /* after a check that could not be made; doubles */
#define GATE_RETRY_US_MAX    INT64_C(60000000)
#define BLOCKED_US           INT64_C(60000000) /* a partition of a serving version is blocked: told */
#define LAGGING_US           INT64_C(10000000) /* a serving version that is behind for so long is told */
#define GATE_FRESH_US        INT64_C(60000000) /* a comparison counts for so long */

#define JOURNAL_EVENTS 1000 /* kept */

/* ---- The model ---- */

enum child_phase {
    CHILD_OFF,      /* no process */
    CHILD_STARTING, /* `open` was sent */
    CHILD_OPEN,     /* it said `opened` */
    CHILD_STOPPING  /* its exit is expected */
};

struct plot; /* plots.c */

/* A worker process and what is known of it. */
struct child {
    uint64_t id; /* of this incarnation; 0 when off */
    enum child_phase phase;
    int pid;
    bool sealed;    /* its environments are synced */
    bool seal_sent; /* in this incarnation */
    bool blocked;   /* cannot go on: not started again until a person says so */
    uint32_t restarts;
    int64_t started_us;
    int64_t heard_us;   /* when it last said something */
    int64_t start_us;   /* not started before (backoff) */
    int64_t backoff_us; /* 0: healthy */
    int64_t kill_us;    /* STOPPING: killed when not gone by then */
    struct err said;    /* its `failed` event; code 0 when none */
    struct err exit;    /* why the last incarnation ended unasked; code 0 when none or healed */
    json_t *stats;      /* the last `progress` event, or NULL; owned */
};

/* What is known of a candidate by its policy. What it was refused for is in the catalog. */
struct gate {
    bool verified;       /* replayed once more with the same digest */
    bool verifying;      /* under way */
    bool comparing;      /* the same */
    uint32_t against;    /* compared with this version and found good; 0: not */
    int64_t compared_us; /* when */
    bool failed;         /* the last check could not be made */
    int64_t try_us;      /* no other before */
    int64_t backoff_us;
    int64_t caught_us; /* caught up since then; 0: it is not */
    struct err waits;  /* what an automatic swap waits for; code 0: nothing */
    json_t *found;     /* of what takes long: items of a receipt's "checks"; owned */
};

/* The newest events (journal.c). */
struct journal {
    json_t *events[JOURNAL_EVENTS]; /* a ring; owned */
    uint32_t begin;
    uint32_t count;
    int64_t seq;                    /* of the newest */
    struct journal_waiter *waiters; /* requests that wait for more; chain */
    uint32_t waiter_count;
};

struct core_version {
    struct core_processor *processor;
    uint32_t number;
    json_t *object; /* as in the catalog; owned */
    uint32_t state; /* enum version_state, from the object */
    struct lag lag;
    struct child child;
    bool files_gone;   /* aborted: its directory was removed */
    bool group_gone;   /* its group is in `groups` of the core, or was forgotten */
    void *drop;        /* the request that waits for its end, or NULL */
    bool dropping;     /* no way back: it disappears when its worker is gone */
    int64_t remove_us; /* not tried before (removing failed) */
    struct plot *plot; /* of its last hour, or NULL; owned */
    json_t *told_sent; /* what this worker was last told of the messages that are sent; owned */
    struct gate gate;
    int64_t standby_us;       /* until then it stands by, by the clock that nobody sets, */
    int64_t standby_ms;       /* which is this in the object; 0: not looked at yet */
    int64_t caught_us;        /* on its way to serve, first seen to be caught up; 0: not so far */
    int64_t behind_us;        /* serving and behind since then; 0: it is not */
    bool lagging;             /* that was told */
    bool blocked;             /* that some of its partitions are was told */
    struct pace_window fresh; /* while it serves */
    double paced;             /* records/s that its goals allow; 0: not yet known */
    double paced_bytes;       /* its part of the bytes/s of the limit over all; 0: that has none */
    double paced_broker;      /* the same of bytes/s that brokers are asked for */
    int64_t raised_us;        /* when one of them became much more */
    double broker_rate;       /* bytes/s that it read from brokers when last looked at, */
    int64_t broker_bytes;     /* and all that it had read then */
    int64_t broker_us;        /* when; 0: never */
    double needs;             /* records/s to be done in time, when that is asked; as of needs_us */
    int64_t needs_us;         /* 0: to be looked at */
    uint32_t held;            /* enum limit_held: why it is not faster */
    bool late;                /* that it will not be done in time was told */
    int64_t late_us;          /* since when it is otherwise; 0: it is as was told */
};

/* A request that waits for something. */
struct core_waiter {
    struct core_waiter *next;
    void *request;
};

/* The swap under way, and what remains of the last one. */
struct core_swap {
    bool active;
    struct swap swap;
    int64_t step_us[SWAP_STEP_COUNT]; /* when it came to each; 0: it has not */
    uint64_t move;   /* the same in all swaps of a group: they commit together or not at all */
    char *group;     /* its name, when there are several; owned */
    bool asking;     /* not begun: the files of a version that stands still are being read */
    bool nearing;    /* not begun: the new version writes what it has, so that the hold is short */
    int64_t near_us; /* since then */
    struct core_version *old; /* or NULL */
    struct core_version *new;
    enum swap_part part;          /* of the old one */
    struct partitions partitions; /* of both: cuts are numbered so */
    json_t *at_cut[SWAP_SIDES];   /* the workers' answers, for the receipt; owned */
    const char *why;              /* "auto", "swap", "rollback", "canary" */
    char *who;                    /* owned */
    json_t *canary;               /* it is no swap: this is set, or with share 0 ended; owned */
    json_t *note;                 /* more members of the receipt, or NULL; owned */
    int64_t since_ms;
    uint64_t epoch;  /* from COMMIT on: of the receipt */
    json_t *receipt; /* from COMMIT on; owned */
    struct core_waiter *waiters;
    struct err error;   /* why the last try failed; code 0 when it did not */
    int64_t backoff_us; /* of automatic tries */
    int64_t try_us;     /* no automatic try before */
    uint64_t given_up;  /* swaps since kappa up */
};

/* A person's swap or rollback that waits for workers to come up. */
struct core_later {
    void *request; /* NULL: none */
    bool rollback;
    uint32_t number;  /* of the version that it is about */
    uint32_t serving; /* when it was asked for */
    json_t *body;     /* owned */
    int64_t until_us;
};

struct core_processor {
    char *name;                     /* owned */
    json_t *object;                 /* as in the catalog; owned */
    struct core_version **versions; /* ascending numbers; owned */
    uint32_t version_count;
    struct core_swap swap;
    struct core_later later;
    int64_t sent_us;           /* versions are told what is sent not before */
    bool snapshots_known;      /* since kappa up: what follows is true */
    int64_t snapshot_made_ms;  /* the newest of the version that served; 0: none */
    int64_t snapshot_us;       /* none is made by itself before */
    struct err snapshot_error; /* why none was made by itself; told once, until one is made */
};

struct change;         /* change.c */
struct catalog_canary; /* table/catalog.h */
struct core_verify;    /* verify.c */
struct core_snapshot;  /* snapshot.c */
struct core_diff;      /* diff.c */
struct deploy;         /* deploy.c */

struct core {
    struct core_ops ops;
    struct catalog *catalog;
    struct log *log;
    const json_t *log_config;
    char *data_dir; /* owned */
    uint32_t shards;
    int64_t cache_bytes;
    int64_t standby_ms;
    bool standby_forced;
    bool access;                        /* the "who" of a call is known to be that person */
    struct core_processor **processors; /* by name; owned */
    uint32_t processor_count;
    struct core_verify *verifies;    /* under way; chain */
    struct core_snapshot *snapshots; /* the same */
    int64_t snapshot_us;             /* what is due is looked at not before */
    int64_t snapshot_silent_us;      /* SNAPSHOT_SILENT_US; a test makes it less */
    struct core_diff *diffs;         /* the same */
    struct deploy *deploys;          /* the same */
    struct journal journal;
    int64_t disk_budget;      /* of all versions' files, bytes; 0: none */
    int64_t replay_nice;      /* of workers while they replay */
    int64_t gc_us;            /* the budget is looked at again */
    bool gc_out;              /* it is being looked at */
    json_t *snapshot_sizes;   /* as last looked at (snapshot_sizes.c), or NULL; owned */
    int64_t sizes_us;         /* to be looked at again */
    bool sizes_out;           /* they are being looked at */
    bool gc_over;             /* it is exceeded, and that was told */
    json_t *groups;           /* names of groups to be forgotten; owned */
    bool groups_out;          /* a job forgets some */
    int64_t groups_us;        /* no other before */
    struct core_waiter *jobs; /* requests that wait for a job: answered at close */
    uint32_t jobs_out;
    uint64_t last_id;                    /* of workers and swaps: ids are never used twice */
    int64_t plot_us;                     /* the next points of plots are due */
    struct pace pace;                    /* of the replays with a goal of freshness */
    int64_t pace_us;                     /* when that was last looked at */
    uint32_t regulated;                  /* replays with goals, of any kind */
    json_t *limit_all;                   /* over all replays together, or NULL; owned */
    int64_t all_us;                      /* when that was last divided */
    int64_t pace_worst_us, pace_goal_us; /* what was found */
    char *pace_of;                       /* at whom, or NULL: nobody; owned */
    int64_t catalog_us; /* moves that nobody asked for wait until then (it failed to write) */
    bool stopping;
    bool dead; /* a fail point was taken, or the catalog is in doubt */
};

/* ---- canary.c ---- */
/* The version that is the canary, or 0. */
uint32_t canary_version(const struct core_processor *processor);
/* {"version","share" (percent),"shadow","who","since_ms"}, or null. */
json_t *canary_status(const struct core *core, const struct core_processor *processor);
/* Into the transaction: the canary (taken), or NULL: none. */
void change_canary(struct change *change, struct core_processor *processor, json_t *canary);
/* The version is going to be this object: if it cannot be the canary any more, that ends. */
void canary_follow(struct change *change, struct core_version *version, const json_t *object);
/* COMMIT of conduct_start_canary. */
int canary_commit(struct core *core, struct core_processor *processor, struct err *err) must_check;
void canary_request(struct core *core, void *request, struct core_processor *processor,
                    uint32_t number, const json_t *body);
/* Notes in the journal what there is now. */
void canary_told(struct core *core, const struct core_processor *processor,
                 const struct core_version *version, const char *who);

/* ---- groups.c ---- */
/* The log commits each version's cut under the name of a group, for tools that show lag. */
bool groups_are_on(const struct core *core);
/* A new text. Also the name under which its reader is known. */
char *groups_name(const struct core *core, const char *processor, uint32_t version);
/* The version's worker is gone: if it reads no more, its group goes too. */
void groups_forget(struct core *core, struct core_version *version);
void groups_tick(struct core *core);

/* ---- core.c ---- */
int64_t core_now_us(const struct core *core);
int64_t core_now_ms(const struct core *core);
/* Calls the fail point; true: the process is dead. */
bool core_dies(struct core *core, const char *step);
void core_reply(struct core *core, void *request, json_t *body, const struct err *err);
void core_run_job(struct core *core, struct core_job *job);
struct core_processor *core_processor_find(struct core *core, const char *name);
/* NOT_FOUND, with the name that is nearest to it. */
int core_processor_unknown(const struct core *core, const char *name, struct err *err);
struct core_version *core_version_find(const struct core_processor *processor, uint32_t number);
int core_version_unknown(const struct core_processor *processor, uint32_t number, struct err *err);
struct core_version *core_serving(struct core_processor *processor);
/* Number of tables of a version, and the name of one. */
uint32_t version_table_count(const struct core_version *version);
const char *version_table(const struct core_version *version, uint32_t index);
/* Writes the move to the catalog, then makes it. extra: members to set with it (taken), or NULL. */
int version_move(struct core *core, struct core_version *version, enum version_state to,
                 json_t *extra, struct err *err) must_check;
/* The same without being asked: failing is logged and tried again later. True when done. */
/* Sets members without a move (taken). */
int version_set(struct core *core, struct core_version *version, json_t *extra,
                struct err *err) must_check;
bool version_set_self(struct core *core, struct core_version *version, json_t *extra);
bool version_move_self(struct core *core, struct core_version *version, enum version_state to,
                       json_t *extra);
/* It cannot go on: failed, or serving with the error shown. */
void version_fail(struct core *core, struct core_version *version, const struct err *error);
/* Looks at everything about one version (or processor) and does what is due. A version whose drop
 * is complete is freed. */
void version_advance(struct core *core, struct core_version *version);
void processor_advance(struct core *core, struct core_processor *processor);
/* Where a paused one goes back to. */
enum version_state version_paused_from(const struct core_version *version);
/* Its state; of a paused one, that. */
enum version_state version_role(const struct core_version *version);

/* ---- change.c ---- */
/* One catalog transaction over several objects. Memory takes the new objects when it is durable.
 *
 *     change_begin -> change_version, change_processor, change_catalog calls... -> change_commit
 *
 * Errors are kept: only change_commit says so. */
struct change_item {
    char *key;                    /* owned */
    const json_t *known;          /* what the catalog holds now, or NULL; borrowed */
    json_t *object;               /* what it will hold, or NULL: deleted; owned */
    struct core_version *version; /* whose object it is, or NULL */
    struct core_processor *processor;
};

struct change {
    struct core *core;
    struct change_item *items; /* owned */
    uint32_t count;
    int rc;
    struct err err;
};

void change_begin(struct change *change, struct core *core);
/* object is taken. */
void change_version(struct change *change, struct core_version *version, json_t *object);
void change_processor(struct change *change, struct core_processor *processor, json_t *object);
/* Objects that are not (yet) in the model: known as in struct change_item; object is taken. */
void change_put(struct change *change, const char *key, const json_t *known, json_t *object);
void change_pointer(struct change *change, const char *table, const char *processor,
                    uint32_t version, uint64_t epoch, const struct catalog_canary *canary);
void change_pointer_delete(struct change *change, const char *table);
void change_version_delete(struct change *change, const struct core_version *version);
int change_commit(struct change *change, struct err *err) must_check;

/* A changed copy of the version's object: state and its time are set. */
json_t *version_object_in(const struct core *core, const struct core_version *version,
                          enum version_state state);
/* Sets a member; the value is taken. */
void object_set(json_t *object, const char *name, json_t *value);
/* Reads the whole catalog into the model. */
int change_load(struct core *core, struct err *err) must_check;
/* Model only. */
struct core_processor *model_processor_add(struct core *core, const char *name, json_t *object);
struct core_version *model_version_add(struct core_processor *processor, json_t *object);
void model_version_remove(struct core_version *version);
void model_free(struct core *core);

/* ---- children.c ---- */
/* Starts, stops, kills, restarts and removes, as the version's state asks. Frees a version whose
 * drop is complete. */
void child_reconcile(struct core *core, struct core_version *version);
void child_send_word(struct core *core, struct child *child, const char *word);
/* message is taken. */
void child_send(struct core *core, struct child *child, json_t *message);
/* RUN_TO of a swap or a comparison, with the side's part of the cut. */
void child_send_cut(struct core *core, struct core_version *version, const struct swap *swap,
                    enum swap_side side);
/* The next start comes later than the last one did. */
void child_back_off(struct core *core, struct child *child);
/* The process; false and backoff when it does not start. open is taken. */
bool child_start(struct core *core, struct child *child, const char *name, json_t *open);
void child_stop(struct core *core, struct child *child, bool kill);
/* Kills one that does not end. */
void child_watch(struct core *core, struct child *child);
void child_free(struct child *child);
/* {"do":"open",...} for a version's own worker. */
json_t *child_open_message(const struct core *core, const struct core_version *version);
bool child_is_open(const struct child *child);
/* It has said nothing for too long: microseconds; 0: it has, or there is none. */
int64_t child_silence_us(const struct core *core, const struct child *child);
/* Ends one that hangs, as if it had died: it comes back later. */
void child_kill(struct core *core, const struct child *child);

/* ---- events.c ---- */
/* {"code","message","hint"} as an error; INTERNAL when it is none. */
void error_from_json(const json_t *body, struct err *err);
/* The other way: a new reference, null when code is 0. */
json_t *error_to_json(const struct err *err);

/* ---- group.c ---- */
struct group_member {
    struct core_version *version;
    json_t *note; /* more members of its receipt, or NULL; owned */
};

/* What changes over together; the first is the one that was asked for. */
struct group {
    char *name; /* NULL: it names none; owned */
    struct group_member *members;
    uint32_t count;
};

/* Who changes over with this version: see group.c. alone: nobody. REFUSED: somebody who should is not
 * there. group_close in any case. */
int group_open(struct core *core, struct core_version *asked, bool alone, struct group *group,
               struct err *err) must_check;
void group_close(struct group *group);
/* The group that the version names, or NULL. */
const char *group_name(const struct core_version *version);
/* {"name","with":[processor]}, or null. */
json_t *group_status(const struct core *core, const struct core_processor *processor);

/* ---- conduct.c ---- */
/* Begins a swap of all members; request: who waits for the receipt of the first, or NULL. Non-zero:
 * nothing was begun, the request is still the caller's. */
int conduct_start(struct core *core, const struct group *group, const char *why, const char *who,
                  void *request, struct err *err) must_check;
/* The same with a canary (taken) instead of a swap: the request waits for its answer. */
int conduct_start_canary(struct core *core, struct core_version *version, json_t *canary,
                         const char *who, void *request, struct err *err) must_check;
/* The position of the old version of this member is known: when that is true of all, holds those that
 * are live. */
void conduct_prepare(struct core *core, struct core_processor *processor);
/* Does this processor take part in the move? */
bool conduct_moves(const struct core_processor *processor, uint64_t move);
/* Is its worker to stay away, since a swap counts on where it stands? */
bool conduct_freezes(const struct core_version *version);
/* A `near` event. */
void conduct_near(struct core *core, const struct core_version *version, uint64_t id);
/* A `held` or `at_cut` event. */
void conduct_event(struct core *core, struct core_version *version, const json_t *event);
/* COMMIT of all members: writes pointers, roles, receipts. Memory is as the catalog when it returns
 * 0. */
int conduct_commit(struct core *core, uint64_t move, struct err *err) must_check;
/* The receipt was written before the hold ended: now the whole hold is known. */
void conduct_correct_hold(struct core *core, struct core_processor *processor);
/* Ends a swap under way without a change. */
void conduct_give_up(struct core *core, struct core_processor *processor, const struct err *error);
/* The same if the version takes part in it. */
void conduct_give_up_version(struct core *core, struct core_version *version,
                             const struct err *error);
/* Does it take part in a swap under way? */
bool conduct_involves(const struct core_version *version);
/* Runs out a hold; begins automatic swaps. */
void conduct_tick(struct core *core, struct core_processor *processor);
void conduct_close(struct core *core, struct core_processor *processor);

/* ---- snapshot_sizes.c ---- */
void snapshot_sizes_tick(struct core *core);
/* One was made, or has gone. */
void snapshot_sizes_changed(struct core *core);
/* {"count","bytes"} of a processor, or of one of its versions (not 0). A new reference. */
json_t *snapshot_sizes_of(const struct core *core, const char *processor, uint32_t version);

/* ---- who.c ---- */
/* May this person swap the version in? FORBIDDEN; REFUSED: nobody knows who it is. */
int who_may_swap(const struct core *core, const struct core_version *version, const char *who,
                 struct err *err) must_check;
/* May he roll the processor back, or take the way back away? what: "roll back". Likewise. */
int who_may_go_back(const struct core *core, const struct core_processor *processor,
                    const char *who, const char *what, struct err *err) must_check;
/* Version `number` is to serve: "who" of the processor's new object. */
void who_served(const struct core_processor *processor, json_t *object, uint32_t number);
/* The version goes: the processor's object that keeps its list, or NULL: it need not. A new reference. */
json_t *who_dropped(const struct core_version *version);
/* May this person deploy a version with this policy? Likewise. */
int who_may_deploy(struct core *core, const char *processor, const json_t *policy, const char *who,
                   struct err *err) must_check;

/* ---- gate.c ---- */
/* May it be swapped in by itself now? 0: yes, *note is for the receipt (a new reference). AGAIN: it
 * waits, or is being checked. REFUSED: until its policy changes, or a person asks. */
int gate_auto(struct core *core, struct core_version *version, json_t **note,
              struct err *err) must_check;
/* The same for a person who asks; body: of the call. first: not a second look for the same request.
 * AGAIN: being checked. */
int gate_asked(struct core *core, struct core_version *version, const json_t *body, bool first,
               json_t **note, struct err *err) must_check;
/* Is a check under way? */
bool gate_is_busy(const struct core_version *version);
/* Since when is it caught up? To be called at each look. */
void gate_advance(const struct core *core, struct core_version *version);
/* Its policy is another one: nothing is known. */
void gate_reset(struct core_version *version);
/* Answers of verify.c and diff.c; body is NULL when it could not be done. */
void gate_verified(struct core *core, const char *processor, uint32_t version, const json_t *body,
                   const struct err *err);
void gate_compared(struct core *core, const char *processor, uint32_t a, uint32_t b,
                   const json_t *body, const struct err *err);
/* Why it is not swapped in: a new reference, null when nothing is in the way. */
json_t *gate_status(const struct core_version *version);

/* ---- still.c ---- */
/* Finds out where the old version stands, then conduct_prepare. */
void still_ask(struct core *core, struct core_processor *processor);

/* ---- outputs.c */
/* Does it write to topics? */
bool outputs_any(const struct core_version *version);
/* Gives a new processor's object the mark that tells it from others of its name. */
void outputs_mark(const struct core *core, const char *name, json_t *object);
/* COMMIT of the swap under way: adds its span to the processor's new object, and says so in the
 * receipt. */
int outputs_swap(const struct core_processor *processor, json_t *object,
                 struct err *err) must_check;
/* The object "outbox" for the worker that serves (replayer/worker_outbox.h); NULL: nothing to send. */
json_t *outputs_message(const struct core *core, const struct core_processor *processor);
/* REFUSED while messages of it are still to be sent. */
int outputs_may_drop(const struct core_version *version, struct err *err) must_check;
/* Tells versions what is sent, now and then. */
void outputs_tick(struct core *core, struct core_processor *processor);
/* The member "outputs" of a version's status; NULL when it has none. */
json_t *outputs_status(const struct core_version *version);

/* ---- diff.c */
void diff_request(struct core *core, void *request, struct core_processor *processor,
                  const json_t *body);
/* For the gate of b: gate_compared comes back. */
int diff_for_gate(struct core *core, struct core_processor *processor, uint32_t a, uint32_t b,
                  struct err *err) must_check;
/* A `held` or `at_cut` event. */
void diff_event(struct core *core, struct core_version *version, const json_t *event);
/* Are versions of the processor held for one? Then no swap may begin. */
bool diff_holds(const struct core *core, const struct core_processor *processor);
/* Begins, and ends a hold that took too long. */
void diff_tick(struct core *core);
void diff_shutdown(struct core *core);
void diff_close_all(struct core *core);

/* ---- journal.c ---- */
/* Something has happened. processor may be NULL, version 0; more: members to add (taken), or NULL. */
void journal_note(struct core *core, const char *type, const char *processor, uint32_t version,
                  json_t *more, const char *format, ...) printf_like(6, 7);
/* The version is in another state. */
void journal_state(struct core *core, const struct core_version *version, enum version_state from);
void journal_error(struct core *core, const struct core_version *version, const char *type,
                   const struct err *err);
/* To be called at each look: tells when a serving version falls behind, and when that is over. */
void journal_lag(struct core *core, struct core_version *version);
void journal_request(struct core *core, void *request, const json_t *body);
void journal_tick(struct core *core);
void journal_end_waits(struct core *core);
void journal_free(struct core *core);

/* ---- limit.c ---- */
/* An object, or null (or NULL) for no limit. INVALID with what is wrong. */
int limit_check(const json_t *limit, int64_t now_ms, struct err *err) must_check;
/* As it is kept in the object: times in one form. A new reference. */
json_t *limit_kept(const json_t *limit);
/* Checks it, writes it and tells the worker. REFUSED: the version has served, or ended. */
int limit_set(struct core *core, struct core_version *version, const json_t *limit, const char *who,
              struct err *err) must_check;
/* That of a version that is being replayed: a new reference, null when there is none. */
json_t *limit_of(const struct core_version *version);
/* The same with what its goals allow now, for the worker; and tells it. */
json_t *limit_now(const struct core *core, const struct core_version *version);
void limit_tell(struct core *core, struct core_version *version);
/* Its goals, while it is replayed; 0: it has not that one. */
int64_t limit_freshness_us(const struct core_version *version);
int64_t limit_finish_ms(const struct core_version *version);
bool limit_has_goal(const struct core_version *version);
/* Is replayed, and has a goal or is under the limit over all. */
bool limit_is_governed(const struct core *core, const struct core_version *version);
/* Bytes of one of its records, the mean since its worker began; 0: not known. */
double limit_mean_bytes(const struct core_version *version);

/* ---- limit_all.c ---- */
/* From the catalog. */
int limit_all_load(struct core *core, struct err *err) must_check;
/* The call "limit_all". */
void limit_all_request(struct core *core, void *request, const json_t *body);

/* ---- regulate.c ---- */
enum limit_held {
    LIMIT_HELD_FREE,      /* by nothing of these */
    LIMIT_HELD_NUMBER,    /* its own limit */
    LIMIT_HELD_FINISH,    /* it is done in time so */
    LIMIT_HELD_FRESHNESS, /* what serves */
    LIMIT_HELD_ALL,       /* the limit over all replays */
};

/* Looks at the freshness of what serves, and paces the replays that have goals. */
void limit_tick(struct core *core);
/* It has a goal, runs, and has not caught up yet. */
bool limit_is_regulated(const struct core *core, const struct core_version *version);

/* ---- limit_status.c ---- */
/* {"records_per_second","why",...} of one that is regulated, else null; {"p50_ms","p99_ms"} of one that
 * serves and has records coming, else null. New references. */
json_t *limit_pace(const struct core *core, const struct core_version *version);
json_t *limit_freshness(const struct core_version *version);
/* Tells, once a change, that a replay will not be done in time, or will be. To be called at each look. */
void limit_watch(struct core *core, struct core_version *version);

/* ---- gc.c ---- */
void gc_request(struct core *core, void *request, const json_t *body);
/* Looks at the disk budget now and then, when there is one. */
void gc_tick(struct core *core);

/* ---- snapshot.c ---- */
/* number 0: of what serves, else the newest. */
void snapshot_request(struct core *core, void *request, struct core_processor *processor,
                      uint32_t number, const json_t *body);
void snapshots_request(struct core *core, void *request, const struct core_processor *processor);
void snapshot_drop_request(struct core *core, void *request, const struct core_processor *processor,
                           const json_t *body);
/* {id: true} of those that versions on their way may need again; {"": null} when it has no versions. */
json_t *snapshots_needed(const struct core_processor *processor);
struct child *snapshot_child(struct core *core, uint64_t worker, struct core_snapshot **out);
void snapshot_event(struct core *core, struct core_snapshot *snapshot, const json_t *event);
void snapshot_exited(struct core *core, struct core_snapshot *snapshot, const struct err *cause);
/* What is wrong with making them: a copy that stands still, or why the last one by itself failed; or null. */
json_t *snapshot_trouble(const struct core *core, const struct core_processor *processor);
uint32_t snapshot_workers_left(const struct core *core);
void snapshot_tick(struct core *core);
void snapshot_shutdown(struct core *core);
void snapshot_close(struct core *core);

/* ---- admit.c ---- */
/* FORBIDDEN: not by this person. REFUSED: it would lack what the serving version has, or not fit on the
 * disk. LIMIT: too large. disk_free: negative when not known. */
int admit_version(struct core *core, const char *processor, json_t *object, int64_t disk_free,
                  struct err *err) must_check;

/* ---- generation.c ---- */

/* Where each version of the processor (or NULL) stands now: {"VERSION":[offset of each source]}; owned.
 * To be asked for before the log is asked for its ends, which move on as the versions do. */
json_t *topic_stood(const struct core_processor *processor);
/* In the place of the identity that the log cannot tell: what the processor's versions have for this
 * topic (0: none has read it), or one more when one of them stood behind the end of a partition.
 * ranges: of the topic's partitions, asked for after `stood`. */
uint64_t topic_generation(const struct core_processor *processor, const json_t *stood,
                          const struct position_topic *topic, const struct position_range *ranges);

/* ---- deploy.c, verify.c, status.c, requests.c ---- */
void deploy_request(struct core *core, void *request, const char *processor, const json_t *body);
void replay_request(struct core *core, void *request, struct core_processor *processor,
                    const json_t *body);
void verify_request(struct core *core, void *request, struct core_version *version);
/* For its gate: gate_verified comes back. */
int verify_for_gate(struct core *core, struct core_version *version, struct err *err) must_check;
struct child *verify_child(struct core *core, uint64_t worker, struct core_verify **out);
void verify_event(struct core *core, struct core_verify *verify, const json_t *event);
void verify_exited(struct core *core, struct core_verify *verify, const struct err *cause);
uint32_t verify_workers_left(const struct core *core);
void verify_tick(struct core *core);
void verify_shutdown(struct core *core);
void verify_close(struct core *core);
/* Tries again what waits for workers; give_up: answers it with this instead. */
void requests_later(struct core *core, struct core_processor *processor, const struct err *give_up);
/* plots.c: notes where all versions stand, every 5 s. */
void plots_tick(struct core *core);
json_t *plots_json(const struct core_processor *processor);
void plot_free(struct plot *plot);
json_t *status_processor(const struct core *core, const struct core_processor *processor);
json_t *status_all(const struct core *core);
/* Requests that wait for a job are kept here. take: false when it was answered already. */
void waiters_add(struct core_waiter **list, void *request);
bool waiters_take(struct core_waiter **list, void *request);
/* Answers all with a copy of body, or err. */
void waiters_reply(struct core *core, struct core_waiter **list, const json_t *body,
                   const struct err *err);

/* ---- history.c ---- */

/* {"receipts"} of this processor, or of all (NULL), newest first and at most so many. NULL: an error. */
json_t *history_json(struct core *core, const struct core_processor *only, size_t most,
                     struct err *err);

#endif
