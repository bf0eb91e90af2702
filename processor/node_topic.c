/* INSERT INTO: a message per row, kept until the commit. Own header: node.h.
 *
 * The value is a JSON object of the topic's columns in their order, without those that are headers;
 * or, raw, one column: its bytes, or its text; null is a tombstone. The key is the text of its column.
 * Layout: include/kappa/message.h. Time: the row's event time, else the record's time. */
#include "base/limits.h"
#include "include/kappa/message.h"
#include "processor/node.h"
#include "processor/value_text.h"

#include <string.h>

/* The value of column c of the topic in this row; null when nothing is inserted into it. */
static struct kappa_value column_value(const struct node_view *view, uint32_t c, uint32_t row)
{
    enum expr_state state = EXPR_OK;
    uint32_t reg = view->plan->append_regs[c];
    if (reg == PLAN_NONE) {
        return (struct kappa_value){.is_null = true};
    }
    return expr_value(&view->machine.registers[reg], row, &state);
}

static bool is_header(const struct plan_topic *topic, uint32_t column)
{
    for (uint32_t h = 0; h < topic->header_count; h++) {
        if (topic->headers[h] == column) {
            return true;
        }
    }
    return false;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t encode_key(struct buf *out, const struct plan_topic *topic,
                           const struct node_view *view, uint32_t row)
{
    size_t start = out->len;
    if (topic->key == PLAN_NONE) {
        return KAPPA_NULL_LEN;
    }
    struct kappa_value key = column_value(view, topic->key, row);
    if (key.is_null) {
        return KAPPA_NULL_LEN;
    }
    value_text(out, &key);
    return (uint32_t)(out->len - start);
}

/* The bytes of a bytea, else the text. */
static uint32_t encode_raw(struct buf *out, const struct plan_topic *topic,
                           const struct node_view *view, uint32_t row)
{
    size_t start = out->len;
    struct kappa_value value = column_value(view, topic->value, row);
    if (value.is_null) {
        return KAPPA_NULL_LEN;
    }
    if (value.type == KAPPA_TYPE_BYTEA) {
        buf_append(out, value.s.bytes, value.s.len);
    } else {
        value_text(out, &value);
    }
    return (uint32_t)(out->len - start);
}

static uint32_t encode_value(struct buf *out, const struct plan_topic *topic,
                             const struct node_view *view, uint32_t row)
{
    size_t start = out->len;
    if (topic->value != PLAN_NONE) {
        return encode_raw(out, topic, view, row);
    }
    const char *before = "{";
    for (uint32_t c = 0; c < topic->column_count; c++) {
        if (is_header(topic, c)) {
            continue;
        }
        buf_append_text(out, before);
        before = ",";
        value_json_string(out, topic->columns[c].name, strlen(topic->columns[c].name));
        buf_append_u8(out, ':');
        struct kappa_value value = column_value(view, c, row);
        value_json(out, &value);
    }
    buf_append_text(out, before[0] == '{' ? "{}" : "}");
    return (uint32_t)(out->len - start);
}

/* The record's headers as they are, but not its name as a message of someone. */
static void copy_headers(struct buf *out, const struct kappa_record *record)
{
    static const char own[] = KAPPA_MESSAGE_NAME;
    const uint8_t *at = record->headers;
    size_t left = record->headers_len;
    while (left >= 8) {
        uint32_t name_len = load_u32_le(at);
        if (name_len > left - 8) {
            return;
        }
        uint32_t value_len = load_u32_le(at + 4 + name_len);
        size_t size = 8 + (size_t)name_len + (value_len == KAPPA_NULL_LEN ? 0 : value_len);
        if (size > left) {
            return;
        }
        if (name_len != sizeof own - 1 || memcmp(at + 4, own, name_len) != 0) {
            buf_append(out, at, size);
        }
        at += size;
        left -= size;
    }
}

static uint32_t encode_headers(struct buf *out, const struct plan_topic *topic,
                               const struct node_view *view, uint32_t row,
                               const struct kappa_record *record)
{
    size_t start = out->len;
    if (topic->keep_headers) {
        copy_headers(out, record);
    }
    for (uint32_t h = 0; h < topic->header_count; h++) {
        const char *name = topic->columns[topic->headers[h]].name;
        struct kappa_value value = column_value(view, topic->headers[h], row);
        buf_append_u32_le(out, (uint32_t)strlen(name));
        buf_append_text(out, name);
        size_t length_at = out->len;
        buf_append_u32_le(out, KAPPA_NULL_LEN);
        if (!value.is_null) {
            value_text(out, &value);
            put_u32(out->data + length_at, (uint32_t)(out->len - length_at - 4));
        }
    }
    return (uint32_t)(out->len - start);
}

static int64_t message_time(const struct node_chunk *chunk, uint32_t row)
{
    if (chunk->event_time == NULL) {
        return chunk->records[row]->time_ms;
    }
    int64_t us = chunk->event_time[row];
    return us / 1000 - (us % 1000 < 0 ? 1 : 0);
}

/* NOT NULL: the column that is, or PLAN_NONE. */
static uint32_t find_null(const struct plan_topic *topic, const struct node_view *view,
                          uint32_t row)
{
    for (uint32_t c = 0; c < topic->column_count; c++) {
        if (topic->not_null[c] && column_value(view, c, row).is_null) {
            return c;
        }
    }
    return PLAN_NONE;
}

static void refuse_null(struct processor *p, const struct node_view *view,
                        const struct plan_topic *topic, uint32_t column, uint32_t row)
{
    struct buf reason = {0};
    buf_printf(&reason, "column \"%s\" is missing or null, and is NOT NULL",
               topic->columns[column].name);
    node_refuse(p, view, row, buf_text(&reason));
    buf_free(&reason);
}

void node_topic_apply(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_topic *topic = &p->options.plan->topics[view->plan->topic];
    struct node_pending *pending = &chunk->source->parts[view->index].pending;
    struct buf *out = &pending->bytes;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        uint32_t null = find_null(topic, view, row);
        if (null != PLAN_NONE) {
            refuse_null(p, view, topic, null, row);
            continue;
        }
        size_t start = out->len;
        buf_append_u64_le(out, (uint64_t)message_time(chunk, row));
        buf_append(out, "\0\0\0\0\0\0\0\0\0\0\0", 12);
        uint32_t key = encode_key(out, topic, view, row);
        uint32_t value = encode_value(out, topic, view, row);
        uint32_t headers = encode_headers(out, topic, view, row, chunk->records[row]);
        put_u32(out->data + start + 8, key);
        put_u32(out->data + start + 12, value);
        put_u32(out->data + start + 16, headers);
        if (out->len - start > LIMIT_ROW_BYTES) {
            out->len = start;
            node_refuse(p, view, row, "the message is longer than 16 MiB");
            continue;
        }
        node_append_keep(p, pending, start, row);
    }
}

