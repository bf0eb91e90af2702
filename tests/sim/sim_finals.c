/* Final rows of windows in the simulator: per partition one message for each user and minute that is
 * closed, from the version that served at the record that closed it. The model is a loop over the
 * records, written without looking at processor/. */
#include "replayer/sender_name.h"
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_MS INT64_C(60000)
#define BOUND_MS  INT64_C(5000)

/* A row of one partition. */
struct final {
    uint32_t partition;
    uint32_t user;
    int64_t end_ms;
    int64_t rows;
    int64_t closed; /* offset of the record that closed it; -1: none did */
    uint32_t seen;
};

struct finals {
    struct sim *sim;
    struct final *list;
    size_t count;
    const json_t *receipts;
    struct sender_place last[SIM_PARTITIONS_MAX]; /* in the output partition being read */
};

static struct final *find(struct finals *finals, uint32_t partition, uint32_t user, int64_t end_ms)
{
    for (size_t i = 0; i < finals->count; i++) {
        struct final *final = &finals->list[i];
        if (final->partition == partition && final->user == user && final->end_ms == end_ms) {
            return final;
        }
    }
    return NULL;
}

static void take(struct finals *finals, uint32_t partition, const struct sim_record *record,
                 int64_t offset, int64_t watermark)
{
    for (size_t i = 0; i < finals->count; i++) {
        struct final *final = &finals->list[i];
        if (final->partition == partition && final->closed < 0 && final->end_ms <= watermark) {
            final->closed = offset;
        }
    }
    int64_t end_ms = record->time_ms / WINDOW_MS * WINDOW_MS + WINDOW_MS;
    if (end_ms <= watermark) {
        return;
    }
    struct final *final = find(finals, partition, record->user, end_ms);
    if (final == NULL) {
        finals->list = xrealloc(finals->list, (finals->count + 1) * sizeof *finals->list);
        final = &finals->list[finals->count++];
        *final = (struct final){partition, record->user, end_ms, 0, -1, 0};
    }
    final->rows++;
}

static void recount(struct finals *finals)
{
    const struct sim *sim = finals->sim;
    int64_t offsets[SIM_PARTITIONS_MAX] = {0};
    int64_t watermarks[SIM_PARTITIONS_MAX];
    for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        watermarks[p] = INT64_MIN;
    }
    for (uint32_t i = 0; i < sim->record_count; i++) {
        const struct sim_record *record = &sim->records[i];
        uint32_t p = record->partition;
        int64_t offset = offsets[p]++;
        if (!record->bad) {
            watermarks[p] = i64_max(watermarks[p], record->time_ms - BOUND_MS);
            take(finals, p, record, offset, watermarks[p]);
        }
    }
}

static void check_message(void *ctx, const struct kappa_record *message)
{
    struct finals *finals = ctx;
    struct sim *sim = finals->sim;
    struct sender_name name;
    char value[512];
    (void)snprintf(value, sizeof value, "%.*s", (int)message->value_len,
                   (const char *)message->value);
    if (!sender_name_find(message, &name) || name.partition >= sim->partitions) {
        sim_fail(sim, "a final row without a name, or of no partition: %s", value);
    }
    const char *user = strstr(value, "\"user_id\":\"u");
    struct final *final = user == NULL
                              ? NULL
                              : find(finals, name.partition, (uint32_t)strtoul(user + 12, NULL, 10),
                                     message->time_ms);
    int64_t version = sim_version_at(finals->receipts, name.partition, name.place.offset);
    char want[80] = "";
    if (final != NULL) {
        (void)snprintf(want, sizeof want, "\"n\":%lld,\"word\":\"%s\"}", (long long) final->rows,
                       version == 1 ? "wrong" : "right");
        final->seen++;
    }
    if (final == NULL || final->closed != name.place.offset || strstr(value, want) == NULL) {
        sim_fail(sim, "final row %s of %u@%lld.%u: wanted %s at %lld", value, name.partition,
                 (long long)name.place.offset, name.place.seq, want,
                 final == NULL ? -1LL : (long long) final->closed);
    }
    struct sender_place *last = &finals->last[name.partition];
    if (sender_place_order(&name.place, last) <= 0) {
        sim_fail(sim, "final row of %u@%lld.%u after %lld.%u", name.partition,
                 (long long)name.place.offset, name.place.seq, (long long)last->offset, last->seq);
    }
    *last = name.place;
}

void sim_finals_check(struct sim *sim, const json_t *receipts, uint32_t partitions)
{
    struct finals finals = {.sim = sim, .receipts = receipts};
    recount(&finals);
    for (uint32_t partition = 0; partition < partitions; partition++) {
        for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
            finals.last[p] = (struct sender_place){.offset = -1};
        }
        sim_read_all(sim, SIM_FINALS, partition, check_message, &finals);
    }
    for (size_t i = 0; i < finals.count; i++) {
        const struct final *final = &finals.list[i];
        if (final->seen != (final->closed < 0 ? 0 : 1)) {
            sim_fail(sim, "u%u until %lld in partition %u, closed at %lld: %u messages",
                     final->user, (long long) final->end_ms, final->partition,
                     (long long) final->closed, final->seen);
        }
    }
    free(finals.list);
}
