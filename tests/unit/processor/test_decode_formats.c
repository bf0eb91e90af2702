/* Goal: every format reads what its head says and refuses the rest with a reason; what a record is
 * besides its value arrives; noise does no harm.
 * Method: definitions are compiled and one record is read; rows are written as text and compared.
 * Random rows go through a writer of the test's own and back. Records damaged at random are read
 * under the sanitizers. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "processor/decode.h"
#include "processor/expr_step.h"
#include "processor/value_cast.h"

#include <string.h>

struct reader {
    struct plan *plan;
    struct decoder *decoder;
};

/* text: CREATE TABLE t. A plan needs a view; tables with a primary key are read by nothing here, so all
 * their columns are marked as used. */
static struct reader open_reader(const char *text)
{
    struct reader reader = {.plan = NULL};
    struct err err = {.code = 0};
    struct buf sql = {0};
    bool keyed = strstr(text, "PRIMARY") != NULL;
    buf_printf(&sql, "%s; %s CREATE MATERIALIZED VIEW v AS SELECT * FROM %s", text,
               keyed ? "CREATE TABLE other (a int);" : "", keyed ? "other" : "t");
    if (plan_compile("test.sql", buf_text(&sql), sql.len, &reader.plan, &err) != 0) {
        print_message("%s\n%s\n", err.text, err.hint);
        fail();
    }
    buf_free(&sql);
    for (uint32_t c = 0; c < reader.plan->inputs[0].column_count; c++) {
        ((struct plan_column *)(uintptr_t)reader.plan->inputs[0].columns)[c].used = true;
    }
    reader.decoder = decoder_new(&reader.plan->inputs[0], 2);
    decoder_reset(reader.decoder);
    return reader;
}

static void close_reader(struct reader *reader)
{
    decoder_free(reader->decoder);
    plan_free(reader->plan);
}

static void render_value(struct buf *out, const struct expr_vec *vec, uint32_t row)
{
    char text[EXPR_VALUE_TEXT];
    enum expr_state state = EXPR_OK;
    struct kappa_value value = expr_value(vec, row, &state);
    assert_true(state <= EXPR_NULL);
    if (value.is_null) {
        buf_append_text(out, "null");
    } else if (kappa_type_is_array(value.type) || value.type == KAPPA_TYPE_UUID) {
        value_bytes_text(out, &value);
    } else if (kappa_type_payload(value.type) == KAPPA_PAYLOAD_BYTES) {
        buf_append_u8(out, '\'');
        buf_append(out, value.s.bytes, value.s.len);
        buf_append_u8(out, '\'');
    } else if (kappa_type_payload(value.type) == KAPPA_PAYLOAD_DOUBLE) {
        buf_printf(out, "%.17g", value.d);
    } else if (kappa_type_payload(value.type) == KAPPA_PAYLOAD_NUMERIC) {
        buf_append(out, text, value_scalar_text(&value, text));
    } else {
        buf_printf(out, "%lld", (long long)value.i);
    }
}

/* The columns of the input, or "!" and the reason. The bytes have exactly the tail they are promised.
 */
static void take(struct reader *reader, const struct kappa_record *record, struct buf *out)
{
    struct kappa_record copy = *record;
    uint32_t len = record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len;
    uint8_t *value = xmalloc((size_t)len + KAPPA_RECORD_TAIL);
    if (len > 0) {
        memcpy(value, record->value, len);
    }
    memset(value + len, ',', KAPPA_RECORD_TAIL);
    copy.value = value;
    buf_reset(out);
    enum decode_taken taken = decoder_take(reader->decoder, &copy, 0);
    buf_append_text(out, taken == DECODE_DELETE ? "-" : "");
    if (taken == DECODE_REFUSED || taken == DECODE_IGNORED) {
        buf_printf(out, "%s%s", taken == DECODE_REFUSED ? "!" : "ignored",
                   taken == DECODE_REFUSED ? decoder_reason(reader->decoder) : "");
        for (uint32_t c = 0; c < reader->plan->inputs[0].column_count; c++) {
            assert_int_equal(decoder_columns(reader->decoder)[c].state[0], EXPR_NULL);
        }
    } else {
        for (uint32_t c = 0; c < reader->plan->inputs[0].column_count; c++) {
            buf_append_text(out, c == 0 ? "" : " ");
            render_value(out, &decoder_columns(reader->decoder)[c], 0);
        }
    }
    free(value);
}

