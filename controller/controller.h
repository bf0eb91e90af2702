/* The server, `kappa up`: one libuv loop around the brain (core.h), with its workers, its HTTP door
 * and its data directory. In the foreground; returns when SIGTERM or SIGINT has ended it.
 *
 *     DATA locked -> catalog, log, reader -> brain -> HTTP -> DATA/server.json ... signal ->
 *     HTTP closed -> workers drain (at most 10 s) -> server.json removed
 *
 * A second signal stops waiting for the workers. SIGHUP and SIGPIPE are ignored. */
#ifndef KAPPA_CONTROLLER_CONTROLLER_H
#define KAPPA_CONTROLLER_CONTROLLER_H

#include "base/err.h"
#include "base/json.h"

#define CONTROLLER_HTTP "127.0.0.1:8317" /* where it listens unless told otherwise */

#define CONTROLLER_GROUPS      "kappa" /* prefix of Kafka groups */
#define CONTROLLER_THREADS_MAX 64

struct controller_options {
    const char *data_dir;         /* made when missing */
    const char *kafka;            /* brokers "host:port,..."; NULL: the embedded log in DATA/log */
    const json_t *kafka_settings; /* librdkafka properties, name -> text; may be NULL; borrowed */
    const char *groups;           /* prefix of Kafka groups, "off"; NULL: CONTROLLER_GROUPS */
    const char *archive;          /* a folder of archives instead of a log; or NULL */
    const char *http;             /* "host:port"; NULL: CONTROLLER_HTTP; port 0: any free one */
    const char *hook;             /* a shell command for each event (hook.h); NULL: none */
    int64_t disk_budget;          /* bytes of DATA/versions; 0: nothing is removed unasked */
    int64_t replay_nice; /* added to the nice value of workers while they replay; 0: none */
    const char *access;  /* a file of who may do what; NULL: everybody may do all */
    const char *redis;   /* as http; NULL: Redis clients are not answered */
    uint32_t threads;    /* that answer HTTP, and as many Redis; 0: one per core */
};

/* 0 after a signal; else a negative code with its sentence: BUSY (another server on this data, or
 * the port is taken), REFUSED (the data belongs to another log), what the catalog or log says.
 * To be called once, from main. Environment: KAPPA_STANDBY_MS, KAPPA_SHARDS, KAPPA_CACHE_BYTES,
 * KAPPA_SNAPSHOT_SILENT_MS,
 * KAPPA_ARCHIVE_FLUSH_MS and KAPPA_ARCHIVE_SEGMENT_BYTES replace the defaults (tests). */
int controller_main(const struct controller_options *options, struct err *err) must_check;

#endif
