/* Goal: Avro records are read as the specification says, whatever the writer's schema; damaged ones are
 * refused; no bytes do harm, nor take long.
 * Method: bytes written by hand with the values they mean; random records by a writer of the test's own,
 * in two versions of a schema; the same damaged at random, and random schemas' texts damaged too. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "processor/avro_schema.h"
#include "processor/decode.h"
#include "processor/plan_object.h"
#include "processor/value_cast.h"

#include <string.h>

struct reader {
    struct plan *plan;
    struct decoder *decoder;
};

static struct reader open_reader(const char *columns, const char *options)
{
    struct reader reader = {.plan = NULL};
    struct err err = {.code = 0};
    struct buf sql = {0};
    buf_printf(&sql,
               "CREATE TABLE t (%s) WITH (format='avro', %s);"
               "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
               columns, options);
    if (plan_compile("test.sql", buf_text(&sql), sql.len, &reader.plan, &err) != 0) {
        print_message("%s\n%s\n", err.text, err.hint);
        fail();
    }
    buf_free(&sql);
    reader.decoder = decoder_new(&reader.plan->inputs[0], 1);
    decoder_reset(reader.decoder);
    return reader;
}

static void close_reader(struct reader *reader)
{
    decoder_free(reader->decoder);
    plan_free(reader->plan);
}

static void render_value(struct buf *out, const struct expr_vec *vec)
{
    enum expr_state state = EXPR_OK;
    struct kappa_value value = expr_value(vec, 0, &state);
    assert_true(state <= EXPR_NULL);
    if (value.is_null) {
        buf_append_text(out, "null");
        return;
    }
    if (kappa_type_is_array(value.type)) {
        value_bytes_text(out, &value);
        return;
    }
    switch (kappa_type_payload(value.type)) {
    case KAPPA_PAYLOAD_BYTES:
        buf_append_u8(out, '\'');
        for (uint32_t i = 0; i < value.s.len; i++) {
            uint8_t byte = (uint8_t)value.s.bytes[i];
            buf_printf(out, byte < 0x20 || byte > 0x7E ? "\\%02x" : "%c", byte);
        }
        buf_append_u8(out, '\'');
        return;
    case KAPPA_PAYLOAD_DOUBLE:
        buf_printf(out, "%.17g", value.d);
        return;
    case KAPPA_PAYLOAD_NUMERIC:
        buf_printf(out, "%llde-%u", (long long)value.n.low, value.n.scale);
        assert_true(value.n.high == ((int64_t)value.n.low < 0 ? -1 : 0));
        return;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    buf_printf(out, "%lld", (long long)value.i);
}

static void take(struct reader *reader, const uint8_t *bytes, size_t len, struct buf *out)
{
    uint8_t *copy = xmalloc(len + KAPPA_RECORD_TAIL);
    memcpy(copy, bytes, len);
    memset(copy + len, 2, KAPPA_RECORD_TAIL);
    struct kappa_record record = {
        .value = copy, .value_len = u32_from(len), .key_len = KAPPA_NULL_LEN};
    buf_reset(out);
    if (decoder_take(reader->decoder, &record, 0) == DECODE_ROW) {
        for (uint32_t c = 0; c < reader->plan->inputs[0].column_count; c++) {
            buf_append_text(out, c == 0 ? "" : " ");
            render_value(out, &decoder_columns(reader->decoder)[c]);
        }
    } else {
        buf_printf(out, "!%s", decoder_reason(reader->decoder));
    }
    free(copy);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (const char *c = hex; *c != '\0';) {
        if (*c == ' ') {
            c++;
            continue;
        }
        char two[3] = {c[0], c[1], '\0'};
        out[n++] = (uint8_t)strtoul(two, NULL, 16);
        c += 2;
    }
    return n;
}

#define REC(fields)            "{\"type\":\"record\",\"name\":\"r\",\"fields\":[" fields "]}"
#define F(name, type)          "{\"name\":\"" name "\",\"type\":" type "}"
#define LOGICAL(type, logical) "{\"type\":\"" type "\",\"logicalType\":\"" logical "\"}"

#define LIST(items) "{\"type\":\"array\",\"items\":" items "}"

static const struct {
    const char *columns;
    const char *schema;
    const char *hex;
    const char *expected;
} cases[] = {
    /* Types that stand in other schemas, which stand in others. */
    {"a bigint, b text",
     "{\"schema\":" REC(F("a", "\"n.k\"") "," F(
         "b", "\"s\"")) ",\"references\":["
                        "{\"type\":\"enum\",\"name\":\"s\",\"symbols\":[\"x\",\"y\"]},"
                        "{\"type\":\"record\",\"name\":\"k\",\"namespace\":\"n\",\"fields\":["
                        "{\"name\":\"z\",\"type\":\"s\"}]}]}",
     "02 02", "!column \"a\": expected bigint, got an Avro record"},
    {"b text",
     "{\"schema\":\"n.k\",\"references\":["
     "{\"type\":\"enum\",\"name\":\"s\",\"symbols\":[\"x\",\"y\"]},"
     "{\"type\":\"record\",\"name\":\"k\",\"namespace\":\"n\",\"fields\":["
     "{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"s\"}]}]}",
     "08 02", "'y'"},
    /* The example of the specification. */
    {"a bigint, b text", REC(F("a", "\"long\"") "," F("b", "\"string\"")), "36 06 66 6f 6f",
     "27 'foo'"},
    {"b text", REC(F("a", "\"long\"") "," F("b", "\"string\"")), "36 06 66 6f 6f", "'foo'"},
    {"a bigint", REC(F("a", "\"long\"") "," F("b", "\"string\"")), "36 06 66 6f 6f", "27"},
    /* Zigzag and the ends of the range. */
    {"a int", REC(F("a", "\"int\"")), "00", "0"},
    {"a int", REC(F("a", "\"int\"")), "01", "-1"},
    {"a int", REC(F("a", "\"int\"")), "7f", "-64"},
    {"a int", REC(F("a", "\"int\"")), "80 01", "64"},
    {"a bigint", REC(F("a", "\"long\"")), "ff ff ff ff ff ff ff ff ff 01", "-9223372036854775808"},
    {"a bigint", REC(F("a", "\"long\"")), "fe ff ff ff ff ff ff ff ff 01", "9223372036854775807"},
    {"a bigint", REC(F("a", "\"long\"")), "fe ff ff ff ff ff ff ff ff 02",
     "!malformed Avro: a number of more than 64 bits"},
    {"a bigint", REC(F("a", "\"long\"")), "80",
     "!malformed Avro: it ends inside of a number, at byte 1"},
    {"a bigint", REC(F("a", "\"long\"")), "", "!malformed Avro: it ends inside of a number"},
    {"a bigint", REC(F("a", "\"long\"")), "00 00",
     "!malformed Avro: more bytes than its schema says"},
    /* Promotions, and what does not fit. */
    {"a int", REC(F("a", "\"long\"")), "80 80 80 80 20",
     "!column \"a\": expected integer, got an Avro "
     "long out of range"},
    {"a smallint", REC(F("a", "\"int\"")), "fe ff 03", "32767"},
    {"a smallint", REC(F("a", "\"int\"")), "80 80 04", "!column \"a\": expected smallint"},
    {"a double precision", REC(F("a", "\"int\"")), "03", "-2"},
    {"a numeric", REC(F("a", "\"long\"")), "36", "27e-0"},
    {"a real", REC(F("a", "\"float\"")), "00 00 20 40", "2.5"},
    {"a double precision", REC(F("a", "\"float\"")), "cd cc cc 3d", "0.10000000149011612"},
    {"a double precision", REC(F("a", "\"double\"")), "9a 99 99 99 99 99 b9 3f",
     "0.10000000000000001"},
    {"a real", REC(F("a", "\"double\"")), "9a 99 99 99 99 99 b9 3f", "0.10000000149011612"},
    {"a real", REC(F("a", "\"double\"")), "a0 c8 eb 85 f3 cc e1 7f",
     "!column \"a\": expected real, got "
     "an Avro double out of range"},
    {"a bigint", REC(F("a", "\"double\"")), "9a 99 99 99 99 99 b9 3f",
     "!column \"a\": expected bigint, "
     "got an Avro double"},
    {"a boolean, b boolean", REC(F("a", "\"boolean\"") "," F("b", "\"boolean\"")), "01 00", "1 0"},
    {"a boolean", REC(F("a", "\"boolean\"")), "02", "!malformed Avro: a boolean that is neither"},
    {"a boolean", REC(F("a", "\"int\"")), "02", "!column \"a\": expected boolean, got an Avro int"},
    /* Texts and bytes. */
    {"a text", REC(F("a", "\"string\"")), "04 c3 a4", "'\\c3\\a4'"},
    {"a text", REC(F("a", "\"string\"")), "02 ff", "!a is not UTF-8 text"},
    {"a text", REC(F("a", "\"string\"")), "06 61",
     "!malformed Avro: a length that the record does not have"},
    {"a text", REC(F("a", "\"string\"")), "01",
     "!malformed Avro: a length that the record does not have"},
    {"a text", REC(F("a", "\"bytes\"")), "02 61", "'a'"},
    {"a bytea", REC(F("a", "\"bytes\"")), "04 00 ff", "'\\00\\ff'"},
    {"a bytea", REC(F("a", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":3}")), "01 02 03",
     "'\\01\\02\\03'"},
    {"a text", REC(F("a", "{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"A\",\"B\"]}")), "02",
     "'B'"},
    {"a text", REC(F("a", "{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"A\",\"B\"]}")), "04",
     "!malformed Avro: a branch or symbol"},
    {"a bigint", REC(F("a", "\"string\"")), "02 35",
     "!column \"a\": expected bigint, got an Avro string"},
    /* Unions and nulls. */
    {"a bigint", REC(F("a", "[\"null\",\"long\"]")), "00", "null"},
    {"a bigint", REC(F("a", "[\"null\",\"long\"]")), "02 36", "27"},
    {"a bigint", REC(F("a", "[\"long\",\"null\"]")), "02", "null"},
    {"a bigint", REC(F("a", "[\"null\",\"long\"]")), "04 36",
     "!malformed Avro: a branch or symbol"},
    {"a text", REC(F("a", "[\"null\",\"long\",\"string\"]")), "04 02 78", "'x'"},
    /* Logical types. */
    {"a timestamptz", REC(F("a", LOGICAL("long", "timestamp-millis"))), "02", "1000"},
    {"a timestamptz", REC(F("a", LOGICAL("long", "timestamp-micros"))), "01", "-1"},
    {"a timestamp", REC(F("a", LOGICAL("long", "local-timestamp-millis"))), "02", "1000"},
    {"a timestamptz", REC(F("a", "\"long\"")), "02", "1000"},
    {"a timestamptz", REC(F("a", LOGICAL("int", "date"))), "02", "86400000000"},
    {"a date", REC(F("a", LOGICAL("int", "date"))), "01", "-1"},
    {"a date", REC(F("a", LOGICAL("long", "timestamp-millis"))), "01", "-1"},
    {"a bigint", REC(F("a", LOGICAL("long", "timestamp-millis"))), "02", "1"},
    {"a timestamptz", REC(F("a", LOGICAL("long", "timestamp-millis"))),
     "fe ff ff ff ff ff ff ff ff 01",
     "!column \"a\": expected timestamptz, got an Avro long out of range"},
    {"a numeric",
     REC(F("a", "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}")),
     "04 30 39", "12345e-2"},
    {"a numeric",
     REC(F("a", "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}")),
     "02 ff", "-1e-2"},
    {"a numeric", REC(F("a", "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9}")),
     "00", "0e-0"},
    {"a numeric",
     REC(F("a", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":20,\"logicalType\":\"decimal\","
                "\"precision\":40,"
                "\"scale\":1}")),
     "ffffffff ffffffff ffffffff ffffffff ffffff00", "-256e-1"},
    {"a numeric",
     REC(F("a", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":20,\"logicalType\":\"decimal\","
                "\"precision\":40,"
                "\"scale\":1}")),
     "00ffffff ffffffff ffffffff ffffffff ffffff00",
     "!column \"a\": expected numeric, got an Avro fixed "
     "out of range"},
    {"a numeric",
     REC(F("a", "{\"type\":\"fixed\",\"name\":\"f\",\"size\":16,\"logicalType\":\"decimal\","
                "\"precision\":38}")),
     "7fffffff ffffffff ffffffff ffffffff", "!column \"a\": expected numeric"},
    {"a numeric(5,1)",
     REC(F("a", "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}")),
     "04 30 39", "1235e-1"},
    {"a numeric(5,2)", REC(F("a", "\"long\"")), "ce 0f", "99900e-2"},
    {"a numeric(5,2)", REC(F("a", "\"long\"")), "d0 0f",
     "!column \"a\": expected numeric, got an Avro long out of range"},
    {"a numeric(3,1)", REC(F("a", "\"string\"")), "0a 31 2e 30 36 39", "11e-1"},
    {"a numeric(3,1)", REC(F("a", "\"string\"")), "06 31 30 30",
     "!column \"a\": \"100\" is out of range of numeric"},
    {"a numeric(3,1)",
     REC(F("a", "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}")),
     "04 30 39", "!column \"a\": expected numeric, got an Avro bytes out of range"},
    {"a uuid", REC(F("a", LOGICAL("string", "uuid"))),
     "48 30303030303030302d303030302d303030302d303030302d303030303030303030303031",
     "'\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\01'"},
    /* Documents and arrays. */
    {"a jsonb, z int", REC(F("a", LIST("\"long\"")) "," F("z", "\"int\"")), "04 02 03 00 0e",
     "'[1, -2]' 7"},
    {"a jsonb, z int", REC(F("a", LIST("\"long\"")) "," F("z", "\"int\"")), "03 04 02 03 00 0e",
     "'[1, -2]' 7"},
    {"a jsonb, z int", REC(F("a", LIST("\"long\"")) "," F("z", "\"int\"")), "03 06 02 03 00 0e",
     "!malformed Avro: a block of another size than it says"},
    {"a jsonb", REC(F("a", "{\"type\":\"map\",\"values\":[\"null\",\"double\"]}")),
     "04 04 62 62 00 02 61 02 00 00 00 00 00 00 f8 3f 00", "'{\"a\": 1.5, \"bb\": null}'"},
    {"a jsonb",
     REC(F("a", "{\"type\":\"record\",\"name\":\"s\",\"fields\":[" F("x", "\"boolean\"") "," F(
                    "y", "\"string\"") "," F("d", LOGICAL("int", "date")) "]}")),
     "01 04 22 0a 02", "'{\"d\": \"1970-01-02\", \"x\": true, \"y\": \"\\\"\\n\"}'"},
    {"a jsonb", REC(F("a", "[\"null\",\"string\"]")), "02 04 5b 5d", "'[]'"},
    {"a jsonb", REC(F("a", "[\"null\",\"string\"]")), "02 02 5b",
     "!column \"a\": \"[\" is no jsonb"},
    {"a jsonb", REC(F("a", "[\"null\",\"string\"]")), "00", "null"},
    {"a jsonb", REC(F("a", "\"long\"")), "03", "'-2'"},
    {"a jsonb", REC(F("a", LIST("\"bytes\""))), "02 02 61 00",
     "!column \"a\": bytes have no JSON form"},
    {"a jsonb", REC(F("a", LIST("\"string\""))), "02 02 ff 00",
     "!column \"a\": a string in it is not UTF-8 text"},
    {"a jsonb", REC(F("a", LIST("\"double\""))), "02 00 00 00 00 00 00 f8 7f 00",
     "!column \"a\": NaN and infinity have no JSON form"},
    {"a jsonb", REC(F("a", LIST("\"null\""))), "fe ff ff ff ff ff ff ff ff 01 00",
     "!column \"a\": it is too long"},
    {"a jsonb", REC(F("a", LIST("\"r\""))), "02 02 00 00 00", "'[{\"a\": [{\"a\": []}]}]'"},
    {"a int[]", REC(F("a", LIST("\"long\""))), "04 02 03 00", "{1,-2}"},
    {"a int[]", REC(F("a", LIST("\"long\""))), "02 80 80 80 80 20 00",
     "!column \"a\": expected integer[], got an Avro array out of range"},
    {"a int[]", REC(F("a", LIST("\"string\""))), "02 02 31 00",
     "!column \"a\": expected integer[], got an Avro array"},
    {"a int[]", REC(F("a", "\"string\"")), "0c 7b 31 2c 2d 32 7d", "{1,-2}"},
    {"a int[]", REC(F("a", "\"int\"")), "02", "!column \"a\": expected integer[], got an Avro int"},
    {"a text[]", REC(F("a", LIST("[\"null\",\"string\"]"))), "02 02 02 78 00", "{x}"},
    /* What is skipped. */
    {"z int",
     REC(F("m", "{\"type\":\"map\",\"values\":\"long\"}") "," F(
         "l", "{\"type\":\"array\",\"items\":[\"null\",\"string\"]}") "," F("z", "\"int\"")),
     "02 02 61 04 00 04 00 02 02 78 00 0e", "7"},
    {"z int", REC(F("l", "{\"type\":\"array\",\"items\":\"long\"}") "," F("z", "\"int\"")),
     "03 04 02 04 00 0e", "7"},
    {"z int", REC(F("l", "{\"type\":\"array\",\"items\":\"null\"}") "," F("z", "\"int\"")),
     "fe ff ff ff ff ff ff ff ff 01 00 0e", "7"},
    {"z int", REC(F("l", "{\"type\":\"array\",\"items\":\"long\"}") "," F("z", "\"int\"")),
     "fe ff ff ff ff ff ff ff ff 01 00 0e", "!malformed Avro"},
    {"z int", REC(F("l", "{\"type\":\"array\",\"items\":\"long\"}") "," F("z", "\"int\"")),
     "ff ff ff ff ff ff ff ff ff 01 7e 0e", "!malformed Avro: a block that is longer"},
    {"l text", REC(F("l", "{\"type\":\"array\",\"items\":\"long\"}")), "00",
     "!column \"l\": expected text, got an Avro array"},
    /* A list by recursion: 3 deep is good, without an end it is too deep or too long. */
    {"z int", REC(F("n", "[\"null\",\"r\"]") "," F("z", "\"int\"")), "02 02 00 02 04 06", "3"},
    {"z int", REC(F("n", "[\"null\",\"r\"]") "," F("z", "\"int\"")),
     "02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 "
     "02 02 02 "
     "02 02 02 02 02 02 02 02 02 02 02 02 02 02 02 02",
     "!malformed Avro: nested too deep"},
    {"z int", REC(F("n", "\"r\"") "," F("z", "\"int\"")), "00", "!malformed Avro: nested too deep"},
};

