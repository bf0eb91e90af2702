/* Appending to one partition of the embedded log.
 *
 *     partition_writer_init -> { add, add, ... -> flush }... -> sync -> close
 *
 * add() only buffers. flush() takes the partition's lock, gives the records their offsets, writes
 * them behind the published end, publishes and wakes readers: so several processes may append to
 * the same partition, batch by batch. A writer killed before it publishes leaves bytes that the
 * next one overwrites. When flush fails, what was not published stays in the buffer, and flush may
 * be called again. One thread. */
#ifndef KAPPA_LOG_PARTITION_WRITER_H
#define KAPPA_LOG_PARTITION_WRITER_H

#include "base/buf.h"
#include "include/kappa/record.h"
#include "log/notify.h"
#include "log/partition.h"

struct partition_writer {
    struct partition partition; /* dir NULL: not open yet */
    struct notify *notify;      /* borrowed */
    struct buf buffer;          /* encoded records without offsets */
    int fd;                     /* active segment as last seen; -1: not open */
    int64_t fd_base;            /* its base offset */
    int64_t capacity;           /* bytes of header and records that it may hold */
    int64_t unsynced_end;       /* end offset after this writer's last publish; -1: all is synced */
    int64_t write_behind;       /* bytes since the kernel was last asked to begin writing */
};

void partition_writer_init(struct partition_writer *writer, struct notify *notify);
/* Opens the partition if it is not. */
int partition_writer_open(struct partition_writer *writer, const char *log_dir, const char *topic,
                          uint32_t number, const struct topic_info *info,
                          struct err *err) must_check;
/* The record fits LIMIT_RECORD_BYTES. */
void partition_writer_add(struct partition_writer *writer, const struct kappa_record *record,
                          int64_t time_ms);
int partition_writer_flush(struct partition_writer *writer, struct err *err) must_check;
/* What was flushed survives a crash of the machine. */
int partition_writer_sync(struct partition_writer *writer, struct err *err) must_check;
/* Closes files that the next flush opens again. */
void partition_writer_rest(struct partition_writer *writer);
/* Drops what is not flushed. */
void partition_writer_close(struct partition_writer *writer);

#endif
