/* Parts of canonical JSON texts. Own header: jsonb.h. The texts are well-formed, unless a store was
 * damaged: nothing is read outside of them even then. */
#include "processor/jsonb.h"

#include "processor/json_token.h"

#include <string.h>

enum jsonb_kind jsonb_kind(struct kappa_text doc)
{
    switch (doc.len > 0 ? doc.bytes[0] : 'n') {
    case '{':
        return JSONB_OBJECT;
    case '[':
        return JSONB_ARRAY;
    case '"':
        return JSONB_STRING;
    case 't':
    case 'f':
        return JSONB_BOOLEAN;
    case 'n':
        return JSONB_NULL;
    default:
        return JSONB_NUMBER;
    }
}

static char byte_at(struct kappa_text doc, uint32_t at)
{
    if (at >= doc.len) {
        return 0;
    }
    return doc.bytes[at];
}

/* Behind the string that begins at its quote. */
static uint32_t string_end(struct kappa_text doc, uint32_t at)
{
    for (at++; at < doc.len && doc.bytes[at] != '"'; at++) {
        at += doc.bytes[at] == '\\' ? 1 : 0;
    }
    return at < doc.len ? at + 1 : doc.len;
}

/* Behind the value at `at`: at the comma or bracket that follows it, or the end. */
static uint32_t value_end(struct kappa_text doc, uint32_t at)
{
    uint32_t depth = 0;
    while (at < doc.len) {
        char c = doc.bytes[at];
        if (c == '"') {
            at = string_end(doc, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            break;
        }
        depth += c == '{' || c == '[' ? 1 : 0;
        depth -= c == '}' || c == ']' ? 1 : 0;
        at++;
    }
    return at;
}

static struct kappa_text part(struct kappa_text doc, uint32_t from, uint32_t to)
{
    return to < from ? (struct kappa_text){"null", 4}
                     : (struct kappa_text){doc.bytes + from, to - from};
}

/* Without its escapes; a name of more than 1024 bytes that has any is not found. */
static bool name_is(struct kappa_text written, struct kappa_text name)
{
    if (memchr(written.bytes, '\\', written.len) == NULL || written.len > 1024) {
        return written.len == name.len &&
               (name.len == 0 || memcmp(written.bytes, name.bytes, name.len) == 0);
    }
    uint8_t plain[1024];
    int64_t len = json_unescape((const uint8_t *)written.bytes, written.len, plain);
    return len == (int64_t)name.len && memcmp(plain, name.bytes, name.len) == 0;
}

bool jsonb_member(struct kappa_text doc, struct kappa_text name, struct kappa_text *out)
{
    if (jsonb_kind(doc) != JSONB_OBJECT) {
        return false;
    }
    for (uint32_t at = 1; at < doc.len && doc.bytes[at] == '"';) {
        uint32_t behind = string_end(doc, at);
        uint32_t value = behind + 2; /* ": " */
        uint32_t end = value_end(doc, value);
        if (name_is(part(doc, at + 1, behind - 1), name)) {
            *out = part(doc, value, end);
            return true;
        }
        at = end + 2; /* ", " */
    }
    return false;
}

bool jsonb_next(struct kappa_text doc, uint32_t *pos, struct kappa_text *out)
{
    uint32_t at = *pos == 0 ? 1 : *pos;
    if (at >= doc.len || doc.bytes[at] == ']') {
        return false;
    }
    uint32_t end = value_end(doc, at);
    *out = part(doc, at, end);
    *pos = byte_at(doc, end) == ',' ? end + 2 : doc.len;
    return true;
}

int64_t jsonb_length(struct kappa_text doc)
{
    if (jsonb_kind(doc) != JSONB_ARRAY) {
        return -1;
    }
    struct kappa_text element;
    int64_t count = 0;
    for (uint32_t pos = 0; jsonb_next(doc, &pos, &element);) {
        count++;
    }
    return count;
}

bool jsonb_element(struct kappa_text doc, int64_t index, struct kappa_text *out)
{
    enum jsonb_kind kind = jsonb_kind(doc);
    if (kind > JSONB_ARRAY && (index == 0 || index == -1)) {
        *out = doc; /* as in PostgreSQL, a lone scalar is its own element */
        return true;
    }
    if (kind != JSONB_ARRAY) {
        return false;
    }
    index += index < 0 ? jsonb_length(doc) : 0;
    for (uint32_t pos = 0; index >= 0 && jsonb_next(doc, &pos, out); index--) {
        if (index == 0) {
            return true;
        }
    }
    return false;
}

struct kappa_text jsonb_text(struct kappa_text doc, struct arena *memory)
{
    if (jsonb_kind(doc) != JSONB_STRING) {
        return doc;
    }
    struct kappa_text inner = part(doc, 1, doc.len < 2 ? 1 : doc.len - 1);
    if (inner.len == 0 || memchr(inner.bytes, '\\', inner.len) == NULL) {
        return inner;
    }
    uint8_t *plain = arena_alloc(memory, inner.len);
    int64_t len = json_unescape((const uint8_t *)inner.bytes, inner.len, plain);
    return (struct kappa_text){(const char *)plain, len < 0 ? 0 : (uint32_t)len};
}