static void test_cases(void **state)
{
    (void)state;
    struct buf got = {0};
    struct buf option = {0};
    uint8_t bytes[256];
    for (size_t i = 0; i < array_len(cases); i++) {
        buf_reset(&option);
        buf_printf(&option, "avro_schema='%s'", cases[i].schema);
        struct reader reader = open_reader(cases[i].columns, buf_text(&option));
        size_t len = from_hex(cases[i].hex, bytes);
        take(&reader, bytes, len, &got);
        bool same = cases[i].expected[0] == '!'
                        ? strncmp(buf_text(&got), cases[i].expected, strlen(cases[i].expected)) == 0
                        : strcmp(buf_text(&got), cases[i].expected) == 0;
        if (!same) {
            print_message("%s\n%s\n got %s\n not %s\n", cases[i].schema, cases[i].hex,
                          buf_text(&got), cases[i].expected);
            fail();
        }
        close_reader(&reader);
    }
    buf_free(&got);
    buf_free(&option);
}

/* ---- A schema in a file. */

static struct plan *plan_with(const char *files_text, const char *name, struct err *err)
{
    struct buf sql = {0};
    struct plan *plan = NULL;
    buf_printf(&sql,
               "CREATE TABLE t (a bigint) WITH (format='avro', avro_schema_file='%s');"
               "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
               name);
    struct err unsaid = {.code = 0};
    json_t *files = json_parse(files_text, strlen(files_text), &unsaid);
    json_t *object = json_pack("{s:s, s:s, s:o*}", "definition", buf_text(&sql), "file", "test.sql",
                               "files", files);
    assert_non_null(object);
    *err = (struct err){.code = 0};
    int rc = plan_compile_object(object, &plan, err);
    assert_int_equal(rc, plan == NULL ? -KE_SQL : 0);
    json_decref(object);
    buf_free(&sql);
    return plan;
}

