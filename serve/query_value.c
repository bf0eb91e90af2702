/* Values on their way into SQLite and out of it. Own header: query_private.h. */
#include "base/timefmt.h"
#include "processor/value_text.h"
#include "serve/query_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX                                                                                 \
    15 /* of a time in ms: until the year 33658; and of what a double keeps exactly */

/* ---- times */

void query_time_text(int64_t us, char *text)
{
    time_format(us, text);
    size_t len = strlen(text);
    if (text[len - 1] != 'Z') {
        return; /* out of the years that are written as dates */
    }
    size_t have = len == 20 ? 0 : len - 21; /* digits of the fraction */
    text[19] = '.';
    memset(text + 20 + have, '0', 6 - have);
    memcpy(text + 26, "Z", 2);
}

bool query_time_parse(const char *text, size_t len, int64_t *us)
{
    size_t digits = len > 0 && text[0] == '-' ? 1 : 0;
    size_t from = digits;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9') {
        digits++;
    }
    if (digits == len && digits > from) {
        char copy[DIGITS_MAX + 2];
        if (len > DIGITS_MAX) {
            return false;
        }
        memcpy(copy, text, len);
        copy[len] = '\0';
        *us = strtoll(copy, NULL, 10) * 1000;
        return true;
    }
    return time_parse(text, len, us);
}

static bool is_canonical(const char *text, int len)
{
    return len == 27 && text[10] == 'T' && text[19] == '.' && text[26] == 'Z';
}

int query_time_collate(void *ctx, int a_len, const void *a, int b_len, const void *b)
{
    (void)ctx;
    int64_t a_us = 0;
    int64_t b_us = 0;
    bool plain = is_canonical(a, a_len) && is_canonical(b, b_len);
    bool a_time = !plain && query_time_parse(a, (size_t)a_len, &a_us);
    bool b_time = !plain && query_time_parse(b, (size_t)b_len, &b_us);
    if (a_time && b_time) {
        return a_us < b_us ? -1 : a_us > b_us;
    }
    if (a_time != b_time) {
        return a_time ? -1 : 1; /* what is no time comes behind */
    }
    int order = memcmp(a, b, (size_t)(a_len < b_len ? a_len : b_len));
    return order != 0 ? order : a_len - b_len;
}

/* ---- out of tables */

const char *query_type_declared(enum kappa_type type)
{
    if (kappa_type_is_array(type)) {
        return "ARRAY TEXT";
    }
    switch (type) {
    case KAPPA_TYPE_BOOLEAN:
        return "BOOLEAN";
    case KAPPA_TYPE_SMALLINT:
        return "SMALLINT";
    case KAPPA_TYPE_INTEGER:
        return "INTEGER";
    case KAPPA_TYPE_BIGINT:
        return "BIGINT";
    case KAPPA_TYPE_NUMERIC:
        return "NUMERIC";
    case KAPPA_TYPE_REAL:
        return "REAL";
    case KAPPA_TYPE_DOUBLE:
        return "DOUBLE PRECISION";
    case KAPPA_TYPE_BYTEA:
        return "BYTEA BLOB";
    /* SQLite takes the affinity from the letters: these are texts. */
    case KAPPA_TYPE_UUID:
        return "UUID TEXT";
    case KAPPA_TYPE_JSONB:
        return "JSONB TEXT";
    case KAPPA_TYPE_DATE:
        return "DATE TEXT";
    case KAPPA_TYPE_TIMESTAMP:
        return "TIMESTAMP TEXT COLLATE " QUERY_COLLATION;
    case KAPPA_TYPE_TIMESTAMPTZ:
        return "TIMESTAMPTZ TEXT COLLATE " QUERY_COLLATION;
    case KAPPA_TYPE_INTERVAL:
        return "INTERVAL TEXT";
    case KAPPA_TYPE_TEXT:
    case KAPPA_TYPE_NULL:
    case KAPPA_TYPE_COUNT:
    case KAPPA_TYPE_ARRAY:
    default:
        return "TEXT";
    }
}

