/* kappa rekey. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/rekey.h"
#include "cli/release.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rekey_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"key", 'k', "COLUMN", "the new key: a field of the JSON object, a.b inside of another"},
    {"into", '\0', "TOPIC", "the topic to write; made if it is not there"},
    {"partitions", '\0', "N", "of the topic if it is made (default: as the largest one read)"},
    {"time", '\0', "COLUMN",
     "the messages' time: a field of the JSON object (default: the record's)"},
    {"time-unit", '\0', "UNIT", "what its numbers count: s, ms, us or ns (default ms)"},
    {"marks", '\0', NULL, "write into the topic which time has passed"},
    {"idle", '\0', "DURATION", "with --marks: pass by partitions that are silent for so long"},
    {"name", '\0', "PROCESSOR", "the processor (default: rekey-TOPIC)"},
    {"print", '\0', NULL, "print the definition, and do nothing"},
    RELEASE_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_rekey = {
    .name = "rekey",
    .args = "TOPIC...",
    .args_min = 1,
    .args_max = -1,
    .summary = "bring topics into one, by another key",
    .help =
        "Makes a processor that writes each record into another topic, by the key that is named, "
        "exactly once:\n"
        "the value's bytes, the headers and the time stay as they are, and the header kappa-from "
        "says from which\n"
        "topic it came. So all records of a key are in one partition, those of each partition "
        "that is read in\n"
        "their order. Between topics the order is the one in which they are written: recorded "
        "once, and followed\n"
        "by every replay. What is there already is merged by the records' times; what comes "
        "later, as it comes.\n"
        "Values are JSON, and UTF-8. A record without the key is dead: see `kappa dead`. Without "
        "--key records\n"
        "keep theirs, and so does a tombstone (a record without value): its key has to be the new "
        "key's "
        "text, or JSON\n"
        "that holds it. The processor is one like others: status, pause, drop. To add a topic, "
        "name "
        "all of them again.\n\n"
        "--marks: messages without key and value whose header kappa-mark is a time in ms: all "
        "partitions that are\n"
        "read have come to it. They are written into each partition, behind the messages they "
        "speak of, a few\n"
        "times a second. CREATE TABLE ... WITH (watermark_from='marks') follows them, live and in "
        "each replay alike.\n"
        "A partition from which nothing comes holds them up; with --idle it does so only for that "
        "while: then its\n"
        "topic is read to the end, and marks pass it by until it speaks again.",
    .examples = "kappa rekey clicks --key user_id --into clicks-by-user --partitions 8 --wait\n"
                "kappa rekey clicks profiles --key user_id --into activity --wait\n"
                "kappa rekey clicks --key user.id --into by-user --print > rekey.sql\n"
                "kappa rekey orders payments --key id --time at --marks --idle 30s --into all\n",
    .options = options,
    .run = rekey_run,
};

/* The number of partitions of a topic; 0: there is none. */
static int64_t partitions_of(const json_t *topics, const char *name)
{
    size_t i;
    const json_t *topic;
    json_array_foreach (topics, i, topic) {
        if (strcmp(json_text(topic, "name", ""), name) == 0) {
            return json_int(topic, "partitions", 0);
        }
    }
    return 0;
}

static int topic_make(struct client *client, const char *name, int64_t partitions, struct err *err)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:s,s:I}", "name", name, "partitions", (json_int_t)partitions);
    int rc = client_call(client, "/v1/topics", body, CLIENT_WAIT_SECONDS, &answer, err);
    json_decref(body);
    if (rc == 0) {
        json_decref(answer);
    }
    return rc;
}

