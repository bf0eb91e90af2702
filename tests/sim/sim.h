/* The simulator: the whole platform in one thread, its clock and its crashes owned by a seed.
 *
 * Real: the brain (controller/core.h), the catalog, shards with processor and store
 * (replayer/shard.h), version directories, the reader (serve/reader.h). Modelled: processes and
 * pipes (queues that the scheduler empties in any order that pipes allow), the clock, the log
 * (log/log_memory.c).
 *
 * Definition: windows of every kind, OVER, a join within the topic, first rows of a key, a plugin, a second
 * input with a primary key, topics of records and of final rows.
 *
 * A run: v1 (with a bug) goes live while records arrive, v2 is deployed, replayed and swapped in,
 * rolled back, swapped in again; at any commit, message or moment a worker, the controller or the
 * whole machine may die. Checked throughout: reads never fail and never go back. Checked at the
 * end: every row against a naive model of the log, every digest against a replay with other
 * shards, batches and caches, and the output topics: each purchase and final row once, from the version
 * that served then.
 *
 * In half of the runs a second processor changes over with it as a group (sim_group.c): their pointers
 * move in one transaction, whatever dies at which step. */
#ifndef KAPPA_TESTS_SIM_H
#define KAPPA_TESTS_SIM_H

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/prng.h"
#include "controller/core.h"
#include "log/log.h"
#include "replayer/shard.h"
#include "replayer/version_dir.h"
#include "replayer/worker_outbox.h"
#include "replayer/worker_protocol.h"
#include "serve/reader.h"
#include "table/catalog.h"

#define SIM_TOPIC          "events"
#define SIM_TABLE          "features"
#define SIM_PAIR_TABLE     "tally"
#define SIM_OUTPUT         "purchases"
#define SIM_FINALS         "finals"
#define SIM_PROFILES       "profiles" /* the second input: rows as they stand now */
#define SIM_PLUGIN         "sim.so"
#define SIM_PARTITIONS_MAX 4
#define SIM_SOURCES_MAX    6 /* of both inputs */
#define SIM_PROFILES_MAX   2000
#define SIM_VERSIONS_MAX   64
#define SIM_IDS            8
#define SIM_RECORDS_MAX    6000
#define SIM_USERS_MAX      12
#define SIM_PRODUCTS       16

struct sim;

/* A record as the model sees it. */
struct sim_record {
    uint32_t partition;
    bool bad; /* goes to dead */
    uint32_t user;
    uint32_t type; /* 0 view, 1 click, 2 purchase */
    uint32_t product;
    double amount;
    int64_t time_ms;
};

/* A record of the second input. Its partition follows from the id. */
struct sim_profile {
    uint32_t id;
    uint32_t level;
    bool gone; /* a tombstone */
    bool bad;
};

/* A processor of the run, and what readers have seen of it. */
struct sim_processor {
    const char *name;
    const char *table;
    const char *(*definition)(const struct sim *sim, bool right);
    uint64_t epoch_seen;
    int64_t cut_seen[SIM_SOURCES_MAX];
};

/* A worker process. */
struct sim_worker {
    struct sim_worker *next;
    uint64_t id;
    uint32_t version; /* 0: of a verify */
    int64_t born_us;
    struct worker_open open;
    struct plan *plan;
    struct version_dir *dir;
    struct shard **shards; /* opened ones */
    char **shard_dirs;
    struct shard_source *sources;
    uint32_t shard_count;
    bool opened;
    bool gone;       /* exited or killed; freed when its channel is read out */
    bool died;       /* at a fail point of a commit: to be killed */
    uint64_t run_to; /* id + 1 of a run_to under way, 0 none */
    bool progress_pending;
    struct worker_outbox sends; /* of `sender` */
    struct sender *sender;      /* of the version that serves, or NULL */
    struct sender *ending;      /* was stopped, its thread has not come to it; or NULL */
    json_t *inbox;              /* commands on their way */
    json_t *outbox;             /* events on their way; {"exit":status,"signal":n} is the last */
    struct sim *sim;
};

struct sim {
    uint64_t seed;
    struct prng prng;
    bool verbose;
    char dir[256];
    char boot_id[64]; /* changes when the machine dies */
    uint32_t boots;
    int64_t now_us;
    int64_t set_ms; /* somebody set the clock by this much */
    struct clock_ops clock;

    struct log *log;
    struct log_writer *writer;
    uint32_t partitions;
    uint32_t users;
    bool plugin; /* the definition runs one; then workers may not die at any rate */
    struct sim_record records[SIM_RECORDS_MAX];
    uint32_t record_count;
    struct log_writer *profile_writer;
    uint32_t profile_partitions;
    struct sim_profile profiles[SIM_PROFILES_MAX];
    uint32_t profile_count;
    uint32_t sources;                 /* partitions of the events, then of the profiles */
    int64_t offsets[SIM_SOURCES_MAX]; /* records in each */
    int64_t event_ms;

    struct catalog *catalog;
    struct core *core;
    bool core_dead; /* it met a fail point */
    json_t *log_config;
    struct reader *reader;
    struct sim_worker *workers;
    uint64_t stopped;   /* the worker that gets no time (a SIGSTOP, a disk that hangs), until */
    int64_t stopped_us; /* this moment */
    struct core_job *jobs[16];
    uint32_t job_count;

    bool crashes;                      /* allowed now */
    uint32_t crash_count;              /* so far */
    uint32_t deaths[SIM_VERSIONS_MAX]; /* of a version's workers, one soon after the other */
    uint32_t commit_count;             /* of stores and catalog */
    uint32_t die_in;                   /* fail points of the controller until it dies there, or 0 */

