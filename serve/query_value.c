/* Values on their way into SQLite and out of it. Own header: query_private.h. */
#include "base/timefmt.h"
#include "processor/value_text.h"
#include "serve/query_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX                                                                                 \
    15 /* of a time in ms: until the year 33658; and of what a double keeps exactly */

#define WHOLE_MAX   18 /* digits in front of the point, of what is a number to SQLite */
#define EXACT_SLOTS 16384
#define EXACT_MAX   (EXACT_SLOTS / 2) /* of a statement: later ones are told as doubles */

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
        return "NUMERIC COLLATE " QUERY_NUMBERS;
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

/* Exactly a whole number, a double to 15 digits, or the digits. */
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

/* ---- numerics of many digits
 *
 * SQLite compares and sorts them as doubles, beside those of few digits; what is only selected is told
 * with all digits, which are remembered for each double. Where several have one double, that is told.
 * Those above 10^18 stay texts: these sort behind all numbers, and by QUERY_NUMBERS among themselves. */

static uint32_t exact_slot(const struct query *query, uint64_t bits)
{
    uint32_t slot = (uint32_t)((bits * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % EXACT_SLOTS;
    while (query->exact[slot].digits != NULL && query->exact[slot].bits != bits) {
        slot = (slot + 1) % EXACT_SLOTS;
    }
    return slot;
}

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

static void exact_keep(struct query *query, double d, const char *digits)
{
    if (query->exact == NULL) {
        query->exact = xcalloc(EXACT_SLOTS, sizeof *query->exact);
        arena_init(&query->exact_memory);
    }
    struct query_exact *at = &query->exact[exact_slot(query, bits_of(d))];
    if (at->digits != NULL) {
        at->digits = strcmp(at->digits, digits) == 0 ? at->digits : "";
    } else if (query->exact_count < EXACT_MAX) {
        query->exact_count++;
        *at = (struct query_exact){bits_of(d), arena_strdup(&query->exact_memory, digits)};
    }
}

static const char *exact_find(const struct query *query, double d)
{
    const char *digits =
        query->exact == NULL ? NULL : query->exact[exact_slot(query, bits_of(d))].digits;
    return digits == NULL || digits[0] == '\0' ? NULL : digits;
}

void query_exact_forget(struct query *query)
{
    if (query->exact != NULL) {
        free(query->exact);
        arena_free(&query->exact_memory);
        query->exact = NULL;
        query->exact_count = 0;
    }
}

/* Bytes of the whole part of digits, without leading zeros. */
static size_t whole_digits(const char *text, size_t len)
{
    const char *point = memchr(text, '.', len);
    return point == NULL ? len : (size_t)(point - text);
}

int query_number_collate(void *ctx, int a_len, const void *a, int b_len, const void *b)
{
    (void)ctx;
    size_t len[2] = {(size_t)a_len, (size_t)b_len};
    const char *text[2] = {a, b};
    bool plain = true;
    for (int i = 0; i < 2; i++) {
        plain = plain && query_is_number(text[i], len[i]) && text[i][0] != '-';
        while (plain && memchr(text[i], '.', len[i]) != NULL && text[i][len[i] - 1] == '0') {
            len[i]--;
        }
        len[i] -= plain && text[i][len[i] - 1] == '.' ? 1 : 0;
    }
    size_t whole[2] = {whole_digits(text[0], len[0]), whole_digits(text[1], len[1])};
    if (plain && whole[0] != whole[1]) {
        return whole[0] < whole[1] ? -1 : 1;
    }
    return bytes_order(text[0], len[0], text[1], len[1]);
}

void query_result_value(struct query *query, sqlite3_context *context,
                        const struct kappa_value *value)
{
    struct buf text = {0};
    struct query_value plain;
    query_value_plain(value, &text, &plain);
    if (value->type == KAPPA_TYPE_NUMERIC && plain.kind == QUERY_TEXT &&
        query_is_number(plain.bytes, plain.len) &&
        (plain.bytes[0] == '-' || whole_digits(plain.bytes, plain.len) <= WHOLE_MAX)) {
        plain = (struct query_value){.kind = QUERY_DOUBLE, .d = strtod(buf_text(&text), NULL)};
        exact_keep(query, plain.d, buf_text(&text));
    }
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

bool query_is_number(const char *text, size_t len)
{
    size_t at = len > 0 && text[0] == '-' ? 1 : 0;
    size_t start = at;
    while (at < len && text[at] >= '0' && text[at] <= '9') {
        at++;
    }
    bool whole = at > start && (text[start] != '0' || at == start + 1);
    if (at < len && text[at] == '.') {
        size_t point = at++;
        while (at < len && text[at] >= '0' && text[at] <= '9') {
            at++;
        }
        whole = whole && at > point + 1;
    }
    return whole && at == len;
}

void query_value_take(const struct query *query, sqlite3_stmt *statement, int column,
                      const char *type, struct query_value *out)
{
    const char *digits = NULL;
    *out = (struct query_value){.kind = QUERY_NULL};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        out->i = sqlite3_column_int64(statement, column);
        out->kind = type != NULL && strcmp(type, "BOOLEAN") == 0 ? QUERY_BOOLEAN : QUERY_INTEGER;
        break;
    case SQLITE_FLOAT:
        out->kind = QUERY_DOUBLE;
        out->d = sqlite3_column_double(statement, column);
        digits = type != NULL && strcmp(type, "NUMERIC") == 0 ? exact_find(query, out->d) : NULL;
        if (digits != NULL) {
            *out =
                (struct query_value){.kind = QUERY_NUMBER, .bytes = digits, .len = strlen(digits)};
        }
        break;
    case SQLITE_TEXT:
        out->kind = QUERY_TEXT;
        out->bytes = (const char *)sqlite3_column_text(statement, column);
        out->len = (size_t)sqlite3_column_bytes(statement, column);
        if (type != NULL && strcmp(type, "NUMERIC") == 0 && query_is_number(out->bytes, out->len)) {
            out->kind = QUERY_NUMBER; /* a UNION may have other texts in this column */
        }
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
