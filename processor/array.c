/* Arrays as bytes and as text. Own header: array.h. */
#include "processor/array.h"

#include "processor/jsonb.h"
#include "processor/key_codec.h"
#include "processor/value_cast.h"

#include <string.h>
#include <strings.h>

bool array_next(struct kappa_text array, size_t *pos, enum kappa_type element, struct arena *memory,
                struct kappa_value *out)
{
    if (*pos >= array.len) {
        return false;
    }
    int rc = key_take((const uint8_t *)array.bytes, array.len, pos, element, memory, out, NULL);
    if (rc != 0) { /* damaged bytes of a store: nothing behind them can be read */
        *pos = array.len;
        return false;
    }
    return true;
}

int64_t array_count(struct kappa_text array, enum kappa_type element, struct arena *memory)
{
    int64_t count = 0;
    struct kappa_value value;
    for (size_t pos = 0; array_next(array, &pos, element, memory, &value);) {
        count++;
    }
    return count;
}

/* Bytes of the largest column that is no text. */
#define ELEMENT_BYTES 24

struct kappa_text array_make(const struct kappa_value *values, size_t count, struct arena *memory)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++) {
        bool bytes = kappa_type_payload(values[i].type) == KAPPA_PAYLOAD_BYTES;
        room += ELEMENT_BYTES + (bytes && !values[i].is_null ? 2 * (size_t)values[i].s.len : 0);
    }
    uint8_t *first = arena_alloc(memory, room + 1);
    uint8_t *at = first;
    for (size_t i = 0; i < count; i++) {
        at = key_put_value(at, first + room, &values[i]);
        ASSERT(at != NULL);
    }
    return (struct kappa_text){(const char *)first, u32_from((size_t)(at - first))};
}

/* ---- Values being collected. */

struct list {
    struct kappa_value *values;
    size_t count;
    size_t room;
    struct arena *memory;
};

static struct kappa_value *list_add(struct list *list)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 8 : list->room * 2;
        struct kappa_value *larger = arena_alloc(list->memory, sizeof *larger * room);
        if (list->count > 0) {
            memcpy(larger, list->values, sizeof *larger * list->count);
        }
        list->values = larger;
        list->room = room;
    }
    return &list->values[list->count++];
}

/* ---- Text. */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* An element at *at, quoted or plain, without what escapes it; *at becomes the place behind it. */
static bool take_element(struct kappa_text text, uint32_t *at, struct arena *memory,
                         struct kappa_text *out, bool *quoted)
{
    char *made = arena_alloc(memory, (size_t)text.len + 1);
    uint32_t len = 0;
    uint32_t solid = 0; /* length without blanks at the end */
    uint32_t i = *at;
    *quoted = i < text.len && text.bytes[i] == '"';
    i += *quoted ? 1 : 0;
    for (; i < text.len; i++) {
        char c = text.bytes[i];
        if (*quoted ? c == '"' : c == ',' || c == '}') {
            break;
        }
        if (c == '\\') {
            i++;
            if (i == text.len) {
                return false;
            }
        } else if (!*quoted && (c == '{' || c == '"')) {
            return false;
        }
        made[len++] = text.bytes[i];
        solid = c == '\\' || !is_blank(c) ? len : solid;
    }
    if (*quoted && i++ == text.len) {
        return false;
    }
    *out = (struct kappa_text){made, *quoted ? len : solid};
    *at = i;
    return *quoted || solid > 0;
}

static uint32_t skip(struct kappa_text text, uint32_t at)
{
    while (at < text.len && is_blank(text.bytes[at])) {
        at++;
    }
    return at;
}

