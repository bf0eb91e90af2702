/* What must hold in the simulator: the naive model of the table, reads that never go back, and
 * digests that a replay in another shape reproduces. The model is a loop over the records, written
 * without looking at processor/. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_operators.h"

#include "base/limits.h"
#include "base/timefmt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MS   INT64_C(60000)
#define BOUND_MS    INT64_C(5000)
#define RETAIN_MS   INT64_C(600000)
#define WINDOWS_MAX 4096

/* Tables that are compared with a replay by their digests alone. */
#define OTHER_WINDOWS                                                                              \
    "CREATE MATERIALIZED VIEW hops WITH (retain = '3 minutes', emit = 'final') AS SELECT user_id," \
    " window_end, count(*) AS n, sum(amount) AS total"                                             \
    " FROM hop(events, event_time, interval '20 seconds', interval '50 seconds')"                  \
    " GROUP BY user_id, window_end;"                                                               \
    "CREATE MATERIALIZED VIEW sessions WITH (retain = '5 minutes') AS SELECT user_id,"             \
    " window_start, window_end, count(*) AS n, max(product_id) AS last, sum(amount) AS total"      \
    " FROM session(events, event_time, interval '4 seconds')"                                      \
    " GROUP BY user_id, window_start, window_end;"                                                 \
    "CREATE MATERIALIZED VIEW recent WITH (ttl = '20 seconds') AS SELECT user_id, product_id,"     \
    " count(*) AS n, count(DISTINCT event_type) AS types FROM events GROUP BY user_id, "           \
    "product_id;"

const char *sim_definition(const struct sim *sim, bool right)
{
#define DEFINITION(clicks, word)                                                                   \
    "CREATE TABLE events (user_id text, event_type text, product_id text, amount double "          \
    "precision,"                                                                                   \
    " event_time timestamptz) WITH (topic = 'events', event_time = 'event_time', watermark = '5 "  \
    "s', late = 'late', key = 'user_id');"                                                         \
    "CREATE MATERIALIZED VIEW features WITH (retain = '10 minutes') AS SELECT user_id, "           \
    "window_end,"                                                                                  \
    " count(*) FILTER (WHERE " clicks ") AS clicks, count(*) AS events,"                           \
    " sum(amount) FILTER (WHERE event_type = 'purchase') AS total, count(DISTINCT product_id) AS " \
    "products"                                                                                     \
    " FROM tumble(events, event_time, interval '1 minute') GROUP BY user_id, "                     \
    "window_end;" OTHER_WINDOWS SIM_OPERATORS                                                      \
    "CREATE TABLE purchases (user_id text, amount double precision, word text) WITH (topic = "     \
    "'" SIM_OUTPUT "', key = 'user_id'); INSERT INTO purchases SELECT user_id, amount, '" word     \
    "' FROM events WHERE event_type = 'purchase';"                                                 \
    "CREATE TABLE finals (user_id text, till timestamptz, n bigint, word text) WITH (topic = "     \
    "'" SIM_FINALS                                                                                 \
    "', key = 'user_id'); INSERT INTO finals SELECT user_id, window_end, count(*), '" word         \
    "' FROM tumble(events, event_time, interval '1 minute') GROUP BY user_id, window_end;"
#define RIGHT DEFINITION("event_type = 'click'", "right")
#define WRONG DEFINITION("event_type IN ('click', 'purchase')", "wrong")
    return right         ? (sim->plugin ? RIGHT SIM_PLUGIN_VIEW : RIGHT)
           : sim->plugin ? WRONG SIM_PLUGIN_VIEW
                         : WRONG;
#undef RIGHT
#undef WRONG
#undef DEFINITION
}

/* ---- Records ---- */

static void fill_value(const struct sim_record *record, uint64_t n, char *text, size_t size)
{
    static const char *const types[] = {"view", "click", "purchase"};
    static const char *const broken[] = {"{\"user_id\":\"u1\"", "{\"user_id\":3,\"event_time\":5}",
                                         "{\"user_id\":\"u1\"}"};
    if (record->bad) {
        (void)snprintf(text, size, "%s", broken[n % array_len(broken)]);
        return;
    }
    (void)snprintf(
        text, size,
        "{\"user_id\":\"u%u\",\"event_type\":\"%s\",\"product_id\":\"p%u\",\"amount\":%.2f,"
        "\"event_time\":%lld}",
        record->user, types[record->type], record->product, record->amount,
        (long long)record->time_ms);
}

