/* Text to parse tree: the one file with libpg_query (PostgreSQL's own parser). Own header: sql.h.
 *
 * libpg_query's recursion is not ours to bound: LIMIT_SQL_LEN bounds it. A definition of that length
 * needs at most 4 MB of stack (seen with 32,000 nested additions), so threads that compile keep the
 * default stack of 8 MB. The JSON writer of libpg_query 15 drops negative integers: `ival` is absent
 * both for 0 and for -3. They are read again from the text, before anything else looks at the tree. */
#include "base/limits.h"
#include "processor/sql.h"

#include <pg_query.h>
#include <string.h>

#define NAME_BYTES  63  /* PostgreSQL cuts what is longer, without a word */
#define TOKEN_IDENT 258 /* a name, quoted or not: Token.IDENT of pg_query.proto */

static int check_text(struct sql *sql)
{
    if (sql->len > (size_t)LIMIT_SQL_LEN) {
        return err_set(sql->err, KE_SQL, "%s: the definition has %zu bytes; the limit is %d",
                       sql->file, sql->len, LIMIT_SQL_LEN);
    }
    for (size_t i = 0; i < sql->len;) {
        size_t len = sql_character(sql->text + i, sql->len - i);
        if (len == 0) {
            return sql_error(sql, (int)i, "the definition is not valid UTF-8");
        }
        if (sql->text[i] == '\0') {
            return sql_error(sql, (int)i, "the definition holds a zero byte");
        }
        i += len;
    }
    return 0;
}

/* Byte of the character with this number, from 1. */
static size_t byte_of_character(const struct sql *sql, int character)
{
    size_t at = 0;
    for (int seen = 1; at < sql->len && seen < character; seen++) {
        at++;
        while (at < sql->len && ((unsigned char)sql->text[at] & 0xC0) == 0x80) {
            at++;
        }
    }
    return at;
}

static void parse_failed(struct sql *sql, const PgQueryError *error)
{
    size_t place = byte_of_character(sql, error->cursorpos);
    if (strncmp(error->message, "memory exhausted", 16) == 0) {
        (void)sql_error(sql, (int)place, "nested too deeply for the parser");
        return;
    }
    int shown = (int)strcspn(error->message, "\n"); /* it may quote the rest of the text */
    (void)sql_error(sql, (int)place, "%.*s", shown, error->message);
    if (strstr(error->message, "must have an alias") != NULL) {
        err_hint(sql->err, "write a name behind it: FROM (SELECT ...) AS x");
    } else if (!sql_slip_hint(sql, place)) {
        sql_dialect_hint(sql, place);
    }
}

/* The digits that follow a minus sign, blanks, comments and parentheses; 0 when there are none. */
static int64_t negative_literal(const struct sql *sql, size_t at)
{
    int64_t value = 0;
    while (at < sql->len && (sql->text[at] < '0' || sql->text[at] > '9')) {
        const char *end = NULL;
        if (strncmp(sql->text + at, "--", 2) == 0) {
            end = strchr(sql->text + at, '\n');
        } else if (strncmp(sql->text + at, "/*", 2) == 0) {
            end = strstr(sql->text + at, "*/");
            end = end == NULL ? NULL : end + 1;
        }
        at = end == NULL ? at + 1 : (size_t)(end - sql->text) + 1;
    }
    for (; at < sql->len && sql->text[at] >= '0' && sql->text[at] <= '9'; at++) {
        value = value * 10 + (sql->text[at] - '0');
        if (value > INT64_C(2147483648)) {
            return 0;
        }
    }
    return -value;
}

/* Puts back the negative integers that the JSON lacks. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by jansson's nesting limit of 2048
static void repair_integers(const struct sql *sql, json_t *node)
{
    const char *name;
    json_t *child;
    size_t i;
    json_object_foreach (node, name, child) {
        json_t *constant = json_object_get(child, "ival");
        if (strcmp(name, "A_Const") == 0 && constant != NULL && json_object_size(constant) == 0) {
            int64_t place = json_int(child, "location", -1);
            bool negative = place >= 0 && (size_t)place < sql->len && sql->text[place] == '-';
            int64_t value = negative ? negative_literal(sql, (size_t)place) : 0;
            (void)json_object_set_new(constant, "ival", json_integer(value));
        }
        repair_integers(sql, child);
    }
    json_array_foreach (node, i, child) {
        repair_integers(sql, child);
    }
}

/* A number in protobuf's wire format; *at moves behind it. */
static uint64_t varint(const uint8_t *bytes, size_t len, size_t *at)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < len && shift < 64; shift += 7) {
        uint8_t byte = bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            break;
        }
    }
    return value;
}

/* Bytes of the name from `start` to `end`, without its quotes. */
static size_t name_bytes(const struct sql *sql, size_t start, size_t end)
{
    size_t len = end - start;
    if (sql->text[start] != '"') {
        return len;
    }
    len -= 2;
    for (size_t at = start + 1; at + 2 < end; at++) {
        if (sql->text[at] == '"') { /* one of two */
            len--;
            at++;
        }
    }
    return len;
}

/* token: a ScanToken of pg_query.proto, all of whose fields are numbers. */
static int check_name(struct sql *sql, const uint8_t *token, size_t len)
{
    uint64_t fields[6] = {0}; /* 1: where it starts, 2: ends, 4: what it is */
    for (size_t at = 0; at < len;) {
        uint64_t field = varint(token, len, &at) >> 3;
        uint64_t value = varint(token, len, &at);
        fields[field < array_len(fields) ? field : 0] = value;
    }
    if (fields[4] != TOKEN_IDENT || fields[1] >= fields[2] || fields[2] > sql->len) {
        return 0;
    }
    size_t bytes = name_bytes(sql, fields[1], fields[2]);
    if (bytes <= NAME_BYTES) {
        return 0;
    }
    int rc = sql_error(sql, (int)fields[1], "this name has %zu bytes; PostgreSQL's have at most %d",
                       bytes, NAME_BYTES);
    err_hint(sql->err, "a field of such a name can be read from a column of type jsonb");
    return rc;
}

/* Of a text that parses. */
static int check_names(struct sql *sql)
{
    PgQueryScanResult result = pg_query_scan(sql->text);
    const uint8_t *bytes = (const uint8_t *)result.pbuf.data;
    size_t len = result.error == NULL ? result.pbuf.len : 0;
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0;) {
        uint64_t key = varint(bytes, len, &at);
        uint64_t value = varint(bytes, len, &at);
        if (key == (2 << 3 | 2) && value <= len - at) { /* ScanResult.tokens, of a length */
            rc = check_name(sql, bytes + at, value);
            at += value;
        }
    }
    pg_query_free_scan_result(result);
    return rc;
}

json_t *sql_parse(struct sql *sql)
{
    if (check_text(sql) != 0) {
        return NULL;
    }
    PgQueryParseResult result = pg_query_parse(sql->text);
    json_t *tree = NULL;
    if (result.error != NULL) {
        parse_failed(sql, result.error);
    } else if (check_names(sql) == 0) {
        json_error_t error;
        tree = json_loads(result.parse_tree, 0, &error);
        if (tree == NULL) {
            (void)sql_error(sql, 0, "nested too deeply for the parser");
        } else {
            repair_integers(sql, tree);
        }
    }
    pg_query_free_parse_result(result);
    return tree;
}
