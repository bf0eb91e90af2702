/* kappa archive verify, kappa archive backfill. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_mend.h"
#include "log/archive_topic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_MS 30000 /* for the server's archiver to let go */

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

static int verify_run(struct cli *cli, struct err *err);
static int backfill_run(struct cli *cli, struct err *err);

static const struct cmd_option verify_options[] = {
    {"repair", '\0', NULL, "fetch again from the log what is damaged or missing"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option backfill_options[] = {
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_archive_verify = {
    .name = "archive verify",
    .args = "[TOPIC]",
    .args_max = 1,
    .summary = "check every byte of an archive",
    .help = "Reads all blocks and tells which are damaged, and which offsets were archived and are "
            "missing; then the exit\n"
            "code is 1. --repair fetches them again from the log; what the log does not have "
            "any more is left as it is.\n"
            "Works without a server, and beside one, which stops archiving the topic meanwhile.",
    .examples = "kappa archive verify\nkappa archive verify user-events --repair\n",
    .options = verify_options,
    .run = verify_run,
};

const struct cmd_entry cmd_archive_backfill = {
    .name = "archive backfill",
    .args = "TOPIC",
    .args_min = 1,
    .args_max = 1,
    .summary = "archive now what the log has and the archive lacks",
    .help = "In front of the archive, in its gaps, and up to the log's end. A topic that has no "
            "archive gets one, which\n"
            "the server does not continue (see `kappa topic set`).",
    .examples = "kappa archive backfill user-events\n",
    .options = backfill_options,
    .run = backfill_run,
};

/* All partitions: damaged files are made again (`repair`), what is missing is fetched. */
static int mend_topic(struct log *log, const char *dir, const char *topic, bool repair, bool tail,
                      int64_t *fetched, struct err *err)
{
    struct archive_topic settings;
    bool same = false;
    struct log *behind = log_archived_behind(log);
    if (behind == NULL) {
        return err_set(err, KE_REFUSED, "there is no log to fetch from: this is an archive alone");
    }
    int rc = archive_topic_load(dir, topic, &settings, err);
    if (rc == 0) {
        rc = archive_topic_same(behind, dir, topic, &settings, &same, err);
    }
    for (uint32_t i = 0; rc == 0 && i < settings.partitions; i++) {
        if (repair) {
            rc = archive_mend_repair(log, dir, topic, i, same, fetched, err);
        }
        if (rc == 0) {
            rc = archive_mend_fill(log, dir, topic, i, tail, fetched, err);
        }
    }
    return rc;
}

static int mend(const struct cli *cli, const char *dir, const char *topic, bool repair, bool tail,
                int64_t *fetched, struct err *err)
{
    struct log *log = NULL;
    int lock = -1;
    int rc = place_log_archived(cli, &log, err);
    if (rc != 0) {
        return rc;
    }
    rc = archive_topic_lock(dir, topic, LOCK_MS, &lock, err);
    if (rc == 0) {
        rc = mend_topic(log, dir, topic, repair, tail, fetched, err);
        (void)close(lock);
    }
    log->ops->close(log);
    return rc;
}

/* ---- verify */

struct verdict {
    json_t *problems;
    int64_t blocks, records, fetched;
};

static int check_topic(const char *dir, const char *topic, struct verdict *verdict, struct err *err)
{
    struct archive_topic settings;
    int rc = archive_topic_load(dir, topic, &settings, err);
    for (uint32_t i = 0; rc == 0 && i < settings.partitions; i++) {
        rc = archive_mend_check(dir, topic, i, verdict->problems, &verdict->blocks,
                                &verdict->records, err);
    }
    return rc;
}

static int check_all(const json_t *names, const char *dir, struct verdict *verdict, struct err *err)
{
    int rc = 0;
    size_t i;
    const json_t *name;
    *verdict = (struct verdict){.problems = json_array(), .fetched = verdict->fetched};
    json_array_foreach (names, i, name) {
        rc = rc == 0 ? check_topic(dir, json_string_value(name), verdict, err) : rc;
    }
    return rc;
}

/* Those of the topics that have problems; then all is checked again. */
static int repair_all(const struct cli *cli, const json_t *names, const char *dir,
                      struct verdict *verdict, struct err *err)
{
    json_t *before = verdict->problems;
    int rc = 0;
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        bool damaged = false;
        size_t k;
        const json_t *problem;
        json_array_foreach (before, k, problem) {
            damaged |= strcmp(json_text(problem, "topic", ""), json_string_value(name)) == 0;
        }
        if (rc == 0 && damaged) {
            rc = mend(cli, dir, json_string_value(name), true, false, &verdict->fetched, err);
        }
    }
    if (rc == 0) {
        json_decref(before);
        rc = check_all(names, dir, verdict, err);
    }
    return rc;
}

static int verify_show(struct cli *cli, const struct verdict *verdict, struct err *err)
{
    bool good = json_array_size(verdict->problems) == 0;
    struct buf text = {0};
    cli->exit_code = good ? 0 : 1;
    if (cli->json) {
        json_t *answer =
            json_pack("{s:b,s:I,s:I,s:I,s:O}", "verified", (int)good, "blocks",
                      (json_int_t)verdict->blocks, "records", (json_int_t)verdict->records,
                      "fetched", (json_int_t)verdict->fetched, "problems", verdict->problems);
        int rc = out_json(answer, err);
        json_decref(answer);
        return rc;
    }
    size_t i;
    const json_t *problem;
    json_array_foreach (verdict->problems, i, problem) {
        buf_printf(&text, "%s [%" PRId64 "], offset %" PRId64 ": %s\n",
                   json_text(problem, "topic", ""), json_int(problem, "partition", 0),
                   json_int(problem, "offset", 0), json_text(problem, "what", ""));
    }
    if (verdict->fetched > 0) {
        buf_printf(&text, "fetched again: %" PRId64 " record%s\n", verdict->fetched,
                   plural(verdict->fetched));
    }
    buf_printf(&text, "sound: %" PRId64 " record%s in %" PRId64 " block%s; %s\n", verdict->records,
               plural(verdict->records), verdict->blocks, plural(verdict->blocks),
               good                                ? "nothing is missing or damaged"
               : cli_option(cli, "repair") != NULL ? "what is told above cannot be fetched again"
                                                   : "--repair fetches what the log still has");
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int verify_run(struct cli *cli, struct err *err)
{
    char *dir = place_archive(cli);
    json_t *names = NULL;
    struct verdict verdict = {0};
    int rc = cli_option(cli, "repair") == NULL ? 0 : place_own_check(cli, err);
    if (rc == 0) {
        rc = place_archived(cli, dir, &names, err);
    }
    if (rc == 0) {
        rc = check_all(names, dir, &verdict, err);
    }
    if (rc == 0 && cli_option(cli, "repair") != NULL && json_array_size(verdict.problems) > 0) {
        rc = repair_all(cli, names, dir, &verdict, err);
    }
    if (rc == 0) {
        rc = verify_show(cli, &verdict, err);
    }
    json_decref(verdict.problems);
    json_decref(names);
    free(dir);
    return rc;
}

/* ---- backfill */

/* Settings for a topic that has none. */
static int begin(const struct cli *cli, const char *dir, struct err *err)
{
    struct archive_topic settings = {.retain = {-1, -1}};
    struct err trouble = {0};
    struct log *log = NULL;
    const char *topic = cli->args[0];
    int rc = archive_topic_load(dir, topic, &settings, &trouble);
    if (rc != -KE_NOT_FOUND) {
        if (rc != 0) {
            *err = trouble;
        }
        return rc;
    }
    settings = (struct archive_topic){.retain = {-1, -1}};
    rc = place_log_archived(cli, &log, err);
    if (rc != 0) {
        return rc;
    }
    rc = log->ops->topic_partitions(log, topic, &settings.partitions, err);
    if (rc == 0) {
        rc = log->ops->topic_identity(log, topic, &settings.identity, err);
    }
    log->ops->close(log);
    return rc == 0 ? archive_topic_store(dir, topic, &settings, err) : rc;
}

static int backfill_run(struct cli *cli, struct err *err)
{
    char *dir = place_archive(cli);
    int64_t fetched = 0;
    int rc = place_own_check(cli, err);
    if (rc == 0) {
        rc = begin(cli, dir, err);
    }
    if (rc == 0) {
        rc = mend(cli, dir, cli->args[0], false, true, &fetched, err);
    }
    free(dir);
    if (rc != 0) {
        return rc;
    }
    if (cli->json) {
        json_t *answer =
            json_pack("{s:s,s:I}", "name", cli->args[0], "fetched", (json_int_t)fetched);
        rc = out_json(answer, err);
        json_decref(answer);
        return rc;
    }
    struct buf text = {0};
    buf_printf(&text, "archived: %" PRId64 " record%s\n", fetched, plural(fetched));
    rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}
