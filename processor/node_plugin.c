/* Plugins: code outside of SQL makes rows out of an input's rows. Own header: node.h.
 *
 * The rows that it emits are gathered into a chunk of their own; when that is full, or the input's chunk
 * is done, the views over the plugin run on it. Each row stands for the record it came from: its offset,
 * its time, and behind them its number among the rows of that record. */
#include "base/limits.h"
#include "processor/node.h"
#include "processor/row_state.h"

#include <string.h>

/* ---- What the plugin calls. */

static int make_key(struct node_plugin *plugin, const void *key, uint32_t key_len, size_t *len)
{
    struct processor *p = plugin->p;
    if (key_len > KAPPA_PLUGIN_KEY_MAX) {
        return err_set(plugin->err, KE_LIMIT,
                       "plugin %s: a key of its state has %u bytes, at most %d", plugin->plan->file,
                       key_len, KAPPA_PLUGIN_KEY_MAX);
    }
    uint8_t *at = p->keys.bytes;
    store_u16_be(at, u16_from(p->chunk.source_index));
    if (key_len > 0) {
        memcpy(at + KAPPA_KEY_SOURCE_BYTES, key, key_len);
    }
    *len = KAPPA_KEY_SOURCE_BYTES + (size_t)key_len;
    return 0;
}

_Static_assert(KAPPA_PLUGIN_KEY_MAX <= LIMIT_GROUP_KEY_LEN, "a key of a plugin fits the store");

static int find(struct node_plugin *plugin, const void *key, uint32_t key_len,
                struct agg_entry **entry)
{
    struct processor *p = plugin->p;
    size_t len = 0;
    int rc = make_key(plugin, key, key_len, &len);
    return rc < 0 ? rc
                  : node_keyed_find(p, &plugin->keyed, p->chunk.source_index, p->keys.bytes, len,
                                    entry, plugin->err);
}

static int host_get(void *ctx, const void *key, uint32_t key_len, const void **value,
                    uint32_t *value_len)
{
    struct node_plugin *plugin = ctx;
    struct agg_entry *entry = NULL;
    int rc = find(plugin, key, key_len, &entry);
    if (rc < 0) {
        plugin->rc = rc;
        return rc;
    }
    entry->flags |= AGG_ENTRY_USED;
    if (!row_state_there(entry->state)) {
        return 0;
    }
    const struct agg_text *text = (const struct agg_text *)(const void *)entry->state;
    *value = text->bytes;
    *value_len = text->len;
    return 1;
}

static int host_put(void *ctx, const void *key, uint32_t key_len, const void *value,
                    uint32_t value_len)
{
    struct node_plugin *plugin = ctx;
    struct agg_entry *entry = NULL;
    int rc = find(plugin, key, key_len, &entry);
    if (rc == 0 && value_len > LIMIT_ROW_BYTES) {
        rc = err_set(plugin->err, KE_LIMIT,
                     "plugin %s: a value of its state has %u bytes, at most %d", plugin->plan->file,
                     value_len, LIMIT_ROW_BYTES);
    }
    if (rc < 0) {
        plugin->rc = rc;
        return rc;
    }
    agg_cache_touch(&plugin->keyed.cache, entry);
    plugin->keyed.cache.dirty_bytes += value_len;
    /* The value may be the one that get() has lent. */
    struct buf *copy = &plugin->p->row;
    buf_reset(copy);
    buf_append(copy, value, value_len);
    row_state_set(entry->state, &plugin->p->pool, copy->data, copy->len);
    return 0;
}

static int host_del(void *ctx, const void *key, uint32_t key_len)
{
    struct node_plugin *plugin = ctx;
    struct agg_entry *entry = NULL;
    int rc = find(plugin, key, key_len, &entry);
    if (rc < 0) {
        plugin->rc = rc;
        return rc;
    }
    if (row_state_there(entry->state)) {
        agg_cache_touch(&plugin->keyed.cache, entry);
        row_state_clear(entry->state, &plugin->p->pool);
    }
    return 0;
}

static int emit_error(struct node_plugin *plugin, const char *what)
{
    plugin->rc =
        err_set(plugin->err, KE_REFUSED, "plugin %s emitted a row %s", plugin->plan->file, what);
    return plugin->rc;
}

