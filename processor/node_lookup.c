/* LOOKUP: a join within one topic. Own header: node.h.
 *
 * Each record of the right side becomes the row of its key; each row of the left side then sees the row
 * of its key as of its own place in the partition. The right side takes part whatever becomes of the
 * record on the left.
 *
 * As of a time (plan->as_of), a record of the right side becomes a version in the history of its key
 * (history_state.h), and a row of the left side sees the version that is valid at its time, of those
 * that came up to its own place.
 *
 * A tombstone (plan_input.tombstones) deletes the row of its key; as of a time, it is a version that
 * says that there is no row: the one byte GONE, with which no encoded row begins (row_encode). */
#include "base/limits.h"
#include "processor/event_time.h"
#include "processor/history_state.h"
#include "processor/key_codec.h"
#include "processor/node.h"
#include "processor/row_state.h"

#include <string.h>

static const uint8_t GONE[1] = {2};

struct node_operator *node_lookup_open(struct processor *p, const struct node_view *view,
                                       const struct plan_operator *plan)
{
    struct node_operator *op = arena_calloc(&p->memory, sizeof *op);
    enum kappa_type *types =
        arena_calloc(&p->memory, sizeof *types * ((size_t)plan->value_count + 1));
    for (uint32_t v = 0; v < plan->value_count; v++) {
        types[v] = view->plan->row.types[plan->values[v]];
    }
    op->plan = plan;
    op->types = types;
    bool days = plan->as_of && view->plan->row.types[plan->left_time] == KAPPA_TYPE_DATE;
    op->time_unit_us = days ? INT64_C(86400000000) : 1;
    if (plan->as_of) {
        history_layout_init(&op->keyed.layout, &p->memory);
    } else {
        row_layout_init(&op->keyed.layout, &p->memory);
        op->keyed.deletes = p->options.plan->inputs[view->plan->input].tombstones;
    }
    node_keyed_open(p, &op->keyed, plan->table);
    return op;
}

/* The key of a row: 1, 0 when a part is null (it matches nothing), negative: the row is bad, and dead. */
static int make_key(struct processor *p, const struct node_view *view, const uint32_t *keys,
                    uint32_t count, uint32_t row, size_t *len)
{
    uint8_t *at = key_put_prefix(p->keys.bytes, p->chunk.source_index, false, 0);
    const uint8_t *limit = at + LIMIT_GROUP_KEY_LEN;
    for (uint32_t k = 0; k < count; k++) {
        const struct expr_vec *vec = &view->machine.registers[keys[k]];
        if (vec->state[row] >= EXPR_ERROR_FIRST) {
            node_refuse(p, view, row, expr_error_text((enum expr_state)vec->state[row]));
            return -1;
        }
        if (vec->state[row] == EXPR_NULL) {
            return 0;
        }
        at = key_put(at, limit, vec, row);
        if (at == NULL) {
            node_refuse(p, view, row, "the key of the join is longer than 480 bytes");
            return -1;
        }
    }
    *len = (size_t)(at - p->keys.bytes);
    return 1;
}

_Static_assert(LIMIT_GROUP_KEY_LEN == 480, "the sentence above");

/* Is the record one of the right side? An error makes it dead. Of a tombstone only the key and what the
 * record is besides its value are known: where WHERE asks for more, its key is gone whatever it was. */