enum expr_state array_parse(struct kappa_text text, enum kappa_type element, struct arena *memory,
                            struct kappa_text *out)
{
    struct list list = {.memory = memory};
    uint32_t at = skip(text, 0);
    if (at == text.len || text.bytes[at] != '{') {
        return EXPR_ERROR_CAST;
    }
    at = skip(text, at + 1);
    bool more = at < text.len && text.bytes[at] != '}';
    while (more) {
        struct kappa_text word;
        bool quoted = false;
        at = skip(text, at);
        if (!take_element(text, &at, memory, &word, &quoted)) {
            return EXPR_ERROR_CAST;
        }
        struct kappa_value *value = list_add(&list);
        *value = (struct kappa_value){.type = element, .is_null = true};
        if (quoted || word.len != 4 || strncasecmp(word.bytes, "NULL", 4) != 0) {
            enum expr_state state = value_parse(word, element, memory, value);
            if (state != EXPR_OK) {
                return state;
            }
        }
        at = skip(text, at);
        more = at < text.len && text.bytes[at] == ',';
        at += more ? 1 : 0;
    }
    if (at == text.len || text.bytes[at] != '}' || skip(text, at + 1) != text.len) {
        return EXPR_ERROR_CAST;
    }
    *out = array_make(list.values, list.count, memory);
    return EXPR_OK;
}

static bool needs_quotes(struct kappa_text text)
{
    bool needs = text.len == 0 || (text.len == 4 && strncasecmp(text.bytes, "NULL", 4) == 0);
    for (uint32_t i = 0; i < text.len && !needs; i++) {
        char c = text.bytes[i];
        needs = is_blank(c) || c == '"' || c == '\\' || c == '{' || c == '}' || c == ',';
    }
    return needs;
}

static void put_element(struct buf *out, struct kappa_text text)
{
    bool quotes = needs_quotes(text);
    if (!quotes) {
        buf_append(out, text.bytes, text.len);
        return;
    }
    buf_append_u8(out, '"');
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.bytes[i] == '"' || text.bytes[i] == '\\') {
            buf_append_u8(out, '\\');
        }
        buf_append_u8(out, (uint8_t)text.bytes[i]);
    }
    buf_append_u8(out, '"');
}

void array_text(struct buf *out, struct kappa_text array, enum kappa_type element)
{
    struct arena memory;
    struct kappa_value value;
    arena_init(&memory);
    buf_append_u8(out, '{');
    size_t pos = 0;
    for (bool first = true; array_next(array, &pos, element, &memory, &value); first = false) {
        if (!first) {
            buf_append_u8(out, ',');
        }
        if (value.is_null) {
            buf_append_text(out, "NULL");
        } else if (element == KAPPA_TYPE_BOOLEAN) {
            buf_append_u8(out, value.i != 0 ? 't' : 'f');
        } else {
            put_element(out, value_format(&value, &memory));
        }
    }
    buf_append_u8(out, '}');
    arena_free(&memory);
}

/* ---- JSON. */

/* Is this kind of JSON value one for the type? */
static bool kind_fits(enum jsonb_kind kind, enum kappa_type element)
{
    bool number = element >= KAPPA_TYPE_SMALLINT && element <= KAPPA_TYPE_DOUBLE;
    if (element == KAPPA_TYPE_JSONB) {
        return true;
    }
    if (kind == JSONB_STRING) {
        return element == KAPPA_TYPE_NUMERIC || (!number && element != KAPPA_TYPE_BOOLEAN);
    }
    return kind == JSONB_BOOLEAN ? element == KAPPA_TYPE_BOOLEAN : kind == JSONB_NUMBER && number;
}

enum expr_state array_from_json(struct kappa_text doc, enum kappa_type element,
                                struct arena *memory, struct kappa_text *out)
{
    struct list list = {.memory = memory};
    struct kappa_text part;
    if (jsonb_kind(doc) != JSONB_ARRAY) {
        return EXPR_ERROR_CAST;
    }
    for (uint32_t pos = 0; jsonb_next(doc, &pos, &part);) {
        struct kappa_value *value = list_add(&list);
        enum jsonb_kind kind = jsonb_kind(part);
        *value = (struct kappa_value){.type = element, .is_null = true};
        if (kind == JSONB_NULL) {
            continue;
        }
        if (!kind_fits(kind, element)) {
            return EXPR_ERROR_CAST;
        }
        struct kappa_text text = element == KAPPA_TYPE_JSONB ? part : jsonb_text(part, memory);
        enum expr_state state = value_parse(text, element, memory, value);
        if (state != EXPR_OK) {
            return state;
        }
    }
    *out = array_make(list.values, list.count, memory);
    return EXPR_OK;
}