static struct kappa_record record_of(const char *key, const char *value, size_t len)
{
    return (struct kappa_record){.offset = 7,
                                 .time_ms = 1700000000123,
                                 .key = (const uint8_t *)key,
                                 .key_len = key == NULL ? KAPPA_NULL_LEN : u32_from(strlen(key)),
                                 .value = (const uint8_t *)value,
                                 .value_len = value == NULL ? KAPPA_NULL_LEN : u32_from(len)};
}

#define CSV     "CREATE TABLE t (a text, i int, d double precision, b boolean, ts timestamptz) "
#define CSV_STD CSV "WITH (format='csv')"
#define TWO     "CREATE TABLE t (a text, b text) "
#define KEYED   "CREATE TABLE t (id bigint PRIMARY KEY, name text) WITH (format='json')"
#define PAIR    "CREATE TABLE t (a text, b text, c int, PRIMARY KEY (a, b)) WITH (format='json')"
#define ODD     "CREATE TABLE t (d date, u uuid, iv interval) WITH (topic='t')"
#define BEZ     "CREATE TABLE t (id bigint PRIMARY KEY, name text) WITH (format='debezium')"
#define JSON    "CREATE TABLE t (id bigint, name text) WITH "
#define MONEY   "CREATE TABLE t (n numeric(5,2)) WITH "
#define PRICED  "CREATE TABLE t (n numeric(5,2) PRIMARY KEY) WITH "
#define MANY    "CREATE TABLE t (l int[], t text[], j jsonb, u uuid, d date, s timestamp) WITH "
#define UUID    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

