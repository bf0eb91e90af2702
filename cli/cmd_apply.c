/* kappa apply, kappa diff-plan. */
#include "base/clock.h"
#include "cli/apply_plan.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/waiting.h"
#include "processor/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int apply_run(struct cli *cli, struct err *err);
static int diff_plan_run(struct cli *cli, struct err *err);

static const struct cmd_option apply_options[] = {
    {"dry-run", '\0', NULL, "only say what would be done"},
    {"wait", '\0', NULL, "wait until all of them serve, or with swap.mode manual are ready"},
    {"timeout", '\0', "TIME", "with --wait: give up after this long in all (default 10m)"},
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option plan_options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_apply = {
    .name = "apply",
    .args = "DIR|FILE.sql...",
    .args_min = 1,
    .args_max = -1,
    .summary = "make the server have what a folder of definitions says",
    .help = "A file NAME.sql is the processor NAME. All of them are checked first; if the server "
            "would not take one,\n"
            "nothing is done. Then new versions are made of what has changed, definitions that "
            "read a topic behind\n"
            "the one that makes it; a changed policy (SET swap.NAME) is taken by the version that "
            "is there; and\n"
            "what stands by is swapped back in when its definition is. The second time there is "
            "nothing to do. A\n"
            "version that a person rolled back stays so, and is an error (exit 4). Processors that "
            "the folder does\n"
            "not have are left alone.",
    .examples = "kappa apply processors/ --wait --timeout 1h\n"
                "kappa apply processors/ --dry-run -o json\n",
    .options = apply_options,
    .run = apply_run,
};

const struct cmd_entry cmd_diff_plan = {
    .name = "diff-plan",
    .args = "DIR|FILE.sql...",
    .args_min = 1,
    .args_max = -1,
    .summary = "say what `kappa apply` would do; exit 1 when there is something",
    .help = "As `kubectl diff`: exit 0 when the server has what the folder says, 1 when `kappa "
            "apply` would change\n"
            "something, more than 1 when that cannot be said. Nothing is written.",
    .examples = "kappa diff-plan processors/ || echo 'not applied yet'\n",
    .options = plan_options,
    .run = diff_plan_run,
};

/* ---- Telling ---- */

static int64_t version_of(const struct apply_item *item)
{
    return json_int(item->answer, "version", 0);
}

static json_t *item_json(const struct apply_item *item)
{
    static const char *const kept[] = {"version", "state",     "swap",    "policy",
                                       "records", "eta_range", "warnings"};
    json_t *out = json_pack("{s:s, s:s, s:s}", "processor", item->name, "file", item->path,
                            "action", apply_action_word(item->action));
    ASSERT(out != NULL);
    for (size_t i = 0; i < array_len(kept); i++) {
        json_t *value = json_object_get(item->answer, kept[i]);
        if (value != NULL) {
            (void)json_object_set(out, kept[i], value);
        }
    }
    if (item->err.code != 0) {
        json_t *outer = json_from_err(&item->err);
        (void)json_object_update(out, outer);
        json_decref(outer);
    }
    return out;
}

static int plan_json(const struct apply_plan *plan, bool applied, struct err *err)
{
    json_t *list = json_array();
    int to_do = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        (void)json_array_append_new(list, item_json(&plan->items[i]));
        to_do += apply_acts(&plan->items[i]);
    }
    json_t *out =
        json_pack("{s:o, s:i, s:b}", "processors", list, "changes", to_do, "applied", applied);
    ASSERT(out != NULL);
    int rc = out_json(out, err);
    json_decref(out);
    return rc;
}

static void details(const struct apply_item *item, struct buf *out)
{
    char low[OUT_NUMBER_LEN];
    char high[OUT_NUMBER_LEN];
    const json_t *eta = json_object_get(item->answer, "eta_range");
    const json_t *records = json_object_get(item->answer, "records");
    bool planned = json_bool(item->answer, "dry_run", false);
    if (item->needs != NULL) {
        buf_printf(out, "reads %s, which %s makes", item->needs, item->maker);
    } else if (planned && json_is_integer(records)) {
        buf_printf(out, "%s records", out_count(json_integer_value(records), low));
        if (json_is_array(eta)) {
            buf_printf(out, ", %s to %s", out_brief(json_array_get(eta, 0), low),
                       out_brief(json_array_get(eta, 1), high));
        }
    } else {
        buf_append_text(out, json_text(item->answer, "state", ""));
    }
}

