/* kappa archive gc. */
#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_topic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define LOCK_MS 30000 /* for the server's archiver to let go */

static int gc_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"dry-run", '\0', NULL, "only say what would go"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_archive_gc = {
    .name = "archive gc",
    .args = "[TOPIC]",
    .args_max = 1,
    .summary = "remove what the retention of archives lets go",
    .help = "Whole files from the oldest, by the retention that `kappa topic set` gave. The server "
            "does the same every\n"
            "ten seconds for topics with archive=on; this does it now, and for the others.",
    .examples = "kappa archive gc --dry-run\nkappa archive gc user-events\n",
    .options = options,
    .run = gc_run,
};

struct gone {
    int64_t files, records, bytes;
};

static int gc_partition(const char *dir, const char *topic, uint32_t partition,
                        const struct archive_retain *retain, bool dry, struct gone *gone,
                        struct err *err)
{
    struct archive_view view;
    int rc = archive_view_load(dir, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    uint32_t count = archive_view_expired(&view, retain, clock_wall_ms(clock_real()));
    for (uint32_t i = 0; i < count; i++) {
        gone->files++;
        gone->records += view.spans[i].records;
        gone->bytes += view.spans[i].size;
    }
    rc = dry ? 0 : archive_view_remove(&view, count, err);
    archive_view_free(&view);
    return rc;
}

static int gc_topic(const char *dir, const char *topic, bool dry, struct gone *gone,
                    struct err *err)
{
    struct archive_topic settings;
    int lock = -1;
    int rc = archive_topic_load(dir, topic, &settings, err);
    if (rc == 0 && !dry) {
        rc = archive_topic_lock(dir, topic, LOCK_MS, &lock, err);
    }
    for (uint32_t i = 0; rc == 0 && i < settings.partitions; i++) {
        rc = gc_partition(dir, topic, i, &settings.retain, dry, gone, err);
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    return rc;
}

static int gc_run(struct cli *cli, struct err *err)
{
    bool dry = cli_option(cli, "dry-run") != NULL;
    struct gone gone = {0};
    char *dir = place_archive(cli);
    json_t *names = NULL;
    int rc = place_archived(cli, dir, &names, err);
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        rc = rc == 0 ? gc_topic(dir, json_string_value(name), dry, &gone, err) : rc;
    }
    json_decref(names);
    free(dir);
    if (rc != 0) {
        return rc;
    }
    if (cli->json) {
        json_t *answer =
            json_pack("{s:b,s:I,s:I,s:I}", "dry_run", (int)dry, "files", (json_int_t)gone.files,
                      "records", (json_int_t)gone.records, "bytes", (json_int_t)gone.bytes);
        rc = out_json(answer, err);
        json_decref(answer);
        return rc;
    }
    char size[OUT_NUMBER_LEN];
    struct buf text = {0};
    buf_printf(&text, "%" PRId64 " files with %" PRId64 " records, %s, %s\n", gone.files,
               gone.records, out_bytes((double)gone.bytes, size), dry ? "would go" : "removed");
    rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}