static const struct {
    const char *table;
    const char *key;
    const char *value;
    const char *expected;
} cases[] = {
    {CSV_STD, NULL, "x,1,2.5,true,1700000000123", "'x' 1 2.5 1 1700000000123000"},
    {CSV_STD, NULL, "x,1,2.5,t,2023-11-14T22:13:20Z\r\n", "'x' 1 2.5 1 1700000000000000"},
    {CSV_STD, NULL, ",,,,", "null null null null null"},
    {CSV_STD, NULL, "\"\",,,,", "'' null null null null"},
    {CSV_STD, NULL, "\"a,\"\"b\"\"\n\r\",-5,1e3,no,\r", "'a,\"b\"\n\r' -5 1000 0 null"},
    {CSV_STD, NULL, " a , 7 ,1,f,", "' a ' 7 1 0 null"},
    {CSV_STD, NULL, "x,1,2.5,true", "!expected 5 fields, got 4"},
    {CSV_STD, NULL, "x,1,2.5,true,1,9", "!expected 5 fields, got 6"},
    {CSV_STD, NULL, "", "!expected 5 fields, got 1"},
    {CSV_STD, NULL, "x,one", "!expected 5 fields, got 2"},
    {CSV_STD, NULL, "x,one,1,t,", "!column \"i\": \"one\" is no integer"},
    {CSV_STD, NULL, "x,3000000000,1,t,",
     "!column \"i\": \"3000000000\" is out of range of integer"},
    {CSV_STD, NULL, "x,\"\",1,t,", "!column \"i\": \"\" is no integer"},
    {CSV_STD, NULL, "x,1,0x10,t,", "!column \"d\": \"0x10\" is no double precision"},
    {CSV_STD, NULL, "x,1,1,maybe,", "!column \"b\": \"maybe\" is no boolean"},
    {CSV_STD, NULL, "x,1,1,t,soon", "!column \"ts\": \"soon\" is no timestamptz"},
    {CSV_STD, NULL, "\"x,1,1,t,",
     "!malformed line: the quote that opens here is not closed: at "
     "byte 0"},
    {CSV_STD, NULL, "\"x\"y,1,1,t,", "!malformed line: text behind a closing quote at byte 3"},
    {CSV_STD, NULL, "x\"y,1,1,t,",
     "!malformed line: a quote inside of a field that does not begin "
     "with one at byte 1"},
    {CSV_STD, NULL, "\xff,1,1,t,", "!the record is not UTF-8 text"},
    {TWO "WITH (format='csv', delimiter=';', quote='''', null='\\N')", NULL, "'a;''';\\N",
     "'a;'' null"},
    {TWO "WITH (format='csv', delimiter='|', null='-')", NULL, "|-", "'' null"},
    {TWO "WITH (format='csv', quote='')", NULL, "\"a,b\"", "'\"a' 'b\"'"},
    {TWO "WITH (format='csv', fields='any')", NULL, "a", "'a' null"},
    {TWO "WITH (format='csv', fields='any')", NULL, "a,b,c", "'a' 'b'"},
    {TWO "WITH (format='tsv')", NULL, "a \"b\"\tc,d\r\n", "'a \"b\"' 'c,d'"},
    {TWO "WITH (format='tsv', null='\\N')", NULL, "\\N\t", "null ''"},
    {TWO "WITH (format='csv', delimiter='\\t')", NULL, "\"x\"\ty", "'x' 'y'"},
    {"CREATE TABLE t (a text) WITH (format='csv')", NULL, "", "null"},
    {"CREATE TABLE t (line text) WITH (format='raw')", NULL, "any, \"thing\"\n",
     "'any, \"thing\"\n'"},
    {"CREATE TABLE t (line text) WITH (format='raw')", NULL, "", "''"},
    {"CREATE TABLE t (line text) WITH (format='raw')", NULL, NULL, "null"},
    {"CREATE TABLE t (line text) WITH (format='raw')", NULL, "\xc3",
     "!the record is not UTF-8 text"},
    {"CREATE TABLE t (n bigint) WITH (format='raw')", NULL, "42", "42"},
    {"CREATE TABLE t (n bigint) WITH (format='raw')", NULL, "4x",
     "!column \"n\": \"4x\" is no bigint"},
    /* key='column' */
    {JSON "(key='id')", "5", "{\"id\":5,\"name\":\"x\"}", "5 'x'"},
    {JSON "(key='id')", "05", "{\"id\":5}",
     "!the key \"05\" is not the value of column \"id\", \"5\""},
    {JSON "(key='id')", NULL, "{\"id\":5}",
     "!the record has no key, not the value of column \"id\", \"5\""},
    {JSON "(key='id')", NULL, "{\"name\":\"x\"}",
     "!the record has no key, and column \"id\" is null"},
    {JSON "(key='name')", "x", "{\"name\":null}", "!the key \"x\", but column \"name\" is null"},
    {JSON "(key='name')", "", "{\"name\":\"\"}", "null ''"},
    {JSON "(key='name')", "\xff", "{\"name\":\"\"}",
     "!the key (1 bytes, no text) is not the value of column \"name\", \"\""},
    /* rename */
    {JSON "(rename='old=id')", NULL, "{\"old\":1}", "1 null"},
    {JSON "(rename='old=id')", NULL, "{\"old\":1,\"id\":2}", "2 null"},
    {JSON "(rename='old=id')", NULL, "{\"id\":2,\"old\":1}", "1 null"},
    {JSON "(rename='a=id, b = id')", NULL, "{\"b\":3}", "3 null"},
    {JSON "(rename='user.id=id,user.name.first=name')", NULL,
     "{\"x\":{\"id\":9},\"user\":{\"id\":4,\"more\":[{}],\"name\":{\"last\":\"l\",\"first\":\"f\"}}"
     "}",
     "4 'f'"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":{}}", "null null"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":null}", "null null"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":{\"id\":\"x\"}}",
     "!column \"id\": expected bigint, got text"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":7}",
     "!field \"user\": expected object, got number"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":\"7\"}",
     "!field \"user\": expected object, got text"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":[]}",
     "!field \"user\": expected object, got array"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":true}",
     "!field \"user\": expected object, got boolean"},
    {JSON "(rename='user.id=id')", NULL, "{\"user\":{\"id\":1}",
     "!malformed JSON: the text ends too early: expected ',' or '}'"},
    {"CREATE TABLE t (id bigint, \"user\" jsonb) WITH (rename='user.id=id')", NULL,
     "{\"user\":{\"id\":4}}", "4 '{\"id\": 4}'"},
    {"CREATE TABLE t (id bigint, \"user\" jsonb) WITH (rename='user.id=id')", NULL, "{\"user\":5}",
     "null '5'"},
    {"CREATE TABLE t (id bigint, \"user\" text) WITH (rename='user.id=id')", NULL,
     "{\"user\":{\"id\":4}}", "!column \"user\": expected text, got object"},
    /* PRIMARY KEY */
    {JSON "(format='json')", "5", NULL, "!no value (tombstone)"},
    {KEYED, "5", "{\"id\":5,\"name\":\"x\"}", "5 'x'"},
    {KEYED, NULL, "{\"name\":\"x\"}", "!column \"id\" of the primary key is missing or null"},
    {KEYED, "5", NULL, "-5 null"},
    {KEYED, "\"5\"", NULL, "-5 null"},
    {KEYED, "x", NULL, "!column \"id\": \"x\" is no bigint"},
    {KEYED, NULL, NULL, "!neither a value nor a key"},
    {KEYED, "\xff", NULL, "!no value (tombstone), and the key is not UTF-8 text"},
    {KEYED, "{\"id\":7}", NULL, "-7 null"},
    {KEYED, "{\"schema\":{},\"payload\":{\"id\":7}}", NULL, "-7 null"},
    {KEYED, "{\"name\":7}", NULL, "!column \"id\" of the primary key is missing or null"},
    {KEYED, "{\"id\":", NULL, "!no value (tombstone), and the key: malformed JSON"},
    {PAIR, "{\"a\":\"x\",\"b\":\"y\"}", NULL, "-'x' 'y' null"},
    {PAIR, "x", NULL, "!no value (tombstone), and the key is no JSON object"},
    {PAIR, NULL, "{\"a\":\"x\",\"b\":\"y\",\"c\":1}", "'x' 'y' 1"},
    {"CREATE TABLE t (a text PRIMARY KEY) WITH (format='json')", "\"a\\u00e4\"", NULL,
     "-'a\xc3\xa4'"},
    {"CREATE TABLE t (a text PRIMARY KEY) WITH (format='json')", "\"a\"b\"", NULL, "-'\"a\"b\"'"},
    {"CREATE TABLE t (a text, b text PRIMARY KEY) WITH (format='csv')", "k", NULL, "-null 'k'"},
    /* debezium */
    {BEZ, NULL, "{\"before\":null,\"after\":{\"id\":1,\"name\":\"a\"},\"op\":\"c\"}", "1 'a'"},
    {BEZ, NULL, "{\"op\":\"r\",\"after\":{\"id\":1},\"source\":{\"db\":[1]}}", "1 null"},
    {BEZ, NULL,
     "{\"schema\":{\"a\":[]},\"payload\":{\"op\":\"u\",\"before\":{\"id\":9},\"after\":{\"id\":1}}"
     "}",
     "1 null"},
    {BEZ, NULL, "{\"op\":\"d\",\"before\":{\"id\":3,\"name\":\"x\"},\"after\":null}", "-3 null"},
    {BEZ, "{\"id\":4}", "{\"op\":\"d\",\"before\":null}", "-4 null"},
    {BEZ, NULL, "{\"op\":\"d\"}", "!neither a value nor a key"},
    {BEZ, NULL, "{\"op\":\"c\"}", "!the Debezium envelope has no object \"after\""},
    {BEZ, NULL, "{\"op\":\"t\"}", "!the Debezium envelope's \"op\" is none of c, r, u, d"},
    {BEZ, NULL, "{\"op\":1}", "!the Debezium envelope's \"op\" is none of c, r, u, d"},
    {BEZ, NULL, "{\"op\":\"m\"}", "ignored"},
    {BEZ, "1", NULL, "ignored"},
    {BEZ, NULL, "{\"schema\":null,\"payload\":null}", "ignored"},
    {BEZ, NULL, "{\"payload\":5}", "!no Debezium envelope: it has no \"op\""},
    {BEZ, NULL, "{\"id\":1}", "!no Debezium envelope: it has no \"op\""},
    {BEZ, NULL, "{}", "!no Debezium envelope: it has no \"op\""},
    {BEZ, NULL, "[]", "!malformed JSON: expected an object"},
    {BEZ, NULL, "{\"op\":\"c\",\"after\":{\"id\":\"x\"}}",
     "!column \"id\": expected bigint, got text"},
    {BEZ, NULL, "{\"op\":\"c\",\"after\":{\"id\":1}} x", "!malformed JSON"},
    {JSON "(format='debezium')", NULL, "{\"op\":\"c\",\"after\":{\"id\":1}}", "1 null"},
    {JSON "(format='debezium')", NULL, "{\"op\":\"u\",\"after\":{\"id\":1}}",
     "!op \"u\" changes a row, and table \"t\" has no PRIMARY KEY"},
    {JSON "(format='debezium', rename='_id=id, doc.name=name')", NULL,
     "{\"op\":\"c\",\"after\":{\"_id\":1,\"doc\":{\"name\":\"n\"}}}", "1 'n'"},
    /* numeric(p, s) is rounded to s and holds p digits, in every format */
    {MONEY "(format='json')", NULL, "{\"n\":1.005}", "1.01"},
    {MONEY "(format='json')", NULL, "{\"n\":\"1.005\"}", "1.01"},
    {MONEY "(format='json')", NULL, "{\"n\":999.995}", "!column \"n\": expected numeric"},
    {MONEY "(format='csv')", NULL, "1.005", "1.01"},
    {MONEY "(format='csv')", NULL, "-7", "-7.00"},
    {MONEY "(format='csv')", NULL, "999.995",
     "!column \"n\": \"999.995\" is out of range of numeric"},
    {MONEY "(format='tsv')", NULL, "1e2", "100.00"},
    {MONEY "(format='tsv')", NULL, "1e3", "!column \"n\": \"1e3\" is out of range of numeric"},
    {MONEY "(format='raw')", NULL, " 1.005 ", "1.01"},
    {MONEY "(format='raw')", NULL, "1000", "!column \"n\": \"1000\" is out of range of numeric"},
    {MONEY "(format='debezium')", NULL, "{\"op\":\"c\",\"after\":{\"n\":\"1.005\"}}", "1.01"},
    {MONEY "(format='debezium')", NULL, "{\"op\":\"c\",\"after\":{\"n\":1e3}}",
     "!column \"n\": expected numeric"},
    {PRICED "(format='json')", "1.005", NULL, "-1.01"},
    {PRICED "(format='json')", "{\"n\":1.005}", NULL, "-1.01"},
    {PRICED "(format='json')", "1000", NULL, "!column \"n\": \"1000\" is out of range of numeric"},
    /* csv and tsv: types that are no numbers, as casts from text */
    {MANY "(format='tsv')", NULL,
     "{1,NULL}\t{\"a b\",c}\t{\"b\":[1.50]}\t" UUID "\t1970-01-02\t1970-01-01 00:00:01",
     "{1,NULL} {\"a b\",c} '{\"b\": [1.50]}' " UUID " 1 1000000"},
    {MANY "(format='csv')", NULL,
     "\"{1,2}\",{},\"{\"\"a\"\":1}\"," UUID ",1969-12-31,1970-01-01T00:00:00",
     "{1,2} {} '{\"a\": 1}' " UUID " -1 0"},
    {MANY "(format='csv')", NULL, ",,,,,", "null null null null null null"},
    {MANY "(format='csv')", NULL, "{x},,,,,", "!column \"l\": \"{x}\" is no integer[]"},
    {MANY "(format='csv')", NULL, ",,{,,,", "!column \"j\": \"{\" is no jsonb"},
    {MANY "(format='csv')", NULL, ",,,a0,,", "!column \"u\": \"a0\" is no uuid"},
    {MANY "(format='csv')", NULL, ",,,,1970-02-30,", "!column \"d\": \"1970-02-30\" is "},
    {MANY "(format='csv')", NULL, ",,,,,noon", "!column \"s\": \"noon\" is no timestamp"},
    /* texts and numbers of other types */
    {ODD, NULL, "{\"d\":20512}", "20512 null null"},
    {ODD, NULL, "{\"d\":\"2026-02-28\"}", "20512 null null"},
    {ODD, NULL, "{\"d\":-1}", "-1 null null"},
    {ODD, NULL, "{\"d\":1.5}", "!column \"d\": expected date, got a number with fraction"},
    {ODD, NULL, "{\"d\":1767225600000}", "!column \"d\": expected date, got a number out of range"},
    {ODD, NULL, "{\"u\":\"x\"}",
     "!column \"u\": expected uuid, got text that does not read as one"},
    {ODD, NULL, "{\"iv\":\"1 month\"}",
     "!column \"iv\": expected interval, got text that is no interval of days and less"},
};

