/* SOURCE: an ordered, replayable log of records per topic and partition.
 *
 * Three logs stand behind one set of operations: the embedded log (segment files), Kafka, and one
 * in memory for tests and the simulator. Offsets, times, keys, headers and errors mean the same in
 * all.
 *
 *     log_open_*  ->  metadata calls (any thread)  ->  log_close
 *     log_reader_open -> add (once per source) -> next, next, ... -> close      (one thread)
 *     log_writer_open -> append... -> flush -> close                            (one thread)
 *     log_sender_open -> (append... -> commit)... -> close                      (one thread)
 *
 * Rules that hold for every log:
 *  1. Offsets ascend within a partition; there may be holes. Any offset within a hole is a valid
 *     position and reads on with the next record.
 *  2. start <= position <= end. A position below start is RANGE_LOST, above end TOPIC_CHANGED; both
 *     are reported by next() for that reader, never repaired.
 *  3. end is the first offset a reader may not see yet (Kafka: the last stable offset).
 *  4. offset_at_time(t), t >= 0: the first offset whose record time is >= t ms; -1: there is none.
 *  5. A record whose bytes fail their checksum below the end is CORRUPT; nothing behind it is read.
 */
#ifndef KAPPA_LOG_LOG_H
#define KAPPA_LOG_LOG_H

#include "base/err.h"
#include "base/json.h"
#include "base/library.h"
#include "include/kappa/record.h"

/* What one call of next() brought: records of ONE source, in offset order. The records belong to
 * the reader and live until its next call of next() or close(). */
struct log_batch {
    uint32_t source; /* the number given to add() */
    uint32_t count;  /* of records; may be 0 when only the position moved or nothing came */
    const struct kappa_record *records;
    int64_t next_offset; /* behind this batch: > last record's offset, may skip holes */
    int64_t end_offset;  /* the partition's end as known now, >= next_offset, or -1 if unknown */
    bool none;           /* timeout: no source had anything; the other fields are not set */
    bool at_end;         /* next_offset reached the end when this batch was made */
    bool archived;       /* from an archive, and not from the log itself */
    /* Of logs whose topics tell no identity: another number than a source's batch before whenever something
     * happened before this was read behind which the topic may be another one of that name (a broker was
     * gone, a leader, the topic; nobody read for a while). Never 0 there; 0: there is nothing to fear. */
    uint64_t doubt;
};

struct log_topic_options {
    uint32_t partitions;   /* > 0 */
    int64_t retain_ms;     /* by record time; -1: for ever */
    int64_t retain_bytes;  /* per partition; -1: no bound */
    int64_t segment_bytes; /* embedded log only; 0: default 64 MiB */
};

/* What [from, to) of a partition takes, and when it may go. */
struct log_extent {
    int64_t bytes;        /* on disk, about; LOG_UNKNOWN */
    int64_t retain_ms;    /* of the topic, by record time; -1: for ever; LOG_UNKNOWN */
    int64_t retain_bytes; /* per partition; the same */
    int64_t compacted;    /* 1: older records of a key go, whatever their age; 0; LOG_UNKNOWN */
    int64_t
        stamped; /* 1: a record gets the time when it is appended, whatever it brings; the same */
};

/* A position in a partition. */
struct log_place {
    const char *topic;
    uint32_t partition;
    int64_t offset; /* the next one to read */
};

#define LOG_UNKNOWN (-2)
#define LOG_EXTENT_UNKNOWN                                                                         \
    ((struct log_extent){LOG_UNKNOWN, LOG_UNKNOWN, LOG_UNKNOWN, LOG_UNKNOWN, LOG_UNKNOWN})

struct log;
struct log_reader;
struct log_writer;
struct log_sender;

