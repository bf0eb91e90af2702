/* Rows as they were at given times, tapped from one replay: point-in-time exports.
 *
 *     tap_open -> shard_options.tap = tap_shard(tap, i) of each shard -> the shards run to their cut
 *     -> tap_rows (tap_rows.c) -> tap_close
 *
 * What a label at time t sees, per source: the records in front of the first one whose time is later than t
 * (processor_times: event time where the input has one, else record time), up to the cut. So nothing that
 * happened later can be in its row, whatever is appended or changed behind; a record that came late,
 * behind one that is later than t, was not known and is not seen either. The row is the one that a reader
 * of these prefixes gets for the time t (processor_row_at).
 *
 * Labels are sorted by time, so each source passes them once. Before the first record that is later than
 * the next label, the parts of the rows that the source has for it are put into a file: blocks of
 *
 *     | label u32 LE | table u32 LE | window end i64 LE | length u32 LE | stored value |
 *
 * in the order of labels, one chain of blocks per source, one file per shard. At the end the chains are
 * merged in the order of (label, table, source), which is the order in which readers merge parts.
 *
 * Memory: the labels, and a block per source. */
#ifndef KAPPA_REPLAYER_TAP_H
#define KAPPA_REPLAYER_TAP_H

#include "replayer/shard.h"

#define TAP_NO_KEY     UINT64_MAX
#define TAP_LABELS_MAX 100000000U
#define TAP_HEAD_BYTES 20

/* The caller's; ascending by time. */
struct tap_labels {
    uint32_t count;
    const int64_t *times; /* us since 1970, within +-2^62 */
    /* [label * tables + table]: where its key columns, as stored, lie in `bytes`, behind their length as
     * u16 BE; TAP_NO_KEY: there is none, as of nulls. */
    const uint64_t *keys;
    const uint8_t *bytes;
};

/* Labels whose time is the same and whose keys are may stand in any order. */

struct tap_options {
    const struct plan *plan;         /* borrowed */
    const struct tap_labels *labels; /* borrowed */
    const uint32_t *views;           /* the tables, as views of the plan; copied */
    uint32_t table_count;
    bool newest; /* of tables with windows the newest one; else the one that holds the time */
    const uint32_t *inputs; /* per source of the version: its input; copied */
    uint32_t source_count;
    uint32_t shards;
    const char *dir; /* for its files */
};

/* A block in the file of the source's shard. */
struct tap_block {
    int64_t at;
    size_t len;
};

struct tap_source {
    uint32_t input;
    uint32_t shard;
    uint32_t next; /* label */
    struct buf pending;
    struct tap_block *blocks;
    size_t block_count;
    size_t block_capacity;
};

struct tap {
    const struct plan *plan;
    const struct tap_labels *labels;
    uint32_t *views;
    uint32_t table_count;
    bool newest;
    struct tap_source *sources;
    uint32_t source_count;
    struct tap_file *files; /* per shard */
    uint32_t shards;
    size_t block_bytes;
};

int tap_open(const struct tap_options *options, struct tap **out, struct err *err) must_check;
void tap_close(struct tap *tap);
/* For the shard with sources s = index, index + shards, ... */
const struct shard_tap *tap_shard(struct tap *tap, uint32_t index);
/* Reads a block into buf, which it replaces. */
int tap_block_read(const struct tap *tap, const struct tap_source *source, size_t block,
                   struct buf *buf, struct err *err) must_check;

/* Calls row for each row that is there, by label and table, in ascending order; values are the output
 * columns, NULL when a value is in an error state: then `why` says so. Not while shards run. stop is
 * looked at now and then. */
int tap_rows(const struct tap *tap, _Atomic bool *stop,
             int (*row)(void *ctx, uint32_t label, uint32_t table, const struct kappa_value *values,
                        const struct err *why, struct err *err),
             void *ctx, struct err *err) must_check;

#endif