static void test_cases(void **state)
{
    (void)state;
    struct buf got = {0};
    for (size_t i = 0; i < array_len(cases); i++) {
        struct reader reader = open_reader(cases[i].table);
        struct kappa_record record = record_of(cases[i].key, cases[i].value,
                                               cases[i].value == NULL ? 0 : strlen(cases[i].value));
        for (int round = 0; round < 2; round++) { /* the second knows the names */
            take(&reader, &record, &got);
            bool same =
                cases[i].expected[0] == '!'
                    ? strncmp(buf_text(&got), cases[i].expected, strlen(cases[i].expected)) == 0
                    : strcmp(buf_text(&got), cases[i].expected) == 0;
            if (!same) {
                print_message("%s\n%s\n got %s\n not %s\n", cases[i].table, cases[i].value,
                              buf_text(&got), cases[i].expected);
                fail();
            }
        }
        close_reader(&reader);
    }
    buf_free(&got);
}

/* ---- What a record is besides its value. */

static struct reader open_meta(void)
{
    static const char text[] =
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT a, record_key(), "
        "record_offset(), record_partition(), record_timestamp(), record_header('h') AS h1, "
        "record_header('x') AS h2 FROM t WHERE record_header('h') IS NOT NULL";
    struct reader reader = {.plan = NULL};
    struct err err = {.code = 0};
    assert_int_equal(plan_compile("test.sql", text, strlen(text), &reader.plan, &err), 0);
    reader.decoder = decoder_new(&reader.plan->inputs[0], 2);
    decoder_reset(reader.decoder);
    return reader;
}

