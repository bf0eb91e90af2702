/* Queries without GROUP BY: a row per record, kept until the commit. Own header: node.h.
 *
 * Key: source u16 BE, offset i64 sortable; rows that a plugin made: number u32 BE. Value: per stored
 * column u8 null (1) or not (0), and the value (value_codec.h). */
#include "base/limits.h"
#include "processor/key_codec.h"
#include "processor/node.h"
#include "processor/row_state.h"

#include <stdlib.h>

static void pending_grow(struct node_pending *pending)
{
    pending->capacity = pending->capacity == 0 ? 256 : pending->capacity * 2;
    pending->offsets = xrealloc(pending->offsets, pending->capacity * sizeof *pending->offsets);
    pending->numbers = xrealloc(pending->numbers, pending->capacity * sizeof *pending->numbers);
    pending->ends = xrealloc(pending->ends, pending->capacity * sizeof *pending->ends);
}

void node_append_keep(struct processor *p, struct node_pending *pending, size_t start,
                      int64_t offset, uint32_t number)
{
    if (pending->count == pending->capacity) {
        pending_grow(pending);
    }
    pending->offsets[pending->count] = offset;
    pending->numbers[pending->count] = number;
    pending->ends[pending->count++] = pending->bytes.len;
    p->pending_bytes += KEY_PREFIX_MAX + pending->bytes.len - start;
}

void node_append_apply(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    struct node_pending *pending = &chunk->source->parts[view->index].pending;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        size_t start = pending->bytes.len;
        row_encode(&pending->bytes, view->machine.registers, view->plan->append_regs,
                   view->plan->append_count, row);
        if (pending->bytes.len - start > LIMIT_ROW_BYTES) {
            pending->bytes.len = start;
            node_refuse(p, view, row, "the row is longer than 16 MiB");
            continue;
        }
        node_append_keep(p, pending, start, chunk->offset[row], chunk->number[row]);
    }
}

_Static_assert(LIMIT_ROW_BYTES == 16777216, "the sentence above");

int node_append_flush(struct processor *p, const struct node_view *view,
                      const struct kappa_change_sink *sink, struct err *err)
{
    uint8_t key[KAPPA_KEY_SOURCE_BYTES + sizeof(int64_t) + sizeof(uint32_t)];
    size_t key_len = sizeof key - (view->plan->numbered ? 0 : sizeof(uint32_t));
    for (uint32_t s = 0; s < p->source_count; s++) {
        const struct node_source *source = &p->sources[s];
        if (!source->open || source->input != view->plan->input) {
            continue;
        }
        const struct node_pending *pending = &source->parts[view->index].pending;
        size_t start = 0;
        for (size_t i = 0; i < pending->count; i++) {
            (void)key_put_prefix(key, s, false, 0);
            store_i64_sortable(key + KAPPA_KEY_SOURCE_BYTES, pending->offsets[i]);
            for (uint32_t b = 0; b < sizeof(uint32_t); b++) {
                key[sizeof key - 1 - b] = (uint8_t)(pending->numbers[i] >> (8 * b));
            }
            int rc = sink->put(sink->ctx, view->index, key, key_len, pending->bytes.data + start,
                               pending->ends[i] - start, true, err);
            if (rc < 0) {
                return rc;
            }
            start = pending->ends[i];
        }
    }
    return 0;
}

void node_append_committed(struct processor *p, const struct node_view *view)
{
    for (uint32_t s = 0; s < p->source_count; s++) {
        struct node_source *source = &p->sources[s];
        if (source->open && source->input == view->plan->input) {
            source->parts[view->index].pending.count = 0;
            buf_reset(&source->parts[view->index].pending.bytes);
        }
    }
}

void node_append_close(struct node_part *part)
{
    buf_free(&part->pending.bytes);
    free(part->pending.offsets);
    free(part->pending.numbers);
    free(part->pending.ends);
}
