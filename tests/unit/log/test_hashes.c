/* Goal: checksums and partitions of keys are those that the rest of the world computes.
 * Method: published vectors; the CPU's CRC instruction against the portable code on random bytes. */
#include "tests/unit/unit.h"

#include "base/partitioner.h"
#include "base/prng.h"
#include "log/crc32c.h"
#include "log/log.h"

#include <librdkafka/rdkafka.h>
#include <string.h>

static void test_crc32c_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x8A9136AA); /* RFC 3720, B.4 */
    memset(bytes, 0xFF, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x62A8AB43);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x46DD794E);
}

static void test_crc32c_portable(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("crc32c"));
    uint8_t bytes[600];
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)prng_next(&prng);
        }
        size_t from = prng_below(&prng, 100);
        size_t len = prng_below(&prng, 500);
        size_t cut = prng_below(&prng, len + 1);
        uint32_t whole = crc32c(0, bytes + from, len);
        assert_int_equal(whole, crc32c_portable(0, bytes + from, len));
        assert_int_equal(whole,
                         crc32c(crc32c(0, bytes + from, cut), bytes + from + cut, len - cut));
    }
}

/* Vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2. */
static void test_partition_of_key(void **state)
{
    (void)state;

    static const struct {
        const char *key;
        int32_t hash;
    } cases[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    static const uint32_t partitions[] = {1, 2, 3, 7, 16, 1000, UINT32_C(1) << 31};
    for (size_t i = 0; i < array_len(cases); i++) {
        uint32_t positive = (uint32_t)cases[i].hash & INT32_MAX;
        for (size_t k = 0; k < array_len(partitions); k++) {
            assert_int_equal(
                log_partition_of_key(cases[i].key, strlen(cases[i].key), partitions[k]),
                positive % partitions[k]);
        }
    }
    assert_true(log_partition_of_key(NULL, 0, 5) < 5);
}

/* Both functions against librdkafka's own, which look at the key alone. */
static void test_partitioners(void **state)
{
    (void)state;
    struct prng prng;
    uint8_t key[64];
    prng_init(&prng, unit_seed("partitioners"));
    assert_int_equal(partition_of_key(PARTITIONER_CRC32, "123456789", 9, 1U << 31),
                     0xCBF43926 & INT32_MAX);
    for (uint32_t i = 0; i < 20000; i++) {
        size_t len = prng_below(&prng, sizeof key);
        int32_t partitions = 1 + (int32_t)prng_below(&prng, 5000);
        for (size_t k = 0; k < len; k++) {
            key[k] = (uint8_t)prng_below(&prng, 256);
        }
        assert_int_equal(
            partition_of_key(PARTITIONER_CRC32, key, len, (uint32_t)partitions),
            rd_kafka_msg_partitioner_consistent(NULL, key, len, partitions, NULL, NULL));
        assert_int_equal(partition_of_key(PARTITIONER_MURMUR2, key, len, (uint32_t)partitions),
                         rd_kafka_msg_partitioner_murmur2(NULL, key, len, partitions, NULL, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_vectors),
        cmocka_unit_test(test_crc32c_portable),
        cmocka_unit_test(test_partition_of_key),
        cmocka_unit_test(test_partitioners),
    };
    return cmocka_run_group_tests_name("hashes", tests, NULL, NULL);
}