static void produce_one(struct sim *sim)
{
    struct sim_record *record = &sim->records[sim->record_count];
    struct prng *prng = &sim->prng;
    *record = (struct sim_record){
        .partition = (uint32_t)prng_below(prng, sim->partitions),
        .bad = prng_below(prng, 25) == 0,
        .user = (uint32_t)prng_below(prng, sim->users),
        .type = (uint32_t)prng_below(prng, 3),
        .product = (uint32_t)prng_below(prng, SIM_PRODUCTS),
        .amount = (double)prng_below(prng, 10000) / 100.0,
    };
    sim->event_ms += (int64_t)prng_below(prng, prng_below(prng, 40) == 0 ? 60000 : 900);
    record->time_ms =
        sim->event_ms - (int64_t)prng_below(prng, prng_below(prng, 20) == 0 ? 200000 : 3000);
    char text[256];
    fill_value(record, sim->record_count, text, sizeof text - KAPPA_RECORD_TAIL);
    char key[16];
    (void)snprintf(key, sizeof key, "u%u", record->user);
    struct kappa_record entry = {.time_ms = sim->event_ms,
                                 .value = (const uint8_t *)text,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint32_t)strlen(key),
                                 .value_len = (uint32_t)strlen(text)};
    struct err err = {0};
    if (sim->writer->ops->append(sim->writer, (int32_t)record->partition, &entry, &err) != 0) {
        sim_fail(sim, "append: %s", err.text);
    }
    sim->record_count++;
    sim->offsets[record->partition]++;
}

void sim_produce(struct sim *sim, uint32_t count)
{
    for (uint32_t i = 0; i < count && sim->record_count < SIM_RECORDS_MAX; i++) {
        produce_one(sim);
        if (sim_chance(sim, 4)) {
            sim_profile_produce(sim);
        }
    }
    struct err err = {0};
    if (sim->writer->ops->flush(sim->writer, false, &err) != 0 ||
        sim->profile_writer->ops->flush(sim->profile_writer, false, &err) != 0) {
        sim_fail(sim, "flush: %s", err.text);
    }
}

/* ---- The model ---- */

struct model_row {
    uint32_t user;
    int64_t end_ms;
    uint32_t partition_mask; /* where it has a part */
    int64_t clicks;
    int64_t events;
    int128 total; /* exact, in 2^-60: amounts are below 128 and have 53 bits */
    bool has_total;
    uint32_t products; /* bit set */
    bool seen;         /* by the comparison */
};

struct model {
    struct model_row rows[WINDOWS_MAX];
    uint32_t count;
};

static struct model_row *model_find(struct model *model, uint32_t user, int64_t end_ms)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (model->rows[i].user == user && model->rows[i].end_ms == end_ms) {
            return &model->rows[i];
        }
    }
    return NULL;
}

static void model_add(const struct sim *sim, struct model *model, const struct sim_record *record,
                      int64_t end_ms, bool right)
{
    struct model_row *row = model_find(model, record->user, end_ms);
    if (row == NULL) {
        if (model->count == WINDOWS_MAX) {
            sim_fail(sim, "the model has too many windows");
        }
        row = &model->rows[model->count++];
        *row = (struct model_row){.user = record->user, .end_ms = end_ms};
    }
    row->partition_mask |= 1U << record->partition;
    row->clicks += record->type == 1 || (record->type == 2 && !right) ? 1 : 0;
    row->events++;
    row->products |= 1U << record->product;
    if (record->type == 2) {
        row->total += (int128)ldexp(record->amount, 60);
        row->has_total = true;
    }
}

