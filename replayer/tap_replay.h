/* A replay of its own, for its taps or its messages: from a version's start to a cut, in a folder that is
 * thrown away.
 * Threads are the shards'; the caller waits. */
#ifndef KAPPA_REPLAYER_TAP_REPLAY_H
#define KAPPA_REPLAYER_TAP_REPLAY_H

#include "base/json.h"
#include "replayer/tap.h"

struct tap_replay {
    const struct plan *plan;
    struct log *log;
    const char *group;
    const char *dir;                    /* where environments and taps lie; is there */
    const char *schemas;                /* where schemas of registries are kept */
    const json_t *plugins;              /* {"file.so": path}, or NULL */
    const struct shard_source *sources; /* all of the version */
    uint32_t source_count;
    const int64_t *cut; /* per source */
    uint32_t shards;
    struct governor_limit limit; /* on all of them together */
    size_t cache_bytes;
    uint32_t batch_records;          /* 0: the usual */
    const struct tap_labels *labels; /* NULL: nothing is tapped, and there is no tap */
    const uint32_t *views;           /* of the tables */
    uint32_t table_count;
    bool newest;        /* as in tap.h */
    bool outbox;        /* messages stay in the environments (table/outbox.h: dir, shards) */
    _Atomic bool *stop; /* somebody does not want it any more */
    /* Told a few times a second: records applied so far, what is in the way (or NULL). May be NULL. */
    void (*progress)(void *ctx, uint64_t records, const struct err *trouble);
    void *progress_ctx;
};

/* How the replay stands at the cut. */
struct tap_done {
    struct digest *sources; /* owned: of all tables of each source */
    struct digest digest;
    uint64_t records, dead, late;
};

/* *tap: to be read (tap_rows) and closed; set also on errors, maybe to NULL. CLOSED: it was stopped. */
int tap_replay_run(const struct tap_replay *replay, struct tap **tap, struct tap_done *done,
                   struct err *err) must_check;

#endif