static int take_value(struct node_plugin *plugin, uint32_t c, const struct kappa_value *value)
{
    struct expr_vec *column = &plugin->columns[c];
    uint32_t row = plugin->made.n;
    if (value->is_null) {
        column->state[row] = EXPR_NULL;
        return 0;
    }
    if (value->type != column->type) {
        return emit_error(plugin, "with a value of another type than its column");
    }
    struct kappa_value copy = *value;
    if (kappa_type_payload(value->type) == KAPPA_PAYLOAD_BYTES) {
        if (value->s.len > LIMIT_RECORD_BYTES) {
            return emit_error(plugin, "with a value of more than 16 MiB");
        }
        char *bytes = arena_alloc(&plugin->texts, (size_t)value->s.len + 1);
        memcpy(bytes, value->s.bytes, value->s.len);
        copy.s.bytes = bytes;
    }
    expr_set(column, row, &copy);
    return 0;
}

static int host_emit(void *ctx, const struct kappa_value *values, uint32_t count)
{
    struct node_plugin *plugin = ctx;
    const struct plan_input *rows = &plugin->p->options.plan->inputs[plugin->plan->rows];
    if (count != rows->column_count) {
        return emit_error(plugin, "with another number of values than it has columns");
    }
    for (uint32_t c = 0; c < count; c++) {
        int rc = take_value(plugin, c, &values[c]);
        if (rc < 0) {
            return rc;
        }
    }
    struct node_chunk *made = &plugin->made;
    const struct node_chunk *from = &plugin->p->chunk;
    uint32_t row = made->n++;
    made->records[row] = from->records[plugin->row];
    made->offset[row] = from->offset[plugin->row];
    made->watermark[row] = from->watermark[plugin->row];
    plugin->event_time[row] = from->event_time == NULL ? 0 : from->event_time[plugin->row];
    made->deleted[row] = false;
    made->number[row] = plugin->emitted++;
    if (made->n == NODE_CHUNK) {
        plugin->rc = node_plugin_flush(plugin->p, plugin, plugin->err);
    }
    return plugin->rc;
}

static int host_refuse(void *ctx, const char *reason)
{
    struct node_plugin *plugin = ctx;
    struct node_chunk *chunk = &plugin->p->chunk;
    struct buf *text = &plugin->p->row;
    buf_reset(text);
    buf_printf(text, "%s: %.150s", plugin->plan->file, reason);
    dead_add(&plugin->p->dead, chunk->source_index, UINT32_MAX, chunk->records[plugin->row],
             buf_text(text));
    chunk->source->state.dead++;
    return 0;
}

/* ---- Opening. */

static void open_columns(struct node_plugin *plugin, const struct plan_input *rows)
{
    struct arena *memory = &plugin->p->memory;
    plugin->columns = arena_calloc(memory, sizeof *plugin->columns * rows->column_count);
    for (uint32_t c = 0; c < rows->column_count; c++) {
        struct expr_vec *column = &plugin->columns[c];
        column->type = rows->columns[c].type;
        column->state = arena_calloc(memory, NODE_CHUNK);
        column->i = arena_calloc(memory, expr_payload_size(column->type) * NODE_CHUNK);
    }
}

static uint32_t shown(const struct plan_input *input)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < input->column_count; c++) {
        count += input->columns[c].hidden ? 0 : 1;
    }
    return count;
}

static void schema_side(struct arena *memory, const struct plan_input *input,
                        const char *const **names, const enum kappa_type **types, uint32_t *count)
{
    const char **name = arena_calloc(memory, sizeof(char *) * ((size_t)input->column_count + 1));
    enum kappa_type *type = arena_calloc(memory, sizeof *type * ((size_t)input->column_count + 1));
    *count = 0;
    for (uint32_t c = 0; c < input->column_count; c++) {
        if (!input->columns[c].hidden) {
            name[*count] = input->columns[c].name;
            type[(*count)++] = input->columns[c].type;
        }
    }
    *names = name;
    *types = type;
}

void node_plugin_prepare(struct processor *p, struct node_plugin *plugin,
                         const struct plan_plugin *plan)
{
    const struct plan_input *input = &p->options.plan->inputs[plan->input];
    plugin->p = p;
    plugin->plan = plan;
    arena_init(&plugin->texts);
    plugin->event_time = arena_calloc(&p->memory, sizeof(int64_t) * NODE_CHUNK);
    plugin->values = arena_calloc(&p->memory, sizeof *plugin->values * ((size_t)shown(input) + 1));
    open_columns(plugin, &p->options.plan->inputs[plan->rows]);
    row_layout_init(&plugin->keyed.layout, &p->memory);
    plugin->keyed.deletes = true;
    node_keyed_open(p, &plugin->keyed, plan->table);
    key_index_open(&plugin->index);
}

