/* Posting control calls, printing receipts. Own header: call.h. */
#include "cli/call.h"

#include "cli/client.h"
#include "cli/output.h"
#include "cli/place.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *call_body(void)
{
    const struct passwd *entry = getpwuid(geteuid());
    json_t *name = entry == NULL ? NULL : json_string(entry->pw_name);
    return json_pack("{s:o}", "who", name != NULL ? name : json_string("cli"));
}

void call_alone(const struct cli *cli, json_t *body)
{
    if (cli_option(cli, "alone") != NULL) {
        (void)json_object_set_new(body, "alone", json_true());
    }
}

int call_server(const struct cli *cli, const char *path, const json_t *body, long wait_seconds,
                json_t **out, struct err *err)
{
    struct client *client;
    int rc = place_client(cli, &client, err);
    if (rc == 0) {
        rc = client_call(client, path, body, wait_seconds, out, err);
        client_close(client);
    }
    return rc;
}

int call_post(const struct cli *cli, const char *processor, uint32_t version, const char *verb,
              json_t *body, long wait_seconds, json_t **out, struct err *err)
{
    struct buf path = {0};
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, processor);
    if (version != 0) {
        buf_printf(&path, "/versions/%" PRIu32, version);
    }
    client_path_add(&path, verb);
    int rc = call_server(cli, buf_text(&path), body, wait_seconds, out, err);
    buf_free(&path);
    json_decref(body);
    return rc;
}

int call_status(struct client *client, const char *processor, json_t **out, struct err *err)
{
    struct buf path = {0};
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, processor);
    int rc = client_call(client, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, out, err);
    buf_free(&path);
    return rc;
}

int call_print(const struct cli *cli, const json_t *answer,
               void (*text)(const struct cli *cli, const json_t *answer, struct buf *out),
               struct err *err)
{
    if (cli->json) {
        return out_json(answer, err);
    }
    struct buf shown = {0};
    text(cli, answer, &shown);
    int rc = out_write(&shown, err);
    buf_free(&shown);
    return rc;
}

int call_version_command(struct cli *cli, const char *verb, const char *done, struct err *err)
{
    uint32_t version = 0;
    json_t *answer = NULL;
    int rc = cli_version_arg(cli->args[1], &version, err);
    if (rc == 0) {
        rc = call_post(cli, cli->args[0], version, verb, call_body(), CLIENT_WAIT_FOR_EVER, &answer,
                       err);
    }
    if (rc < 0) {
        return rc;
    }
    if (cli->json) {
        rc = out_json(answer, err);
    } else {
        struct buf text = {0};
        buf_printf(&text, "v%" PRIu32 " of %s is %s\n", version, cli->args[0], done);
        rc = out_write(&text, err);
        buf_free(&text);
    }
    json_decref(answer);
    return rc;
}

/* "events 12,345 12,346 | orders 7": the offsets of each topic. */
static void cut_text(struct buf *out, const json_t *cut)
{
    const char *topic;
    json_t *offsets;
    const char *bar = "";
    json_object_foreach ((json_t *)(uintptr_t)cut, topic, offsets) {
        buf_printf(out, "%s%s", bar, topic);
        size_t i;
        json_t *offset;
        json_array_foreach (offsets, i, offset) {
            char number[OUT_NUMBER_LEN];
            buf_printf(out, " %s", out_count(json_integer_value(offset), number));
        }
        bar = " | ";
    }
}

static void safe_cell(struct out_table *table, const char *text)
{
    struct buf safe = {0};
    out_safe(&safe, text, strlen(text));
    out_table_cell(table, buf_text(&safe));
    buf_free(&safe);
}