    /* The request under way. */
    bool asked;
    bool answered;
    struct err answer;
    json_t *answer_body;

    struct sim_processor features;
    struct sim_processor pair; /* the other member of the group */
    bool group;
    bool together; /* the members have moved together and stand alike */
    uint32_t group_moves;
    uint32_t group_deaths; /* of the controller, while they moved */
    uint64_t reads;
};

/* Ends the run with what is wrong and how to see it again. */
_Noreturn void sim_fail(const struct sim *sim, const char *format, ...) printf_like(2, 3);
bool sim_chance(struct sim *sim, uint64_t in);

/* sim.c: what a story is told with. */
void sim_note(struct sim *sim, const char *format, ...) printf_like(2, 3);
/* A request to the controller; the body is taken. The answer is there when sim->answered. */
void sim_ask(struct sim *sim, const char *verb, const struct sim_processor *processor,
             uint32_t version, json_t *body);
void sim_answer_taken(struct sim *sim);

/* That a version of a processor serves, and what to ask for until it does. */
struct sim_goal {
    const struct sim_processor *processor;
    uint32_t want;
    const char *verb;
    uint32_t version;
    bool right; /* of a deploy: the definition without the bug */
    bool alone;
};

void sim_goal_ask(struct sim *sim, const struct sim_goal *goal,
                  const struct sim_processor *processor);
/* Asks, again and again, until it does; whoever dies meanwhile. */
void sim_reach(struct sim *sim, const struct sim_goal *goal);
/* The world goes on by one step. */
void sim_step(struct sim *sim, bool produce);
/* 0: nothing serves. */
uint32_t sim_serving(struct sim *sim, const struct sim_processor *processor);

#define SIM_STEPS_MAX 400000 /* of one goal */

/* sim_worker.c: a process with its pipes. */
struct sim_worker *sim_worker_new(struct sim *sim, uint64_t id, const char *name);
/* May it die now? Counted when it may: a version with a plugin whose worker dies five times soon after
 * its start is given up, and that is right. */
bool sim_worker_may_die(struct sim_worker *worker);
/* Takes one command from the inbox, if there is one. */
void sim_worker_deliver(struct sim_worker *worker);
/* One step of one of its shards. */
void sim_worker_step(struct sim_worker *worker);
/* End of its stdin: drains and exits. */
void sim_worker_end(struct sim_worker *worker);
/* kill -9. */
void sim_worker_kill(struct sim_worker *worker);
void sim_worker_free(struct sim_worker *worker);

/* sim_outputs.c: the sender of a worker, and what must be in its topic. */
void sim_sender_start(struct sim_worker *worker, const json_t *outbox);
void sim_sender_stop(struct sim_worker *worker);
/* One step; false: the process dies in it. */
bool sim_sender_step(struct sim_worker *worker);
/* crash: as kill -9 does. */
void sim_sender_end(struct sim_worker *worker, bool crash);
/* The member "outbox" of progress. */
json_t *sim_sender_progress(struct sim_worker *worker);
/* Is everything sent that the serving version has made? */
bool sim_outputs_sent(struct sim *sim);
void sim_outputs_check(struct sim *sim);
/* The version whose messages are real at this record: of the last swap that says so. */
int64_t sim_version_at(const json_t *receipts, uint32_t partition, int64_t offset);
void sim_read_all(struct sim *sim, const char *topic, uint32_t partition,
                  void (*each)(void *ctx, const struct kappa_record *record), void *ctx);

/* sim_finals.c: final rows of windows, each once. */
void sim_finals_check(struct sim *sim, const json_t *receipts, uint32_t partitions);

/* sim_group.c: two processors that change over together. */
const char *sim_pair_definition(const struct sim *sim, bool right);
/* The story from the first versions of both to the last way forward. */
void sim_group_tell(struct sim *sim);
/* Both members at any moment, and a read of the other one. */
void sim_group_look(struct sim *sim);
/* The other member's rows, and the receipts of both. */
void sim_group_check(struct sim *sim);

/* sim_check.c */
const char *sim_definition(const struct sim *sim, bool right);
void sim_produce(struct sim *sim, uint32_t count);
/* One read as a user makes it: must not fail once something serves, and not go back. */
void sim_read(struct sim *sim);
/* The serving table against the naive model, and all digests against a replay. */
void sim_check_all(struct sim *sim);
/* An object with a member per topic, as one offset per source. */
void sim_cut(const struct sim *sim, const json_t *cut, int64_t *out);
/* A reader has seen this: it must not go back. */
void sim_seen(struct sim *sim, struct sim_processor *processor, uint64_t epoch, const int64_t *cut);
/* Is this version the one without the bug? By its definition. */
bool sim_version_is_right(struct sim *sim, const struct sim_processor *processor, uint32_t version);

/* sim_operators.c: the second input, and the serving tables that operators with state make, which stand
 * at this cut. */
void sim_profile_produce(struct sim *sim);
void sim_operators_check(struct sim *sim, const int64_t *cut);
/* Rows as texts: those of a table against those that a recount gives, as sets. */
struct sim_texts;
struct sim_texts *sim_texts_new(void);
/* The row is taken. */
void sim_texts_add(struct sim_texts *texts, json_t *row);
/* Ends `want`, which may be used again. */
void sim_texts_compare(struct sim *sim, const char *table, struct sim_texts *want);
/* What a table of the second input's rows holds. */
void sim_people_check(struct sim *sim, const char *table, struct sim_texts *want,
                      const int64_t *cut);

#endif