void query_type_shown(const char *declared, char *text)
{
    const char *tail = strchr(declared, ' ');
    bool doubled = strcmp(declared, "DOUBLE PRECISION") == 0;
    size_t len = tail != NULL && !doubled ? (size_t)(tail - declared) : strlen(declared);
    size_t c = 0;
    for (; c < len && c + 1 < QUERY_TYPE_LEN; c++) {
        unsigned char letter = (unsigned char)declared[c];
        text[c] = (char)(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
    }
    text[c] = '\0';
}

/* For a file of SQLite: exactly a whole number, a double to 15 digits, or the digits. */
static void digits_plain(const char *text, size_t len, struct query_value *out)
{
    size_t digits = 0;
    size_t zeros = 0; /* at the end, behind the point */
    bool point = false;
    for (const char *at = text; *at != '\0'; at++) {
        point = point || *at == '.';
        digits += *at >= '0' && *at <= '9' && (digits > 0 || *at != '0');
        zeros = point && *at == '0' ? zeros + 1 : 0;
    }
    digits -= zeros < digits ? zeros : digits;
    char *end = NULL;
    long long whole = strtoll(text, &end, 10);
    bool is_whole = *end == '\0' || (*end == '.' && strspn(end + 1, "0") == strlen(end + 1));
    if (is_whole && digits <= 18) {
        *out = (struct query_value){.kind = QUERY_INTEGER, .i = whole};
    } else if (digits <= DIGITS_MAX) {
        *out = (struct query_value){.kind = QUERY_DOUBLE, .d = strtod(text, NULL)};
    } else {
        *out = (struct query_value){.kind = QUERY_TEXT, .bytes = text, .len = len};
    }
}

static void double_plain(double d, struct query_value *out)
{
    if (isnan(d)) { /* SQLite would make it null */
        *out = (struct query_value){.kind = QUERY_TEXT, .bytes = "NaN", .len = 3};
    } else {
        *out = (struct query_value){.kind = QUERY_DOUBLE, .d = d};
    }
}

/* Any other type as its text; a real as the double that is written so. */
static void text_plain(const struct kappa_value *value, struct buf *text, struct query_value *out)
{
    value_text(text, value);
    if (value->type == KAPPA_TYPE_NUMERIC) {
        digits_plain(buf_text(text), text->len, out);
    } else if (value->type == KAPPA_TYPE_REAL) {
        double_plain(isfinite(value->d) ? strtod(buf_text(text), NULL) : value->d, out);
    } else {
        *out = (struct query_value){.kind = QUERY_TEXT, .bytes = buf_text(text), .len = text->len};
    }
}

void query_value_plain(const struct kappa_value *value, struct buf *text, struct query_value *out)
{
    if (value->is_null) {
        *out = (struct query_value){.kind = QUERY_NULL};
    } else if (value->type == KAPPA_TYPE_TEXT) {
        *out =
            (struct query_value){.kind = QUERY_TEXT, .bytes = value->s.bytes, .len = value->s.len};
    } else if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        char time[TIME_TEXT_LEN];
        query_time_text(value->i, time);
        buf_append_text(text, time);
        *out = (struct query_value){.kind = QUERY_TEXT, .bytes = buf_text(text), .len = text->len};
    } else if (value->type >= KAPPA_TYPE_BOOLEAN && value->type <= KAPPA_TYPE_BIGINT) {
        *out = (struct query_value){.kind = QUERY_INTEGER, .i = value->i};
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        double_plain(value->d, out);
    } else if (value->type == KAPPA_TYPE_BYTEA) {
        *out =
            (struct query_value){.kind = QUERY_BLOB, .bytes = value->s.bytes, .len = value->s.len};
    } else {
        text_plain(value, text, out);
    }
}