/* "shop: orders v1 -> v2, users v4 -> v5" */
static void group_row(struct out_table *table, const json_t *receipt)
{
    const json_t *group = json_object_get(receipt, "group");
    struct buf text = {0};
    const char *name;
    json_t *member;
    json_object_foreach (json_object_get(group, "members"), name, member) {
        buf_printf(&text, "%s%s v%" PRId64 " -> v%" PRId64, text.len == 0 ? "" : ", ", name,
                   json_int(member, "old", 0), json_int(member, "new", 0));
    }
    if (text.len > 0) {
        out_table_cell(table, "group");
        out_table_cellf(table, "%s: %s", json_text(group, "name", ""), buf_text(&text));
    }
    buf_free(&text);
}

/* What the policy found, or who overruled it and why. */
static void policy_rows(struct out_table *table, const json_t *receipt)
{
    const char *reason = json_text(receipt, "reason", NULL);
    const char *overruled = json_text(receipt, "overruled", NULL);
    size_t i;
    const json_t *check;
    if (reason != NULL) {
        out_table_cell(table, "reason");
        safe_cell(table, reason);
    }
    if (overruled != NULL) {
        out_table_cell(table, "overruled");
        safe_cell(table, overruled);
    }
    json_array_foreach (json_object_get(receipt, "checks"), i, check) {
        out_table_cell(table, json_text(check, "setting", ""));
        out_table_cellf(table, "%s: %s", json_text(check, "limit", ""),
                        json_text(check, "found", ""));
    }
}

/* "7.8 ms: 2.3 prepare, 2.0 run_to, 0.7 commit, 2.8 release" */
static void held_cell(struct out_table *table, const json_t *receipt)
{
    static const char *const names[] = {"prepare", "run_to", "commit", "release"};
    const json_t *steps = json_object_get(receipt, "steps_ms");
    struct buf text = {0};
    buf_printf(&text, "%.1f ms", json_number(receipt, "hold_ms", 0));
    for (size_t i = 0; i < array_len(names) && json_is_object(steps); i++) {
        buf_printf(&text, "%s%.1f %s", i == 0 ? ": " : ", ", json_number(steps, names[i], 0),
                   names[i]);
    }
    out_table_cell(table, buf_text(&text));
    buf_free(&text);
}

static void receipt_text(const struct cli *cli, const json_t *receipt, struct buf *out)
{
    int64_t old = json_int(receipt, "old", 0);
    char title[128];
    struct buf cut = {0};
    struct out_table table;
    cut_text(&cut, json_object_get(receipt, "cut"));
    if (old == 0) {
        (void)snprintf(title, sizeof title, "v%" PRId64 " serves", json_int(receipt, "new", 0));
    } else {
        (void)snprintf(title, sizeof title, "v%" PRId64 " -> v%" PRId64, old,
                       json_int(receipt, "new", 0));
    }
    buf_printf(out, "%s: ", json_text(receipt, "processor", ""));
    out_styled(out, cli->colour, OUT_GREEN, title);
    buf_append_u8(out, '\n');
    out_table_begin(&table, 2, 0);
    table.indent = 2;
    out_table_cell(&table, "epoch");
    out_table_cellf(&table, "%" PRId64, json_int(receipt, "epoch", 0));
    out_table_cell(&table, "time");
    out_table_cell(&table, json_text(receipt, "time", "-"));
    out_table_cell(&table, "cut");
    out_table_cell(&table, buf_text(&cut));
    out_table_cell(&table, "old digest");
    out_table_cell(&table, json_text(receipt, "old_digest", "-"));
    out_table_cell(&table, "new digest");
    out_table_cell(&table, json_text(receipt, "new_digest", "-"));
    out_table_cell(&table, "held for");
    held_cell(&table, receipt);
    out_table_cell(&table, "why");
    out_table_cellf(&table, "%s, by %s", json_text(receipt, "why", "-"),
                    json_text(receipt, "who", "-"));
    group_row(&table, receipt);
    policy_rows(&table, receipt);
    out_table_end(&table, false, out);
    buf_free(&cut);
}

int call_print_receipt(const struct cli *cli, const json_t *receipt, struct err *err)
{
    return call_print(cli, receipt, receipt_text, err);
}