/* One partition below the cut, on its own; rows that expired are not added to `into`. */
static void model_partition(const struct sim *sim, uint32_t partition, int64_t cut, bool right,
                            struct model *into)
{
    bool any = false;
    int64_t newest = 0;
    for (int pass = 0; pass < 2; pass++) { /* first the watermark at the cut, then the rows */
        int64_t offset = 0;
        int64_t seen = 0;
        bool some = false;
        for (uint32_t i = 0; i < sim->record_count && offset < cut; i++) {
            const struct sim_record *record = &sim->records[i];
            if (record->partition != partition) {
                continue;
            }
            offset++;
            if (record->bad) {
                continue;
            }
            int64_t end_ms = (record->time_ms / WINDOW_MS + 1) * WINDOW_MS;
            bool late = some && end_ms <= seen - BOUND_MS;
            seen = some ? i64_max(seen, record->time_ms) : record->time_ms;
            some = true;
            bool expired = any && end_ms + RETAIN_MS <= newest - BOUND_MS;
            if (pass == 1 && !late && !expired) {
                model_add(sim, into, record, end_ms, right);
            }
        }
        any = some;
        newest = seen;
    }
}

static struct model *model_at(const struct sim *sim, const int64_t *cut, bool right)
{
    struct model *model = xcalloc(1, sizeof *model);
    for (uint32_t p = 0; p < sim->partitions; p++) {
        model_partition(sim, p, cut[p], right, model);
    }
    return model;
}

/* ---- Comparing ---- */

struct comparison {
    struct sim *sim;
    struct model *model;
    const struct model_row *bad;
    uint32_t rows;
    bool wrong;
    char what[512];
};

static bool same_number(const json_t *row, const char *name, int64_t want)
{
    return json_is_integer(json_object_get(row, name)) && json_int(row, name, -1) == want;
}

static bool same_total(const json_t *row, const struct model_row *want)
{
    double sum = ldexp((double)want->total, -60); /* rounded once */
    const json_t *total = json_object_get(row, "total");
    if (!want->has_total) {
        return json_is_null(total);
    }
    double got = json_number_value(total);
    return json_is_number(total) && memcmp(&got, &sum, sizeof got) == 0;
}

static bool row_equals(const json_t *row, const struct model_row *want)
{
    return same_number(row, "clicks", want->clicks) && same_number(row, "events", want->events) &&
           same_number(row, "products", __builtin_popcount(want->products)) &&
           same_total(row, want);
}

static void compare_row(struct comparison *comparison, const json_t *row)
{
    int64_t end_us = 0;
    const char *end = json_text(row, "window_end", "");
    uint32_t user = (uint32_t)strtoul(json_text(row, "user_id", "u99") + 1, NULL, 10);
    struct model_row *want = NULL;
    if (time_parse(end, strlen(end), &end_us)) {
        want = model_find(comparison->model, user, end_us / 1000);
    }
    if (want == NULL || want->seen || !row_equals(row, want)) {
        char *text = json_print(row);
        comparison->wrong = true;
        (void)snprintf(comparison->what, sizeof comparison->what,
                       "row %s: %s (clicks %lld, events %lld, products %x)", text,
                       want == NULL ? "not in the model"
                       : want->seen ? "twice"
                                    : "differs",
                       want == NULL ? 0LL : (long long)want->clicks,
                       want == NULL ? 0LL : (long long)want->events,
                       want == NULL ? 0 : want->products);
        free(text);
        return;
    }
    want->seen = true;
    comparison->rows++;
}

static bool each_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    struct comparison *comparison = ctx;
    json_t *row = reader_row_json(view, values);
    compare_row(comparison, row);
    json_decref(row);
    return !comparison->wrong;
}

void sim_cut(const struct sim *sim, const json_t *cut, int64_t *out)
{
    const json_t *events = json_object_get(cut, SIM_TOPIC);
    const json_t *profiles = json_object_get(cut, SIM_PROFILES);
    if (json_array_size(events) != sim->partitions ||
        json_array_size(profiles) != sim->profile_partitions) {
        sim_fail(sim, "the cut has %zu and %zu partitions", json_array_size(events),
                 json_array_size(profiles));
    }
    for (uint32_t s = 0; s < sim->sources; s++) {
        const json_t *offset = s < sim->partitions ? json_array_get(events, s)
                                                   : json_array_get(profiles, s - sim->partitions);
        out[s] = (int64_t)json_integer_value(offset);
    }
}

static uint64_t serving_epoch(struct sim *sim, uint32_t *version)
{
    struct catalog_pointer pointer;
    struct err err = {0};
    if (catalog_pointer_get(sim->catalog, SIM_TABLE, &pointer, &err) != 0) {
        *version = 0;
        return 0;
    }
    *version = pointer.version;
    return pointer.epoch;
}

