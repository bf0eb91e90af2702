/* The plain baseline of a Kafka replay: one librdkafka consumer reads a whole topic in batches and
 * does not look at the payload. What Kappa's replay is measured against, in the same run.
 *
 *     kafka_read BROKERS TOPIC [RECORDS]      stops after RECORDS or at the end of every partition
 *
 * It uses nothing of Kappa, on purpose, and librdkafka's default settings but for what makes the
 * end visible. Prints one line of JSON; the clock starts with the first message. */
#include <librdkafka/rdkafka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, METADATA_MS = 10000, POLL_MS = 100 };

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "kafka_read: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        die(name, text);
    }
}

static rd_kafka_t *consumer_new(const char *brokers)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", "kappa-bench-baseline");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.partition.eof", "true");
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL) {
        die("rd_kafka_new", text);
    }
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

/* Assigns every partition from its beginning; their number. */
static int assign_all(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, rkt, &metadata, METADATA_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("metadata", rd_kafka_err2str(code));
    }
    int count = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    if (count == 0) {
        die(topic, "no such topic");
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int partition = 0; partition < count; partition++) {
        rd_kafka_topic_partition_list_add(list, topic, partition)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    }
    code = rd_kafka_assign(rk, list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("assign", rd_kafka_err2str(code));
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(rkt);
    return count;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: kafka_read BROKERS TOPIC [RECORDS]\n");
        return 2;
    }
    const uint64_t wanted = argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
    rd_kafka_t *rk = consumer_new(argv[1]);
    int open = assign_all(rk, argv[2]); /* partitions whose end was not seen yet */
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    static rd_kafka_message_t *messages[BATCH];
    uint64_t records = 0;
    uint64_t bytes = 0;
    double start = 0;
    while (open > 0 && records < wanted) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, BATCH);
        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                open--;
            } else if (messages[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                die("consume", rd_kafka_message_errstr(messages[i]));
            } else {
                start = records == 0 ? now_seconds() : start;
                records++;
                bytes += messages[i]->len;
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    double seconds = records == 0 ? 0 : now_seconds() - start;
    printf("{\"bench\":\"kafka_read\",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"seconds\":%.3f,\"records_per_s\":%.0f}\n",
           records, bytes, seconds, seconds > 0 ? (double)records / seconds : 0.0);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return 0;
}
