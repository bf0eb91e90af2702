/* The options of a new version and what is said about it. Own header: release.h. */
#include "cli/release.h"

#include "base/clock.h"
#include "base/limits.h"
#include "cli/corrections.h"
#include "cli/dry_run_text.h"
#include "cli/limit_text.h"
#include "cli/output.h"
#include "cli/waiting.h"
#include "processor/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number_set(const struct cli *cli, const char *option, const char *member, int64_t most,
                      json_t *body, struct err *err)
{
    int64_t value;
    int rc = cli_option_int(cli, option, 1, most, 0, &value, err);
    if (rc == 0 && value != 0) {
        (void)json_object_set_new(body, member, json_integer(value));
    }
    return rc;
}

/* --set NAME=VALUE and --accept-gap. */
static int settings_set(const struct cli *cli, json_t *body, struct err *err)
{
    json_t *settings = json_object();
    struct policy policy;
    int rc = 0;
    const char *text = cli_option_at(cli, "set", 0);
    for (uint32_t i = 1; rc == 0 && text != NULL; i++) {
        const char *equals = strchr(text, '=');
        if (equals == NULL) {
            rc = err_set(err, KE_INVALID, "--set %s: write NAME=VALUE, as in swap.max_dead=10",
                         text);
            break;
        }
        char *name = xstrndup(text, (size_t)(equals - text));
        json_t *value = json_string(equals + 1);
        policy_init(&policy);
        if (value == NULL) {
            rc = err_set(err, KE_INVALID, "--set %s: its value is not UTF-8", name);
        } else if (strcmp(equals + 1, "default") != 0 || policy_find(name) == POLICY_SETTINGS) {
            rc = policy_set(&policy, name, equals + 1, err);
        }
        (void)json_object_set_new(settings, name, value);
        free(name);
        text = cli_option_at(cli, "set", i);
    }
    if (rc == 0 && cli_option(cli, "accept-gap") != NULL) {
        (void)json_object_set_new(settings, policy_name(POLICY_ACCEPT_GAP), json_string("on"));
    }
    if (rc == 0 && json_object_size(settings) > 0) {
        (void)json_object_set(body, "settings", settings);
    }
    json_decref(settings);
    return rc;
}

/* --limit */
static int limit_given(const struct cli *cli, json_t *body, struct err *err)
{
    const char *text = cli_option(cli, "limit");
    json_t *limit = NULL;
    int rc = text != NULL ? limit_text_parse(text, clock_wall_ms(clock_real()), &limit, err) : 0;
    if (limit != NULL) {
        (void)json_object_set_new(body, "limit", limit);
    }
    return rc;
}

/* --corrections: before anything is made. */
static int corrections_check(const struct cli *cli, const char *swap, struct err *err)
{
    int rc = corrections_asked(cli, err);
    if (rc == 1 &&
        (cli_option(cli, "wait") == NULL || (swap != NULL && strcmp(swap, "manual") == 0))) {
        rc =
            err_set(err, KE_INVALID,
                    "--corrections are sent when the version serves: that is waited for by --wait, "
                    "and not with --swap manual");
        err_hint(err, "`kappa swap --corrections` sends them behind a swap by hand");
    }
    return rc < 0 ? rc : 0;
}

int release_body(const struct cli *cli, json_t *body, struct err *err)
{
    const char *from = cli_option(cli, "from");
    const char *swap = cli_option(cli, "swap");
    if (swap != NULL && strcmp(swap, "auto") != 0 && strcmp(swap, "manual") != 0) {
        return err_set(err, KE_INVALID, "--swap %s: it is auto or manual", swap);
    }
    const char *outputs = cli_option(cli, "outputs");
    if (outputs != NULL && strcmp(outputs, "all") != 0 && strcmp(outputs, "new") != 0) {
        return err_set(err, KE_INVALID, "--outputs %s: it is all or new", outputs);
    }
    if (outputs != NULL) {
        (void)json_object_set_new(body, "outputs", json_string(outputs));
    }
    if (cli_option(cli, "dry-run") != NULL) {
        (void)json_object_set_new(body, "dry_run", json_true());
    }
    if (from != NULL) {
        (void)json_object_set_new(body, "from", json_string(from));
    }
    if (cli_option(cli, "in-window") != NULL) {
        (void)json_object_set_new(body, "in_window", json_true());
    }
    if (cli_option(cli, "empty-state") != NULL) {
        (void)json_object_set_new(body, "empty_state", json_true());
    }
    if (swap != NULL) {
        (void)json_object_set_new(body, "swap", json_string(swap));
    }
    int rc = corrections_check(cli, swap, err);
    rc = rc == 0 ? settings_set(cli, body, err) : rc;
    if (rc == 0) {
        rc = limit_given(cli, body, err);
    }
    if (rc == 0) {
        rc = number_set(cli, "shards", "shards", LIMIT_SHARDS, body, err);
    }
    return rc < 0 ? rc : number_set(cli, "cache-bytes", "cache_bytes", INT64_MAX, body, err);
}