static void add_header(struct buf *out, const char *name, const char *value)
{
    buf_append_u32_le(out, u32_from(strlen(name)));
    buf_append_text(out, name);
    buf_append_u32_le(out, value == NULL ? KAPPA_NULL_LEN : u32_from(strlen(value)));
    buf_append_text(out, value == NULL ? "" : value);
}

static void test_meta(void **state)
{
    (void)state;
    struct buf got = {0};
    struct buf headers = {0};
    struct reader reader = open_meta();
    assert_int_equal(reader.plan->inputs[0].meta_count, 6);
    add_header(&headers, "h", "first");
    add_header(&headers, "hh", "no");
    add_header(&headers, "h", "last");
    add_header(&headers, "x", NULL);
    struct kappa_record record = record_of("the key", "{\"a\":1}", 7);
    record.headers = headers.data;
    record.headers_len = u32_from(headers.len);
    decoder_partition(reader.decoder, 3, 4);
    take(&reader, &record, &got);
    assert_string_equal(buf_text(&got), "1 'the key' 7 3 1700000000123000 'last' null");
    for (uint32_t cut = 1; cut < headers.len; cut++) { /* never beyond the end */
        uint8_t *short_headers = xmalloc(cut);
        memcpy(short_headers, headers.data, cut);
        record.headers = short_headers;
        record.headers_len = cut;
        take(&reader, &record, &got);
        free(short_headers);
    }
    record = record_of(NULL, "{}", 2);
    record.time_ms = KAPPA_NO_TIME;
    take(&reader, &record, &got);
    assert_string_equal(buf_text(&got), "null null 7 3 null null null");
    record.time_ms = INT64_MAX / 10;
    take(&reader, &record, &got);
    assert_string_equal(buf_text(&got), "!record_timestamp(): out of range");
    record = record_of("\xc0", "{}", 2);
    take(&reader, &record, &got);
    assert_string_equal(buf_text(&got), "!record_key() is not UTF-8 text");
    buf_free(&headers);
    buf_free(&got);
    close_reader(&reader);
}

