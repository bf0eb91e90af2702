/* Own header: redis_key.h. */
#include "serve/redis_key.h"

#include "processor/event_time.h"
#include "processor/key_codec.h"
#include "processor/value_text.h"
#include "serve/reader.h"

#include <inttypes.h>
#include <string.h>

/* ---- reading */

static bool digits(const char *text, size_t len, size_t most, int64_t *out)
{
    if (len == 0 || len > most) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *out = *out * 10 + (text[i] - '0');
    }
    return true;
}

/* One "@...": a version or a time. */
static bool suffix(const char *text, size_t len, struct redis_key *out)
{
    int64_t number = 0;
    if (len > 1 && text[0] == 't' && out->at_us == KAPPA_NO_TIME) {
        bool minus = text[1] == '-';
        if (!digits(text + 1 + minus, len - 1 - (size_t)minus, 14, &number)) {
            return false;
        }
        out->at_us = (minus ? -number : number) * 1000;
        return true;
    }
    return out->version == 0 && reader_version_parse(text, len, &out->version);
}

int redis_key_parse(const char *text, size_t len, struct redis_key *out, struct err *err)
{
    const char *colon = memchr(text, ':', len);
    size_t head = colon == NULL ? len : (size_t)(colon - text);
    const char *at = memchr(text, '@', head);
    size_t name = at == NULL ? head : (size_t)(at - text);
    *out = (struct redis_key){.at_us = KAPPA_NO_TIME};
    if (colon != NULL) {
        out->rest = colon + 1;
        out->rest_len = len - head - 1;
    }
    bool good = name > 0 && name <= LIMIT_NAME_LEN && memchr(text, '\0', len) == NULL;
    while (good && at != NULL) {
        const char *begin = at + 1;
        size_t left = (size_t)(text + head - begin);
        at = memchr(begin, '@', left);
        good = suffix(begin, at == NULL ? left : (size_t)(at - begin), out);
    }
    if (!good) {
        int rc = err_set(err, KE_INVALID, "\"%.100s\" is no name of a row", text);
        err_hint(err,
                 "write table:key, table@VERSION:key, table@candidate:key, or table@tMS:key for a "
                 "window at a time");
        return rc;
    }
    memcpy(out->table, text, name);
    return 0;
}

static uint32_t key_columns(const struct plan_view *view)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->key_count; i++) {
        count += view->keys[i].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    return count;
}

uint32_t redis_key_parts(const struct plan_view *view)
{
    if (view->kind == PLAN_APPEND) {
        return view->numbered ? 3 : 2;
    }
    return key_columns(view) + (view->top != NULL && view->top->limit != 1 ? 1 : 0);
}

int redis_key_split(const struct redis_key *key, uint32_t want, struct buf *text,
                    const char *parts[REDIS_KEY_PARTS], uint32_t *count, struct err *err)
{
    size_t places[REDIS_KEY_PARTS];
    buf_reset(text);
    *count = 0;
    if (key->rest == NULL || (want == 0 && key->rest_len == 0)) {
        return 0;
    }
    places[(*count)++] = 0;
    if (want == 1) { /* colons, backslashes and all */
        buf_append(text, key->rest, key->rest_len);
        parts[0] = buf_text(text);
        return 0;
    }
    for (size_t i = 0; i < key->rest_len; i++) {
        char c = key->rest[i];
        if (c == ':') {
            if (*count == REDIS_KEY_PARTS) {
                return err_set(err, KE_LIMIT, "a key of more than %d values", REDIS_KEY_PARTS);
            }
            buf_append_u8(text, '\0');
            places[(*count)++] = text->len;
            continue;
        }
        if (c == '\\' && i + 1 < key->rest_len) {
            c = key->rest[++i];
        }
        buf_append_u8(text, (uint8_t)c);
    }
    const char *made = buf_text(text);
    for (uint32_t i = 0; i < *count; i++) {
        parts[i] = made + places[i];
    }
    return 0;
}

/* ---- printing */

