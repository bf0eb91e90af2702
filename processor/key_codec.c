/* Bytes of keys that compare as their columns do. Own header: key_codec.h.
 * Also plan_key_from_text of processor.h: a person's key as these bytes. */
#include "processor/key_codec.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "include/kappa/record.h"
#include "processor/decode.h"
#include "processor/json_token.h"
#include "processor/numeric.h"
#include "processor/processor.h"
#include "processor/value_cast.h"

#include <string.h>

#define TAG_VALUE    0x01
#define TAG_NULL     0x02
#define TEXT_ESCAPED 0xFF /* 0x00 in a text is 0x00 0xFF; a text ends with 0x00 0x00 */
#define SIGN_BIT     (UINT64_C(1) << 63)

#define NUMERIC_BELOW 0x01 /* the sign of a numeric */
#define NUMERIC_ZERO  0x02
#define NUMERIC_ABOVE 0x03
#define KEY_NAMES_LEN 300 /* of the columns of a key in an error, about */
#define NUMERIC_BYTES 18

_Static_assert(KEY_PREFIX_MAX + LIMIT_GROUP_KEY_LEN <= LIMIT_TABLE_KEY_LEN, "a key fits the table");

uint8_t *key_put_prefix(uint8_t *at, uint32_t source, bool windowed, int64_t window_end)
{
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    store_u16_be(at, (uint16_t)source);
    at += KAPPA_KEY_SOURCE_BYTES;
    if (windowed) {
        store_i64_sortable(at, window_end);
        at += KAPPA_KEY_WINDOW_BYTES;
    }
    return at;
}

static uint8_t *put_text(uint8_t *at, const uint8_t *end, struct kappa_text text)
{
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    if ((size_t)(end - at) < (size_t)text.len + 3) {
        return NULL;
    }
    *at++ = TAG_VALUE;
    if (text.len > 0 && memchr(bytes, 0, text.len) != NULL) {
        for (uint32_t i = 0; i < text.len; i++) {
            if (end - at < 4) {
                return NULL;
            }
            *at++ = bytes[i];
            if (bytes[i] == 0) {
                *at++ = TEXT_ESCAPED;
            }
        }
    } else if (text.len > 0) {
        memcpy(at, bytes, text.len);
        at += text.len;
    }
    *at++ = 0;
    *at++ = 0;
    return at;
}

static uint8_t *put_double(uint8_t *at, double d)
{
    uint64_t bits = 0;
    d = key_double(d);
    memcpy(&bits, &d, sizeof bits);
    /* Negative numbers ascend as their bits descend. */
    store_u64_be(at, (bits & SIGN_BIT) != 0 ? ~bits : bits | SIGN_BIT);
    return at + sizeof bits;
}