/* Neither key nor value, and the header: a mark in every format, nothing else is. */
static void test_marks(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "CREATE TABLE t (a text)",
        "CREATE TABLE t (a text) WITH (key='a')",
        "CREATE TABLE t (a text) WITH (format='csv')",
        "CREATE TABLE t (a text) WITH (format='tsv')",
        "CREATE TABLE t (a text) WITH (format='raw')",
        "CREATE TABLE t (a text) WITH (format='debezium')",
        "CREATE TABLE t (a text PRIMARY KEY)",
        "CREATE TABLE t (a text PRIMARY KEY) WITH (format='debezium')",
        "CREATE TABLE t (a text) WITH (format='avro', "
        "avro_schema='{\"type\":\"record\",\"name\":\"r\","
        "\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}')",
        "CREATE TABLE t (a text) WITH (format='avro', schema_registry='http://127.0.0.1:1')"};

    static const struct {
        const char *text;
        int64_t us; /* 0: no mark */
    } marks[] = {{"1700000000123", 1700000000123000},
                 {"-5", -5000},
                 {"4611686018427387", 4611686018427387000},
                 {"4611686018427388", 0},
                 {"99999999999999999999999", 0},
                 {"", 0},
                 {"-", 0},
                 {"12x", 0},
                 {NULL, 0}};

    for (size_t t = 0; t < array_len(tables); t++) {
        struct reader reader = open_reader(tables[t]);
        for (size_t m = 0; m < array_len(marks); m++) {
            struct buf headers = {0};
            add_header(&headers, "h", "before");
            add_header(&headers, "kappa-mark", marks[m].text);
            struct kappa_record record = record_of(NULL, NULL, 0);
            record.headers = headers.data;
            record.headers_len = u32_from(headers.len);
            uint32_t schema = 0;
            assert_false(decoder_schema_wanted(reader.decoder, &record, &schema));
            enum decode_taken taken = decoder_take(reader.decoder, &record, 0);
            assert_int_equal(taken == DECODE_MARK, marks[m].us != 0);
            if (taken == DECODE_MARK) {
                assert_int_equal(decoder_mark(reader.decoder), marks[m].us);
                assert_int_equal(decoder_columns(reader.decoder)[0].state[0], EXPR_NULL);
            }
            record.key = (const uint8_t *)"k";
            record.key_len = 1;
            assert_int_not_equal(decoder_take(reader.decoder, &record, 0), DECODE_MARK);
            record.key_len = KAPPA_NULL_LEN;
            for (uint32_t cut = 0; cut < headers.len; cut++) {
                record.headers_len = cut;
                (void)decoder_take(reader.decoder, &record, 0);
            }
            buf_free(&headers);
        }
        close_reader(&reader);
    }
}

