/* JSON documents in canonical form. Own header: jsonb.h. Strict as RFC 8259.
 *
 * The canonical text of a value is written behind what is there; an object is written member by
 * member as read, then its members are put in order by way of a second buffer. Both buffers have
 * room for the largest text there can be, so nothing grows. */
#include "processor/jsonb.h"

#include "base/limits.h"
#include "processor/json_token.h"

#include <stdlib.h>
#include <string.h>

/* Digits that an exponent may add to a number. */
#define EXPONENT_MAX 400

struct member {
    struct kappa_text name; /* without escapes */
    uint32_t written;       /* where its text begins in the buffer: "name": value */
    uint32_t len;
    uint32_t order; /* as read */
};

struct reader {
    const char *at;
    const char *end;
    char *out; /* the buffer */
    uint32_t len;
    char *spare;
    struct arena *memory;
    uint32_t depth;
    enum expr_state fault;
};

static bool fail(struct reader *r, enum expr_state fault)
{
    r->fault = fault;
    return false;
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
}

static char next(const struct reader *r)
{
    if (r->at >= r->end) {
        return 0;
    }
    return *r->at;
}

static void put(struct reader *r, const char *bytes, size_t len)
{
    memcpy(r->out + r->len, bytes, len);
    r->len += u32_from(len);
}

static bool take_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) {
        return fail(r, EXPR_ERROR_CAST);
    }
    put(r, word, len);
    r->at += len;
    return true;
}

/* ---- Strings. */

/* With the escapes that are needed; all others were undone. */
static void put_string(struct reader *r, struct kappa_text text)
{
    static const char digits[] = "0123456789abcdef";
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    put(r, "\"", 1);
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];
        const char *escaped = c == '\0' ? NULL : strchr(plain, c);
        if (escaped != NULL) {
            put(r, (const char[]){'\\', letters[escaped - plain]}, 2);
        } else if ((uint8_t)c < 0x20) {
            put(r, (const char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
        } else {
            put(r, &c, 1);
        }
    }
    put(r, "\"", 1);
}

/* The string at the quote, without escapes. */
static bool take_string(struct reader *r, struct kappa_text *text)
{
    const char *first = ++r->at;
    bool escapes = false;
    while (r->at < r->end && *r->at != '"') {
        if ((uint8_t)*r->at < 0x20) {
            return fail(r, EXPR_ERROR_CAST);
        }
        escapes = escapes || *r->at == '\\';
        r->at += *r->at == '\\' ? 2 : 1;
    }
    if (r->at >= r->end) {
        return fail(r, EXPR_ERROR_CAST);
    }
    *text = (struct kappa_text){first, u32_from((size_t)(r->at - first))};
    r->at++;
    if (escapes) {
        uint8_t *made = arena_alloc(r->memory, text->len);
        int64_t len = json_unescape((const uint8_t *)text->bytes, text->len, made);
        if (len < 0 || memchr(made, 0, (size_t)len) != NULL) {
            return fail(r, EXPR_ERROR_CAST);
        }
        *text = (struct kappa_text){(const char *)made, (uint32_t)len};
    }
    return true;
}

/* ---- Numbers: sign, digits, point, digits; the exponent moves the point. */

static size_t take_digits(struct reader *r)
{
    const char *first = r->at;
    while (next(r) >= '0' && next(r) <= '9') {
        r->at++;
    }
    return (size_t)(r->at - first);
}

static bool take_exponent(struct reader *r, int64_t *exponent)
{
    *exponent = 0;
    if (next(r) != 'e' && next(r) != 'E') {
        return true;
    }
    r->at++;
    bool negative = next(r) == '-';
    if (negative || next(r) == '+') {
        r->at++;
    }
    const char *first = r->at;
    size_t count = take_digits(r);
    for (size_t i = 0; i < count && *exponent <= EXPONENT_MAX; i++) {
        *exponent = *exponent * 10 + (first[i] - '0');
    }
    if (count == 0 || *exponent > EXPONENT_MAX) {
        return fail(r, count == 0 ? EXPR_ERROR_CAST : EXPR_ERROR_OVERFLOW);
    }
    *exponent = negative ? -*exponent : *exponent;
    return true;
}

/* Digit i of whole and fraction as one row; 0 outside. */
static char digit_of(struct kappa_text whole, struct kappa_text fraction, int64_t i)
{
    if (i < 0 || i >= (int64_t)whole.len + fraction.len) {
        return '0';
    }
    if (i >= whole.len) {
        return fraction.bytes[i - whole.len];
    }
    return whole.bytes[i];
}

static void put_number(struct reader *r, bool negative, struct kappa_text whole,
                       struct kappa_text fraction, int64_t exponent)
{
    int64_t point = (int64_t)whole.len + exponent; /* digits in front of it */
    int64_t scale = (int64_t)fraction.len - exponent;
    int64_t first = point < 1 ? point - 1 : 0;
    int64_t last = scale > 0 ? point + scale : point;
    bool zero = true;
    for (int64_t i = 0; i < (int64_t)whole.len + fraction.len; i++) {
        zero = zero && digit_of(whole, fraction, i) == '0';
    }
    while (first < point - 1 && digit_of(whole, fraction, first) == '0') {
        first++; /* 0e5, 0.1e3 */
    }
    if (negative && !zero) {
        put(r, "-", 1);
    }
    for (int64_t i = first; i < last; i++) {
        if (i == point) {
            put(r, ".", 1);
        }
        char digit = digit_of(whole, fraction, i);
        put(r, &digit, 1);
    }
}

