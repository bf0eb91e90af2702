/* The bytes of a message, kept until the commit. Own header: node.h.
 *
 * The value is a JSON object of the topic's columns in their order, without those that are headers or
 * the time; or, raw, one column: its bytes, or its text; null is a tombstone. The key is the text of
 * its column. The time is that of its column (time='column') where it is not null, else what the
 * caller says. Layout: include/kappa/message.h. */
#include "include/kappa/message.h"

#include "base/limits.h"
#include "processor/node.h"
#include "processor/value_text.h"

#include <string.h>

/* Is it no part of a JSON value? */
static bool is_aside(const struct plan_topic *topic, uint32_t column)
{
    if (column == topic->time) {
        return true;
    }
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

static uint32_t encode_key(struct buf *out, const struct node_message *message)
{
    const struct plan_topic *topic = message->topic;
    size_t start = out->len;
    if (topic->key == PLAN_NONE) {
        return KAPPA_NULL_LEN;
    }
    struct kappa_value key = message->values[topic->key];
    if (key.is_null) {
        return KAPPA_NULL_LEN;
    }
    value_text(out, &key);
    return (uint32_t)(out->len - start);
}

/* The bytes of a bytea, else the text. */
static uint32_t encode_raw(struct buf *out, const struct node_message *message)
{
    size_t start = out->len;
    struct kappa_value value = message->values[message->topic->value];
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

static uint32_t encode_value(struct buf *out, const struct node_message *message)
{
    const struct plan_topic *topic = message->topic;
    size_t start = out->len;
    if (topic->value != PLAN_NONE) {
        return encode_raw(out, message);
    }
    const char *before = "{";
    for (uint32_t c = 0; c < topic->column_count; c++) {
        if (is_aside(topic, c)) {
            continue;
        }
        buf_append_text(out, before);
        before = ",";
        value_json_string(out, topic->columns[c].name, strlen(topic->columns[c].name));
        buf_append_u8(out, ':');
        struct kappa_value value = message->values[c];
        value_json(out, &value);
    }
    buf_append_text(out, before[0] == '{' ? "{}" : "}");
    return (uint32_t)(out->len - start);
}

static bool header_is(const uint8_t *name, uint32_t len, const char *own)
{
    return len == strlen(own) && memcmp(name, own, len) == 0;
}

/* The record's headers as they are, but not its name as a message of someone, nor that it corrects one. */
static void copy_headers(struct buf *out, const struct kappa_record *record)
{
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
        if (!header_is(at + 4, name_len, KAPPA_MESSAGE_NAME) &&
            !header_is(at + 4, name_len, KAPPA_MESSAGE_CORRECTION)) {
            buf_append(out, at, size);
        }
        at += size;
        left -= size;
    }
}

static uint32_t encode_headers(struct buf *out, const struct node_message *message)
{
    const struct plan_topic *topic = message->topic;
    size_t start = out->len;
    if (topic->keep_headers && message->record != NULL) {
        copy_headers(out, message->record);
    }
    for (uint32_t h = 0; h < topic->header_count; h++) {
        const char *name = topic->columns[topic->headers[h]].name;
        struct kappa_value value = message->values[topic->headers[h]];
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

static int64_t message_time(const struct node_message *message)
{
    uint32_t column = message->topic->time;
    if (column == PLAN_NONE || message->values[column].is_null) {
        return message->time_ms;
    }
    int64_t us = message->values[column].i;
    return us / 1000 - (us % 1000 < 0 ? 1 : 0);
}

/* NOT NULL: the column that is, or PLAN_NONE. */
static uint32_t find_null(const struct node_message *message)
{
    for (uint32_t c = 0; c < message->topic->column_count; c++) {
        if (message->topic->not_null[c] && message->values[c].is_null) {
            return c;
        }
    }
    return PLAN_NONE;
}

bool node_message_keep(struct processor *p, struct node_pending *pending,
                       const struct node_message *message, struct buf *reason)
{
    struct buf *out = &pending->bytes;
    uint32_t null = find_null(message);
    if (null != PLAN_NONE) {
        buf_reset(reason);
        buf_printf(reason, "column \"%s\" is missing or null, and is NOT NULL",
                   message->topic->columns[null].name);
        return false;
    }
    size_t start = out->len;
    buf_append_u64_le(out, (uint64_t)message_time(message));
    buf_append(out, "\0\0\0\0\0\0\0\0\0\0\0", 12);
    uint32_t key = encode_key(out, message);
    uint32_t value = encode_value(out, message);
    uint32_t headers = encode_headers(out, message);
    put_u32(out->data + start + 8, key);
    put_u32(out->data + start + 12, value);
    put_u32(out->data + start + 16, headers);
    if (out->len - start > LIMIT_ROW_BYTES) {
        out->len = start;
        buf_reset(reason);
        buf_append_text(reason, "the message is longer than 16 MiB");
        return false;
    }
    node_append_keep(p, pending, start, message->offset, message->number);
    return true;
}

_Static_assert(LIMIT_ROW_BYTES == 16777216, "the sentence above");
_Static_assert(KAPPA_MESSAGE_HEAD == 20, "time and three lengths");
