/* The brain: decides what every version does next. Pure: it owns no process, thread, loop or socket.
 * Worker processes, clocks, slow work and answers are behind struct core_ops, so that a simulator
 * can run the whole platform in one thread. It writes the catalog and reads the log's metadata.
 *
 *     core_open -> ( core_tick | core_worker_event | core_worker_exited | core_request |
 *                    core_job_finish )*  -> core_shutdown -> ... -> core_close
 *
 * All calls come from one thread. They do not block (slow work goes through ops->run_job), and they
 * may call ops back before they return; ops must not call into the core from there, except
 * run_job, which may run the job and call core_job_finish at once.
 *
 * Invariants:
 *  1. What must survive is in the catalog before anybody is told: memory is the catalog, parsed,
 *     plus what workers have reported. A fresh core on the same catalog goes on by itself.
 *  2. One swap at a time per processor; its COMMIT is one catalog transaction.
 *  3. Every request is answered exactly once, at the latest by core_close (CLOSED).
 *  4. A worker incarnation has its own id; what an earlier one still says is not heard.
 */
#ifndef KAPPA_CONTROLLER_CORE_H
#define KAPPA_CONTROLLER_CORE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"

struct catalog;
struct core;
struct log;

/* Slow work. run: in any thread, touches only the job. Afterwards core_job_finish, in the core's
 * thread: it takes the job. */
struct core_job {
    void (*run)(struct core_job *job);
    /* core is NULL when it was closed meanwhile: only free. */
    void (*done)(struct core *core, struct core_job *job);
};

/* Comparing two versions (serve/diff.h). All but stop are called in jobs. */
struct core_diff_ops {
    int (*open)(void *ctx, const char *processor, uint32_t a, uint32_t b, const json_t *body,
                void **out, struct err *err);
    /* While both stand at one cut; REFUSED when they do not. */
    int (*snapshot)(void *diff, struct err *err);
    int (*run)(void *diff, json_t **out, struct err *err);
    void (*stop)(void *diff);
    void (*close)(void *diff);
};

struct core_ops {
    void *ctx;
    const struct clock_ops *clock;
    /* Starts a process (or a model of one); name is for people, "user-features v2". Its pid, or a
     * negative code. Nothing is heard of a worker that did not start. */
    int (*worker_start)(void *ctx, uint64_t worker, const char *name, struct err *err);
    /* One command of the worker protocol; borrowed. Lost if the worker is gone. */
    void (*worker_send)(void *ctx, uint64_t worker, const json_t *message);
    /* kill: at once. Else: end of its stdin, it drains, commits and exits. core_worker_exited
     * follows in both cases. */
    void (*worker_stop)(void *ctx, uint64_t worker, bool kill);
    /* Takes DATA/versions/<dir> out of the way; freeing the disk may go on behind. A directory that
     * is not there is no error. */
    int (*remove_files)(void *ctx, const char *dir, struct err *err);
    /* The answer to a request: body (taken) when err is NULL, else the error. */
    void (*reply)(void *ctx, void *request, json_t *body, const struct err *err);
    void (*run_job)(void *ctx, struct core_job *job);
    /* Cut and digests of a version as committed (reader_version_digest). Called in a job. NULL: no
     * verify. */
    int (*version_digest)(void *ctx, const char *processor, uint32_t version, json_t **out,
                          struct err *err);
    /* How reads of a canary's share compared so far, or *out NULL (reader_canary_report). May be NULL. */
    void (*canary_reads)(void *ctx, const char *processor, uint32_t version, json_t **out);
    const struct core_diff_ops *diff; /* NULL: no diff */
    /* Something has happened (journal.c); borrowed. May be NULL. */
    void (*event)(void *ctx, const json_t *event);
    /* The catalog may or may not have taken a commit: only a fresh start can know. Must end the
     * process (a test may return; the core is dead then). */
    void (*in_doubt)(void *ctx, const struct err *err);
    /* Called before ("commit") and after ("committed") each catalog transaction, before each
     * message ("send") and start ("start"); non-zero: act as if the process had died there, so
     * nothing more is done until core_close. May be NULL. */
    int (*fail_point)(void *ctx, const char *step);
};

struct core_options {
    struct core_ops ops;
    struct catalog *catalog;  /* writable; borrowed until close, used in this thread only */
    struct log *log;          /* borrowed until close; used in jobs */
    const json_t *log_config; /* what workers open (log_open_config); borrowed */
    const char *data_dir;     /* for the workers' directories; copied */
    uint32_t shards;          /* of a new version, unless asked for; > 0 */
    int64_t cache_bytes;      /* same; > 0 */
    int64_t disk_budget;      /* of all versions' files, bytes; 0: none */
    int64_t replay_nice;      /* added to the nice value of workers while they replay */
    bool access;              /* who asks is who he says he is (kappa up --access) */
    int64_t standby_ms;       /* of a new processor; < 0: default, one hour */
    int64_t
        snapshot_silent_ms; /* a snapshot's copy that stands still so long is killed; <= 0: default */
    bool standby_forced;    /* standby_ms counts for known processors too (tests) */
};

#define CORE_CACHE_BYTES INT64_C(268435456)
#define CORE_STANDBY_MS  INT64_C(3600000)

/* Reads the catalog; what should run is started by the first tick. */
int core_open(const struct core_options *options, struct core **out, struct err *err) must_check;
/* Waiting requests are answered with CLOSED; the catalog is as it is. Jobs that are still out must
 * be finished later with core_job_finish(NULL, job). */
void core_close(struct core *core);

/* Every 100 ms or so. */
void core_tick(struct core *core);
/* An event of the worker protocol; borrowed. */
void core_worker_event(struct core *core, uint64_t worker, const json_t *event);
/* signal 0: it exited with this status. */
void core_worker_exited(struct core *core, uint64_t worker, int status, int signal);
void core_job_finish(struct core *core, struct core_job *job);

/* A control call; verb is a word of serve/calls.def. processor and body may be NULL, version 0.
 * They are borrowed for the call; the answer comes through ops->reply, perhaps before this
 * returns. */
void core_request(struct core *core, void *request, const char *verb, const char *processor,
                  uint32_t version, const json_t *body);
/* What the call "status" answers for all processors: a new reference. */
json_t *core_status(const struct core *core);
/* Stops all workers (they drain) and starts none. */
void core_shutdown(struct core *core);
/* Worker processes that have not exited yet, and jobs that are out. */
uint32_t core_workers_left(const struct core *core);
uint32_t core_jobs_left(const struct core *core);

#endif
