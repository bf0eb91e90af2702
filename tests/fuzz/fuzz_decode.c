/* Fuzz target: any bytes as a record of any format. The first byte chooses the table, the rest is the
 * value. A record is taken or refused with a reason; whatever is taken is read whole. */
#include "processor/decode.h"
#include "processor/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COLUMNS                                                                                    \
    "(b boolean, s smallint, i integer, l bigint, n numeric(12, 3), f real, d double precision, "  \
    "t text, y bytea, u uuid, j jsonb, c date, p timestamp, z timestamptz)"
#define VIEW "; CREATE MATERIALIZED VIEW v AS SELECT * FROM t;"

static const char *const tables[] = {
    "CREATE TABLE t " COLUMNS " WITH (format='json')" VIEW,
    "CREATE TABLE t (l bigint, t text) WITH (format='json', timestamp_unit='us')" VIEW,
    "CREATE TABLE t " COLUMNS " WITH (format='csv', fields='any')" VIEW,
    "CREATE TABLE t (t text, l bigint) WITH (format='csv', delimiter=';', null='-')" VIEW,
    "CREATE TABLE t " COLUMNS " WITH (format='tsv')" VIEW,
    "CREATE TABLE t (t text) WITH (format='raw')" VIEW,
    "CREATE TABLE t (l bigint, t text) WITH (format='debezium')" VIEW,
    "CREATE TABLE t (l bigint, d double precision, t text, b boolean) WITH (format='avro', "
    "avro_schema='{\"type\":\"record\",\"name\":\"r\",\"fields\":["
    "{\"name\":\"l\",\"type\":\"long\"},{\"name\":\"d\",\"type\":[\"null\",\"double\"]},"
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"bytes\"}},"
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"int\"}},"
    "{\"name\":\"t\",\"type\":\"string\"},{\"name\":\"b\",\"type\":\"boolean\"}]}')" VIEW,
};

static struct plan *plans[array_len(tables)];

static struct plan *plan_of(size_t k)
{
    if (plans[k] == NULL) {
        struct err err = {0};
        int rc = plan_compile("fuzz.sql", tables[k], strlen(tables[k]), &plans[k], &err);
        ASSERT_CMP(rc, ==, 0);
    }
    return plans[k];
}

static void read_row(const struct plan_input *input, const struct expr_vec *columns)
{
    for (uint32_t c = 0; c < input->column_count; c++) {
        enum expr_state state;
        struct kappa_value value = expr_value(&columns[c], 0, &state);
        if (state == EXPR_OK && kappa_type_payload(value.type) == KAPPA_PAYLOAD_BYTES) {
            (void)hash_bytes(value.s.bytes, value.s.len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct plan_input *input = &plan_of(data[0] % array_len(tables))->inputs[0];
    uint8_t *value =
        xmalloc(size - 1 + KAPPA_RECORD_TAIL); /* of this size: reading behind it shows */
    memcpy(value, data + 1, size - 1);
    memset(value + size - 1, 0, KAPPA_RECORD_TAIL);
    struct kappa_record record = {
        .value = value, .value_len = (uint32_t)(size - 1), .key_len = KAPPA_NULL_LEN};
    struct decoder *decoder = decoder_new(input, 1);
    decoder_reset(decoder);
    if (decoder_take(decoder, &record, 0) == DECODE_REFUSED) {
        ASSERT(decoder_reason(decoder)[0] != '\0');
    } else {
        read_row(input, decoder_columns(decoder));
    }
    decoder_free(decoder);
    free(value);
    return 0;
}