static void test_meta_columns_are_hidden(void **state)
{
    (void)state;
    static const char text[] =
        "CREATE TABLE t (a int) WITH (event_time='record_timestamp()');"
        "CREATE MATERIALIZED VIEW v AS SELECT *, record_offset() AS o FROM t;"
        "CREATE MATERIALIZED VIEW w AS SELECT window_end, record_partition() AS p, count(*) "
        "FROM tumble(t, \"record_timestamp()\", interval '1 s') GROUP BY window_end, "
        "record_partition()";
    struct plan *plan = NULL;
    struct err err = {.code = 0};
    if (plan_compile("test.sql", text, strlen(text), &plan, &err) != 0) {
        print_message("%s\n", err.text);
        fail();
    }
    assert_int_equal(plan->views[0].output_count, 2);
    assert_string_equal(plan->views[0].outputs[1].name, "o");
    assert_int_equal(plan->inputs[0].event_time, 3);
    assert_string_equal(plan->inputs[0].columns[3].name, "record_timestamp()");
    plan_free(plan);
}

/* ---- Round trips and noise. */

static const char *const alphabet[] = {"a", "b", ",", "\"", "\n", "\r", " ", "\xc3\xa4", "\t", ";"};

static void random_text(struct prng *prng, struct buf *out)
{
    buf_reset(out);
    for (uint64_t n = prng_below(prng, 6); n > 0; n--) {
        buf_append_text(out, alphabet[prng_below(prng, array_len(alphabet))]);
    }
}

