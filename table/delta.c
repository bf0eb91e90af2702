/* Keys that differ between two snapshots of a table. Own header: delta.h; leaves: store_leaves.c.
 *
 * Per source the leaves of both sides are walked in step. A range lies between two keys at which both
 * sides begin a leaf: mostly it is one leaf of each, and more where the row that begins a leaf is on one
 * side only. Digests of leaves add up, so a range whose sums agree is left out. The rows of another one
 * are merged, as bytes. Sources are merged by a heap, so that keys come once and in order. */
#include "table/delta.h"

#include "base/limits.h"
#include "table/view_inside.h"

#include <stdlib.h>
#include <string.h>

#define DELTA_MAGIC 0x746c6544U /* "Delt" */
#define STOP_EVERY  4096        /* rows */

enum { SIDES = 2 };

/* A cursor over the rows or the leaves of one source, and what it stands on. */
struct walk {
    MDB_cursor *cursor;
    bool at_hand;
    MDB_val key;
    MDB_val value;
};

struct delta_source {
    uint32_t source;
    bool started;
    bool leaves; /* both sides have them */
    struct walk leaf[SIDES];
    struct walk row[SIDES];
    bool in_range; /* rows of a range are being merged */
    MDB_val high;  /* where it ends; size 0: at the end of the source */
    MDB_val found; /* the key that differs, with the source */
    uint64_t rows[SIDES];
};

struct view_delta {
    uint32_t magic;
    struct view_delta_side sides[SIDES];
    uint32_t source_count;
    const bool *stop;
    uint64_t read;
    uint32_t steps; /* since the wish to stop was looked at */
    struct view_delta_count counts[SIDES];
    MDB_val last;   /* behind the source: the key given out last */
    uint32_t count; /* sources with a key at hand: the heap */
    struct delta_source *heap[];
};

/* ---- one source */

static int key_order(const MDB_val *a, const MDB_val *b)
{
    return bytes_order(a->mv_data, a->mv_size, b->mv_data, b->mv_size);
}

static int walk_open(const struct view_delta_side *side, uint32_t source, bool leaves,
                     struct walk *walk)
{
    const struct view *view = side->snapshot->view;
    uint32_t shard = source % view->shard_count;
    const struct format_dbs *dbs = &view->shards[shard].dbs;
    return mdb_cursor_open(side->snapshot->txns[shard],
                           leaves ? dbs->leaves[side->table] : dbs->rows[side->table],
                           &walk->cursor);
}