static bool take_number(struct reader *r)
{
    bool negative = next(r) == '-';
    r->at += negative ? 1 : 0;
    struct kappa_text whole = {r->at, 0};
    whole.len = u32_from(take_digits(r));
    if (whole.len == 0 || (whole.len > 1 && whole.bytes[0] == '0')) {
        return fail(r, EXPR_ERROR_CAST);
    }
    struct kappa_text fraction = {r->at, 0};
    if (next(r) == '.') {
        fraction.bytes = ++r->at;
        fraction.len = u32_from(take_digits(r));
        if (fraction.len == 0) {
            return fail(r, EXPR_ERROR_CAST);
        }
    }
    int64_t exponent = 0;
    if (!take_exponent(r, &exponent)) {
        return false;
    }
    put_number(r, negative, whole, fraction, exponent);
    return true;
}

/* ---- Arrays and objects. */

static bool take_value(struct reader *r);

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool take_array(struct reader *r)
{
    put(r, "[", 1);
    r->at++;
    skip_blanks(r);
    if (next(r) == ']') {
        r->at++;
        put(r, "]", 1);
        return true;
    }
    for (;;) {
        if (!take_value(r)) {
            return false;
        }
        char c = next(r);
        r->at++;
        if (c == ']') {
            put(r, "]", 1);
            return true;
        }
        if (c != ',') {
            return fail(r, EXPR_ERROR_CAST);
        }
        put(r, ", ", 2);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    if (x->name.len != y->name.len) {
        return x->name.len < y->name.len ? -1 : 1;
    }
    int order = memcmp(x->name.bytes, y->name.bytes, x->name.len);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static bool same_name(const struct member *a, const struct member *b)
{
    return a->name.len == b->name.len && memcmp(a->name.bytes, b->name.bytes, a->name.len) == 0;
}

/* The members were written from `start` on; they are written again in order. */
static void put_in_order(struct reader *r, uint32_t start, struct member *members, uint32_t count)
{
    qsort(members, count, sizeof *members, by_name);
    memcpy(r->spare + start, r->out + start, r->len - start);
    r->len = start;
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count && same_name(&members[i], &members[i + 1])) {
            continue; /* the last one of a name is kept */
        }
        if (r->len > start) {
            put(r, ", ", 2);
        }
        put(r, r->spare + members[i].written, members[i].len);
    }
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool take_member(struct reader *r, struct member *member)
{
    skip_blanks(r);
    member->written = r->len;
    if (next(r) != '"' || !take_string(r, &member->name)) {
        return fail(r, EXPR_ERROR_CAST);
    }
    put_string(r, member->name);
    skip_blanks(r);
    if (next(r) != ':') {
        return fail(r, EXPR_ERROR_CAST);
    }
    r->at++;
    put(r, ": ", 2);
    if (!take_value(r)) {
        return false;
    }
    member->len = r->len - member->written;
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool take_object(struct reader *r)
{
    put(r, "{", 1);
    r->at++;
    skip_blanks(r);
    uint32_t start = r->len;
    uint32_t count = 0;
    uint32_t room = 8;
    struct member *members = arena_alloc(r->memory, sizeof *members * room);
    bool more = next(r) != '}';
    r->at += more ? 0 : 1;
    while (more) {
        if (count == room) {
            struct member *larger = arena_alloc(r->memory, sizeof *members * room * 2);
            memcpy(larger, members, sizeof *members * room);
            members = larger;
            room *= 2;
        }
        members[count].order = count;
        if (!take_member(r, &members[count])) {
            return false;
        }
        count++;
        char c = next(r);
        r->at++;
        if (c != ',' && c != '}') {
            return fail(r, EXPR_ERROR_CAST);
        }
        more = c == ',';
    }
    put_in_order(r, start, members, count);
    put(r, "}", 1);
    return true;
}

/* A value, with the blanks around it. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool take_value(struct reader *r)
{
    struct kappa_text text;
    bool good = false;
    skip_blanks(r);
    if (r->depth == LIMIT_JSON_DEPTH) {
        return fail(r, EXPR_ERROR_LIMIT);
    }
    r->depth++;
    switch (next(r)) {
    case '{':
        good = take_object(r);
        break;
    case '[':
        good = take_array(r);
        break;
    case '"':
        good = take_string(r, &text);
        if (good) {
            put_string(r, text);
        }
        break;
    case 't':
        good = take_word(r, "true");
        break;
    case 'f':
        good = take_word(r, "false");
        break;
    case 'n':
        good = take_word(r, "null");
        break;
    default:
        good = take_number(r);
        break;
    }
    r->depth--;
    skip_blanks(r);
    return good;
}

/* Room for the canonical text: blanks double what separates; a number grows by its exponent. */
static size_t room_for(struct kappa_text text)
{
    size_t room = 2 * (size_t)text.len + 16;
    for (uint32_t i = 1; i < text.len; i++) {
        char before = text.bytes[i - 1];
        bool exponent = (text.bytes[i] | 0x20) == 'e' && before >= '0' && before <= '9';
        room += exponent ? EXPONENT_MAX + 2 : 0;
    }
    return room;
}

enum expr_state jsonb_parse(struct kappa_text text, struct arena *memory, struct kappa_text *out)
{
    size_t room = room_for(text);
    if (room > UINT32_MAX / 2) {
        return EXPR_ERROR_LIMIT;
    }
    struct reader r = {.at = text.bytes,
                       .end = text.bytes + text.len,
                       .out = arena_alloc(memory, room),
                       .spare = arena_alloc(memory, room),
                       .memory = memory,
                       .fault = EXPR_ERROR_CAST};
    if (!take_value(&r) || r.at != r.end) {
        return r.fault;
    }
    ASSERT_CMP(r.len, <=, room);
    *out = (struct kappa_text){r.out, r.len};
    return EXPR_OK;
}