/* The topic to write is there, with so many partitions. */
static int topic_ready(const struct cli *cli, struct client *client, const struct rekey *rekey,
                       struct err *err)
{
    int64_t wanted;
    json_t *answer = NULL;
    int rc = cli_option_int(cli, "partitions", 1, INT32_MAX, 0, &wanted, err);
    if (rc == 0) {
        rc = client_call(client, "/v1/topics", NULL, CLIENT_WAIT_SECONDS, &answer, err);
    }
    if (rc < 0) {
        return rc;
    }
    const json_t *topics = json_object_get(answer, "topics");
    int64_t there = partitions_of(topics, rekey->into);
    int64_t most = 0;
    for (int i = 0; i < rekey->topic_count && rc == 0; i++) {
        int64_t count = partitions_of(topics, rekey->topics[i]);
        most = count > most ? count : most;
        if (count == 0) {
            rc = err_set(err, KE_NOT_FOUND, "there is no topic %s", rekey->topics[i]);
            err_hint(err, "see what there is with: kappa topic list");
        }
    }
    if (rc == 0 && there > 0 && wanted > 0 && there != wanted) {
        rc = err_set(err, KE_REFUSED, "topic %s is there, with %" PRId64 " partition%s",
                     rekey->into, there, there == 1 ? "" : "s");
        err_hint(err, "leave --partitions out, or name a topic that is not there yet");
    }
    if (rc == 0 && there == 0) {
        rc = topic_make(client, rekey->into, wanted > 0 ? wanted : most, err);
    }
    json_decref(answer);
    return rc;
}

static int body_make(const struct cli *cli, const char *name, const struct buf *sql, json_t **out,
                     struct err *err)
{
    json_t *text = json_stringn(buf_text(sql), sql->len);
    if (text == NULL) {
        return err_set(err, KE_INVALID, "the names are not UTF-8 text");
    }
    json_t *body = call_body();
    (void)json_object_set_new(body, "name", json_string(name));
    (void)json_object_set_new(body, "file", json_string("kappa rekey"));
    (void)json_object_set_new(body, "sql", text);
    int rc = release_body(cli, body, err);
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    *out = body;
    return 0;
}

static int rekey_deploy(const struct cli *cli, const struct rekey *rekey, const char *name,
                        const struct buf *sql, struct err *err)
{
    json_t *body = NULL;
    struct client *client;
    json_t *answer = NULL;
    int rc = body_make(cli, name, sql, &body, err);
    if (rc < 0) {
        return rc;
    }
    rc = place_client(cli, &client, err);
    if (rc == 0) {
        rc = topic_ready(cli, client, rekey, err);
        if (rc == 0) {
            rc = client_call(client, "/v1/processors", body, CLIENT_WAIT_FOR_EVER, &answer, err);
        }
        client_close(client);
    }
    json_decref(body);
    if (rc == 0) {
        rc = release_follow(cli, name, answer, err);
        json_decref(answer);
    }
    return rc;
}

static int rekey_run(struct cli *cli, struct err *err)
{
    struct rekey rekey = {.topics = (const char *const *)cli->args,
                          .topic_count = cli->arg_count,
                          .key = cli_option(cli, "key"),
                          .into = cli_option(cli, "into"),
                          .time = cli_option(cli, "time"),
                          .time_unit = cli_option(cli, "time-unit"),
                          .marks = cli_option(cli, "marks") != NULL,
                          .idle = cli_option(cli, "idle")};
    struct buf sql = {0};
    if (rekey.into == NULL) {
        int rc = err_set(err, KE_INVALID, "--into is missing: the topic to write");
        err_hint(err, "kappa rekey %s --key COLUMN --into TOPIC", cli->args[0]);
        return rc;
    }
    int rc = rekey_definition(&rekey, &sql, err);
    if (rc == 0 && cli_option(cli, "print") != NULL) {
        rc = out_write(&sql, err);
    } else if (rc == 0) {
        const char *given = cli_option(cli, "name");
        char *name = given != NULL ? xstrdup(given) : xasprintf("rekey-%s", rekey.into);
        rc = rekey_deploy(cli, &rekey, name, &sql, err);
        free(name);
    }
    buf_free(&sql);
    return rc;
}