#define SCHEMA_A "{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"r\\\",\\\"fields\\\":["
#define FIELD_A  "{\\\"name\\\":\\\"a\\\",\\\"type\\\":\\\"long\\\"}"
#define FIELD_B  "{\\\"name\\\":\\\"b\\\",\\\"type\\\":\\\"long\\\"}"

/* The version is what the text was when it was deployed: read by it, and told apart by it. */
static void test_schema_files(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"d/o.avsc\": \"" SCHEMA_A FIELD_A "]}\"}",
        "{\"d/o.avsc\": \"\\n " SCHEMA_A "  " FIELD_A " ] }\\n\", \"other\": \"\"}",
        "{\"d/o.avsc\": \"" SCHEMA_A FIELD_B "," FIELD_A "]}\"}",
    };
    struct err err;
    struct plan *plans[3];
    for (size_t i = 0; i < array_len(files); i++) {
        plans[i] = plan_with(files[i], "d/o.avsc", &err);
        assert_non_null(plans[i]);
        assert_int_equal(plans[i]->file_count, 1);
        assert_string_equal(plans[i]->files[0].name, "d/o.avsc");
        struct reader reader = {plans[i], decoder_new(&plans[i]->inputs[0], 1)};
        struct buf got = {0};
        decoder_reset(reader.decoder);
        take(&reader, (const uint8_t *)"\x06\x08", i == 2 ? 2 : 1, &got);
        assert_string_equal(buf_text(&got), i == 2 ? "4" : "3");
        buf_free(&got);
        decoder_free(reader.decoder);
    }
    assert_true(digest_equal(plans[0]->hash, plans[1]->hash));
    assert_false(digest_equal(plans[0]->hash, plans[2]->hash));
    for (size_t i = 0; i < array_len(files); i++) {
        plan_free(plans[i]);
    }
    assert_null(plan_with("{\"d/o.avsc\": \"{]\"}", "d/o.avsc", &err));
    assert_non_null(
        strstr(err.text, "test.sql:1:48: option \"avro_schema_file\": no JSON document"));
    assert_null(plan_with("{\"d/o.avsc\": \"{}\"}", "d/o.avsc", &err));
    assert_non_null(strstr(err.text, "no Avro schema: a type without"));
    assert_null(plan_with("{\"o.avsc\": \"{}\"}", "d/o.avsc", &err));
    assert_non_null(strstr(err.text, "\"d/o.avsc\" did not come with the definition"));
    assert_non_null(strstr(err.hint, "kappa deploy"));
}