_Static_assert(LIMIT_ROW_BYTES == 16777216, "the sentence above");
_Static_assert(KAPPA_MESSAGE_HEAD == 20, "time and three lengths");

int node_topic_flush(struct processor *p, const struct node_view *view,
                     const struct kappa_change_sink *sink, struct err *err)
{
    if (sink->out == NULL) {
        return err_set(err, KE_REFUSED, "not supported yet: messages to topic %s",
                       view->plan->shape.name);
    }
    /* Views that write one topic share its numbers: each has its own seq. */
    const struct plan *plan = p->options.plan;
    uint32_t seq = 0;
    uint32_t writers = 0;
    for (uint32_t v = plan->view_count; v < plan->pipeline_count; v++) {
        bool same = plan->views[v].topic == view->plan->topic;
        seq += same && v < view->index ? 1 : 0;
        writers += same ? 1 : 0;
    }
    for (uint32_t s = 0; s < p->source_count; s++) {
        const struct node_source *source = &p->sources[s];
        if (!source->open || source->input != view->plan->input) {
            continue;
        }
        const struct node_pending *pending = &source->parts[view->index].pending;
        size_t start = 0;
        for (size_t i = 0; i < pending->count; i++) {
            int rc = sink->out(sink->ctx, view->plan->topic, s, pending->offsets[i],
                               seq + pending->numbers[i] * writers, pending->bytes.data + start,
                               pending->ends[i] - start, err);
            if (rc < 0) {
                return rc;
            }
            start = pending->ends[i];
        }
    }
    return 0;
}
