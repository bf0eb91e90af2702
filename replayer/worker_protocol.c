/* Command lines parsed and checked. Own header: worker_protocol.h. */
#include "replayer/worker_protocol.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define CACHE_BYTES_DEFAULT (INT64_C(256) << 20)

static const char *const words[] = {
    [WORKER_OPEN] = "open",       [WORKER_HOLD] = "hold",       [WORKER_RUN_TO] = "run_to",
    [WORKER_RELEASE] = "release", [WORKER_PAUSE] = "pause",     [WORKER_RESUME] = "resume",
    [WORKER_SEAL] = "seal",       [WORKER_SERVING] = "serving", [WORKER_STOP] = "stop",
    [WORKER_SENT] = "sent",       [WORKER_LIMIT] = "limit",     [WORKER_COPY] = "copy",
    [WORKER_NEAR] = "near",
};

int worker_message_parse(const char *line, size_t len, json_t **message, enum worker_do *what,
                         struct err *err)
{
    json_t *parsed = json_parse(line, len, err);
    if (!parsed) {
        err_prefix(err, "a command");
        return -KE_INVALID;
    }
    const char *word = json_text(parsed, "do", "");
    for (size_t i = 0; i < array_len(words); i++) {
        if (strcmp(words[i], word) == 0) {
            *message = parsed;
            *what = (enum worker_do)i;
            return 0;
        }
    }
    json_decref(parsed);
    return err_set(err, KE_INVALID, "a command without a known \"do\": %.*s",
                   (int)(len < 80 ? len : 80), line);
}

/* ---- Checked members */

/* An integer in [low, high]; a missing one is `fallback`, which is not checked. */
static int take_int(const json_t *object, const char *name, int64_t fallback, int64_t low,
                    int64_t high, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    if (!value) {
        *out = fallback;
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < low ||
        json_integer_value(value) > high) {
        return err_set(err, KE_INVALID,
                       "\"%s\" must be a whole number from %" PRId64 " to %" PRId64, name, low,
                       high);
    }
    *out = json_integer_value(value);
    return 0;
}

static int take_text(const json_t *object, const char *name, const char **out, struct err *err)
{
    *out = json_text(object, name, NULL);
    return *out ? 0 : err_set(err, KE_INVALID, "\"%s\" must be text", name);
}

/* A cut: one offset per source. */
static int take_cut(const json_t *array, const char *name, uint32_t count, int64_t **out,
                    struct err *err)
{
    if (!json_is_array(array) || json_array_size(array) != count) {
        return err_set(err, KE_INVALID, "\"%s\" must be an array of %" PRIu32 " offsets", name,
                       count);
    }
    int64_t *cut = xcalloc(count + 1, sizeof *cut);
    for (uint32_t i = 0; i < count; i++) {
        const json_t *offset = json_array_get(array, i);
        if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
            free(cut);
            return err_set(err, KE_INVALID, "\"%s\" holds something that is no offset", name);
        }
        cut[i] = json_integer_value(offset);
    }
    *out = cut;
    return 0;
}

/* ---- open */

static int take_source(const json_t *object, struct worker_source *out, struct err *err)
{
    int64_t partition = 0;
    int64_t input = 0;
    int rc = take_text(object, "topic", &out->topic, err);
    if (rc == 0) {
        rc = take_int(object, "partition", -1, 0, INT32_MAX, &partition, err);
    }
    if (rc == 0) {
        rc = take_int(object, "input", 0, 0, LIMIT_INPUTS - 1, &input, err);
    }
    if (rc == 0) {
        rc = take_int(object, "start", -1, 0, INT64_MAX, &out->start, err);
    }
    if (rc == 0 && (partition < 0 || out->start < 0)) {
        rc = err_set(err, KE_INVALID, "a source needs \"partition\" and \"start\"");
    }
    out->partition = (uint32_t)partition;
    out->input = (uint32_t)input;
    return rc;
}

static int take_sources(struct worker_open *open, struct err *err)
{
    const json_t *array = json_object_get(open->message, "sources");
    size_t count = json_array_size(array);
    if (count == 0 || count > LIMIT_SOURCES) {
        return err_set(err, KE_INVALID, "\"sources\" must name 1 to %d partitions", LIMIT_SOURCES);
    }
    open->source_count = u32_from(count);
    open->sources = xcalloc(count, sizeof *open->sources);
    uint32_t partitions[LIMIT_INPUTS] = {0};
    for (uint32_t i = 0; i < open->source_count; i++) {
        int rc = take_source(json_array_get(array, i), &open->sources[i], err);
        if (rc != 0) {
            err_prefix(err, "source %" PRIu32, i);
            return rc;
        }
        partitions[open->sources[i].input]++;
    }
    for (uint32_t i = 0; i < open->source_count; i++) {
        open->sources[i].partitions = partitions[open->sources[i].input];
    }
    return 0;
}

static int take_topics(struct worker_open *open, struct err *err)
{
    const json_t *array = json_object_get(open->message, "topics");
    size_t count = json_array_size(array);
    if (count > LIMIT_INPUTS) {
        return err_set(err, KE_INVALID, "\"topics\" has more than %d entries", LIMIT_INPUTS);
    }
    open->topic_count = u32_from(count);
    open->topics = xcalloc(count + 1, sizeof *open->topics);
    for (uint32_t i = 0; i < open->topic_count; i++) {
        const json_t *object = json_array_get(array, i);
        struct worker_topic *topic = &open->topics[i];
        int64_t partitions = 0;
        int rc = take_text(object, "topic", &topic->topic, err);
        if (rc == 0) {
            rc = take_int(object, "partitions", 0, 1, LIMIT_SOURCES, &partitions, err);
        }
        if (rc != 0) {
            err_prefix(err, "topic %" PRIu32, i);
            return rc;
        }
        topic->partitions = (uint32_t)partitions;
        topic->identity = (uint64_t)json_int(object, "identity", 0);
    }
    return 0;
}