/* ---- Schemas. */

static const struct {
    const char *text;
    const char *error; /* NULL: good */
} schemas[] = {
    {"\"string\"", "the Avro schema is a string, not a record"},
    {"[\"null\"]", "the Avro schema is a union, not a record"},
    {"{", "not JSON"},
    {"7", "neither a name"},
    {REC(F("a", "\"nope\"")), "there is no type \"nope\""},
    {REC(F("a", "[]")), "a union of nothing"},
    {REC(F("a", "[[\"null\"]]")), "a union directly in a union"},
    {REC(F("a", "{\"type\":\"fixed\",\"name\":\"f\"}")), "no sensible size"},
    {REC(F("a", "{\"type\":\"record\",\"name\":\"r\",\"fields\":[]}")), "is there twice"},
    {REC("{\"type\":\"int\"}"), "a field without a name"},
    {REC(F("a", "{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[1]}")), "a symbol"},
    {REC(F("a", "{}")), "a type without \"type\""},
    {REC(F("a", "{\"type\":{\"type\":\"string\",\"avro.java.string\":\"String\"}}")), NULL},
    {REC(F("a", "{\"type\":\"int\",\"logicalType\":\"unknown\"}")), NULL},
    {"{\"type\":\"record\",\"name\":\"x.y.r\",\"fields\":[" F(
         "a",
         "{\"type\":\"fixed\",\"name\":"
         "\"f\",\"size\":1}") "," F("b", "\"f\"") "," F("c", "\"x.y.f\"") "," F("d",
                                                                                "\"x.y.r\"") "]}",
     NULL},
    {"{\"type\":\"record\",\"name\":\"r\",\"namespace\":\"n\",\"fields\":[" F(
         "a", "{\"type\":\"enum\",\"name\":\"m.e\",\"symbols\":[]}") "," F("b", "\"m.e\"") "]}",
     NULL},
};