struct log_ops {
    void (*close)(struct log *log);
    int (*topic_create)(struct log *log, const char *topic, const struct log_topic_options *options,
                        struct err *err);
    /* *out: new array of {"name","partitions"} sorted by name; internal topics left out. */
    int (*topic_list)(struct log *log, json_t **out, struct err *err);
    /* NOT_FOUND with the near names as hint when there is no such topic. */
    int (*topic_partitions)(struct log *log, const char *topic, uint32_t *count, struct err *err);
    /* A value that changes when the topic is deleted and made again, where the log can tell, else
     * 0. */
    int (*topic_identity)(struct log *log, const char *topic, uint64_t *identity, struct err *err);
    int (*offsets)(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                   int64_t *end, struct err *err);
    int (*offset_at_time)(struct log *log, const char *topic, uint32_t partition, int64_t time_ms,
                          int64_t *offset, struct err *err);
    /* What the log cannot tell is LOG_UNKNOWN. NULL: it can tell nothing. */
    int (*extent)(struct log *log, const char *topic, uint32_t partition, int64_t from, int64_t to,
                  struct log_extent *out, struct err *err);
    /* How far a reader that begins at `from` reads an archive before the log itself; *to == from: not
     * at all. As things stand: it may grow meanwhile. NULL: the log has none. */
    int (*archived)(struct log *log, const char *topic, uint32_t partition, int64_t from,
                    int64_t *to, struct err *err);
    /* Removes whole segments that retention allows; embedded log only, others do nothing. */
    int (*expire)(struct log *log, int64_t now_ms, struct err *err);
    /* Tells those who watch lag from outside where a reader stands, under the name of a group that
     * nobody is a member of (Kafka's committed offsets). Nothing reads it back. Waits for the log for
     * some seconds. NULL, and that of the next: the log has no such thing. */
    int (*group_commit)(struct log *log, const char *group, const struct log_place *places,
                        uint32_t count, struct err *err);
    /* Forgets it. A group that is not there is no error. count > 0. */
    int (*groups_delete)(struct log *log, const char *const *groups, uint32_t count,
                         struct err *err);
    /* group: a name for the reader that operators see (Kafka group id). */
    int (*reader_open)(struct log *log, const char *group, struct log_reader **out,
                       struct err *err);
    int (*writer_open)(struct log *log, const char *topic, struct log_writer **out,
                       struct err *err);
    /* A writer for those who must send each record once. When it returns 0, nothing that an earlier
     * sender of this name appended can come any more: the topics hold it, or they never will.
     * (Kafka: the name is a transactional id, and the earlier one is fenced off. The others rely on
     * their caller: the earlier one is closed, or its process dead.) Waits for the log for some
     * seconds. */
    int (*sender_open)(struct log *log, const char *name, struct log_sender **out, struct err *err);
};

struct log_reader_ops {
    void (*close)(struct log_reader *reader);
    /* Adds a partition from this offset; `source`, below LIMIT_SOURCES and not yet used, comes back
     * in batches. All adds come before the first next(). An offset outside the log is found out by
     * next(). */
    int (*add)(struct log_reader *reader, uint32_t source, const char *topic, uint32_t partition,
               int64_t offset, struct err *err);
    /* Waits up to timeout_ms for something to read. Takes the sources in turn, so that none
     * starves. At most max_records and about LIMIT_BATCH_BYTES. Errors RANGE_LOST, TOPIC_CHANGED,
     * CORRUPT are for good; BROKER and AGAIN pass (the caller goes on calling). On error
     * batch->source is set when the error belongs to one source, else UINT32_MAX. */
    int (*next)(struct log_reader *reader, int timeout_ms, uint32_t max_records,
                struct log_batch *batch, struct err *err);
    /* Start and end as known without asking anybody: never blocks. -1 where unknown. Any thread.
     * *high: behind everything that is there, also what a reader may not see yet (Kafka: the high
     * watermark, which an open transaction lifts above the end). While it is not known that there is
     * such a thing, the end may be told as high too. */
    void (*progress)(struct log_reader *reader, uint32_t source, int64_t *start, int64_t *end,
                     int64_t *high);
    /* Makes a next() that waits in another thread return early with batch->none. Any thread. */
    void (*wake)(struct log_reader *reader);
    /* From the log itself at most so many records in each next(), beside max_records; 0: none for now, and
     * a next() that the archive has nothing for says batch->none without waiting. UINT32_MAX at first.
     * In the reader's thread. NULL: the log has no archive, and max_records is enough. */
    void (*behind_most)(struct log_reader *reader, uint32_t most);
};