int node_plugin_open(struct node_plugin *plugin, const struct kappa_plugin *code, struct err *err)
{
    const struct plan *plan = plugin->p->options.plan;
    struct arena *memory = &plugin->p->memory;
    struct kappa_plugin_schema schema;
    char error[200] = "";
    schema_side(memory, &plan->inputs[plugin->plan->input], &schema.input_names,
                &schema.input_types, &schema.input_count);
    schema_side(memory, &plan->inputs[plugin->plan->rows], &schema.output_names,
                &schema.output_types, &schema.output_count);
    if (code->open(&schema, &plugin->instance, error, sizeof error) != 0) {
        error[sizeof error - 1] = '\0';
        return err_set(err, KE_REFUSED, "plugin %s does not open: %s", plugin->plan->file,
                       error[0] == '\0' ? "it does not say why" : error);
    }
    plugin->code = code;
    return 0;
}

void node_plugin_close(struct node_plugin *plugin)
{
    if (plugin->code != NULL) {
        plugin->code->close(plugin->instance);
    }
    key_index_close(&plugin->index);
    node_keyed_close(&plugin->keyed);
    arena_free(&plugin->texts);
}

void node_plugin_committed(struct node_plugin *plugin)
{
    if (plugin->p->options.row_from == NULL) {
        key_index_take(&plugin->index, &plugin->keyed.cache); /* there is no other place to scan */
        plugin->index.taken = 0;
    } else {
        key_index_clear(&plugin->index);
    }
    node_keyed_committed(&plugin->keyed);
}

/* ---- Running. */

static void fill_event(struct node_plugin *plugin, const struct expr_vec *columns, uint32_t row,
                       struct kappa_event *event)
{
    struct processor *p = plugin->p;
    const struct node_chunk *chunk = &p->chunk;
    const struct plan_input *input = &p->options.plan->inputs[plugin->plan->input];
    uint32_t count = 0;
    for (uint32_t c = 0; c < input->column_count; c++) {
        enum expr_state state = EXPR_OK;
        if (!input->columns[c].hidden) {
            plugin->values[count++] = expr_value(&columns[c], row, &state);
        }
    }
    bool timed = chunk->event_time != NULL;
    *event = (struct kappa_event){.values = plugin->values,
                                  .value_count = count,
                                  .partition = chunk->source->partition,
                                  .offset = chunk->offset[row],
                                  .time_us = timed ? chunk->event_time[row] : KAPPA_NO_TIME,
                                  .watermark_us = timed ? chunk->watermark[row] : KAPPA_NO_TIME};
}

int node_plugin_apply(struct processor *p, struct node_plugin *plugin, struct err *err)
{
    const struct kappa_host host = {plugin,    host_get,    host_put,        host_del,
                                    host_emit, host_refuse, node_scan_range, node_scan_prefix};
    const struct expr_vec *columns = decoder_columns(p->decoders[plugin->plan->input]);
    plugin->err = err;
    plugin->rc = 0;
    for (uint32_t row = 0; row < p->chunk.n; row++) {
        if (p->chunk.deleted[row]) {
            continue; /* only joins see it */
        }
        struct kappa_event event;
        fill_event(plugin, columns, row, &event);
        plugin->row = row;
        plugin->emitted = 0;
        int rc = plugin->code->event(plugin->instance, &event, &host);
        if (plugin->rc < 0) {
            return plugin->rc;
        }
        if (rc != 0) {
            return err_set(err, KE_REFUSED, "plugin %s gave up with code %d at offset %lld",
                           plugin->plan->file, rc, (long long)event.offset);
        }
    }
    return node_plugin_flush(p, plugin, err);
}

int node_plugin_flush(struct processor *p, struct node_plugin *plugin, struct err *err)
{
    if (plugin->made.n == 0) {
        return 0;
    }
    /* Operators work on the processor's chunk: the input's stands aside meanwhile. */
    bool timed = p->chunk.event_time != NULL;
    memcpy(&plugin->aside, &p->chunk, sizeof plugin->aside);
    plugin->made.source_index = plugin->aside.source_index;
    plugin->made.source = plugin->aside.source;
    memcpy(&p->chunk, &plugin->made, sizeof p->chunk);
    p->chunk.event_time = timed ? plugin->event_time : NULL;
    int rc = processor_run_views(p, plugin->plan->rows, err);
    memcpy(&p->chunk, &plugin->aside, sizeof p->chunk);
    plugin->made.n = 0;
    arena_reset(&plugin->texts);
    return rc;
}
