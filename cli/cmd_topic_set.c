/* kappa topic set: whether a topic is archived, and for how long. */
#include "base/timefmt.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_topic.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_topic_set = {
    .name = "topic set",
    .args = "TOPIC NAME=VALUE...",
    .args_min = 2,
    .args_max = -1,
    .summary = "archive a topic, or stop it",
    .help = "  archive=on      `kappa up` keeps all records of the topic in DATA/archive,\n"
            "                  from the log's start on. Replays and deploys read them there,\n"
            "                  also when the log has removed them.\n"
            "  archive=off     nothing new is archived; what is there stays, and is read\n"
            "  retain=TIME     keep archived records so long, by record time\n"
            "                  (default: retain=forever)\n"
            "  retain-bytes=N  keep so many bytes of each partition\n"
            "                  (default: retain-bytes=unlimited)\n"
            "\n"
            "It is written into DATA/archive/TOPIC; a running server sees it within a second.",
    .examples = "kappa topic set user-events archive=on\n"
                "kappa topic set user-events archive=on retain=90d\n"
                "kappa topic set user-events archive=off\n",
    .options = options,
    .run = set_run,
};

static int parse_archive(const char *value, struct archive_topic *out, struct err *err)
{
    out->on = strcmp(value, "on") == 0;
    return out->on || strcmp(value, "off") == 0
               ? 0
               : err_set(err, KE_INVALID, "archive is on or off, not '%s'", value);
}

static int parse_retain(const char *value, struct archive_topic *out, struct err *err)
{
    int64_t us = -1;
    if (strcmp(value, "forever") != 0 && (!duration_parse(value, strlen(value), &us) || us < 0)) {
        return err_set(err, KE_INVALID, "retain is a time such as 90d or 12h, or forever, not '%s'",
                       value);
    }
    out->retain.ms = us < 0 ? -1 : us / 1000;
    return 0;
}

static int parse_retain_bytes(const char *value, struct archive_topic *out, struct err *err)
{
    char *end = NULL;
    long long bytes = strtoll(value, &end, 10);
    if (strcmp(value, "unlimited") == 0) {
        bytes = -1;
    } else if (end == value || *end != '\0' || bytes < 0) {
        return err_set(err, KE_INVALID, "retain-bytes is a number, or unlimited, not '%s'", value);
    }
    out->retain.bytes = bytes;
    return 0;
}

static const struct {
    const char *name;
    int (*parse)(const char *value, struct archive_topic *out, struct err *err);
} settings[] = {
    {"archive", parse_archive}, {"retain", parse_retain}, {"retain-bytes", parse_retain_bytes}};

static int parse_one(const char *text, struct archive_topic *out, struct err *err)
{
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals != NULL && i < array_len(settings); i++) {
        size_t len = (size_t)(equals - text);
        if (strlen(settings[i].name) == len && memcmp(text, settings[i].name, len) == 0) {
            return settings[i].parse(equals + 1, out, err);
        }
    }
    int rc = err_set(err, KE_INVALID, "'%s' is no setting of a topic", text);
    err_hint(err, "archive=on|off, retain=TIME, retain-bytes=N");
    return rc;
}

/* What the topic is in the log now, for an archive that is begun. */
static int ask_log(const struct cli *cli, const char *topic, struct archive_topic *out,
                   struct err *err)
{
    struct log *log;
    int rc = place_log(cli, false, &log, err);
    if (rc != 0) {
        return rc;
    }
    rc = log->ops->topic_partitions(log, topic, &out->partitions, err);
    if (rc == 0) {
        rc = log->ops->topic_identity(log, topic, &out->identity, err);
    }
    if (rc == 0 && strcmp(log->kind, "archive") == 0) {
        rc = err_set(err, KE_REFUSED, "this log is an archive itself");
    }
    log->ops->close(log);
    return rc;
}

static int set(const struct cli *cli, const char *dir, struct archive_topic *out, struct err *err)
{
    const char *topic = cli->args[0];
    *out = (struct archive_topic){.retain = {-1, -1}};
    struct err trouble = {0};
    int rc = archive_topic_load(dir, topic, out, &trouble);
    if (rc == -KE_NOT_FOUND) {
        rc = ask_log(cli, topic, out, err);
    } else if (rc != 0) {
        *err = trouble;
    }
    for (int i = 1; rc == 0 && i < cli->arg_count; i++) {
        rc = parse_one(cli->args[i], out, err);
    }
    return rc == 0 ? archive_topic_store(dir, topic, out, err) : rc;
}

static void print(const char *topic, const struct archive_topic *now, struct buf *text)
{
    char retain[64] = "for ever";
    if (now->retain.ms >= 0) {
        duration_format(now->retain.ms * 1000, retain);
    }
    buf_printf(text, "topic %s: archive %s, kept %s", topic, now->on ? "on" : "off", retain);
    if (now->retain.bytes >= 0) {
        buf_printf(text, ", at most %" PRId64 " bytes a partition", now->retain.bytes);
    }
    buf_append_u8(text, '\n');
}

static int set_run(struct cli *cli, struct err *err)
{
    if (place_server(cli) != NULL) {
        int rc = err_set(err, KE_INVALID, "topic set acts on the data directory itself");
        err_hint(err, "run it on the server's machine, with --data or KAPPA_DATA");
        return rc;
    }
    struct archive_topic now;
    char *dir = place_archive(cli);
    int rc = place_own_check(cli, err);
    if (rc == 0) {
        rc = set(cli, dir, &now, err);
    }
    free(dir);
    if (rc != 0) {
        return rc;
    }
    if (cli->json) {
        json_t *made =
            json_pack("{s:s,s:I,s:s,s:I,s:I}", "name", cli->args[0], "partitions",
                      (json_int_t)now.partitions, "archive", now.on ? "on" : "off", "retain_ms",
                      (json_int_t)now.retain.ms, "retain_bytes", (json_int_t)now.retain.bytes);
        rc = out_json(made, err);
        json_decref(made);
        return rc;
    }
    struct buf text = {0};
    print(cli->args[0], &now, &text);
    rc = out_write(&text, err);
    buf_free(&text);
    if (now.on && place_server_pid(cli) == 0) {
        (void)fprintf(stderr, "kappa up is not running here: it archives when it does\n");
    }
    return rc;
}