/* Warnings, and why the server would not take more than one: the first is the command's error. */
static void remarks(const struct cli *cli, const struct apply_plan *plan, struct buf *out)
{
    bool first = true;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct apply_item *item = &plan->items[i];
        const json_t *warning;
        size_t k;
        json_array_foreach (json_object_get(item->answer, "warnings"), k, warning) {
            out_styled(out, cli->colour, OUT_YELLOW, "warning: ");
            buf_printf(out, "%s: ", item->name);
            out_safe(out, json_string_value(warning), json_string_length(warning));
            buf_append_u8(out, '\n');
        }
        if (item->action == APPLY_REFUSED && !first) {
            out_styled(out, cli->colour, OUT_RED, "refused: ");
            buf_printf(out, "%s: %s\n", item->name, item->err.text);
        }
        first = first && item->action != APPLY_REFUSED;
    }
}

static void plan_text(const struct cli *cli, const struct apply_plan *plan, struct buf *out)
{
    static const char *const titles[] = {"PROCESSOR", "ACTION", "VERSION", ""};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0);
    for (size_t i = 0; i < array_len(titles); i++) {
        out_table_cell(&table, titles[i]);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct apply_item *item = &plan->items[i];
        struct buf text = {0};
        out_table_cell(&table, item->name);
        out_table_cell(&table, apply_action_word(item->action));
        if (item->answer == NULL) {
            out_table_cell(&table, NULL);
        } else {
            out_table_cellf(&table, "v%" PRId64, version_of(item));
        }
        details(item, &text);
        out_table_cell(&table, buf_text(&text));
        buf_free(&text);
    }
    out_table_end(&table, cli->colour, out);
    remarks(cli, plan, out);
}

/* Changes that there are to make. */
static int count_changes(const struct apply_plan *plan)
{
    int count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        count += apply_acts(&plan->items[i]);
    }
    return count;
}

static bool is_refused(const struct apply_plan *plan)
{
    bool refused = false;
    for (uint32_t i = 0; i < plan->count; i++) {
        refused = refused || plan->items[i].action == APPLY_REFUSED;
    }
    return refused;
}

static int tell(const struct cli *cli, const struct apply_plan *plan, bool applied, struct err *err)
{
    if (cli->json) {
        return plan_json(plan, applied, err);
    }
    struct buf text = {0};
    int changes = count_changes(plan);
    plan_text(cli, plan, &text);
    if (is_refused(plan)) {
        buf_append_text(&text, "nothing is done: not all of them can be taken\n");
    } else if (changes == 0) {
        buf_append_text(&text, "nothing to do\n");
    } else if (!applied) {
        buf_printf(&text, "%d to do; nothing was written\n", changes);
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

/* The first that the server does not take is the error of all. */
static int check_plan(const struct apply_plan *plan, struct err *err)
{
    const struct err *first = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct apply_item *item = &plan->items[i];
        if (item->action == APPLY_REFUSED) {
            first = count == 0 ? &item->err : first;
            count++;
        }
    }
    if (first == NULL) {
        return 0;
    }
    *err = *first;
    if (count > 1 && err->hint[0] == '\0') {
        err_hint(err, "%u more definitions are not taken, either", count - 1);
    }
    return err->code;
}

static int check_barred(const struct apply_plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->items[i].action == APPLY_BARRED) {
            *err = plan->items[i].err;
            return err->code;
        }
    }
    return 0;
}

/* ---- Acting ---- */

static bool is_serving(const struct apply_item *item)
{
    return strcmp(json_text(item->answer, "state", ""), "serving") == 0;
}

/* Those that a swap has moved: the item, and of its group those that were to be moved, too. */
static void note_moved(struct apply_plan *plan, const struct apply_item *item,
                       const json_t *receipt)
{
    const json_t *members = json_object_get(json_object_get(receipt, "group"), "members");
    for (uint32_t i = 0; i < plan->count; i++) {
        struct apply_item *other = &plan->items[i];
        const json_t *moved = json_object_get(members, other->name);
        bool same = other->action == APPLY_SWAP && json_int(moved, "new", 0) == version_of(other);
        if (other == item || same) {
            (void)json_object_set_new(other->answer, "state", json_string("serving"));
        }
    }
}

static const char *group_of(const struct apply_item *item)
{
    const json_t *policy = json_object_get(item->answer, "policy");
    return json_text(policy, policy_name(POLICY_GROUP), "");
}

/* The folder wants another one of its group to stay. */
static bool goes_alone(const struct apply_plan *plan, const struct apply_item *item)
{
    bool alone = false;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct apply_item *other = &plan->items[i];
        alone = alone || (other != item && other->action != APPLY_SWAP &&
                          strcmp(group_of(other), group_of(item)) == 0);
    }
    return alone && group_of(item)[0] != '\0';
}