static double take_double(const uint8_t *at)
{
    uint64_t bits = load_u64_be(at);
    double d = 0;
    bits = (bits & SIGN_BIT) != 0 ? bits & ~SIGN_BIT : ~bits;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* Sign, digits in front of the point, then all digits as a whole number of NUMERIC_DIGITS digits:
 * the zeros at the end are part of it, so that values that are equal have the same bytes. Below zero
 * everything is complemented. */
static uint8_t *put_numeric(uint8_t *at, struct kappa_numeric value)
{
    int128 coefficient = numeric_coefficient(value);
    uint128 digits = i128_magnitude(coefficient);
    uint32_t count = numeric_digits(digits);
    uint8_t flip = coefficient < 0 ? 0xFF : 0;
    *at++ = coefficient == 0 ? NUMERIC_ZERO : coefficient < 0 ? NUMERIC_BELOW : NUMERIC_ABOVE;
    uint8_t in_front = (uint8_t)(NUMERIC_SCALE_MAX + count - value.scale);
    digits *= numeric_power10(NUMERIC_DIGITS - count);
    *at++ = coefficient == 0 ? 0 : in_front ^ flip;
    store_u64_be(at, (uint64_t)(digits >> 64));
    store_u64_be(at + 8, (uint64_t)digits);
    for (int i = 0; i < 16; i++) {
        at[i] ^= flip;
    }
    return at + 16;
}

/* Without zeros at the end of the fraction. */
static bool take_numeric(const uint8_t *at, struct kappa_numeric *value)
{
    uint8_t flip = at[0] == NUMERIC_BELOW ? 0xFF : 0;
    uint32_t in_front = at[1] ^ flip;
    uint64_t mask = flip != 0 ? UINT64_MAX : 0;
    uint128 digits = (uint128)(load_u64_be(at + 2) ^ mask) << 64 | (load_u64_be(at + 10) ^ mask);
    *value = numeric_make(0, 0);
    if (at[0] == NUMERIC_ZERO) {
        return at[1] == 0 && digits == 0;
    }
    if ((flip == 0 && at[0] != NUMERIC_ABOVE) || in_front < 1 ||
        in_front > NUMERIC_SCALE_MAX + NUMERIC_DIGITS || numeric_digits(digits) != NUMERIC_DIGITS) {
        return false;
    }
    /* digits / 10^(NUMERIC_DIGITS - in_front + NUMERIC_SCALE_MAX) */
    uint32_t scale = NUMERIC_DIGITS + NUMERIC_SCALE_MAX - in_front;
    for (; scale > 0 && digits % 10 == 0; scale--) {
        digits /= 10;
    }
    if (scale > NUMERIC_SCALE_MAX) {
        return false;
    }
    *value = numeric_make(flip != 0 ? -(int128)digits : (int128)digits, scale);
    return true;
}

/* Bytes of a value behind its tag; of bytes: the least. */
static size_t value_size(enum kappa_type type)
{
    switch (kappa_type_payload(type)) {
    case KAPPA_PAYLOAD_NUMERIC:
        return NUMERIC_BYTES;
    case KAPPA_PAYLOAD_BYTES:
        return 2;
    case KAPPA_PAYLOAD_DOUBLE:
        return sizeof(double);
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return type == KAPPA_TYPE_BOOLEAN ? 1 : sizeof(int64_t);
}

uint8_t *key_put_value(uint8_t *at, const uint8_t *end, const struct kappa_value *value)
{
    enum kappa_payload payload = kappa_type_payload(value->type);
    if (payload == KAPPA_PAYLOAD_BYTES && !value->is_null) {
        return put_text(at, end, value->s);
    }
    if ((size_t)(end - at) < 1 + value_size(value->type)) {
        return NULL; /* a null would need less, but the bound need not be that exact */
    }
    if (value->is_null || value->type == KAPPA_TYPE_NULL) {
        *at++ = TAG_NULL;
        return at;
    }
    *at++ = TAG_VALUE;
    if (value->type == KAPPA_TYPE_BOOLEAN) {
        *at++ = value->i != 0;
        return at;
    }
    if (payload == KAPPA_PAYLOAD_DOUBLE) {
        return put_double(at, value->d);
    }
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        return put_numeric(at, value->n);
    }
    store_i64_sortable(at, value->i);
    return at + sizeof value->i;
}

uint8_t *key_put(uint8_t *at, const uint8_t *end, const struct expr_vec *vec, uint32_t row)
{
    ASSERT(vec->state[row] <= EXPR_NULL);
    if (vec->type == KAPPA_TYPE_TEXT && vec->state[row] == EXPR_OK) {
        return put_text(at, end, vec->s[row]);
    }
    enum expr_state state = EXPR_OK;
    struct kappa_value value = expr_value(vec, row, &state);
    return key_put_value(at, end, &value);
}

static int corrupt(struct err *err)
{
    return err_set(err, KE_CORRUPT, "a row's key does not decode");
}

/* The text at *pos, behind its tag. */
static int take_text(const uint8_t *key, size_t len, size_t *pos, struct arena *arena,
                     struct kappa_text *text, struct err *err)
{
    size_t start = *pos;
    size_t zeros = 0;
    size_t i = start;
    for (; i + 1 < len && !(key[i] == 0 && key[i + 1] == 0); i++) {
        if (key[i] == 0) {
            if (key[i + 1] != TEXT_ESCAPED) {
                return corrupt(err);
            }
            zeros++;
            i++;
        }
    }
    if (i + 1 >= len) {
        return corrupt(err);
    }
    *pos = i + 2;
    text->bytes = (const char *)key + start;
    text->len = u32_from(i - start - zeros);
    if (zeros > 0) {
        char *plain = arena_alloc(arena, text->len);
        for (size_t from = start, to = 0; from < i; from++, to++) {
            plain[to] = (char)key[from];
            from += key[from] == 0 ? 1 : 0;
        }
        text->bytes = plain;
    }
    return 0;
}

int key_take(const uint8_t *key, size_t len, size_t *pos, enum kappa_type type, struct arena *arena,
             struct kappa_value *value, struct err *err)
{
    *value = (struct kappa_value){.type = type};
    if (*pos >= len || (key[*pos] != TAG_VALUE && key[*pos] != TAG_NULL)) {
        return corrupt(err);
    }
    if (key[(*pos)++] == TAG_NULL) {
        value->is_null = true;
        return 0;
    }
    enum kappa_payload payload = kappa_type_payload(type);
    if (payload == KAPPA_PAYLOAD_BYTES) {
        return take_text(key, len, pos, arena, &value->s, err);
    }
    size_t bytes = value_size(type);
    if (type == KAPPA_TYPE_NULL || len - *pos < bytes) {
        return corrupt(err);
    }
    if (type == KAPPA_TYPE_BOOLEAN) {
        value->i = key[*pos] != 0;
    } else if (payload == KAPPA_PAYLOAD_DOUBLE) {
        value->d = take_double(key + *pos);
    } else if (payload == KAPPA_PAYLOAD_NUMERIC) {
        if (!take_numeric(key + *pos, &value->n)) {
            return corrupt(err);
        }
    } else {
        value->i = load_i64_sortable(key + *pos);
    }
    *pos += bytes;
    return 0;
}

/* ---- Keys that people write. */

/* Room for a number as people write it, and the bytes behind it that a scan may look at. */
#define NUMBER_LEN_MAX 64
#define NUMBER_BUFFER  (NUMBER_LEN_MAX + 16)

/* A number as JSON writes it, with nothing around it. It points into the buffer. */
static bool scan_number(const char *text, uint8_t *buffer, struct json_number *number)
{
    size_t len = strlen(text);
    if (len == 0 || len > NUMBER_LEN_MAX) {
        return false;
    }
    memset(buffer, 0, NUMBER_BUFFER);
    memcpy(buffer, text, len + 1);
    buffer[len] = ',';
    return json_number_scan(buffer, number) && number->end == buffer + len;
}

static bool parse_double(const char *text, double *out)
{
    uint8_t buffer[NUMBER_BUFFER];
    struct json_number number;
    bool negative = text[0] == '-';
    if (strcmp(text, "NaN") == 0) {
        *out = __builtin_nan("");
        return true;
    }
    if (strcmp(text + (negative ? 1 : 0), "Infinity") == 0) {
        *out = negative ? -__builtin_inf() : __builtin_inf();
        return true;
    }
    return scan_number(text, buffer, &number) && json_number_double(&number, out);
}

static bool parse_boolean(const char *text, int64_t *out)
{
    bool truth = strcmp(text, "true") == 0 || strcmp(text, "t") == 0;
    *out = truth;
    return truth || strcmp(text, "false") == 0 || strcmp(text, "f") == 0;
}

/* A timestamptz: RFC 3339, or milliseconds since 1970. */
static bool parse_time(const char *text, int64_t *us)
{
    uint8_t buffer[NUMBER_BUFFER];
    struct json_number number;
    if (scan_number(text, buffer, &number) && number.integral) {
        return json_number_scaled(&number, 1000, 1, us);
    }
    return time_parse(text, strlen(text), us);
}

static bool parse_integer(const char *text, enum kappa_type type, int64_t *out)
{
    uint8_t buffer[NUMBER_BUFFER];
    struct json_number number;
    return scan_number(text, buffer, &number) && json_number_int(&number, out) &&
           (type != KAPPA_TYPE_INTEGER || (*out >= INT32_MIN && *out <= INT32_MAX));
}

static bool value_from_text(const char *text, struct arena *memory, struct kappa_value *value)
{
    if (value->type == KAPPA_TYPE_BOOLEAN) {
        return parse_boolean(text, &value->i);
    }
    if (value->type == KAPPA_TYPE_INTEGER || value->type == KAPPA_TYPE_BIGINT) {
        return parse_integer(text, value->type, &value->i);
    }
    if (value->type == KAPPA_TYPE_DOUBLE) {
        return parse_double(text, &value->d);
    }
    if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        return parse_time(text, &value->i);
    }
    struct kappa_text all = {text, u32_from(strlen(text))};
    return value_parse(all, value->type, memory, value) == EXPR_OK;
}