static bool is_right(struct processor *p, const struct node_view *view,
                     const struct plan_operator *plan, uint32_t row)
{
    const struct expr_vec *registers = view->machine.registers;
    bool deleted = p->chunk.deleted[row];
    uint8_t state = EXPR_OK;
    if (plan->right_where != PLAN_NONE) {
        state = registers[plan->right_where].state[row];
        if (state == EXPR_NULL ? !deleted
                               : state == EXPR_OK && registers[plan->right_where].i[row] == 0) {
            return false;
        }
        state = state == EXPR_NULL ? EXPR_OK : state;
    }
    for (uint32_t v = 0; v < plan->value_count && state == EXPR_OK && !deleted; v++) {
        uint8_t other = registers[plan->values[v]].state[row];
        state = other >= EXPR_ERROR_FIRST ? other : EXPR_OK;
    }
    if (plan->as_of && state == EXPR_OK) {
        state = registers[plan->right_time].state[row];
    }
    if (state >= EXPR_ERROR_FIRST) {
        node_refuse(p, view, row, expr_error_text((enum expr_state)state));
    }
    return state == EXPR_OK;
}

/* Puts the encoded row of p->row under its key. */
static void keep_row(struct processor *p, const struct node_view *view, struct node_operator *op,
                     struct agg_entry *entry, uint32_t row)
{
    const struct plan_operator *plan = op->plan;
    bool deleted = p->chunk.deleted[row];
    if (deleted && !plan->as_of && !row_state_there(entry->state)) {
        return;
    }
    agg_cache_touch(&op->keyed.cache, entry);
    op->keyed.cache.dirty_bytes += p->row.len;
    if (!plan->as_of) {
        if (deleted) {
            row_state_clear(entry->state, &p->pool);
        } else {
            row_state_set(entry->state, &p->pool, p->row.data, p->row.len);
        }
        return;
    }
    struct history_state *history = (void *)entry->state;
    history_add(history, &p->pool, view->machine.registers[plan->right_time].i[row], p->row.data,
                u32_from(p->row.len));
    int64_t limit = KAPPA_NO_TIME;
    if (plan->history_us != INT64_MAX) {
        limit = event_time_limit(p->chunk.watermark[row], plan->history_us);
    }
    if (limit != KAPPA_NO_TIME) {
        int64_t unit = op->time_unit_us;
        history_trim(history, &p->pool, limit / unit - (limit % unit < 0 ? 1 : 0));
    }
}

static int keep_right(struct processor *p, struct node_view *view, struct node_operator *op,
                      uint32_t row, struct err *err)
{
    size_t len = 0;
    if (!is_right(p, view, op->plan, row) ||
        make_key(p, view, op->plan->right_keys, op->plan->key_count, row, &len) <= 0) {
        return 0;
    }
    buf_reset(&p->row);
    if (p->chunk.deleted[row]) {
        buf_append(&p->row, GONE, sizeof GONE);
    } else {
        row_encode(&p->row, view->machine.registers, op->plan->values, op->plan->value_count, row);
    }
    if (p->row.len > (op->plan->as_of ? LIMIT_HISTORY_BYTES : LIMIT_ROW_BYTES)) {
        node_refuse(p, view, row,
                    op->plan->as_of ? "the row is longer than 1 MiB, which the history of its key "
                                      "may have"
                                    : "the row is longer than 16 MiB");
        return 0;
    }
    struct agg_entry *entry = NULL;
    int rc = node_keyed_find(p, &op->keyed, p->chunk.source_index, p->keys.bytes, len, &entry, err);
    if (rc == 0) {
        keep_row(p, view, op, entry, row);
    }
    return rc;
}

_Static_assert(LIMIT_ROW_BYTES == 16777216 && LIMIT_HISTORY_BYTES == 1048576,
               "the sentences above");

/* What a row of the left side sees of its key. */
enum seen {
    SEEN_ROW,
    SEEN_NONE,
    SEEN_DEAD, /* nobody knows: it was let go, and the record is dead */
    SEEN_BROKEN
};

static enum seen seen_row(bool good)
{
    return good ? SEEN_ROW : SEEN_BROKEN;
}