static void test_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(schemas); i++) {
        struct err err = {.code = 0};
        struct avro_schema *schema = NULL;
        int rc = avro_schema_parse(schemas[i].text, strlen(schemas[i].text), &schema, &err);
        bool good = schemas[i].error == NULL
                        ? rc == 0
                        : rc != 0 && strstr(err.text, schemas[i].error) != NULL;
        if (!good) {
            print_message("%s\n%s\n", schemas[i].text, err.text);
            fail();
        }
        avro_schema_free(rc == 0 ? schema : NULL);
    }
}

/* ---- Random records, in two versions of one schema, with framing. */

#define V1                                                                                         \
    REC(F("id", "\"int\"") "," F("old_name", "[\"null\",\"string\"]") "," F(                       \
        "gone", "\"double\"") "," F("user",                                                        \
                                    "{\"type\":\"record\",\"name\":\"u\",\"fields\":[" F(          \
                                        "age", "\"int\"") "]}"))
#define V2                                                                                         \
    REC(F("name", "\"string\"") "," F("more", "{\"type\":\"map\",\"values\":\"bytes\"}") "," F(    \
        "user", "[\"null\",{\"type\":\"record\",\"name\":\"u\",\"fields\":[" F(                    \
                    "x", "\"float\"") "," F("age", "\"long\"") "]}]") "," F("id", "\"long\""))

