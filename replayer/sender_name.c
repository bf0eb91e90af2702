/* Names of messages. Own header: sender_name.h. */
#include "replayer/sender_name.h"

#include <inttypes.h>
#include <string.h>

int sender_place_order(const struct sender_place *a, const struct sender_place *b)
{
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    if (a->output != b->output) {
        return a->output < b->output ? -1 : 1;
    }
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

void sender_name_write(struct buf *text, const char *sender, const char *topic, uint64_t identity,
                       uint32_t partition, const struct sender_place *place)
{
    buf_printf(text, "%s %s", sender, topic);
    if (identity != 0) {
        buf_printf(text, ":%" PRIx64, identity);
    }
    buf_printf(text, "/%" PRIu32 "@%" PRId64 ".%" PRIu32 ".%" PRIu32, partition, place->offset,
               place->output, place->seq);
}

/* Takes digits from the end of the text, down to the mark before them. */
static bool take_back(const char *text, size_t *len, char mark, uint32_t base, uint64_t most,
                      uint64_t *out)
{
    size_t start = *len;
    while (start > 0 && text[start - 1] != mark) {
        start--;
    }
    if (start == 0 || start == *len || *len - start > 20) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = start; i < *len; i++) {
        char c = text[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : UINT32_MAX;
        if (digit >= base || value > (most - digit) / base) {
            return false;
        }
        value = value * base + digit;
    }
    *len = start - 1;
    *out = value;
    return true;
}

bool sender_name_read(const char *text, size_t len, struct sender_name *out)
{
    uint64_t seq = 0;
    uint64_t output = 0;
    uint64_t offset = 0;
    uint64_t partition = 0;
    uint64_t identity = 0;
    if (!take_back(text, &len, '.', 10, UINT32_MAX, &seq) ||
        !take_back(text, &len, '.', 10, UINT32_MAX, &output) ||
        !take_back(text, &len, '@', 10, INT64_MAX, &offset) ||
        !take_back(text, &len, '/', 10, UINT32_MAX, &partition)) {
        return false;
    }
    const char *blank = memchr(text, ' ', len);
    if (blank == NULL) {
        return false;
    }
    const char *topic = blank + 1;
    size_t topic_len = len - (size_t)(topic - text);
    if (memchr(topic, ':', topic_len) != NULL &&
        !take_back(topic, &topic_len, ':', 16, UINT64_MAX, &identity)) {
        return false;
    }
    *out = (struct sender_name){
        .sender = text,
        .sender_len = (size_t)(blank - text),
        .topic = topic,
        .topic_len = topic_len,
        .identity = identity,
        .partition = (uint32_t)partition,
        .place = {(int64_t)offset, (uint32_t)output, (uint32_t)seq},
    };
    return true;
}

bool sender_header_find(const struct kappa_record *record, const char *name, const char **value,
                        size_t *len)
{
    const uint8_t *at = record->headers;
    size_t left = record->headers_len;
    while (left >= 8) {
        uint32_t name_len = load_u32_le(at);
        if (name_len > left - 8) {
            return false;
        }
        const char *found = (const char *)at + 4;
        uint32_t value_len = load_u32_le(at + 4 + name_len);
        uint32_t size = value_len == KAPPA_NULL_LEN ? 0 : value_len;
        at += 8 + name_len;
        left -= 8 + (size_t)name_len;
        if (size > left) {
            return false;
        }
        if (name_len == strlen(name) && memcmp(found, name, name_len) == 0) {
            *value = (const char *)at;
            *len = size;
            return value_len != KAPPA_NULL_LEN;
        }
        at += size;
        left -= size;
    }
    return false;
}

bool sender_name_find(const struct kappa_record *record, struct sender_name *out)
{
    const char *text = NULL;
    size_t len = 0;
    return sender_header_find(record, SENDER_HEADER, &text, &len) &&
           sender_name_read(text, len, out);
}

bool sender_name_corrects(const struct kappa_record *record)
{
    const char *text = NULL;
    size_t len = 0;
    return sender_header_find(record, SENDER_CORRECTION, &text, &len);
}
