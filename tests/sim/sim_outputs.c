/* Senders of the simulated workers, and the check of promise 6: each message once, in order, from the
 * version whose span holds its record. The check knows the log's records and the receipts of the
 * swaps, and nothing of outboxes. */
#include "replayer/sender_name.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Senders */

static int die_at(void *ctx, const char *step)
{
    struct sim_worker *worker = ctx;
    (void)step;
    if (!worker->sim->crashes || !sim_chance(worker->sim, 150) || !sim_worker_may_die(worker)) {
        return 0;
    }
    worker->died = true;
    worker->sim->crash_count++;
    return 1;
}

void sim_sender_start(struct sim_worker *worker, const json_t *outbox)
{
    struct err err = {0};
    sim_sender_stop(worker);
    if (worker_outbox_parse(outbox, &worker->sends, &err) != 0) {
        sim_fail(worker->sim, "outbox: %s", err.text);
    }
    struct sender_options options = {.log = worker->sim->log,
                                     .clock = &worker->sim->clock,
                                     .dir = worker->sends.dir,
                                     .name = worker->sends.name,
                                     .spans = worker->sends.spans,
                                     .span_count = worker->sends.span_count,
                                     .fail_point = die_at,
                                     .fail_ctx = worker};
    sender_open(&options, &worker->sender);
}

static void close_ending(struct sim_worker *worker)
{
    if (worker->ending != NULL) {
        sender_close(worker->ending);
        worker->ending = NULL;
    }
}

void sim_sender_stop(struct sim_worker *worker)
{
    if (worker->sender == NULL) {
        return;
    }
    sender_stop(worker->sender);
    close_ending(worker);
    worker->ending = worker->sender;
    worker->sender = NULL;
    worker_outbox_free(&worker->sends);
}

bool sim_sender_step(struct sim_worker *worker)
{
    if (worker->ending != NULL && sim_chance(worker->sim, 3)) {
        close_ending(worker);
    }
    if (worker->sender == NULL) {
        return true;
    }
    (void)sender_step(worker->sender);
    if (sender_died(worker->sender)) {
        return false;
    }
    int64_t positions[SIM_SOURCES_MAX];
    sender_positions(worker->sender, positions);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_outbox_below(worker->shards[i], positions);
    }
    return true;
}

void sim_sender_end(struct sim_worker *worker, bool crash)
{
    void (*end)(struct sender *) = crash ? sender_abandon : sender_close;
    if (worker->sender != NULL) {
        end(worker->sender);
        worker_outbox_free(&worker->sends);
    }
    if (worker->ending != NULL) {
        end(worker->ending);
    }
    worker->sender = NULL;
    worker->ending = NULL;
}

json_t *sim_sender_progress(struct sim_worker *worker)
{
    json_t *object = json_pack("{s:b}", "sending", worker->sender != NULL);
    ASSERT(object != NULL);
    if (worker->sender == NULL) {
        return object;
    }
    int64_t positions[SIM_SOURCES_MAX];
    json_t *array = json_array();
    sender_positions(worker->sender, positions);
    for (uint32_t i = 0; i < worker->open.source_count; i++) {
        int rc = json_array_append_new(array, json_integer(positions[i]));
        ASSERT(rc == 0);
    }
    uint64_t epoch = worker->sends.epochs[sender_span(worker->sender)];
    int rc = json_object_set_new(object, "positions", array) +
             json_object_set_new(object, "epoch", json_integer((json_int_t)epoch));
    ASSERT(rc == 0);
    return object;
}

bool sim_outputs_sent(struct sim *sim)
{
    for (struct sim_worker *worker = sim->workers; worker != NULL; worker = worker->next) {
        int64_t positions[SIM_SOURCES_MAX];
        bool all = worker->sender != NULL;
        if (all) {
            sender_positions(worker->sender, positions);
        }
        for (uint32_t p = 0; p < sim->partitions && all; p++) {
            all = positions[p] == sim->offsets[p];
        }
        if (all) {
            return true;
        }
    }
    return false;
}

/* ---- The check */

struct outputs {
    struct sim *sim;
    json_t *receipts;                          /* by epoch */
    struct sim_record *at[SIM_PARTITIONS_MAX]; /* per partition, by offset */
    uint8_t *seen[SIM_PARTITIONS_MAX];         /* how often */
    int64_t last[SIM_PARTITIONS_MAX];          /* of the output partition being read */
    uint64_t count;
};

/* The version whose messages are real at this record: of the last swap that says so. */
int64_t sim_version_at(const json_t *receipts, uint32_t partition, int64_t offset)
{
    int64_t version = 0;
    size_t i;
    json_t *entry;
    json_array_foreach (receipts, i, entry) {
        const json_t *receipt = json_object_get(entry, "value");
        const json_t *cut = json_object_get(json_object_get(receipt, "outputs_from"), SIM_TOPIC);
        if (i == 0 || offset >= json_integer_value(json_array_get(cut, partition))) {
            version = json_int(receipt, "new", 0);
        }
    }
    return version;
}

