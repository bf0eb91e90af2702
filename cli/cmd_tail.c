/* kappa tail. */
#include "base/clock.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/row_choice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AWAY_US_MAX INT64_C(60000000)
#define PAUSE_NS    200000000L
#define OUT_BYTES   65536 /* collected before they are written, unless a cut comes first */
#define WORD_LEN    64

static int tail_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"rows", '\0', NULL, "begin with all rows"},
    ROW_CHOICE_OPTIONS,
    {"limit", 'n', "N", "end after so many rows and deletions"},
    {"after", '\0', "ID", "go on behind the cut of this id"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_tail = {
    .name = "tail",
    .args = "TABLE [KEY...]",
    .args_min = 1,
    .args_max = -1,
    .summary = "follow the changes of a table, also across swaps",
    .help =
        "Each row that is new or has changed (+), each key that is gone (-), and, when another "
        "version is swapped\n"
        "in, how its rows differ. With -o json: an object a line, {\"event\":...}: upsert and "
        "delete with \"key\"; swap;\n"
        "reset (forget all rows: the ones there are follow, with --rows); and cut, which says that "
        "all before it\n"
        "together is the table at that cut. Its \"id\" is for --after: who was away for a moment "
        "gets what came\n"
        "since, else a reset. TABLE may be table@3 or table@candidate, or a view. A server that is "
        "away is "
        "waited for, 60 s at most.\n"
        "With leading key columns, bounds as of `kappa scan` or --where the rows they choose are "
        "followed as if they were\n"
        "a table of their own: a row that ceases to be among them is a deletion. EXPR is as behind "
        "WHERE in a "
        "definition.",
    .examples = "kappa tail user_features\n"
                "kappa tail user_features u1                   # the rows of one key\n"
                "kappa tail user_features --where \"clicks_5m > 100\" --rows\n"
                "kappa tail user_features --rows -o json | my-cache\n"
                "kappa tail user_features -n 1                 # wait for the next change\n",
    .options = options,
    .run = tail_run,
};

struct tail {
    const struct cli *cli;
    struct buf out;
    char event[WORD_LEN]; /* of the lines at hand */
    char id[WORD_LEN];
    char after[WORD_LEN]; /* of the last cut */
    bool rows;
    int64_t left;    /* of --limit; below 0: any number */
    int64_t seen_us; /* when the server said something last */
    bool done;
    int rc; /* why it is over, or of writing */
    struct err err;
};

static void put_json(struct buf *out, const json_t *value)
{
    struct buf text = {0};
    json_write(&text, value);
    out_safe(out, buf_text(&text), text.len);
    buf_free(&text);
}

static void event_text(const struct tail *tail, const json_t *data, struct buf *out)
{
    bool colour = tail->cli->colour;
    if (strcmp(tail->event, "upsert") == 0) {
        out_styled(out, colour, OUT_GREEN, "+ ");
        put_json(out, json_object_get(data, "row"));
    } else if (strcmp(tail->event, "delete") == 0) {
        out_styled(out, colour, OUT_RED, "- ");
        put_json(out, json_object_get(data, "key"));
    } else if (strcmp(tail->event, "swap") == 0) {
        out_styled(out, colour, OUT_BOLD, "= ");
        buf_printf(out, "version %" PRId64 " is swapped in for %" PRId64 " (epoch %" PRId64 ")",
                   json_int(data, "to", 0), json_int(data, "from", 0), json_int(data, "epoch", 0));
    } else if (strcmp(tail->event, "reset") == 0) {
        out_styled(out, colour, OUT_BOLD, "= ");
        const char *why = json_text(data, "why", "");
        buf_printf(out, "version %" PRId64 " of ", json_int(data, "version", 0));
        out_safe(out, json_text(data, "processor", ""), strlen(json_text(data, "processor", "")));
        buf_append_text(out, ": ");
        out_safe(out, why, strlen(why));
    } else {
        return; /* a cut says nothing to a person */
    }
    buf_append_u8(out, '\n');
}

static void event_json(const struct tail *tail, const char *data, size_t len, struct buf *out)
{
    buf_printf(out, "{\"event\":\"%s\",", tail->event);
    if (tail->id[0] != '\0') {
        buf_printf(out, "\"id\":\"%s\",", tail->id);
    }
    buf_append(out, data + 1, len - 1);
    buf_append_u8(out, '\n');
}

static void flush(struct tail *tail)
{
    if (tail->rc == 0 && tail->out.len > 0) {
        tail->rc = out_write(&tail->out, &tail->err);
    }
    buf_reset(&tail->out);
}

/* The server ends the stream. A follower that was too slow begins again; it is told. */
static void take_end(struct tail *tail, const json_t *data)
{
    struct err err = {0};
    flush(tail);
    if (!json_to_err(data, &err) || err.code == -KE_CLOSED) {
        return;
    }
    if (err.code == -KE_LIMIT) {
        (void)fprintf(stderr, "%s\n", err.text);
        return;
    }
    tail->rc = err.code;
    tail->err = err;
}

/* What a server sends in one event. */
static void take_data(struct tail *tail, const char *text, size_t len)
{
    json_t *data = json_parse_exact(text, len, NULL);
    if (!json_is_object(data)) {
        json_decref(data);
        tail->rc = err_set(&tail->err, KE_UNREACHABLE,
                           "the server sent no changes: is it a kappa server?");
        return;
    }
    bool change = strcmp(tail->event, "upsert") == 0 || strcmp(tail->event, "delete") == 0;
    bool cut = strcmp(tail->event, "cut") == 0;
    if (strcmp(tail->event, "end") == 0) {
        take_end(tail, data);
    } else if (tail->cli->json) {
        event_json(tail, text, len, &tail->out);
    } else {
        event_text(tail, data, &tail->out);
    }
    json_decref(data);
    if (cut) {
        memcpy(tail->after, tail->id, sizeof tail->after);
    }
    if (change && tail->left > 0) {
        tail->done = --tail->left == 0;
    }
    if (!change || tail->done || tail->out.len > OUT_BYTES) {
        flush(tail);
    }
}

static bool field(const char *text, size_t len, const char *name, const char **value,
                  size_t *value_len)
{
    size_t name_len = strlen(name);
    if (len < name_len || memcmp(text, name, name_len) != 0) {
        return false;
    }
    *value = text + name_len;
    *value_len = len - name_len;
    return true;
}

static void keep_word(char *word, const char *value, size_t len)
{
    bool plain = len < WORD_LEN;
    for (size_t i = 0; i < len && plain; i++) {
        plain = (value[i] >= 'a' && value[i] <= 'z') || (value[i] >= '0' && value[i] <= '9');
    }
    len = plain ? len : 0;
    memcpy(word, value, len);
    word[len] = '\0';
}

static bool take_line(void *ctx, const char *text, size_t len)
{
    struct tail *tail = ctx;
    const char *value = NULL;
    size_t value_len = 0;
    tail->seen_us = clock_mono_us(clock_real());
    if (len == 0) {
        tail->event[0] = '\0';
        tail->id[0] = '\0';
    } else if (field(text, len, "event: ", &value, &value_len)) {
        keep_word(tail->event, value, value_len);
    } else if (field(text, len, "id: ", &value, &value_len)) {
        keep_word(tail->id, value, value_len);
    } else if (field(text, len, "data: ", &value, &value_len)) {
        take_data(tail, value, value_len);
    }
    return tail->rc == 0 && !tail->done;
}

/* One connection, until it ends. */
static int follow_once(struct tail *tail, struct err *err)
{
    struct client *client;
    struct buf path = {0};
    int rc = place_client(tail->cli, &client, err);
    if (rc < 0) {
        return rc;
    }
    row_choice_path(tail->cli, "/changes", &path);
    client_query_add(&path, "after", tail->after[0] == '\0' ? NULL : tail->after);
    client_query_add(&path, "rows", tail->rows ? "1" : "0");
    tail->event[0] = '\0';
    tail->id[0] = '\0';
    rc = client_lines(client, buf_text(&path), take_line, tail, err);
    buf_free(&path);
    client_close(client);
    return rc;
}

static bool may_come_back(int rc)
{
    return rc == 0 || rc == -KE_UNREACHABLE || rc == -KE_CLOSED || rc == -KE_AGAIN;
}

static int follow(struct tail *tail, struct err *err)
{
    bool ever = false;
    for (;;) {
        struct err reason = {0};
        tail->seen_us = ever ? tail->seen_us : clock_mono_us(clock_real());
        int rc = follow_once(tail, &reason);
        flush(tail);
        ever = ever || rc == 0 || tail->after[0] != '\0';
        if (tail->rc < 0) {
            *err = tail->err;
            return tail->rc;
        }
        if (tail->done) {
            return 0;
        }
        bool away = clock_mono_us(clock_real()) - tail->seen_us > AWAY_US_MAX;
        if (!ever || away || !may_come_back(rc)) {
            *err = reason;
            return rc < 0 ? rc : err_set(err, KE_UNREACHABLE, "the server has ended the stream");
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
}

static int tail_run(struct cli *cli, struct err *err)
{
    int64_t limit = -1;
    const char *after = cli_option(cli, "after");
    int rc = cli_option_int(cli, "limit", 1, INT64_MAX, -1, &limit, err);
    if (rc < 0) {
        return rc;
    }
    struct tail *tail = xcalloc(1, sizeof *tail);
    *tail = (struct tail){.cli = cli, .left = limit, .rows = cli_option(cli, "rows") != NULL};
    keep_word(tail->after, after == NULL ? "" : after, after == NULL ? 0 : strlen(after));
    if (after != NULL && tail->after[0] == '\0') {
        rc = err_set(err, KE_INVALID, "--after %s: it takes the id of a cut", after);
    }
    rc = rc < 0 ? rc : follow(tail, err);
    buf_free(&tail->out);
    free(tail);
    return rc;
}