static enum seen see_version(struct processor *p, struct node_view *view,
                             const struct node_operator *op, const struct agg_entry *entry,
                             uint32_t row)
{
    const struct plan_operator *plan = op->plan;
    struct expr_vec *registers = view->machine.registers;
    const struct expr_vec *time = &registers[plan->left_time];
    const struct history_state *history = (const void *)entry->state;
    const struct history_row *version = NULL;
    if (time->state[row] == EXPR_NULL) {
        return SEEN_NONE;
    }
    switch (history_find(history, time->i[row], plan->before, &version)) {
    case HISTORY_FOUND:
        if (version->len == sizeof GONE && version->bytes[0] == GONE[0]) {
            return SEEN_NONE;
        }
        return seen_row(row_decode(version->bytes, version->len, &view->machine.scratch, registers,
                                   plan->outs, op->types, plan->value_count, row));
    case HISTORY_GONE:
        node_refuse(p, view, row,
                    "what the right side of the join was at its time is no longer kept: the "
                    "history of a key has at most 4096 versions and 1 MiB, and what "
                    "history='...' keeps");
        return SEEN_DEAD;
    case HISTORY_NONE:
        break;
    }
    return SEEN_NONE;
}

_Static_assert(LIMIT_HISTORY_ROWS == 4096 && LIMIT_HISTORY_BYTES == 1048576, "the sentence above");

static enum seen see(struct processor *p, struct node_view *view, const struct node_operator *op,
                     const struct agg_entry *entry, uint32_t row)
{
    const struct plan_operator *plan = op->plan;
    if (plan->as_of) {
        return see_version(p, view, op, entry, row);
    }
    return !row_state_there(entry->state)
               ? SEEN_NONE
               : seen_row(row_state_get(entry->state, &view->machine.scratch,
                                        view->machine.registers, plan->outs, op->types,
                                        plan->value_count, row));
}

/* 1 the row goes on, 0 it leaves, negative. */
static int look_up(struct processor *p, struct node_view *view, struct node_operator *op,
                   uint32_t row, struct err *err)
{
    const struct plan_operator *plan = op->plan;
    size_t len = 0;
    int keyed = make_key(p, view, plan->keys, plan->key_count, row, &len);
    if (keyed <= 0) {
        return keyed == 0 && !plan->inner ? 1 : 0;
    }
    if (plan->as_of && view->machine.registers[plan->left_time].state[row] >= EXPR_ERROR_FIRST) {
        uint8_t state = view->machine.registers[plan->left_time].state[row];
        node_refuse(p, view, row, expr_error_text((enum expr_state)state));
        return 0;
    }
    struct agg_entry *entry = NULL;
    int rc = node_keyed_find(p, &op->keyed, p->chunk.source_index, p->keys.bytes, len, &entry, err);
    if (rc < 0) {
        return rc;
    }
    entry->flags |= AGG_ENTRY_USED;
    switch (see(p, view, op, entry, row)) {
    case SEEN_ROW:
        return 1;
    case SEEN_NONE:
        return plan->inner ? 0 : 1;
    case SEEN_DEAD:
        return 0;
    case SEEN_BROKEN:
        break;
    }
    return err_set(err, KE_CORRUPT, "table %s: a row's value does not decode",
                   p->options.plan->tables[plan->table].shape.name);
}

int node_lookup_apply(struct processor *p, struct node_view *view, struct node_operator *op,
                      struct err *err)
{
    struct node_chunk *chunk = &p->chunk;
    for (uint32_t v = 0; v < op->plan->value_count; v++) {
        memset(view->machine.registers[op->plan->outs[v]].state, EXPR_NULL, chunk->n);
    }
    uint32_t kept = 0;
    uint32_t s = 0;
    for (uint32_t row = 0; row < chunk->n; row++) {
        int rc = keep_right(p, view, op, row, err);
        if (rc == 0 && s < chunk->count && chunk->selected[s] == row) {
            s++;
            rc = look_up(p, view, op, row, err);
            chunk->selected[kept] = row;
            kept += rc == 1 ? 1 : 0;
        }
        if (rc < 0) {
            return rc;
        }
    }
    chunk->count = kept;
    return 0;
}