bool sim_version_is_right(struct sim *sim, const struct sim_processor *processor, uint32_t version)
{
    char key[CATALOG_KEY_LEN];
    json_t *object = NULL;
    struct err err = {0};
    catalog_key_version(key, processor->name, version);
    if (catalog_get(sim->catalog, key, &object, &err) != 0) {
        sim_fail(sim, "version %u: %s", version, err.text);
    }
    const char *definition = json_text(object, "definition", "");
    bool right = strcmp(definition, processor->definition(sim, true)) == 0;
    json_decref(object);
    return right;
}

void sim_seen(struct sim *sim, struct sim_processor *processor, uint64_t epoch, const int64_t *cut)
{
    if (epoch < processor->epoch_seen) {
        sim_fail(sim, "the epoch of %s went back from %llu to %llu", processor->name,
                 (unsigned long long)processor->epoch_seen, (unsigned long long)epoch);
    }
    for (uint32_t p = 0; p < sim->sources; p++) {
        if (cut[p] < processor->cut_seen[p]) {
            sim_fail(sim, "source %u of %s went back from %lld to %lld at epoch %llu", p,
                     processor->name, (long long)processor->cut_seen[p], (long long)cut[p],
                     (unsigned long long)epoch);
        }
        processor->cut_seen[p] = cut[p];
    }
    processor->epoch_seen = epoch;
    sim->reads++;
}

/* A scan of the serving table against the model at its own cut. operators: other tables too. */
static void check_scan(struct sim *sim, bool operators)
{
    struct comparison comparison = {.sim = sim};
    struct reader_stamp stamp = {0};
    struct err err = {0};
    json_t *digest = NULL;
    uint32_t version = 0;
    (void)serving_epoch(sim, &version);
    if (version == 0) {
        return;
    }
    /* Nothing commits between these two reads: one thread. */
    if (reader_version_digest(sim->reader, "features", version, &digest, &err) != 0) {
        sim_fail(sim, "digest of v%u: %s", version, err.text);
    }
    int64_t cut[SIM_SOURCES_MAX];
    sim_cut(sim, json_object_get(digest, "cut"), cut);
    json_decref(digest);
    comparison.model = model_at(sim, cut, sim_version_is_right(sim, &sim->features, version));
    if (reader_scan(sim->reader, SIM_TABLE, 0, -1, each_row, &comparison, &stamp, &err) != 0) {
        sim_fail(sim, "scan: %s", err.text);
    }
    if (comparison.wrong) {
        sim_fail(sim, "v%u: %s", version, comparison.what);
    }
    if (comparison.rows != comparison.model->count) {
        sim_fail(sim, "v%u: %u rows, the model has %u", version, comparison.rows,
                 comparison.model->count);
    }
    int64_t scanned[SIM_SOURCES_MAX];
    sim_cut(sim, stamp.cut, scanned);
    sim_seen(sim, &sim->features, stamp.epoch, scanned);
    json_decref(stamp.cut);
    free(comparison.model);
    if (operators) {
        sim_operators_check(sim, cut);
    }
}

void sim_read(struct sim *sim)
{
    uint32_t version = 0;
    if (sim->group) {
        sim_group_look(sim);
    }
    if (serving_epoch(sim, &version) == 0) {
        return;
    }
    if (sim_chance(sim, 8)) {
        check_scan(sim, sim_chance(sim, 6));
        return;
    }
    char user[16];
    (void)snprintf(user, sizeof user, "u%u", (unsigned)prng_below(&sim->prng, sim->users));
    const char *keys[] = {user};
    json_t *body = NULL;
    struct err err = {0};
    int rc = reader_get(sim->reader, SIM_TABLE, 0, keys, 1, KAPPA_NO_TIME, &body, &err);
    if (rc == -KE_NOT_FOUND) {
        return;
    }
    if (rc != 0) {
        sim_fail(sim, "a read failed: %s", err.text);
    }
    int64_t cut[SIM_SOURCES_MAX];
    sim_cut(sim, json_object_get(body, "cut"), cut);
    sim_seen(sim, &sim->features, (uint64_t)json_int(body, "epoch", 0), cut);
    json_decref(body);
}

/* ---- Digests ---- */

