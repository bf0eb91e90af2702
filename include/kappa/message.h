/* A message on its way to a topic, as processor/ makes it, table/ keeps it in the outbox and replayer/
 * sends it.
 *
 *     time_ms i64 LE, or KAPPA_NO_TIME | key length u32 LE, or KAPPA_NULL_LEN | value length u32 LE, or
 *     KAPPA_NULL_LEN | headers length u32 LE | key | value | headers (as in struct kappa_record) */
#ifndef KAPPA_MESSAGE_H
#define KAPPA_MESSAGE_H

#include "include/kappa/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define KAPPA_MESSAGE_HEAD 20

/* The header that names a message in its topic (replayer/sender_name.h). No message has one before it
 * is sent. */
#define KAPPA_MESSAGE_NAME "kappa-out"

/* The header of a correction, beside the name of the message that it corrects (replayer/sender_name.h). */
#define KAPPA_MESSAGE_CORRECTION "kappa-correction"

/* The header of a mark: a message without key and value that says in it, in ms since 1970, which time
 * has passed (replayer/sender_marks.c). It is nobody's row. */
#define KAPPA_MESSAGE_MARK "kappa-mark"

static inline uint32_t kappa_message_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Borrows from the bytes; offset is -1. False: the bytes are no message. The value has no readable
 * tail behind it. */
static inline bool kappa_message_read(const uint8_t *bytes, size_t len, struct kappa_record *out)
{
    if (len < KAPPA_MESSAGE_HEAD) {
        return false;
    }
    uint64_t time = kappa_message_u32(bytes) | (uint64_t)kappa_message_u32(bytes + 4) << 32;
    memset(out, 0, sizeof *out);
    out->offset = -1;
    memcpy(&out->time_ms, &time, sizeof time);
    out->key_len = kappa_message_u32(bytes + 8);
    out->value_len = kappa_message_u32(bytes + 12);
    out->headers_len = kappa_message_u32(bytes + 16);
    uint64_t key = out->key_len == KAPPA_NULL_LEN ? 0 : out->key_len;
    uint64_t value = out->value_len == KAPPA_NULL_LEN ? 0 : out->value_len;
    if (KAPPA_MESSAGE_HEAD + key + value + out->headers_len != len) {
        return false;
    }
    const uint8_t *at = bytes + KAPPA_MESSAGE_HEAD;
    out->key = out->key_len == KAPPA_NULL_LEN ? NULL : at;
    out->value = out->value_len == KAPPA_NULL_LEN ? NULL : at + key;
    out->headers = out->headers_len == 0 ? NULL : at + key + value;
    return true;
}

#endif