static int append_key_from_text(const struct plan_view *view, const char *const *texts,
                                uint32_t count, uint8_t *key, size_t *key_len, uint32_t *source,
                                struct err *err)
{
    int64_t from = 0;
    int64_t offset = 0;
    int64_t number = 0;
    if (count != (view->numbered ? 3 : 2) || !parse_integer(texts[0], KAPPA_TYPE_BIGINT, &from) ||
        !parse_integer(texts[1], KAPPA_TYPE_BIGINT, &offset) || from < 0 || from >= LIMIT_SOURCES ||
        offset < 0 ||
        (view->numbered && (!parse_integer(texts[2], KAPPA_TYPE_INTEGER, &number) || number < 0))) {
        return err_set(err, KE_INVALID,
                       "rows of %s have no group key: give the partition and the offset of a "
                       "record%s",
                       view->shape.name,
                       view->numbered ? ", and the number of the row among those of it, from 0"
                                      : "");
    }
    *source = (uint32_t)from;
    store_i64_sortable(key, offset);
    *key_len = sizeof offset;
    for (uint32_t b = 0; b < sizeof(uint32_t) && view->numbered; b++) {
        key[*key_len + b] = (uint8_t)(number >> (24 - 8 * b));
    }
    *key_len += view->numbered ? sizeof(uint32_t) : 0;
    return 0;
}