/* A code of LMDB; at_hand: it stands on something of the source. */
static int walk_move(struct walk *walk, uint32_t source, MDB_cursor_op op)
{
    int rc = mdb_cursor_get(walk->cursor, &walk->key, &walk->value, op);
    walk->at_hand = rc == 0 && walk->key.mv_size >= KAPPA_KEY_SOURCE_BYTES &&
                    load_u16_be(walk->key.mv_data) == source;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int walk_seek(struct walk *walk, uint32_t source, const MDB_val *key)
{
    walk->key = *key;
    return walk_move(walk, source, MDB_SET_RANGE);
}

static void source_free(struct delta_source *source)
{
    for (int side = 0; side < SIDES; side++) {
        mdb_cursor_close(source->leaf[side].cursor);
        mdb_cursor_close(source->row[side].cursor);
    }
    free(source);
}

static bool has_leaves(const struct view_delta_side *side, uint32_t source)
{
    const struct view *view = side->snapshot->view;
    return view->shards[source % view->shard_count].dbs.leaves[side->table] != ENV_NO_HANDLE;
}

static int source_open(const struct view_delta *delta, uint32_t number, struct delta_source **out)
{
    struct delta_source *source = xcalloc(1, sizeof *source);
    source->source = number;
    source->leaves = delta->sides[0].table == delta->sides[1].table &&
                     has_leaves(&delta->sides[0], number) && has_leaves(&delta->sides[1], number);
    int rc = 0;
    for (int side = 0; side < SIDES && rc == 0; side++) {
        rc = walk_open(&delta->sides[side], number, false, &source->row[side]);
        if (rc == 0 && source->leaves) {
            rc = walk_open(&delta->sides[side], number, true, &source->leaf[side]);
        }
    }
    if (rc != 0) {
        source_free(source);
        return rc;
    }
    *out = source;
    return 0;
}

/* ---- ranges */

/* Takes the leaf at hand into the sum, and goes on. */
static int leaf_add(struct delta_source *source, int side, struct format_leaf *sum)
{
    struct format_leaf leaf;
    if (!format_leaf_decode(&source->leaf[side].value, &leaf)) {
        return MDB_CORRUPTED;
    }
    digest_add(&sum->sum, leaf.sum);
    sum->rows += leaf.rows;
    source->rows[side] += leaf.rows;
    return walk_move(&source->leaf[side], source->source, MDB_NEXT);
}

/* The next range of leaves: where it begins and ends, and whether it differs. MDB_NOTFOUND: no more. */
static int range_next(struct delta_source *source, MDB_val *low, bool *differs)
{
    struct walk *a = &source->leaf[0];
    struct walk *b = &source->leaf[1];
    struct format_leaf sums[SIDES] = {0};
    if (!a->at_hand && !b->at_hand) {
        return MDB_NOTFOUND;
    }
    *low = !a->at_hand ? b->key : !b->at_hand || key_order(&a->key, &b->key) < 0 ? a->key : b->key;
    source->high = (MDB_val){0, NULL};
    int rc = 0;
    for (bool first = true; rc == 0 && (a->at_hand || b->at_hand); first = false) {
        int order = !a->at_hand ? 1 : !b->at_hand ? -1 : key_order(&a->key, &b->key);
        if (!first && order == 0) {
            source->high = a->key;
            break;
        }
        rc = order <= 0 ? leaf_add(source, 0, &sums[0]) : 0;
        if (rc == 0 && order >= 0) {
            rc = leaf_add(source, 1, &sums[1]);
        }
    }
    *differs = !digest_equal(sums[0].sum, sums[1].sum) || sums[0].rows != sums[1].rows;
    return rc;
}

static bool row_inside(const struct delta_source *source, int side)
{
    const struct walk *row = &source->row[side];
    return row->at_hand && (source->high.mv_size == 0 || key_order(&row->key, &source->high) < 0);
}

/* Stands before the next range that differs: 0, MDB_NOTFOUND when there is none, or another code. */
static int range_enter(struct delta_source *source)
{
    uint8_t start[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(start, u16_from(source->source));
    MDB_val low = val_of(start, sizeof start);
    bool differs = !source->leaves;
    int rc = 0;
    if (!source->started) {
        for (int side = 0; side < SIDES && rc == 0 && source->leaves; side++) {
            rc = walk_seek(&source->leaf[side], source->source, &low);
        }
    } else if (!source->leaves) {
        return MDB_NOTFOUND;
    }
    source->started = true;
    while (rc == 0 && !differs) {
        rc = range_next(source, &low, &differs);
    }
    for (int side = 0; side < SIDES && rc == 0; side++) {
        rc = walk_seek(&source->row[side], source->source, &low);
    }
    source->in_range = rc == 0;
    return rc;
}

/* ---- rows */

/* Goes on behind the row at hand. */
static int row_pass(struct view_delta *delta, struct delta_source *source, int side)
{
    delta->read++;
    source->rows[side] += source->leaves ? 0 : 1;
    return walk_move(&source->row[side], source->source, MDB_NEXT);
}

/* Takes the next key of the range: *differs tells whether it is one; in_range: there was one. */
static int row_step(struct view_delta *delta, struct delta_source *source, bool *differs)
{
    struct walk *a = &source->row[0];
    struct walk *b = &source->row[1];
    bool has_a = row_inside(source, 0);
    bool has_b = row_inside(source, 1);
    *differs = false;
    source->in_range = has_a || has_b;
    if (!source->in_range) {
        return 0;
    }
    int order = !has_a ? 1 : !has_b ? -1 : key_order(&a->key, &b->key);
    *differs = order != 0 || a->value.mv_size != b->value.mv_size ||
               memcmp(a->value.mv_data, b->value.mv_data, a->value.mv_size) != 0;
    source->found = order <= 0 ? a->key : b->key;
    int rc = order <= 0 ? row_pass(delta, source, 0) : 0;
    return rc == 0 && order >= 0 ? row_pass(delta, source, 1) : rc;
}

static int source_fail(const struct view_delta *delta, const struct delta_source *source, int rc,
                       struct err *err)
{
    const struct view *view = delta->sides[0].snapshot->view;
    return env_error(view->shards[source->source % view->shard_count].env, rc, "cannot compare",
                     err);
}

/* The next key of a source that differs: 1, 0, negative. */
static int source_next(struct view_delta *delta, struct delta_source *source, struct err *err)
{
    int rc = 0;
    while (rc == 0) {
        bool differs = false;
        rc = source->in_range ? row_step(delta, source, &differs) : range_enter(source);
        if (rc == 0 && differs) {
            return 1;
        }
        if (delta->steps++ % STOP_EVERY == 0 && __atomic_load_n(delta->stop, __ATOMIC_RELAXED)) {
            return err_set(err, KE_CLOSED, "the comparison was broken off");
        }
    }
    return rc == MDB_NOTFOUND ? 0 : source_fail(delta, source, rc, err);
}

/* All of it was walked. */
static void source_end(struct view_delta *delta, struct delta_source *source)
{
    for (int side = 0; side < SIDES; side++) {
        struct view_delta_count *count = &delta->counts[side];
        uint64_t rows = source->rows[side];
        count->rows += rows;
        count->most = rows > count->most ? rows : count->most;
        count->sources += rows > 0 ? 1 : 0;
    }
    source_free(source);
}

/* ---- all sources */

static MDB_val behind_source(const MDB_val *key)
{
    return val_of((const uint8_t *)key->mv_data + KAPPA_KEY_SOURCE_BYTES,
                  key->mv_size - KAPPA_KEY_SOURCE_BYTES);
}

static int found_order(const struct delta_source *a, const struct delta_source *b)
{
    MDB_val behind_a = behind_source(&a->found);
    MDB_val behind_b = behind_source(&b->found);
    return key_order(&behind_a, &behind_b);
}

static void sift_down(struct view_delta *delta, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < delta->count && found_order(delta->heap[child], delta->heap[least]) < 0) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        struct delta_source *moved = delta->heap[at];
        delta->heap[at] = delta->heap[least];
        delta->heap[least] = moved;
        at = least;
    }
}