static int take_settings(struct worker_open *open, struct err *err)
{
    int64_t shards = 0;
    int64_t cache = 0;
    int64_t batch = 0;
    int64_t version = 0;
    int rc = take_int(open->message, "shards", 1, 1, LIMIT_SHARDS, &shards, err);
    if (rc == 0) {
        rc = take_int(open->message, "cache_bytes", CACHE_BYTES_DEFAULT, 0, INT64_MAX, &cache, err);
    }
    if (rc == 0) {
        rc = take_int(open->message, "batch_records", 0, 0, LIMIT_BATCH_RECORDS, &batch, err);
    }
    if (rc == 0) {
        rc = take_int(open->message, "version", 0, 0, UINT32_MAX, &version, err);
    }
    open->shards = (uint32_t)shards;
    open->cache_bytes = (size_t)(cache == 0 ? CACHE_BYTES_DEFAULT : cache);
    open->batch_records = (uint32_t)batch;
    open->version = (uint32_t)version;
    open->serving = json_bool(open->message, "serving", false);
    open->commits = json_bool(open->message, "commits", false);
    open->log = json_object_get(open->message, "log");
    open->plugins = json_object_get(open->message, "plugins");
    open->outbox = json_object_get(open->message, "outbox");
    open->outbox = json_is_object(open->outbox) ? open->outbox : NULL;
    if (rc == 0) {
        rc = governor_limit_parse(json_object_get(open->message, "limit"), &open->limit, err);
    }
    if (rc == 0 && !json_is_object(open->log)) {
        rc = err_set(err, KE_INVALID, "\"log\" must be an object");
    }
    return rc;
}

/* {"from","since_us","first_us":[per table]} */
static int take_windows(struct worker_open *open, struct err *err)
{
    const json_t *take = json_object_get(open->message, "take");
    const json_t *first = json_object_get(take, "first_us");
    if (take == NULL) {
        return 0;
    }
    int rc = take_text(take, "from", &open->take_from, err);
    if (rc == 0 && (json_array_size(first) == 0 || json_array_size(first) > LIMIT_VIEWS)) {
        rc = err_set(err, KE_INVALID, "\"take\" needs \"first_us\" for each table");
    }
    if (rc != 0) {
        return rc;
    }
    open->take_since = json_int(take, "since_us", 0);
    open->take_count = u32_from(json_array_size(first));
    open->take_first = xcalloc(open->take_count, sizeof *open->take_first);
    for (uint32_t i = 0; i < open->take_count; i++) {
        open->take_first[i] = (int64_t)json_integer_value(json_array_get(first, i));
    }
    return 0;
}

static int take_texts(struct worker_open *open, struct err *err)
{
    open->group = json_text(open->message, "group", "kappa");
    open->schemas = json_text(open->message, "schemas", NULL);
    open->base = json_text(open->message, "base", NULL);
    int rc = take_text(open->message, "processor", &open->processor, err);
    if (rc == 0) {
        rc = take_text(open->message, "definition", &open->definition, err);
    }
    return rc == 0 ? take_text(open->message, "dir", &open->dir, err) : rc;
}

int worker_open_parse(json_t *message, struct worker_open *out, struct err *err)
{
    *out = (struct worker_open){.message = message};
    int rc = take_texts(out, err);
    if (rc == 0) {
        rc = take_settings(out, err);
    }
    if (rc == 0) {
        rc = take_sources(out, err);
    }
    if (rc == 0) {
        rc = take_topics(out, err);
    }
    if (rc == 0) {
        rc = take_windows(out, err);
    }
    const json_t *until = json_object_get(message, "until");
    if (rc == 0 && until && !json_is_null(until)) {
        rc = take_cut(until, "until", out->source_count, &out->until, err);
    }
    for (uint32_t i = 0; rc == 0 && out->until && i < out->source_count; i++) {
        if (out->until[i] < out->sources[i].start) {
            rc = err_set(err, KE_INVALID, "\"until\" lies before the start of source %" PRIu32, i);
        }
    }
    if (rc != 0) {
        err_prefix(err, "open");
        worker_open_free(out);
    }
    return rc;
}

void worker_open_free(struct worker_open *open)
{
    free(open->until);
    free(open->take_first);
    free(open->sources);
    free(open->topics);
    json_decref(open->message);
    *open = (struct worker_open){.message = NULL};
}

/* ---- The others */

int worker_command_parse(const json_t *message, enum worker_do what, uint32_t source_count,
                         struct worker_command *out, struct err *err)
{
    int64_t id = 0;
    *out = (struct worker_command){.what = what};
    int rc = take_int(message, "id", 0, 0, INT64_MAX, &id, err);
    if (rc == 0 && what == WORKER_RUN_TO) {
        rc = take_cut(json_object_get(message, "cut"), "cut", source_count, &out->cut, err);
    } else if (rc == 0 && what == WORKER_SENT) {
        rc = take_cut(json_object_get(message, "below"), "below", source_count, &out->cut, err);
    } else if (rc == 0 && what == WORKER_LIMIT) {
        rc = governor_limit_parse(message, &out->limit, err);
    }
    out->outbox = json_object_get(message, "outbox");
    out->outbox = json_is_object(out->outbox) ? out->outbox : NULL;
    out->id = u64_from_i64(id);
    out->on = json_bool(message, "on", true);
    if (rc != 0) {
        err_prefix(err, "%s", words[what]);
    }
    return rc;
}

void worker_command_free(struct worker_command *command)
{
    free(command->cut);
    command->cut = NULL;
}
