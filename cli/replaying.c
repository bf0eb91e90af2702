/* Replays of commands: sources, plugins, progress. Own header: replaying.h. */
#include "cli/replaying.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/log.h"

#define CACHE_BYTES (INT64_C(256) << 20)
#define SHARDS_MAX  8
#define TELL_US     250000

/* ---- What is replayed */

int replaying_wrong(const struct replaying *replaying, struct err *err)
{
    return err_set(err, KE_CORRUPT, "the catalog's object of v%" PRIu32 " of %s does not add up",
                   replaying->version, replaying->processor);
}

int replaying_open(struct replaying *replaying, struct err *err)
{
    const json_t *inputs = json_object_get(replaying->object, "inputs");
    const json_t *starts = json_object_get(replaying->object, "start");
    size_t total = json_array_size(starts);
    int64_t all = 0;
    size_t i;
    json_t *input;
    replaying->list = xcalloc(total + 1, sizeof *replaying->list);
    replaying->cut = xcalloc(total + 1, sizeof *replaying->cut);
    json_array_foreach (inputs, i, input) {
        int64_t partitions = json_int(input, "partitions", 0);
        all += partitions;
        for (int64_t p = 0; p < partitions && replaying->count < total; p++) {
            uint32_t s = replaying->count++;
            replaying->list[s] =
                (struct shard_source){.source = s,
                                      .input = u32_from(i),
                                      .topic = json_text(input, "topic", ""),
                                      .partition = (uint32_t)p,
                                      .partitions = (uint32_t)partitions,
                                      .start = json_integer_value(json_array_get(starts, s))};
        }
    }
    return (size_t)all == total ? 0 : replaying_wrong(replaying, err);
}

void replaying_close(struct replaying *replaying)
{
    free(replaying->list);
    free(replaying->cut);
    replaying->list = NULL;
    replaying->cut = NULL;
    replaying->count = 0;
}

/* A topic that was made anew is another one. */
static int topics_check(const struct replaying *replaying, struct log *log, struct err *err)
{
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(replaying->object, "inputs"), i, input) {
        uint64_t identity = 0;
        const char *topic = json_text(input, "topic", "");
        uint64_t known = (uint64_t)json_int(input, "identity", 0);
        if (known == 0) {
            continue;
        }
        int rc = log->ops->topic_identity(log, topic, &identity, err);
        if (rc == 0 && identity != 0 && identity != known) {
            rc = err_set(err, KE_TOPIC_CHANGED,
                         "topic %s was deleted and made again since v%" PRIu32 " of %s read it",
                         topic, replaying->version, replaying->processor);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* {"file.so": path} of the version's plugins, or NULL. */
static json_t *plugins_of(const struct replaying *replaying)
{
    json_t *plugins = json_object_get(replaying->object, "plugins");
    json_t *paths = NULL;
    const char *file;
    json_t *hash;
    json_object_foreach (plugins, file, hash) {
        char *path =
            xasprintf("%s/plugins/%s.so", place_data(replaying->cli), json_string_value(hash));
        paths = paths != NULL ? paths : json_object();
        (void)json_object_set_new(paths, file, json_string(path));
        free(path);
    }
    return paths;
}

/* ---- Progress */

struct teller {
    const struct replaying *replaying;
    int64_t total; /* records between starts and cut, at most */
    int64_t began_us;
    int64_t told_us;
    bool drawn;
    struct err trouble; /* told last */
};

static void tell(void *ctx, uint64_t records, const struct err *trouble)
{
    struct teller *teller = ctx;
    const struct cli *cli = teller->replaying->cli;
    int64_t now = clock_mono_us(clock_real());
    if (trouble != NULL && strcmp(trouble->text, teller->trouble.text) != 0) {
        teller->trouble = *trouble;
        (void)fprintf(stderr, "%swaiting: %s\n", teller->drawn ? "\r\033[K" : "", trouble->text);
    }
    if (!cli->live || cli->json || now - teller->told_us < TELL_US || teller->total <= 0) {
        return;
    }
    char done[OUT_NUMBER_LEN];
    char all[OUT_NUMBER_LEN];
    char rate[OUT_NUMBER_LEN];
    char left[OUT_NUMBER_LEN];
    double ratio = (double)records / (double)teller->total;
    double seconds = (double)(now - teller->began_us) / 1e6;
    json_t *rest = json_real(records > 0 ? seconds / ratio - seconds : -1);
    struct buf bar = {0};
    out_bar(&bar, ratio, 20);
    (void)fprintf(stderr, "\r\033[K%s v%" PRIu32 " %s %s of %s records, %s/s, %s left",
                  teller->replaying->processor, teller->replaying->version, buf_text(&bar),
                  out_short((double)records, done), out_short((double)teller->total, all),
                  out_short((double)records / (seconds > 0 ? seconds : 1), rate),
                  out_seconds(rest, left));
    json_decref(rest);
    buf_free(&bar);
    teller->drawn = true;
    teller->told_us = now;
}

/* ---- */

static uint32_t shards_of(const struct replaying *replaying, int64_t asked)
{
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t shards = asked > 0 ? asked : i64_min(i64_max(cores, 1), SHARDS_MAX);
    return (uint32_t)i64_max(i64_min(shards, replaying->count), 1);
}

static int options_read(const struct replaying *replaying, struct tap_replay *replay,
                        struct err *err)
{
    int64_t shards = 0;
    int64_t cache = 0;
    int rc = cli_option_int(replaying->cli, "shards", 1, LIMIT_SHARDS, 0, &shards, err);
    if (rc == 0) {
        rc = cli_option_bytes(replaying->cli, "cache", CACHE_BYTES, &cache, err);
    }
    replay->shards = shards_of(replaying, shards);
    replay->cache_bytes = (size_t)cache;
    return rc;
}

int replaying_run(const struct replaying *replaying, struct tap_replay *replay, struct tap **tap,
                  struct tap_done *done, struct err *err)
{
    struct teller teller = {.replaying = replaying, .began_us = clock_mono_us(clock_real())};
    for (uint32_t s = 0; s < replaying->count; s++) {
        teller.total += i64_max(replaying->cut[s] - replaying->list[s].start, 0);
    }
    char *group = xasprintf("%s-%s", replay->group, replaying->processor);
    char *schemas = xasprintf("%s/schemas", place_data(replaying->cli));
    json_t *plugins = plugins_of(replaying);
    replay->group = group;
    replay->schemas = schemas;
    replay->plugins = plugins;
    replay->sources = replaying->list;
    replay->source_count = replaying->count;
    replay->cut = replaying->cut;
    replay->progress = tell;
    replay->progress_ctx = &teller;
    int rc = options_read(replaying, replay, err);
    rc = rc == 0 ? file_make_dir(replay->dir, err) : rc;
    rc = rc == 0 ? topics_check(replaying, replay->log, err) : rc;
    rc = rc == 0 ? tap_replay_run(replay, tap, done, err) : rc;
    if (teller.drawn) {
        (void)fprintf(stderr, "\r\033[K");
    }
    if (rc == -KE_RANGE_LOST) {
        err_hint(err, "an archive keeps what the log lets go: kappa topic set TOPIC archive=on");
    }
    json_decref(plugins);
    free(schemas);
    free(group);
    return rc;
}