int view_delta_open(const struct view_delta_side *a, const struct view_delta_side *b,
                    uint32_t source_count, const bool *stop, struct view_delta **out,
                    struct err *err)
{
    ASSERT_CMP(source_count, <=, LIMIT_SOURCES);
    struct view_delta *delta =
        xcalloc(1, sizeof *delta + source_count * sizeof(struct delta_source *));
    delta->magic = DELTA_MAGIC;
    delta->sides[0] = *a;
    delta->sides[1] = *b;
    delta->stop = stop;
    int rc = 0;
    for (uint32_t i = 0; i < source_count && rc >= 0; i++) {
        struct delta_source *source = NULL;
        rc = source_open(delta, i, &source);
        if (rc != 0) {
            rc = env_error(a->snapshot->view->shards[0].env, rc, "cannot compare", err);
            break;
        }
        rc = source_next(delta, source, err);
        if (rc == 1) {
            delta->heap[delta->count++] = source;
        } else if (rc == 0) {
            source_end(delta, source);
        } else {
            source_free(source);
        }
    }
    if (rc < 0) {
        view_delta_close(delta);
        return rc;
    }
    for (uint32_t i = delta->count / 2; i > 0; i--) {
        sift_down(delta, i - 1);
    }
    *out = delta;
    return 0;
}

/* Moves the heap's top on. */
static int top_pass(struct view_delta *delta, struct err *err)
{
    int rc = source_next(delta, delta->heap[0], err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        source_end(delta, delta->heap[0]);
        delta->heap[0] = delta->heap[--delta->count];
    }
    sift_down(delta, 0);
    return 0;
}

int view_delta_next(struct view_delta *delta, const uint8_t **key, size_t *key_len, struct err *err)
{
    MAGIC_ASSERT(delta, DELTA_MAGIC);
    while (delta->count > 0) {
        MDB_val top = behind_source(&delta->heap[0]->found);
        if (delta->last.mv_data == NULL || key_order(&top, &delta->last) != 0) {
            delta->last = top;
            *key = top.mv_data;
            *key_len = top.mv_size;
            return 1;
        }
        int rc = top_pass(delta, err); /* given out, or another source's */
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

void view_delta_counts(const struct view_delta *delta, int side, struct view_delta_count *out)
{
    *out = delta->counts[side];
}

uint64_t view_delta_read(const struct view_delta *delta)
{
    return delta->read;
}

void view_delta_close(struct view_delta *delta)
{
    if (delta == NULL) {
        return;
    }
    MAGIC_ASSERT(delta, DELTA_MAGIC);
    for (uint32_t i = 0; i < delta->count; i++) {
        source_free(delta->heap[i]);
    }
    delta->magic = 0;
    free(delta);
}

/* ---- leaves themselves */

int view_leaf_each(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                   void (*fn)(void *ctx, const uint8_t *low, size_t len, struct digest sum,
                              uint64_t rows),
                   void *ctx, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view_delta_side side = {snapshot, table};
    if (!has_leaves(&side, source)) {
        return 0;
    }
    uint8_t start[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(start, u16_from(source));
    MDB_val low = val_of(start, sizeof start);
    struct walk walk = {0};
    struct format_leaf leaf;
    int rc = walk_open(&side, source, true, &walk);
    if (rc == 0) {
        rc = walk_seek(&walk, source, &low);
    }
    while (rc == 0 && walk.at_hand) {
        if (!format_leaf_decode(&walk.value, &leaf)) {
            rc = MDB_CORRUPTED;
            break;
        }
        fn(ctx, walk.key.mv_data, walk.key.mv_size, leaf.sum, leaf.rows);
        rc = walk_move(&walk, source, MDB_NEXT);
    }
    mdb_cursor_close(walk.cursor);
    return rc == 0 ? 0 : env_error(snapshot->view->shards[0].env, rc, "cannot read leaves", err);
}