static int act_swap(const struct cli *cli, struct apply_plan *plan, const struct apply_item *item,
                    struct err *err)
{
    if (is_serving(item)) {
        return 0; /* moved with another one of its group */
    }
    json_t *answer = NULL;
    json_t *body = call_body();
    (void)json_object_set_new(body, "version", json_integer(version_of(item)));
    (void)json_object_set_new(body, "reason", json_string("kappa apply"));
    (void)json_object_set_new(body, "alone", json_boolean(goes_alone(plan, item)));
    int rc = call_post(cli, item->name, 0, "swap", body, CLIENT_WAIT_FOR_EVER, &answer, err);
    if (rc == 0) {
        note_moved(plan, item, answer);
    }
    json_decref(answer);
    return rc;
}

static int act(const struct cli *cli, struct client *client, struct apply_plan *plan,
               struct apply_item *item, struct err *err)
{
    json_t *answer = NULL;
    if (item->action == APPLY_SWAP) {
        return act_swap(cli, plan, item, err);
    }
    int rc = client_call(client, "/v1/processors", item->body, CLIENT_WAIT_FOR_EVER, &answer, err);
    if (rc == 0) {
        json_decref(item->answer);
        item->answer = answer;
        item->needs = NULL;
    }
    return rc;
}

/* Still on its way? */
static bool is_candidate(const struct apply_item *item)
{
    static const char *const words[] = {"planned", "replaying", "catching_up", "ready"};
    const char *state = json_text(item->answer, "state", "");
    bool found = false;
    for (size_t i = 0; i < array_len(words); i++) {
        found = found || strcmp(state, words[i]) == 0;
    }
    return found;
}

static int wait_all(const struct cli *cli, struct apply_plan *plan, int64_t timeout_us,
                    struct err *err)
{
    int64_t end_us = clock_mono_us(clock_real()) + timeout_us;
    int rc = 0;
    for (uint32_t i = 0; i < plan->count && rc == 0; i++) {
        struct apply_item *item = &plan->items[i];
        bool manual = strcmp(json_text(item->answer, "swap", "auto"), "manual") == 0;
        int64_t left_us = end_us - clock_mono_us(clock_real());
        json_t *version = NULL;
        if (!is_candidate(item)) {
            continue;
        }
        rc = wait_until(cli, item->name, (uint32_t)version_of(item),
                        manual ? WAIT_CAUGHT_UP : WAIT_SERVING, left_us > 0 ? left_us : 0, &version,
                        err);
        if (rc == 0) {
            json_decref(item->answer);
            item->answer = version;
        }
    }
    return rc;
}

static int act_all(const struct cli *cli, struct client *client, struct apply_plan *plan,
                   struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < plan->count && rc == 0; i++) {
        struct apply_item *item = &plan->items[i];
        rc = apply_acts(item) ? act(cli, client, plan, item, err) : 0;
        if (rc != 0) {
            err_prefix(err, "%s", item->name);
            item->action = APPLY_REFUSED;
            item->err = *err;
        }
    }
    return rc;
}

static int apply_all(const struct cli *cli, struct client *client, struct apply_plan *plan,
                     struct err *err)
{
    int64_t timeout_us = 0;
    int rc = cli_option_duration(cli, "timeout", WAIT_TIMEOUT_US, &timeout_us, err);
    if (rc == 0) {
        rc = act_all(cli, client, plan, err);
    }
    if (rc == 0 && cli_option(cli, "wait") != NULL) {
        rc = wait_all(cli, plan, timeout_us, err);
    }
    struct err unsaid = {0};
    int told = tell(cli, plan, true, rc == 0 ? err : &unsaid);
    return rc != 0 ? rc : told;
}

static int run(const struct cli *cli, bool dry, int *changes, struct err *err)
{
    struct apply_plan plan;
    struct client *client = NULL;
    int rc = apply_read(cli, &plan, err);
    if (rc == 0) {
        rc = place_client(cli, &client, err);
    }
    if (rc == 0) {
        rc = apply_ask(client, &plan, err);
    }
    if (rc == 0) {
        *changes = count_changes(&plan);
        rc = check_plan(&plan, err);
        struct err unsaid = {0};
        if (dry || rc != 0) {
            int told = tell(cli, &plan, false, &unsaid);
            rc = rc != 0 ? rc : told;
        } else {
            rc = apply_all(cli, client, &plan, err);
        }
        rc = rc != 0 ? rc : check_barred(&plan, err);
    }
    if (client != NULL) {
        client_close(client);
    }
    apply_free(&plan);
    return rc;
}

static int apply_run(struct cli *cli, struct err *err)
{
    int changes = 0;
    return run(cli, cli_option(cli, "dry-run") != NULL, &changes, err);
}

static int diff_plan_run(struct cli *cli, struct err *err)
{
    int changes = 0;
    cli->exit_failed = 2;
    int rc = run(cli, true, &changes, err);
    cli->exit_code = changes > 0 ? 1 : 0;
    return rc;
}