/* Replays a definition to a cut in a scratch directory, in another shape; fills a digest per source. */
static void replay(struct sim *sim, const char *definition, const int64_t *cut,
                   char (*digests)[DIGEST_TEXT_LEN + 1])
{
    struct err err = {0};
    struct plan *plan = NULL;
    if (plan_compile("replay", definition, strlen(definition), &plan, &err) != 0) {
        sim_fail(sim, "%s", err.text);
    }
    char dir[400];
    (void)snprintf(dir, sizeof dir, "%s/replay-%llu", sim->dir,
                   (unsigned long long)prng_next(&sim->prng));
    struct shard_source sources[SIM_SOURCES_MAX];
    for (uint32_t s = 0; s < sim->sources; s++) {
        bool event = s < sim->partitions;
        sources[s] =
            event ? (struct shard_source){s, 0, SIM_TOPIC, s, sim->partitions, 0}
                  : (struct shard_source){
                        s, 1, SIM_PROFILES, s - sim->partitions, sim->sources - sim->partitions, 0};
    }
    struct shard_options options = {.plan = plan,
                                    .log = sim->log,
                                    .group = "replay",
                                    .dir = dir,
                                    .sources = sources,
                                    .source_count = sim->sources,
                                    .plugins = sim_plugins,
                                    .building = true,
                                    .cache_bytes = sim_chance(sim, 2) ? 1 : 1 << 20,
                                    .batch_records = 1 + (uint32_t)prng_below(&sim->prng, 300),
                                    .clock = &sim->clock};
    struct shard *shard = NULL;
    int rc = shard_open(&options, &shard, &err);
    if (rc == 0) {
        shard_hold(shard);
        shard_run_to(shard, cut);
    }
    struct shard_status status = {0};
    while (rc == 0 && status.mode != SHARD_AT_CUT) {
        rc = shard_step(shard, 0, &err);
        shard_status(shard, &status);
    }
    if (rc != 0) {
        sim_fail(sim, "replay: %s", err.text);
    }
    for (uint32_t p = 0; p < sim->sources; p++) {
        struct store_source kept;
        shard_source_digests(shard, p, &kept);
        digest_format(store_digest_sum(&kept, plan->table_count + plan->topic_count), digests[p]);
    }
    rc = shard_close(shard, false, &err);
    ASSERT(rc == 0);
    plan_free(plan);
}

/* Every version that has files: its digests against those of a replay. */
static void check_digests(struct sim *sim, const struct sim_processor *processor)
{
    json_t *versions = NULL;
    char prefix[CATALOG_KEY_LEN];
    struct err err = {0};
    (void)snprintf(prefix, sizeof prefix, "v/%s/", processor->name);
    if (catalog_list(sim->catalog, prefix, &versions, &err) != 0) {
        sim_fail(sim, "%s", err.text);
    }
    size_t i;
    json_t *entry;
    json_array_foreach (versions, i, entry) {
        const json_t *object = json_object_get(entry, "value");
        const char *state = json_text(object, "state", "");
        if (strcmp(state, "serving") != 0 && strcmp(state, "standby") != 0 &&
            strcmp(state, "ready") != 0) {
            continue;
        }
        uint32_t version = (uint32_t)json_int(object, "version", 0);
        json_t *digest = NULL;
        if (reader_version_digest(sim->reader, processor->name, version, &digest, &err) != 0) {
            sim_fail(sim, "digest of v%u: %s", version, err.text);
        }
        int64_t cut[SIM_SOURCES_MAX];
        char digests[SIM_SOURCES_MAX][DIGEST_TEXT_LEN + 1];
        sim_cut(sim, json_object_get(digest, "cut"), cut);
        bool right = sim_version_is_right(sim, processor, version);
        replay(sim, processor->definition(sim, right), cut, digests);
        for (uint32_t p = 0; p < sim->sources; p++) {
            const json_t *source = json_array_get(json_object_get(digest, "sources"), p);
            const char *got = json_text(source, "digest", "");
            if (strcmp(got, digests[p]) != 0) {
                sim_fail(sim, "%s v%u source %u at %lld: digest %s, a replay gives %s",
                         processor->name, version, p, (long long)cut[p], got, digests[p]);
            }
        }
        json_decref(digest);
    }
    json_decref(versions);
}

void sim_check_all(struct sim *sim)
{
    check_scan(sim, true);
    check_digests(sim, &sim->features);
    if (sim->group) {
        check_digests(sim, &sim->pair);
    }
}