static void check_record(void *ctx, const struct kappa_record *record)
{
    struct outputs *outputs = ctx;
    struct sim *sim = outputs->sim;
    struct sender_name name;
    if (!sender_name_find(record, &name) || name.partition >= sim->partitions ||
        name.place.offset >= sim->offsets[name.partition]) {
        sim_fail(sim, "a message without a name, or of no record");
    }
    uint32_t p = name.partition;
    int64_t offset = name.place.offset;
    const struct sim_record *cause = &outputs->at[p][offset];
    char want[128];
    (void)snprintf(want, sizeof want, "\"word\":\"%s\"",
                   sim_version_at(outputs->receipts, p, offset) == 1 ? "wrong" : "right");
    char value[512];
    (void)snprintf(value, sizeof value, "%.*s", (int)record->value_len,
                   (const char *)record->value);
    char user[16];
    (void)snprintf(user, sizeof user, "u%u", cause->user);
    if (cause->bad || cause->type != 2 || record->key_len != strlen(user) ||
        memcmp(record->key, user, record->key_len) != 0 || strstr(value, want) == NULL) {
        sim_fail(sim, "message %s of %u@%lld: wanted %s of %s", value, p, (long long)offset, want,
                 user);
    }
    if (offset <= outputs->last[p]) {
        sim_fail(sim, "message of %u@%lld after %lld", p, (long long)offset,
                 (long long)outputs->last[p]);
    }
    outputs->last[p] = offset;
    outputs->seen[p][offset]++;
    outputs->count++;
}

void sim_read_all(struct sim *sim, const char *topic, uint32_t partition,
                  void (*each)(void *ctx, const struct kappa_record *record), void *ctx)
{
    struct log_reader *reader = NULL;
    struct log_batch batch = {.at_end = false};
    struct err err = {0};
    int rc = sim->log->ops->reader_open(sim->log, "check", &reader, &err);
    rc = rc == 0 ? reader->ops->add(reader, 0, topic, partition, 0, &err) : rc;
    while (rc == 0 && !batch.none && !batch.at_end) {
        rc = reader->ops->next(reader, 0, 1000, &batch, &err);
        for (uint32_t i = 0; rc == 0 && !batch.none && i < batch.count; i++) {
            each(ctx, &batch.records[i]);
        }
    }
    if (rc != 0) {
        sim_fail(sim, "reading %s: %s", topic, err.text);
    }
    reader->ops->close(reader);
}

static void index_records(struct outputs *outputs)
{
    struct sim *sim = outputs->sim;
    int64_t next[SIM_PARTITIONS_MAX] = {0};
    for (uint32_t p = 0; p < sim->partitions; p++) {
        outputs->at[p] = xcalloc((size_t)sim->offsets[p] + 1, sizeof *outputs->at[p]);
        outputs->seen[p] = xcalloc((size_t)sim->offsets[p] + 1, 1);
    }
    for (uint32_t i = 0; i < sim->record_count; i++) {
        uint32_t p = sim->records[i].partition;
        outputs->at[p][next[p]++] = sim->records[i];
    }
}

void sim_outputs_check(struct sim *sim)
{
    struct outputs outputs = {.sim = sim};
    struct err err = {0};
    if (catalog_list(sim->catalog, "r/features/", &outputs.receipts, &err) != 0) {
        sim_fail(sim, "receipts: %s", err.text);
    }
    index_records(&outputs);
    /* The topic was made with as many partitions as the widest input. */
    uint32_t partitions = sim->sources - sim->partitions;
    partitions = partitions > sim->partitions ? partitions : sim->partitions;
    for (uint32_t partition = 0; partition < partitions; partition++) {
        for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
            outputs.last[p] = -1;
        }
        sim_read_all(sim, SIM_OUTPUT, partition, check_record, &outputs);
    }
    sim_finals_check(sim, outputs.receipts, partitions);
    for (uint32_t p = 0; p < sim->partitions; p++) {
        for (int64_t offset = 0; offset < sim->offsets[p]; offset++) {
            const struct sim_record *record = &outputs.at[p][offset];
            uint32_t want = record->type == 2 && !record->bad ? 1 : 0;
            if (outputs.seen[p][offset] != want) {
                sim_fail(sim, "%u@%lld: %u messages, wanted %u", p, (long long)offset,
                         outputs.seen[p][offset], want);
            }
        }
        free(outputs.at[p]);
        free(outputs.seen[p]);
    }
    json_decref(outputs.receipts);
}