void query_result_value(struct query *query, sqlite3_context *context,
                        const struct kappa_value *value)
{
    struct buf text = {0};
    struct query_value plain;
    if (value->type == KAPPA_TYPE_NUMERIC && !value->is_null) {
        query_result_numeric(query, context, value->n);
        return;
    }
    query_value_plain(value, &text, &plain);
    if (plain.kind == QUERY_INTEGER) {
        sqlite3_result_int64(context, plain.i);
    } else if (plain.kind == QUERY_DOUBLE) {
        sqlite3_result_double(context, plain.d);
    } else if (plain.kind == QUERY_TEXT) {
        sqlite3_result_text64(context, plain.bytes, plain.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    } else if (plain.kind == QUERY_BLOB) {
        sqlite3_result_blob64(context, plain.bytes, plain.len, SQLITE_TRANSIENT);
    }
    buf_free(&text);
}

int query_bind_value(sqlite3_stmt *statement, int number, const struct kappa_value *value)
{
    struct buf text = {0};
    struct query_value plain;
    int code = SQLITE_OK;
    query_value_plain(value, &text, &plain);
    if (plain.kind == QUERY_INTEGER) {
        code = sqlite3_bind_int64(statement, number, plain.i);
    } else if (plain.kind == QUERY_DOUBLE) {
        code = sqlite3_bind_double(statement, number, plain.d);
    } else if (plain.kind == QUERY_TEXT) {
        code = sqlite3_bind_text64(statement, number, plain.bytes, plain.len, SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    } else if (plain.kind == QUERY_BLOB) {
        code = sqlite3_bind_blob64(statement, number, plain.bytes, plain.len, SQLITE_TRANSIENT);
    } else {
        code = sqlite3_bind_null(statement, number);
    }
    buf_free(&text);
    return code;
}

/* ---- keys to look for: never looser or stricter than SQLite's own comparison of the column */

static enum query_match match_whole(sqlite3_value *value, struct kappa_value *out)
{
    int type = sqlite3_value_numeric_type(value);
    if (type == SQLITE_INTEGER) {
        out->i = sqlite3_value_int64(value);
        return QUERY_MATCH_VALUE;
    }
    if (type == SQLITE_FLOAT) {
        double d = sqlite3_value_double(value);
        if (!(d >= -9.2e18 && d <= 9.2e18)) {
            return QUERY_MATCH_UNSURE;
        }
        out->i = (int64_t)d;
        return (double)out->i == d ? QUERY_MATCH_VALUE : QUERY_MATCH_NEVER;
    }
    return QUERY_MATCH_UNSURE;
}

static enum query_match match_double(sqlite3_value *value, struct kappa_value *out)
{
    int type = sqlite3_value_numeric_type(value);
    if (type == SQLITE_INTEGER) {
        int64_t i = sqlite3_value_int64(value);
        out->d = (double)i;
        bool exact = i > -(INT64_C(1) << 53) && i < INT64_C(1) << 53;
        return exact ? QUERY_MATCH_VALUE : QUERY_MATCH_UNSURE;
    }
    out->d = sqlite3_value_double(value);
    return type == SQLITE_FLOAT ? QUERY_MATCH_VALUE : QUERY_MATCH_UNSURE;
}

enum query_match query_key_value(enum kappa_type type, sqlite3_value *value,
                                 struct kappa_value *out)
{
    *out = (struct kappa_value){.type = type};
    int given = sqlite3_value_type(value);
    if (given == SQLITE_NULL || given == SQLITE_BLOB) {
        return QUERY_MATCH_UNSURE;
    }
    if (type >= KAPPA_TYPE_BOOLEAN && type <= KAPPA_TYPE_BIGINT) {
        return match_whole(value, out);
    }
    if (type == KAPPA_TYPE_DOUBLE) {
        return match_double(value, out);
    }
    if (type != KAPPA_TYPE_TEXT && type != KAPPA_TYPE_TIMESTAMPTZ && type != KAPPA_TYPE_DATE) {
        return QUERY_MATCH_UNSURE;
    }
    const char *text = (const char *)sqlite3_value_text(value); /* numbers become text */
    size_t len = (size_t)sqlite3_value_bytes(value);
    if (type == KAPPA_TYPE_TEXT) {
        out->s = (struct kappa_text){.bytes = text, .len = u32_from(len)};
        return QUERY_MATCH_VALUE;
    }
    if (!query_time_parse(text, len, &out->i)) {
        return QUERY_MATCH_UNSURE;
    }
    if (type == KAPPA_TYPE_DATE) { /* a text that is written otherwise equals no date */
        bool written = len == 10 && text[4] == '-' && out->i % US_DAY == 0;
        out->i = out->i / US_DAY;
        return written ? QUERY_MATCH_VALUE : QUERY_MATCH_UNSURE;
    }
    return QUERY_MATCH_VALUE;
}

/* ---- out of SQLite */

void query_given_read(const struct query *query, sqlite3_stmt *statement, int column,
                      struct query_given *given)
{
    *given = (struct query_given){.type = sqlite3_column_decltype(statement, column)};
    if (given->type != NULL && strcmp(given->type, "NUMERIC") == 0) {
        given->scale = query_table_scale(query, sqlite3_column_table_name(statement, column),
                                         sqlite3_column_origin_name(statement, column));
    }
}

/* Of a numeric column its digits; of an expression, which may be of decimals or of doubles, the digits
 * of what the number stands for, and whole ones without a fraction. */
static void number_take(const struct query *query, double d, struct query_given *given,
                        struct query_value *out)
{
    struct kappa_numeric value;
    *out = (struct query_value){.kind = QUERY_DOUBLE, .d = d};
    bool decimal = given->type == NULL || strcmp(given->type, "NUMERIC") == 0;
    if (decimal && (given->type != NULL || d == rint(d) || query->long_count > 0) &&
        query_numeric_of(query, d, &value)) {
        uint8_t scale = given->scale == NULL ? QUERY_SCALE_UNSEEN : *given->scale;
        out->len = query_numeric_text(value, scale, given->digits);
        out->bytes = given->digits;
        out->kind = QUERY_NUMBER;
    }
}

static void whole_take(int64_t whole, struct query_given *given, struct query_value *out)
{
    *out = (struct query_value){.kind = QUERY_INTEGER, .i = whole};
    if (given->scale != NULL && *given->scale > 0 && *given->scale <= NUMERIC_SCALE_MAX) {
        out->len = query_numeric_text(numeric_from_int(whole), *given->scale, given->digits);
        out->bytes = given->digits;
        out->kind = QUERY_NUMBER;
    } else if (given->type != NULL && strcmp(given->type, "BOOLEAN") == 0) {
        out->kind = QUERY_BOOLEAN;
    }
}

void query_value_take(const struct query *query, sqlite3_stmt *statement, int column,
                      struct query_given *given, struct query_value *out)
{
    *out = (struct query_value){.kind = QUERY_NULL};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        whole_take(sqlite3_column_int64(statement, column), given, out);
        break;
    case SQLITE_FLOAT:
        number_take(query, sqlite3_column_double(statement, column), given, out);
        break;
    case SQLITE_TEXT:
        out->kind = QUERY_TEXT;
        out->bytes = (const char *)sqlite3_column_text(statement, column);
        out->len = (size_t)sqlite3_column_bytes(statement, column);
        break;
    case SQLITE_BLOB:
        out->kind = QUERY_BLOB;
        out->bytes = sqlite3_column_blob(statement, column);
        out->len = (size_t)sqlite3_column_bytes(statement, column);
        break;
    default:
        break;
    }
}

static void text_json(struct buf *out, const char *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    json_t *mended = NULL;
    bool ascii = true;
    for (size_t i = 0; i < len && ascii; i++) {
        ascii = (unsigned char)bytes[i] < 0x80;
    }
    if (!ascii) { /* may not be UTF-8: a statement can cut characters in two */
        mended = json_text_lossy(bytes, len);
        bytes = json_string_value(mended);
        len = json_string_length(mended);
    }
    buf_append_u8(out, '"');
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buf_append(out, bytes + done, i - done);
        done = i + 1;
        const char *plain = c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
        if (plain != NULL) {
            buf_append_text(out, plain);
        } else if (c >= 0x20) {
            buf_append_u8(out, '\\');
            buf_append_u8(out, c);
        } else {
            char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_append(out, escape, sizeof escape);
        }
    }
    buf_append(out, bytes + done, len - done);
    buf_append_u8(out, '"');
    json_decref(mended);
}

static void double_json(struct buf *out, double d)
{
    if (isinf(d)) {
        buf_append_text(out, d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    json_t *json = json_real(d);
    json_write(out, json);
    json_decref(json);
}

void query_value_json(struct buf *out, const struct query_value *value)
{
    switch (value->kind) {
    case QUERY_BOOLEAN:
        buf_append_text(out, value->i != 0 ? "true" : "false");
        break;
    case QUERY_INTEGER:
        buf_printf(out, "%lld", (long long)value->i);
        break;
    case QUERY_DOUBLE:
        double_json(out, value->d);
        break;
    case QUERY_NUMBER:
        buf_append(out, value->bytes, value->len);
        break;
    case QUERY_TEXT:
        text_json(out, value->bytes, value->len);
        break;
    case QUERY_BLOB:
        buf_append_text(out, "\"\\\\x"); /* as PostgreSQL writes it */
        for (size_t i = 0; i < value->len; i++) {
            buf_printf(out, "%02x", (unsigned char)value->bytes[i]);
        }
        buf_append_u8(out, '"');
        break;
    case QUERY_NULL:
    default:
        buf_append_text(out, "null");
        break;
    }
}