/* The text from `from` on, with escapes. */
static void escape(struct buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++) {
        if (out->data[i] == ':' || out->data[i] == '\\') {
            buf_append_u8(out, 0);
            memmove(out->data + i + 1, out->data + i, out->len - 1 - i);
            out->data[i++] = '\\';
        }
    }
}

static bool print_columns(struct buf *out, const struct plan_view *view, const uint8_t *key,
                          size_t len)
{
    struct arena memory;
    bool named = true;
    size_t pos = view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0;
    bool several = redis_key_parts(view) > 1;
    arena_init(&memory);
    for (uint32_t i = 0; i < view->key_count && named; i++) {
        struct kappa_value value = {.type = view->keys[i].type};
        if (view->keys[i].role != PLAN_KEY_COLUMN) {
            continue;
        }
        named = key_take(key, len, &pos, view->keys[i].type, &memory, &value, NULL) == 0 &&
                !value.is_null;
        if (named) {
            buf_append_u8(out, ':');
            size_t from = out->len;
            value_text(out, &value);
            named = memchr(out->data + from, '\0', out->len - from) == NULL;
            if (several) {
                escape(out, from);
            }
        }
    }
    arena_free(&memory);
    return named;
}

bool redis_key_print(struct buf *out, const char *prefix, const struct plan_view *view,
                     uint32_t partition, const uint8_t *key, size_t len, uint32_t number)
{
    size_t begin = out->len;
    buf_append_text(out, prefix);
    if (view->kind == PLAN_APPEND) {
        buf_printf(out, ":%u:%" PRId64, partition, load_i64_sortable(key));
        if (view->numbered) {
            uint32_t row = 0;
            for (uint32_t i = 0; i < sizeof row; i++) {
                row = row << 8 | key[sizeof(int64_t) + i];
            }
            buf_printf(out, ":%u", row);
        }
        return true;
    }
    if (view->shape.windowed) {
        /* The last ms in the window: also of a session, and of a hop, whose windows overlap. */
        int64_t last = load_i64_sortable(key) - 1;
        int64_t ms = last / 1000 - (last % 1000 < 0 ? 1 : 0);
        buf_printf(out, "@t%" PRId64, ms);
    }
    bool named = print_columns(out, view, key, len);
    if (named && redis_key_parts(view) > key_columns(view)) {
        buf_printf(out, ":%u", number + 1);
    }
    if (!named) {
        out->len = begin;
    }
    return named;
}

/* ---- patterns */

/* Does the set behind '[' at *at hold c? *at goes behind its ']'. */
static bool set_holds(const char *pattern, size_t len, size_t *at, char c)
{
    size_t p = *at;
    bool not = p < len && pattern[p] == '^';
    bool found = false;
    p += not ? 1 : 0;
    while (p < len && pattern[p] != ']') {
        if (pattern[p] == '\\' && p + 1 < len) {
            p++;
        }
        char low = pattern[p++];
        char high = low;
        if (p + 1 < len && pattern[p] == '-' && pattern[p + 1] != ']') {
            high = pattern[p + 1];
            p += 2;
        }
        found = found || (c >= low && c <= high) || (c >= high && c <= low);
    }
    *at = p < len ? p + 1 : len;
    return found != not ;
}

/* One element of the pattern at *at, no '*', against a character. */
static bool one_matches(const char *pattern, size_t len, size_t *at, char c)
{
    char p = pattern[(*at)++];
    if (p == '?') {
        return true;
    }
    if (p == '[') {
        return set_holds(pattern, len, at, c);
    }
    if (p == '\\' && *at < len) {
        p = pattern[(*at)++];
    }
    return p == c;
}

/* Only the last star ever needs to take more: no pattern costs more than the product of lengths. */
bool redis_glob(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX;
    size_t star_text = 0;
    while (t < len) {
        if (p < pattern_len && pattern[p] == '*') {
            star = ++p;
            star_text = t;
            continue;
        }
        if (p < pattern_len && one_matches(pattern, pattern_len, &p, text[t])) {
            t++;
            continue;
        }
        if (star == SIZE_MAX) {
            return false;
        }
        p = star;
        t = ++star_text;
    }
    while (p < pattern_len && pattern[p] == '*') {
        p++;
    }
    return p == pattern_len;
}
