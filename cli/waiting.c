/* Polling the status. Own header: waiting.h. */
#include "cli/waiting.h"

#include "base/clock.h"
#include "base/timefmt.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS     100
#define AWAY_US_MAX INT64_C(15000000) /* a restart of the server takes less */

int wait_goal_parse(const char *text, enum wait_goal *out, struct err *err)
{
    bool serving = strcmp(text, "serving") == 0;
    if (!serving && strcmp(text, "caught-up") != 0) {
        return err_set(err, KE_INVALID, "--for %s: it is caught-up or serving", text);
    }
    *out = serving ? WAIT_SERVING : WAIT_CAUGHT_UP;
    return 0;
}

static bool one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int wait_judge(const char *processor, const json_t *version, enum wait_goal goal, struct err *err)
{
    const char *state = json_text(version, "state", "");
    int64_t number = json_int(version, "version", 0);
    if (strcmp(state, "serving") == 0) {
        return 1;
    }
    if (goal == WAIT_CAUGHT_UP && one_of(state, "ready", "standby")) {
        return 1;
    }
    if (one_of(state, "aborted", "retired")) {
        return err_set(err, KE_REFUSED, "v%" PRId64 " of %s is %s", number, processor, state);
    }
    const json_t *held = json_object_get(version, "held_back");
    if (strcmp(json_text(held, "code", ""), "refused") == 0 &&
        json_object_get(held, "against") != NULL) {
        int rc = err_set(err, KE_REFUSED, "v%" PRId64 " of %s is ready and is not swapped in: %s",
                         number, processor, json_text(held, "message", ""));
        err_hint(err, "%s", json_text(held, "hint", ""));
        return rc;
    }
    if (strcmp(state, "failed") != 0) {
        return 0;
    }
    json_t *body = json_pack("{s:O}", "error", json_object_get(version, "error"));
    struct err cause = {0};
    bool told = body != NULL && json_to_err(body, &cause) && cause.code != 0;
    json_decref(body);
    if (!told) {
        return err_set(err, KE_INTERNAL, "v%" PRId64 " of %s failed", number, processor);
    }
    if (err != NULL) {
        *err = cause;
    }
    err_prefix(err, "v%" PRId64 " of %s failed", number, processor);
    return cause.code;
}

/* What was in the way when the time was over. */
static int timed_out(const char *processor, const json_t *version, enum wait_goal goal,
                     int64_t timeout_us, struct err *err)
{
    char waited[TIME_TEXT_LEN];
    duration_format(timeout_us, waited);
    const char *state = json_text(version, "state", "?");
    int64_t number = json_int(version, "version", 0);
    int rc = err_set(err, KE_TIMEOUT, "after %s, v%" PRId64 " of %s is still %s", waited, number,
                     processor, state);
    const char *trouble = json_text(json_object_get(version, "trouble"), "message", NULL);
    const json_t *slowest = progress_slowest(version);
    const char *held = json_text(json_object_get(version, "held_back"), "message", NULL);
    trouble = trouble != NULL ? trouble : held;
    if (trouble != NULL) {
        err_hint(err, "what is in the way: %s", trouble);
    } else if (strcmp(state, "ready") == 0 && goal == WAIT_SERVING) {
        err_hint(err, "it is swapped in by `kappa swap %s %" PRId64 "`", processor, number);
    } else if (strcmp(state, "paused") == 0) {
        err_hint(err, "`kappa resume %s %" PRId64 "` lets it go on", processor, number);
    } else if (strcmp(state, "standby") == 0) {
        err_hint(err, "it served before; `kappa swap %s %" PRId64 "` makes it serve again",
                 processor, number);
    } else if (slowest != NULL) {
        char lag[OUT_NUMBER_LEN];
        char rate[OUT_NUMBER_LEN];
        err_hint(err,
                 "furthest behind is partition %s/%" PRId64 ": %s records (next %" PRId64
                 ", end %" PRId64 "); the version applies %s records/s",
                 json_text(slowest, "topic", ""), json_int(slowest, "partition", 0),
                 out_count(json_int(slowest, "lag", 0), lag), json_int(slowest, "next", 0),
                 json_int(slowest, "end", 0), out_short(json_number(version, "rate", 0), rate));
    }
    return rc;
}

/* The version's object: a new reference. */
static int look(const struct cli *cli, const char *processor, uint32_t version, json_t **out,
                struct err *err)
{
    struct client *client;
    json_t *status;
    int rc = place_client(cli, &client, err);
    if (rc < 0) {
        return rc;
    }
    rc = call_status(client, processor, &status, err);
    client_close(client);
    if (rc < 0) {
        return rc;
    }
    json_t *found = NULL;
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(status, "versions"), i, item) {
        if (json_int(item, "version", 0) == version) {
            found = json_incref(item);
        }
    }
    json_decref(status);
    if (found == NULL) {
        rc = err_set(err, KE_NOT_FOUND, "%s has no version %" PRIu32, processor, version);
        err_hint(err, "`kappa status %s` lists them", processor);
        return rc;
    }
    *out = found;
    return 0;
}

static bool is_away(int rc)
{
    return rc == -KE_UNREACHABLE || rc == -KE_CLOSED;
}

/* ---- Ctrl-C */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Unless who started it ignores it. */
static void interrupt_begin(struct sigaction *before)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    interrupted = 0;
    if (sigaction(SIGINT, NULL, before) == 0 && before->sa_handler != SIG_IGN) {
        (void)sigaction(SIGINT, &action, NULL);
    }
}

static void interrupt_end(const struct sigaction *before)
{
    (void)sigaction(SIGINT, before, NULL);
}

/* The wait is over, what was waited for is not. Ends as Ctrl-C ends a command. */
static void interrupt_die(const struct cli *cli, const char *processor, uint32_t version,
                          const struct sigaction *before)
{
    if (!cli->json) {
        (void)fprintf(stderr,
                      "v%" PRIu32 " of %s goes on: `kappa wait %s %" PRIu32
                      "` waits again, `kappa abort %s %" PRIu32 "` gives it up\n",
                      version, processor, processor, version, processor, version);
    }
    interrupt_end(before);
    (void)raise(SIGINT);
}

int wait_until(const struct cli *cli, const char *processor, uint32_t version, enum wait_goal goal,
               int64_t timeout_us, json_t **out, struct err *err)
{
    const struct clock_ops *clock = clock_real();
    int64_t start_us = clock_mono_us(clock);
    int64_t seen_us = INT64_MIN; /* not yet: a server that never answered is not waited for */
    struct progress progress;
    struct sigaction before;
    progress_begin(&progress, cli);
    interrupt_begin(&before);
    for (;;) {
        json_t *object = NULL;
        int rc = look(cli, processor, version, &object, err);
        if (interrupted != 0) {
            interrupt_die(cli, processor, version, &before);
        }
        int64_t now_us = clock_mono_us(clock);
        if (rc == 0) {
            seen_us = now_us;
            progress_show(&progress, processor, object);
            rc = wait_judge(processor, object, goal, err);
            if (rc == 0 && now_us - start_us >= timeout_us) {
                rc = timed_out(processor, object, goal, timeout_us, err);
            }
        } else if (is_away(rc) && seen_us > now_us - AWAY_US_MAX &&
                   now_us - start_us < timeout_us) {
            rc = 0;
        }
        if (rc > 0 && out != NULL) {
            *out = json_incref(object);
        }
        json_decref(object);
        if (rc != 0) {
            interrupt_end(&before);
            progress_end(&progress);
            return rc > 0 ? 0 : rc;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}
