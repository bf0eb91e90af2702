/* One record handed to librdkafka: what writers and senders share. Own header: kafka_private.h. */
#include "log/kafka_private.h"

#define HEADERS_MAX 1024 /* of one record */

/* Kappa's header bytes (include/kappa/record.h) as librdkafka's; NULL when they are malformed. */
rd_kafka_headers_t *kafka_headers_new(const struct kappa_record *record)
{
    const uint8_t *at = record->headers;
    size_t left = record->headers_len;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    for (uint32_t count = 0; left > 0; count++) {
        uint32_t name_len = left < 4 ? UINT32_MAX : load_u32_le(at);
        if (count == HEADERS_MAX || left < 8 || name_len > left - 8) {
            break;
        }
        const char *name = (const char *)at + 4;
        uint32_t value_len = load_u32_le(at + 4 + name_len);
        uint32_t size = value_len == KAPPA_NULL_LEN ? 0 : value_len;
        at += 8 + name_len;
        left -= 8 + (size_t)name_len;
        if (size > left || rd_kafka_header_add(headers, name, (ssize_t)name_len,
                                               value_len == KAPPA_NULL_LEN ? NULL : at,
                                               (ssize_t)size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            left = 1;
            break;
        }
        at += size;
        left -= size;
    }
    if (left != 0) {
        rd_kafka_headers_destroy(headers);
        return NULL;
    }
    return headers;
}

rd_kafka_error_t *kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition,
                                const struct kappa_record *record, rd_kafka_headers_t *headers,
                                void *opaque)
{
    /* librdkafka copies key and value and writes to neither; its prototypes lack the const. */
    void *key = (void *)(uintptr_t)record->key;
    void *value = (void *)(uintptr_t)record->value;
    size_t key_len = record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len;
    size_t value_len = record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len;
    static uint8_t empty[1]; /* empty is not null: librdkafka tells them apart by the pointer */
    key = record->key_len == 0 ? empty : record->key_len == KAPPA_NULL_LEN ? NULL : key;
    value = record->value_len == 0 ? empty : record->value_len == KAPPA_NULL_LEN ? NULL : value;
    rd_kafka_vu_t units[8] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt},
        {.vtype = RD_KAFKA_VTYPE_PARTITION,
         .u.i32 = partition < 0 ? RD_KAFKA_PARTITION_UA : partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, key_len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, value_len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
    };
    size_t count = 6;
    if (record->time_ms != KAPPA_NO_TIME) {
        units[count++] =
            (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->time_ms};
    }
    if (headers != NULL) {
        units[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    }
    return rd_kafka_produceva(rk, units, count);
}