void release_begins(const json_t *version, struct buf *out)
{
    const json_t *begins = json_object_get(version, "begins");
    const char *with = json_text(begins, "with", "");
    const char *why = json_text(begins, "why", "");
    const char *words = strcmp(with, "snapshot") == 0 ? "with a snapshot"
                        : strcmp(with, "empty") == 0  ? "with empty state"
                        : strcmp(with, "window") == 0 ? "with what serves"
                                                      : "at the beginning";
    if (with[0] != '\0') {
        buf_printf(out, "it begins %s: %s\n", words, why);
    }
}

static int say_made(const char *processor, const json_t *answer, struct err *err)
{
    struct buf text = {0};
    int64_t version = json_int(answer, "version", 0);
    if (json_bool(answer, "unchanged", false)) {
        bool policy = json_bool(answer, "policy_changed", false);
        buf_printf(&text, "%s is unchanged: v%" PRId64 " has the same definition and is %s%s\n",
                   processor, version, json_text(answer, "state", "there"),
                   policy ? "; its policy is changed" : "");
    } else {
        buf_printf(&text, "v%" PRId64 " of %s is %s", version, processor,
                   json_text(answer, "state", "planned"));
        bool manual = strcmp(json_text(answer, "swap", "auto"), "manual") == 0;
        buf_append_text(&text, manual ? "; `kappa swap` makes it serve when it is ready\n"
                                      : "; it will serve when it has caught up\n");
        release_begins(answer, &text);
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int say_waited(const struct cli *cli, const char *processor, const json_t *version,
                      struct err *err)
{
    if (cli->json) {
        return out_json(version, err);
    }
    struct buf text = {0};
    const char *state = json_text(version, "state", "");
    char records[OUT_NUMBER_LEN];
    buf_printf(&text, "v%" PRId64 " of %s is ", json_int(version, "version", 0), processor);
    out_styled(&text, cli->colour, out_state_style(state), state);
    int64_t count = json_int(version, "records", 0);
    buf_printf(&text, " (%s record%s", out_count(count, records), count == 1 ? "" : "s");
    int64_t dead = json_int(version, "dead", 0);
    if (dead > 0) {
        buf_printf(&text, ", %s of them dead: see `kappa dead %s %" PRId64 "`",
                   out_count(dead, records), processor, json_int(version, "version", 0));
    }
    buf_append_text(&text, ")\n");
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

/* An unchanged definition whose version stands by does not serve by itself: no use to wait. */
static int check_will_serve(const char *processor, const json_t *answer, struct err *err)
{
    if (!json_bool(answer, "unchanged", false) ||
        strcmp(json_text(answer, "state", ""), "standby") != 0) {
        return 0;
    }
    int64_t version = json_int(answer, "version", 0);
    int rc = err_set(err, KE_REFUSED,
                     "v%" PRId64 " of %s has this definition and stands by: it will not serve by "
                     "itself",
                     version, processor);
    err_hint(err, "`kappa swap %s %" PRId64 "` makes it serve", processor, version);
    return rc;
}

/* What was waited for, and with --corrections what was sent then; the version is there, whatever comes of
 * these. */
static int say_served(const struct cli *cli, const char *processor, json_t *version, bool serves,
                      struct err *err)
{
    if (cli_option(cli, "corrections") == NULL) {
        return say_waited(cli, processor, version, err);
    }
    if (!serves) {
        (void)fprintf(stderr, "no corrections: it waits for `kappa swap %s --corrections`\n",
                      processor);
        return say_waited(cli, processor, version, err);
    }
    if (!cli->json) {
        int rc = say_waited(cli, processor, version, err);
        return rc == 0 ? corrections_follow(cli, processor, version, err) : rc;
    }
    struct err ignored = {0};
    int rc = corrections_follow(cli, processor, version, err);
    int said = say_waited(cli, processor, version, rc == 0 ? err : &ignored);
    return rc == 0 ? said : rc;
}

int release_follow(const struct cli *cli, const char *processor, const json_t *answer,
                   struct err *err)
{
    int64_t timeout_us;
    int rc = cli_option_duration(cli, "timeout", WAIT_TIMEOUT_US, &timeout_us, err);
    if (rc < 0) {
        return rc;
    }
    if (json_bool(answer, "dry_run", false) && !json_bool(answer, "unchanged", false)) {
        return dry_run_print(cli, answer, err);
    }
    if (cli_option(cli, "wait") == NULL || cli_option(cli, "dry-run") != NULL) {
        return cli->json ? out_json(answer, err) : say_made(processor, answer, err);
    }
    if (!cli->json) {
        rc = say_made(processor, answer, err);
    }
    if (rc == 0) {
        rc = check_will_serve(processor, answer, err);
    }
    if (rc < 0) {
        return rc;
    }
    bool manual = strcmp(json_text(answer, "swap", "auto"), "manual") == 0;
    json_t *version;
    rc = wait_until(cli, processor, (uint32_t)json_int(answer, "version", 0),
                    manual ? WAIT_CAUGHT_UP : WAIT_SERVING, timeout_us, &version, err);
    if (rc < 0) {
        return rc;
    }
    rc = say_served(cli, processor, version, !manual, err);
    json_decref(version);
    return rc;
}
