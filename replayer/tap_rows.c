/* The parts that all sources had of the labels' rows, merged. Own header: tap.h.
 *
 * A heap of the sources by (label, table, source): parts of one row come one behind the other, in the order
 * of the sources, and go through the same row_finisher as those that a reader finds. */
#include "replayer/tap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STOP_EVERY 4096U

struct cursor {
    const struct tap_source *source;
    uint32_t number;
    size_t block; /* the next to read */
    struct buf bytes;
    size_t pos; /* behind the part at hand */
    uint32_t label;
    uint32_t table;
    int64_t window_end;
    const uint8_t *value;
    uint32_t len;
};

struct merge {
    const struct tap *tap;
    struct cursor *cursors;
    struct cursor **heap;
    uint32_t count;
    struct row_finisher **finishers; /* per table */
};

/* The next part of the cursor: 1, 0 at its end, negative. */
static int cursor_next(const struct tap *tap, struct cursor *cursor, struct err *err)
{
    if (cursor->pos == cursor->bytes.len) {
        if (cursor->block == cursor->source->block_count) {
            return 0;
        }
        int rc = tap_block_read(tap, cursor->source, cursor->block++, &cursor->bytes, err);
        if (rc != 0) {
            return rc;
        }
        cursor->pos = 0;
    }
    const uint8_t *at = cursor->bytes.data + cursor->pos;
    size_t left = cursor->bytes.len - cursor->pos;
    if (left < TAP_HEAD_BYTES || left - TAP_HEAD_BYTES < load_u32_le(at + 16)) {
        return err_set(err, KE_CORRUPT, "a file of the export does not read back");
    }
    cursor->label = load_u32_le(at);
    cursor->table = load_u32_le(at + 4);
    cursor->window_end = (int64_t)load_u64_le(at + 8);
    cursor->len = load_u32_le(at + 16);
    cursor->value = at + TAP_HEAD_BYTES;
    cursor->pos += TAP_HEAD_BYTES + cursor->len;
    return 1;
}

static bool comes_before(const struct cursor *a, const struct cursor *b)
{
    if (a->label != b->label) {
        return a->label < b->label;
    }
    return a->table != b->table ? a->table < b->table : a->number < b->number;
}

static void sift_down(struct merge *merge, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < merge->count; child++) {
            if (comes_before(merge->heap[child], merge->heap[least])) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        struct cursor *cursor = merge->heap[i];
        merge->heap[i] = merge->heap[least];
        merge->heap[least] = cursor;
        i = least;
    }
}

/* The first cursor of the heap goes on. */
static int advance(struct merge *merge, struct err *err)
{
    int rc = cursor_next(merge->tap, merge->heap[0], err);
    if (rc == 0) {
        merge->heap[0] = merge->heap[--merge->count];
    }
    sift_down(merge, 0);
    return rc < 0 ? rc : 0;
}

static int merge_open(const struct tap *tap, struct merge *merge, struct err *err)
{
    *merge = (struct merge){.tap = tap};
    merge->cursors = xcalloc(tap->source_count + 1, sizeof *merge->cursors);
    merge->heap = xcalloc(tap->source_count + 1, sizeof(struct cursor *));
    merge->finishers = xcalloc(tap->table_count + 1, sizeof(struct row_finisher *));
    for (uint32_t t = 0; t < tap->table_count; t++) {
        merge->finishers[t] = row_finisher_new(tap->plan, tap->views[t]);
    }
    for (uint32_t s = 0; s < tap->source_count; s++) {
        struct cursor *cursor = &merge->cursors[s];
        cursor->source = &tap->sources[s];
        cursor->number = s;
        int rc = cursor_next(tap, cursor, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == 1) {
            merge->heap[merge->count++] = cursor;
        }
    }
    for (uint32_t i = merge->count / 2; i-- > 0;) {
        sift_down(merge, i);
    }
    return 0;
}

static void merge_close(struct merge *merge)
{
    for (uint32_t s = 0; s < merge->tap->source_count; s++) {
        buf_free(&merge->cursors[s].bytes);
    }
    for (uint32_t t = 0; t < merge->tap->table_count; t++) {
        row_finisher_free(merge->finishers[t]);
    }
    free(merge->cursors);
    free(merge->heap);
    free(merge->finishers);
}

/* Merges the parts of the row that comes first; its finisher has them then. Of the newest windows that
 * sources have of a key, the newest counts. */
static int row_merge(struct merge *merge, uint32_t label, uint32_t table, struct err *err)
{
    const struct tap_labels *labels = merge->tap->labels;
    struct row_finisher *finisher = merge->finishers[table];
    const uint8_t *key =
        labels->bytes + labels->keys[(size_t)label * merge->tap->table_count + table];
    int64_t end = INT64_MIN;
    int rc = 0;
    while (rc == 0 && merge->count > 0 && merge->heap[0]->label == label &&
           merge->heap[0]->table == table) {
        const struct cursor *part = merge->heap[0];
        if (part->window_end > end) {
            end = part->window_end;
            row_finisher_begin(finisher, end, key + 2, load_u16_be(key));
        }
        if (part->window_end == end) {
            rc = row_finisher_add(finisher, part->value, part->len, err);
        }
        rc = rc == 0 ? advance(merge, err) : rc;
    }
    return rc;
}

int tap_rows(const struct tap *tap, _Atomic bool *stop,
             int (*row)(void *ctx, uint32_t label, uint32_t table, const struct kappa_value *values,
                        const struct err *why, struct err *err),
             void *ctx, struct err *err)
{
    struct merge merge;
    int rc = merge_open(tap, &merge, err);
    for (uint32_t n = 0; rc == 0 && merge.count > 0; n++) {
        uint32_t label = merge.heap[0]->label;
        uint32_t table = merge.heap[0]->table;
        const struct kappa_value *values = NULL;
        struct err why = {.code = 0};
        rc = row_merge(&merge, label, table, err);
        int there = rc == 0 && row_finisher_rows(merge.finishers[table]) > 0
                        ? row_finisher_row(merge.finishers[table], 0, &values, &why)
                        : 0;
        if (there == -KE_CORRUPT) {
            *err = why;
            rc = there;
        } else if (there != 0) {
            rc = row(ctx, label, table, there == 1 ? values : NULL, &why, err);
        }
        if (rc == 0 && n % STOP_EVERY == 0 && atomic_load(stop)) {
            rc = err_set(err, KE_CLOSED, "stopped");
        }
    }
    merge_close(&merge);
    return rc;
}