struct log_writer_ops {
    void (*close)(struct log_writer *writer); /* flush first to learn of errors */
    /* partition: number, or -1: by key (murmur2 as Kafka's Java client, so both agree), or round
     * robin when the key is null. record->offset is ignored; time_ms KAPPA_NO_TIME means now.
     * Copies. It may flush by itself. On error this record was not taken; those before it were, and
     * stay for the next flush. */
    int (*append)(struct log_writer *writer, int32_t partition, const struct kappa_record *record,
                  struct err *err);
    /* Everything appended is readable by others when this returns 0. sync: also survives an OS
     * crash (Kafka: acknowledged by all replicas, always). After DISK_FULL nothing is published by
     * halves: what is not published yet waits, and flush may be called again. */
    int (*flush)(struct log_writer *writer, bool sync, struct err *err);
};

struct log_sender_ops {
    void (*close)(struct log_sender *sender); /* drops what was not committed, where it can */
    /* First offset, and the one behind everything that is there: also behind what readers cannot
     * see yet, since a transaction of somebody else is open below it. */
    int (*range)(struct log_sender *sender, const char *topic, uint32_t partition, int64_t *start,
                 int64_t *end, struct err *err);
    /* Copies. Record times that the log cannot hold become the present. */
    int (*append)(struct log_sender *sender, const char *topic, uint32_t partition,
                  const struct kappa_record *record, struct err *err);
    /* Everything appended since the last commit is readable and survives a crash of the system. On
     * Kafka it becomes readable as one, or not at all. After an error of append or commit only
     * close is left: what the topics hold is found out by reading them behind a new sender_open. */
    int (*commit)(struct log_sender *sender, struct err *err);
};

struct log {
    const struct log_ops *ops;
    const char *kind; /* "embedded", "kafka", "archive", "memory" */
};

struct log_reader {
    const struct log_reader_ops *ops;
};

struct log_writer {
    const struct log_writer_ops *ops;
};

struct log_sender {
    const struct log_sender_ops *ops;
};

/* sender_open for logs whose writers publish what they flush: a writer per topic. */
int log_sender_plain(struct log *log, const char *name, struct log_sender **out,
                     struct err *err) must_check;

/* dir: DATA/log, made when missing. Opening takes no lock: writers lock the partition they append
 * to. */
int log_open_embedded(const char *dir, struct log **out, struct err *err) must_check;
/* brokers: "host:port,..."; properties: object of librdkafka property -> text, may be NULL.
 * Properties that Kappa owns (enable.auto.commit, auto.offset.reset, group.id, ...) are refused by
 * name. Does not wait for the broker. */
int log_open_kafka(const char *brokers, const json_t *properties, struct log **out,
                   struct err *err) must_check;
int log_open_memory(struct log **out, struct err *err) must_check;
/* The log with its archive: what the archive in this folder (DATA/archive; it need not be there) has
 * is read from it, also when the log has removed it. Owns the base. NULL: the archive is all there
 * is, of kind "archive", and read only. */
struct log *log_open_archived(const char *dir, struct log *base);
/* The log behind an archive, borrowed; NULL: there is none. For a log that was opened with one. */
struct log *log_archived_behind(struct log *log);
/* From {"kind":"embedded","dir"}, {"kind":"kafka","brokers","properties"} or {"kind":"archive"}, each
 * with "archive", the folder of archives (the first two may leave it out): how the controller tells a
 * worker. */
int log_open_config(const json_t *config, struct log **out, struct err *err) must_check;

/* Partition of a key as Kafka's Java client chooses it: murmur2, sign bit cleared, modulo. */
uint32_t log_partition_of_key(const void *key, size_t len, uint32_t partitions);

/* Of librdkafka. */
void log_kafka_library(struct library *out);

#endif
