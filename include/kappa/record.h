/* One record of a log, as every part of Kappa sees it.
 *
 * A record is a view: its bytes belong to whoever filled it (a batch of a log reader, a test), and
 * live until that owner says. The same shape serves Kafka and the embedded log. */
#ifndef KAPPA_RECORD_H
#define KAPPA_RECORD_H

#include <stdint.h>

/* Length of a key or value that is absent (null), as opposed to empty. */
#define KAPPA_NULL_LEN UINT32_MAX

/* Bytes behind the end of every non-null value that may be read (never written): vector JSON
 * parsers look at whole blocks. What these bytes hold is unspecified. */
#define KAPPA_RECORD_TAIL 64

/* No time is known. */
#define KAPPA_NO_TIME INT64_MIN

struct kappa_record {
    int64_t offset;         /* position in its partition, >= 0, ascending, holes allowed */
    int64_t time_ms;        /* record time, ms since 1970 UTC, or KAPPA_NO_TIME */
    const uint8_t *key;     /* key_len bytes, NULL if null */
    const uint8_t *value;   /* value_len bytes and KAPPA_RECORD_TAIL readable ones, NULL if null */
    const uint8_t *headers; /* headers_len bytes: repeated (u32 LE name length, name, u32 LE value
                               length or KAPPA_NULL_LEN, value) */
    uint32_t key_len;       /* or KAPPA_NULL_LEN */
    uint32_t value_len;     /* or KAPPA_NULL_LEN (a tombstone) */
    uint32_t headers_len;   /* 0 when there are none */
};

#endif
