/* Goal: what waits behind a cut comes out byte for byte and in order, though the reader's memory
 * is long gone. Method: random batches are pushed, partly taken, kept and dropped in random order;
 * the reader's memory is overwritten after each keep; a naive list of expected records is the
 * oracle. */
#include "replayer/pending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

#define RECORDS     8
#define VALUE_BYTES 40
#define SOURCES     3

/* The reader: one batch of memory, filled anew each time. */
struct fake_reader {
    struct kappa_record records[RECORDS];
    uint8_t bytes[RECORDS][VALUE_BYTES + KAPPA_RECORD_TAIL];
    int64_t next[SOURCES];
};

/* What a record of this source and offset looks like: value bytes repeat its number. */
static uint8_t mark(uint32_t source, int64_t offset)
{
    return (uint8_t)((uint64_t)source * 91 + (uint64_t)offset * 7);
}

static void fill(struct fake_reader *reader, struct prng *prng, struct log_batch *batch)
{
    uint32_t source = (uint32_t)prng_below(prng, SOURCES);
    uint32_t count = (uint32_t)prng_below(prng, RECORDS + 1);
    memset(reader->bytes, 0xEE, sizeof reader->bytes);
    for (uint32_t i = 0; i < count; i++) {
        int64_t offset = reader->next[source];
        uint8_t *bytes = reader->bytes[i];
        memset(bytes, mark(source, offset), VALUE_BYTES);
        reader->records[i] = (struct kappa_record){.offset = offset,
                                                   .key = bytes,
                                                   .key_len = 3,
                                                   .value = bytes,
                                                   .headers = bytes,
                                                   .value_len = (uint32_t)(offset % VALUE_BYTES),
                                                   .headers_len = (uint32_t)(offset % 5)};
        if (offset % 3 == 0) {
            reader->records[i].key = NULL;
            reader->records[i].key_len = KAPPA_NULL_LEN;
        }
        if (offset % 7 == 0) {
            reader->records[i].value = NULL;
            reader->records[i].value_len = KAPPA_NULL_LEN;
        }
        reader->next[source] += 1 + (int64_t)prng_below(prng, 2);
    }
    *batch = (struct log_batch){.source = source,
                                .count = count,
                                .records = reader->records,
                                .next_offset = reader->next[source]};
}

static void expect_bytes(const uint8_t *bytes, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(bytes[i], value);
    }
}

static void expect_record(uint32_t source, const struct kappa_record *record)
{
    uint8_t value = mark(source, record->offset);
    if (record->offset % 3 == 0) {
        assert_null(record->key);
        assert_int_equal(record->key_len, KAPPA_NULL_LEN);
    } else {
        assert_int_equal(record->key_len, 3);
        expect_bytes(record->key, 3, value);
    }
    if (record->offset % 7 == 0) {
        assert_null(record->value);
        assert_int_equal(record->value_len, KAPPA_NULL_LEN);
    } else {
        assert_int_equal(record->value_len, record->offset % VALUE_BYTES);
        expect_bytes(record->value, record->value_len, value);
        uint8_t tail = 0;
        for (size_t i = 0; i < KAPPA_RECORD_TAIL; i++) {
            tail ^= record->value[record->value_len + i]; /* readable: ASan looks */
        }
        (void)tail;
    }
    expect_bytes(record->headers, record->headers_len, value);
}

/* Takes up to `most` records of the first batch of this source; the last offset taken is kept. */
static void take(struct pending *pending, uint32_t source, uint32_t most, int64_t *last)
{
    struct pending_batch *batch = pending->first;
    while (batch && batch->index != source) {
        batch = batch->next;
    }
    if (!batch) {
        return;
    }
    for (; most > 0 && batch->taken < batch->count; most--, batch->taken++) {
        const struct kappa_record *record = &batch->records[batch->taken];
        assert_true(record->offset > *last);
        expect_record(source, record);
        *last = record->offset;
    }
    if (batch->taken == batch->count) {
        pending_drop(pending, batch);
    }
}

static void test_random(void **state)
{
    (void)state;
    const char *given = getenv("KAPPA_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 4711;
    print_message("KAPPA_SEED=%llu\n", (unsigned long long)seed);
    struct prng prng;
    struct fake_reader *reader = xcalloc(1, sizeof *reader);
    struct pending pending;
    int64_t last[SOURCES] = {-1, -1, -1};
    prng_init(&prng, seed);
    pending_init(&pending);
    for (int round = 0; round < 5000; round++) {
        struct log_batch batch;
        pending_keep(&pending);
        fill(reader, &prng, &batch);
        pending_push(&pending, &batch);
        for (int i = 0; i < 3; i++) {
            uint32_t source = (uint32_t)prng_below(&prng, SOURCES);
            take(&pending, source, (uint32_t)prng_below(&prng, UINT64_C(2) * RECORDS),
                 &last[source]);
        }
        if (prng_below(&prng, 100) == 0) {
            pending_keep(&pending);
            memset(reader->bytes, 0xDD, sizeof reader->bytes);
            for (uint32_t s = 0; s < SOURCES; s++) {
                struct pending_batch *before = NULL;
                while (pending.first != before) { /* until nothing of s is left */
                    before = pending.first;
                    take(&pending, s, UINT32_MAX, &last[s]);
                }
            }
        }
    }
    pending_clear(&pending);
    assert_null(pending.first);
    assert_int_equal(pending.bytes, 0);
    pending_clear(&pending);
    free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