static int key_count_error(const struct plan_view *view, uint32_t count, struct err *err)
{
    uint32_t want = 0;
    for (uint32_t i = 0; i < view->key_count; i++) {
        want += view->keys[i].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    err_set(err, KE_INVALID, "the key of %s has %u column%s, got %u value%s", view->shape.name,
            want, want == 1 ? "" : "s", count, count == 1 ? "" : "s");
    struct buf names = {0};
    uint32_t named = 0;
    for (uint32_t i = 0; i < view->key_count && names.len < KEY_NAMES_LEN; i++) {
        if (view->keys[i].role == PLAN_KEY_COLUMN) {
            named++;
            buf_printf(&names, "%s\"%.60s\"",
                       named == 1      ? ""
                       : named == want ? " and "
                                       : ", ",
                       view->keys[i].name);
        }
    }
    if (named > 0) {
        err_hint(err, named == 1 ? "give a value for %s" : "give values for %s, in this order",
                 buf_text(&names));
    }
    buf_free(&names);
    return -KE_INVALID;
}

int plan_key_value_from_text(const struct plan_key *key, const char *text, struct arena *memory,
                             struct kappa_value *value, struct err *err)
{
    *value = (struct kappa_value){.type = key->type};
    if (value_from_text(text, memory, value)) {
        return 0;
    }
    return err_set(err, KE_INVALID, "\"%.100s\" is not a value of \"%s\", which is %s", text,
                   key->name, decoder_type_name(key->type));
}

/* One column as a person wrote it; NULL and the error when it is none. */
static uint8_t *put_written(uint8_t *at, const uint8_t *end, const struct plan_key *key,
                            const char *text, struct err *err)
{
    struct kappa_value value;
    struct arena memory;
    arena_init(&memory);
    if (plan_key_value_from_text(key, text, &memory, &value, err) != 0) {
        at = NULL;
    } else {
        at = key_put_value(at, end, &value);
        if (at == NULL) {
            (void)err_set(err, KE_INVALID, "the key is longer than %d bytes", LIMIT_GROUP_KEY_LEN);
        }
    }
    arena_free(&memory);
    return at;
}

int plan_key_from_text(const struct plan_view *view, const char *const *texts, uint32_t count,
                       uint8_t *key, size_t *key_len, uint32_t *source, struct err *err)
{
    *source = UINT32_MAX;
    if (view->kind == PLAN_APPEND) {
        return append_key_from_text(view, texts, count, key, key_len, source, err);
    }
    uint8_t *at = key;
    uint32_t used = 0;
    for (uint32_t i = 0; i < view->key_count; i++) {
        if (view->keys[i].role != PLAN_KEY_COLUMN) {
            continue;
        }
        if (used == count) {
            return key_count_error(view, count, err);
        }
        at = put_written(at, key + LIMIT_GROUP_KEY_LEN, &view->keys[i], texts[used++], err);
        if (at == NULL) {
            return -KE_INVALID;
        }
    }
    if (used != count) {
        return key_count_error(view, count, err);
    }
    *key_len = (size_t)(at - key);
    return 0;
}
