/* OVER: functions over the rows of a key that came up to this one. Own header: node.h.
 *
 * Rows are taken one by one: what a row sees includes the rows before it in the same chunk. A row
 * behind the watermark would have to go in front of rows that are gone: it is late, and leaves. */
#include "base/limits.h"
#include "processor/key_codec.h"
#include "processor/node.h"
#include "processor/over_state.h"

#include <string.h>

struct node_operator *node_over_open(struct processor *p, const struct node_view *view,
                                     const struct plan_operator *plan)
{
    struct node_operator *op = arena_calloc(&p->memory, sizeof *op);
    op->plan = plan;
    op->shape = arena_calloc(&p->memory, sizeof *op->shape);
    over_shape_init(op->shape, &p->memory, plan, view->plan->row.types, &op->keyed.layout);
    node_keyed_open(p, &op->keyed, plan->table);
    op->aggregates =
        arena_calloc(&p->memory, sizeof *op->aggregates * ((size_t)plan->over_count + 1));
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->over_count; i++) {
        op->aggregates[i] = count;
        count += plan->overs[i].kind == PLAN_OVER_AGGREGATE ? 1 : 0;
    }
    return op;
}

/* NULL when the key is too long. */
static const uint8_t *encode_key(const struct node_operator *op, const struct node_view *view,
                                 struct processor *p, uint32_t row)
{
    uint8_t *at = key_put_prefix(p->keys.bytes, p->chunk.source_index, false, 0);
    const uint8_t *limit = at + LIMIT_GROUP_KEY_LEN;
    for (uint32_t k = 0; k < op->plan->key_count && at != NULL; k++) {
        at = key_put(at, limit, &view->machine.registers[op->plan->keys[k]], row);
    }
    return at;
}

static int take_row(struct processor *p, struct node_view *view, struct node_operator *op,
                    uint32_t row, const uint8_t *key_end, struct err *err)
{
    const struct node_chunk *chunk = &p->chunk;
    struct agg_entry *entry = NULL;
    int rc = node_keyed_find(p, &op->keyed, chunk->source_index, p->keys.bytes,
                             (size_t)(key_end - p->keys.bytes), &entry, err);
    if (rc < 0) {
        return rc;
    }
    agg_cache_touch(&op->keyed.cache, entry);
    int64_t offset = chunk->records[row]->offset;
    int64_t time = op->plan->by_time ? chunk->event_time[row] : offset;
    int64_t watermark = op->plan->by_time ? chunk->watermark[row] : offset + 1;
    struct over_state **slot = (struct over_state **)(void *)entry->state;
    size_t before = *slot == NULL ? 0 : (*slot)->owned;
    uint32_t index =
        over_state_insert(op->shape, slot, &p->pool, time, offset, view->machine.registers, row);
    for (uint32_t i = 0; i < op->plan->over_count; i++) {
        over_state_value(*slot, &op->plan->overs[i], op->aggregates[i], index, &p->pool,
                         &view->machine.scratch, view->machine.registers, row);
    }
    over_state_trim(*slot, watermark, &p->pool);
    size_t after = (*slot)->owned;
    op->keyed.cache.dirty_bytes += after > before ? after - before : 0;
    return 0;
}

/* The first error among keys and values; EXPR_OK: none. */
static enum expr_state row_error(const struct node_operator *op, const struct expr_vec *registers,
                                 uint32_t row)
{
    for (uint32_t k = 0; k < op->plan->key_count; k++) {
        if (registers[op->plan->keys[k]].state[row] >= EXPR_ERROR_FIRST) {
            return (enum expr_state)registers[op->plan->keys[k]].state[row];
        }
    }
    for (uint32_t v = 0; v < op->plan->value_count; v++) {
        if (registers[op->plan->values[v]].state[row] >= EXPR_ERROR_FIRST) {
            return (enum expr_state)registers[op->plan->values[v]].state[row];
        }
    }
    return EXPR_OK;
}

static void outputs_clear(const struct node_operator *op, const struct expr_vec *registers,
                          uint32_t n)
{
    for (uint32_t i = 0; i < op->plan->over_count; i++) {
        memset(registers[op->plan->overs[i].out].state, EXPR_NULL, n);
    }
}

int node_over_apply(struct processor *p, struct node_view *view, struct node_operator *op,
                    struct err *err)
{
    struct node_chunk *chunk = &p->chunk;
    uint32_t kept = 0;
    outputs_clear(op, view->machine.registers, chunk->n);
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        enum expr_state error = row_error(op, view->machine.registers, row);
        if (error != EXPR_OK) {
            node_refuse(p, view, row, expr_error_text(error));
            continue;
        }
        if (op->plan->by_time && chunk->event_time[row] < chunk->watermark[row]) {
            chunk->source->state.late++;
            continue;
        }
        const uint8_t *key_end = encode_key(op, view, p, row);
        if (key_end == NULL) {
            node_refuse(p, view, row, "the key of PARTITION BY is longer than 480 bytes");
            continue;
        }
        int rc = take_row(p, view, op, row, key_end, err);
        if (rc < 0) {
            return rc;
        }
        chunk->selected[kept++] = row;
    }
    chunk->count = kept;
    return 0;
}

_Static_assert(LIMIT_GROUP_KEY_LEN == 480, "the sentence above");
