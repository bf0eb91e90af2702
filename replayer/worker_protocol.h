/* The words between controller and worker as structs (docs/ARCHITECTURE.md, "Worker protocol").
 * Parsing checks everything that comes from outside; nothing here does anything. */
#ifndef KAPPA_REPLAYER_WORKER_PROTOCOL_H
#define KAPPA_REPLAYER_WORKER_PROTOCOL_H

#include "base/err.h"
#include "base/json.h"
#include "replayer/governor.h"

enum worker_do {
    WORKER_OPEN,
    WORKER_NEAR,
    WORKER_HOLD,
    WORKER_RUN_TO,
    WORKER_RELEASE,
    WORKER_PAUSE,
    WORKER_RESUME,
    WORKER_SEAL,
    WORKER_SERVING,
    WORKER_SENT,
    WORKER_LIMIT,
    WORKER_COPY, /* instead of open: makes a snapshot and ends (snapshot.h) */
    WORKER_STOP
};

struct worker_source {
    const char *topic; /* borrowed from the message */
    uint32_t partition;
    uint32_t partitions; /* of the topic: sources with this input */
    uint32_t input;      /* of the plan */
    int64_t start;
};

struct worker_topic {
    const char *topic; /* borrowed from the message */
    uint32_t partitions;
    uint64_t identity; /* 0: the log cannot tell */
};

/* {"do":"open"}: texts are borrowed from `message`. */
struct worker_open {
    json_t *message; /* owned */
    const char *processor;
    uint32_t version;
    const char *definition; /* compiled by plan_compile_object(message) */
    const char *dir;
    const char
        *take_from;      /* another version's directory: windows are taken over from it; or NULL */
    int64_t take_since;  /* us */
    int64_t *take_first; /* owned: per table, us */
    uint32_t take_count;
    const char *base;    /* a snapshot that it begins with, or NULL */
    const char *schemas; /* where schemas of registries are kept, or NULL */
    const json_t *log;
    const char *group;
    bool commits; /* the cut is told to the log under the group's name */
    uint32_t shards;
    size_t cache_bytes; /* of the whole worker */
    uint32_t batch_records;
    bool serving;
    struct governor_limit limit; /* while it does not */
    const json_t *plugins;       /* borrowed: {"file.so": path}, or NULL */
    const json_t *outbox; /* borrowed: what to send while it serves, or NULL (worker_outbox.h) */
    int64_t *until;       /* owned: a cut, or NULL */
    struct worker_source *sources; /* owned */
    uint32_t source_count;
    struct worker_topic *topics; /* owned */
    uint32_t topic_count;
};

struct worker_command {
    enum worker_do what;
    uint64_t id;                 /* of near, hold and run_to */
    bool on;                     /* of serving */
    const json_t *outbox;        /* of serving, or NULL: borrowed from the message */
    int64_t *cut;                /* of run_to, and of sent (its "below"): owned, one per source */
    struct governor_limit limit; /* of limit */
};

/* The word of a line's "do", parsed; *message is the caller's reference. INVALID with the line's
 * beginning in the text. */
int worker_message_parse(const char *line, size_t len, json_t **message, enum worker_do *what,
                         struct err *err) must_check;
/* Takes the message in every case. */
int worker_open_parse(json_t *message, struct worker_open *out, struct err *err) must_check;
void worker_open_free(struct worker_open *open);
/* Borrows the message. source_count: the length that a cut must have. */
int worker_command_parse(const json_t *message, enum worker_do what, uint32_t source_count,
                         struct worker_command *out, struct err *err) must_check;
void worker_command_free(struct worker_command *command);

#endif