static void put_long(struct buf *out, int64_t value)
{
    buf_append_varint(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static void put_string(struct buf *out, const char *text)
{
    put_long(out, (int64_t)strlen(text));
    buf_append_text(out, text);
}

static void put_frame(struct buf *out, uint32_t id)
{
    buf_reset(out);
    buf_append_u8(out, 0);
    for (int shift = 24; shift >= 0; shift -= 8) {
        buf_append_u8(out, (uint8_t)(id >> shift));
    }
}

static int64_t random_number(struct prng *prng, unsigned bits)
{
    return (int64_t)(prng_next(prng) >> (64 - bits + prng_below(prng, bits - 1))) *
           (prng_below(prng, 2) == 0 ? 1 : -1);
}

static void write_v1(struct prng *prng, struct buf *out, struct buf *expected)
{
    int64_t id = random_number(prng, 31);
    int64_t age = random_number(prng, 31);
    bool named = prng_below(prng, 3) > 0;
    put_frame(out, 7);
    put_long(out, id);
    put_long(out, named);
    if (named) {
        put_string(out, "old");
    }
    buf_append(out, "12345678", 8);
    put_long(out, age);
    buf_reset(expected);
    buf_printf(expected, "%lld %s %lld", (long long)id, named ? "'old'" : "null", (long long)age);
}

static void write_v2(struct prng *prng, struct buf *out, struct buf *expected)
{
    int64_t id = random_number(prng, 63);
    int64_t age = random_number(prng, 63);
    bool user = prng_below(prng, 3) > 0;
    put_frame(out, 0x01020304);
    put_string(out, "new");
    for (uint64_t n = prng_below(prng, 3); n > 0; n--) {
        put_long(out, 1);
        put_string(out, "key");
        put_string(out, "value");
    }
    put_long(out, 0);
    put_long(out, user);
    if (user) {
        buf_append(out, "1234", 4);
        put_long(out, age);
    }
    put_long(out, id);
    buf_reset(expected);
    buf_printf(expected, "%lld 'new' ", (long long)id);
    buf_printf(expected, user ? "%lld" : "null", (long long)age);
}

static struct reader open_framed(void)
{
    struct reader reader =
        open_reader("id bigint, name text, age bigint", "schema_registry='http://localhost:1', "
                                                        "rename='old_name=name, user.age=age'");
    return reader;
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("avro"));
    struct reader reader = open_framed();
    struct buf bytes = {0};
    struct buf expected = {0};
    struct buf got = {0};
    for (int i = 0; i < 20000; i++) {
        bool first = prng_below(&prng, 2) == 0;
        if (first) {
            write_v1(&prng, &bytes, &expected);
        } else {
            write_v2(&prng, &bytes, &expected);
        }
        struct kappa_record record = {.value = bytes.data, .value_len = u32_from(bytes.len)};
        uint32_t id = 0;
        if (decoder_schema_wanted(reader.decoder, &record, &id)) {
            assert_true(i < 100);
            assert_int_equal(id, first ? 7 : 0x01020304);
            take(&reader, bytes.data, bytes.len, &got);
            assert_non_null(strstr(buf_text(&got), "nobody has handed it in"));
            decoder_schema(reader.decoder, id, first ? V1 : V2, strlen(first ? V1 : V2));
            assert_false(decoder_schema_wanted(reader.decoder, &record, &id));
        }
        take(&reader, bytes.data, bytes.len, &got);
        assert_string_equal(buf_text(&got), buf_text(&expected));
        /* Cut anywhere it is refused; with a byte changed it is anything but harmful. */
        take(&reader, bytes.data, prng_below(&prng, bytes.len), &got);
        assert_int_equal(buf_text(&got)[0], '!');
        bytes.data[prng_below(&prng, bytes.len)] = (uint8_t)prng_next(&prng);
        take(&reader, bytes.data, bytes.len, &got);
    }
    buf_free(&bytes);
    buf_free(&expected);
    buf_free(&got);
    close_reader(&reader);
}

static void test_unreadable_schemas(void **state)
{
    (void)state;
    struct reader reader = open_framed();
    struct buf got = {0};
    uint8_t bytes[] = {0, 0, 0, 0, 5, 0};
    decoder_schema(reader.decoder, 5, NULL, 0);
    take(&reader, bytes, sizeof bytes, &got);
    assert_string_equal(buf_text(&got),
                        "!schema 5: the registry does not have it, or not all that it refers to");
    bytes[4] = 6;
    decoder_schema(reader.decoder, 6, "\"string\"", 8);
    take(&reader, bytes, sizeof bytes, &got);
    assert_string_equal(buf_text(&got), "!schema 6: the Avro schema is a string, not a record");
    take(&reader, bytes, 4, &got);
    assert_int_equal(strncmp(buf_text(&got), "!no Confluent framing", 21), 0);
    bytes[0] = 1;
    take(&reader, bytes, sizeof bytes, &got);
    assert_int_equal(strncmp(buf_text(&got), "!no Confluent framing", 21), 0);
    buf_free(&got);
    close_reader(&reader);
}

/* Schemas come from outside: damaged ones give an error or a schema, and its records harm nobody. */
static void test_noise(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("avro noise"));
    struct buf got = {0};
    for (int round = 0; round < 3000; round++) {
        const char *source = round % 3 == 0   ? V2
                             : round % 3 == 1 ? V1
                                              : cases[prng_below(&prng, array_len(cases))].schema;
        char *text = xstrdup(source);
        size_t len = strlen(text);
        for (uint64_t n = prng_below(&prng, 4); n > 0; n--) {
            static const char letters[] = "{}[]\",:0aur";
            text[prng_below(&prng, len)] = prng_below(&prng, 2) == 0
                                               ? letters[prng_below(&prng, sizeof letters - 1)]
                                               : text[prng_below(&prng, len)];
        }
        struct reader reader = open_framed();
        decoder_schema(reader.decoder, 1, text, len);
        for (int i = 0; i < 20; i++) {
            uint8_t bytes[64] = {0, 0, 0, 0, 1};
            for (size_t b = 5; b < sizeof bytes; b++) {
                bytes[b] =
                    (uint8_t)(prng_below(&prng, 3) == 0 ? prng_next(&prng) : prng_below(&prng, 6));
            }
            take(&reader, bytes, 5 + prng_below(&prng, sizeof bytes - 4), &got);
        }
        close_reader(&reader);
        free(text);
    }
    buf_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_schema_files),
        cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_unreadable_schemas),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