/* Quotes what must be quoted, and sometimes what need not. */
static void write_field(struct prng *prng, struct buf *out, const struct buf *text)
{
    bool must = text->len == 0 || strpbrk(buf_text(text), ",\"\r\n") != NULL;
    bool quote = must || prng_below(prng, 3) == 0;
    buf_append_text(out, quote ? "\"" : "");
    for (size_t i = 0; i < text->len; i++) {
        buf_append_u8(out, text->data[i]);
        if (text->data[i] == '"') {
            buf_append_u8(out, '"');
        }
    }
    buf_append_text(out, quote ? "\"" : "");
}

static void test_csv_round_trip(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("csv"));
    struct reader reader =
        open_reader("CREATE TABLE t (a text, b text, c text) WITH (format='csv')");
    struct buf line = {0};
    struct buf text = {0};
    struct buf expected = {0};
    struct buf got = {0};
    for (int i = 0; i < 20000; i++) {
        buf_reset(&line);
        buf_reset(&expected);
        for (int f = 0; f < 3; f++) {
            buf_append_text(&line, f == 0 ? "" : ",");
            buf_append_text(&expected, f == 0 ? "" : " ");
            if (prng_below(&prng, 8) == 0) {
                buf_append_text(&expected, "null");
                continue;
            }
            random_text(&prng, &text);
            write_field(&prng, &line, &text);
            buf_printf(&expected, "'%s'", buf_text(&text));
        }
        struct kappa_record record = record_of(NULL, buf_text(&line), line.len);
        take(&reader, &record, &got);
        assert_string_equal(buf_text(&got), buf_text(&expected));
    }
    buf_free(&line);
    buf_free(&text);
    buf_free(&expected);
    buf_free(&got);
    close_reader(&reader);
}

static void test_noise(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("format noise"));
    struct buf got = {0};
    for (size_t i = 0; i < array_len(cases); i++) {
        struct reader reader = open_reader(cases[i].table);
        for (int round = 0; round < 300 && cases[i].value != NULL; round++) {
            uint8_t bytes[256];
            size_t len = strlen(cases[i].value);
            memcpy(bytes, cases[i].value, len);
            for (uint64_t n = prng_below(&prng, 4); n > 0 && len > 0; n--) {
                bytes[prng_below(&prng, len)] = (uint8_t)prng_below(&prng, 256);
            }
            len = prng_below(&prng, 3) == 0 ? prng_below(&prng, len + 1) : len;
            struct kappa_record record = record_of(cases[i].key, (const char *)bytes, len);
            take(&reader, &record, &got);
        }
        close_reader(&reader);
    }
    buf_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),          cmocka_unit_test(test_marks),
        cmocka_unit_test(test_meta),           cmocka_unit_test(test_meta_columns_are_hidden),
        cmocka_unit_test(test_csv_round_trip), cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
