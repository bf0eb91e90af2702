/* WHICH KEYS DIFFER between one table of two versions that store its rows in the same way, at one cut.
 *
 *     view_delta_open -> view_delta_next... -> view_delta_counts -> view_delta_close
 *
 * Where both have leaves (store_leaves.c) only rows of leaves that differ are read, so it costs what
 * differs; else all rows are read, and compared as bytes. Leaves are compared when the table has the same
 * index in both: the index is part of a row's hash. */
#ifndef KAPPA_TABLE_DELTA_H
#define KAPPA_TABLE_DELTA_H

#include "table/view.h"

struct view_delta;

struct view_delta_side {
    struct view_snapshot *snapshot;
    uint32_t table;
};

/* Of one side; whole when view_delta_next has said 0. */
struct view_delta_count {
    uint64_t rows;    /* stored, in all sources */
    uint64_t most;    /* of the source with most of them */
    uint32_t sources; /* that have any */
};

/* The sources are numbered alike on both sides. stop: atomic; when it turns true, next says CLOSED. */
int view_delta_open(const struct view_delta_side *a, const struct view_delta_side *b,
                    uint32_t source_count, const bool *stop, struct view_delta **out,
                    struct err *err) must_check;
/* The next key behind the source, ascending and each once, under which the bytes of any source differ:
 * 1, 0 at the end, negative. Borrowed from the snapshots. */
int view_delta_next(struct view_delta *delta, const uint8_t **key, size_t *key_len,
                    struct err *err) must_check;
/* Of side 0 or 1. */
void view_delta_counts(const struct view_delta *delta, int side, struct view_delta_count *out);
/* Rows that were read for it, of both sides. */
uint64_t view_delta_read(const struct view_delta *delta);
void view_delta_close(struct view_delta *delta);

/* Calls fn for every leaf of a source, in the order of its keys; `low` is a row's key, or the source's
 * two bytes. */
int view_leaf_each(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                   void (*fn)(void *ctx, const uint8_t *low, size_t len, struct digest sum,
                              uint64_t rows),
                   void *ctx, struct err *err) must_check;

#endif
