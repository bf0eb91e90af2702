/* The server and its versions. Own header: doctor.h. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/limit_text.h"
#include "cli/output.h"
#include "cli/place.h"
#include "serve/people_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/* An error object of the status as a line: what it says, and its hint. */
static void say_problem(struct doctor *doctor, enum doctor_state state, const char *name,
                        int64_t version, const json_t *problem)
{
    const char *hint = json_text(problem, "hint", "");
    doctor_say(doctor, state, name, hint[0] == '\0' ? NULL : hint, "v%" PRId64 ": %s", version,
               json_text(problem, "message", "?"));
}

/* Says what is wrong with it; true if anything is. */
static bool version_problems(struct doctor *doctor, const char *name, const json_t *version)
{
    int64_t number = json_int(version, "version", 0);
    bool serves = strcmp(json_text(version, "state", ""), "serving") == 0;
    const json_t *error = json_object_get(version, "error");
    const json_t *trouble = json_object_get(version, "trouble");
    const json_t *held = json_object_get(version, "held_back");
    if (json_is_object(error)) {
        say_problem(doctor, serves ? DOCTOR_FAIL : DOCTOR_WARN, name, number, error);
        return true;
    }
    if (json_is_object(trouble)) {
        say_problem(doctor, serves ? DOCTOR_FAIL : DOCTOR_WARN, name, number, trouble);
        return true;
    }
    if (json_is_object(held)) {
        say_problem(doctor, DOCTOR_WARN, name, number, held);
        return true;
    }
    const json_t *pace = json_object_get(version, "pace");
    const json_t *finish = json_object_get(pace, "finish");
    if (json_is_object(finish) && !json_bool(finish, "in_time", true)) {
        bool all = strcmp(json_text(pace, "held_by", ""), "all") == 0;
        doctor_say(doctor, DOCTOR_WARN, name,
                   all ? "raise the limit over all replays (kappa limit --all), or give it priority"
                       : "kappa limit says what comes before being done in time",
                   "v%" PRId64 " will not be done in time: %s", number, json_text(pace, "why", ""));
        return true;
    }
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(version, "sources"), i, source) {
        if (strcmp(json_text(source, "status", ""), "stalled") == 0) {
            doctor_say(doctor, DOCTOR_FAIL, name, "look at the log of kappa up and of its workers",
                       "v%" PRId64 ": %s/%" PRId64 " has %" PRId64
                       " records waiting, and none is applied",
                       number, json_text(source, "topic", ""), json_int(source, "partition", 0),
                       json_int(source, "lag", 0));
            return true;
        }
    }
    return false;
}

static void processor_check(struct doctor *doctor, const json_t *processor)
{
    char name[300];
    (void)snprintf(name, sizeof name, "processor %s", json_text(processor, "name", ""));
    int64_t serving = json_int(processor, "serving", 0);
    bool problems = false;
    double behind = -1;
    size_t i;
    const json_t *version;
    json_array_foreach (json_object_get(processor, "versions"), i, version) {
        problems |= version_problems(doctor, name, version);
        if (json_int(version, "version", 0) == serving) {
            behind = json_number(version, "lag_seconds", -1);
        }
    }
    if (serving == 0) {
        doctor_say(doctor, DOCTOR_WARN, name, "`kappa status` says where its versions are",
                   "no version serves");
    } else if (behind > 60) {
        doctor_say(doctor, DOCTOR_WARN, name, "`kappa status --watch` shows where the time goes",
                   "v%" PRId64 " serves rows that are %.0f s old", serving, behind);
    } else if (!problems) {
        doctor_say(doctor, DOCTOR_OK, name, NULL, "v%" PRId64 " serves", serving);
    }
}

/* Is what the server reads again and again still right? It goes on with what it read last. */
static void access_check(struct doctor *doctor)
{
    char *path = place_access(doctor->cli);
    struct buf text = {0};
    struct people_list list = {0};
    struct err err = {0};
    if (path == NULL) {
        return;
    }
    int rc = people_file_read(path, &text, &err);
    if (rc == 0) {
        rc = people_parse(buf_text(&text), &list, &err);
        if (rc < 0) {
            err_prefix(&err, "%s", path);
        }
    }
    if (rc == 0) {
        doctor_say(doctor, DOCTOR_OK, "access", NULL, "%" PRIu32 " names in %s", list.count, path);
    } else {
        doctor_say(doctor, DOCTOR_FAIL, "access",
                   err.hint[0] != '\0' ? err.hint : "put the file right; no restart is needed",
                   "the server goes on with what it read before: %s", err.text);
    }
    people_list_free(&list);
    buf_free(&text);
    free(path);
}

/* The limit over all replays: easily forgotten. */
static void limit_check(struct doctor *doctor)
{
    const json_t *limit = json_object_get(doctor->status, "limit");
    if (json_is_object(limit)) {
        struct buf text = {0};
        limit_text(&text, limit);
        doctor_say(doctor, DOCTOR_OK, "limit", "`kappa limit --all none` ends it",
                   "all replays together are limited to %s", buf_text(&text));
        buf_free(&text);
    }
}

void doctor_server(struct doctor *doctor)
{
    struct err err = {0};
    doctor->server_pid = doctor->remote ? 0 : place_server_pid(doctor->cli);
    if (!doctor->remote && place_server_file_check(doctor->data, &err) < 0) {
        doctor_say_err(doctor, DOCTOR_WARN, "server", &err);
        return;
    }
    if (!doctor->remote && doctor->server_pid == 0) {
        bool made = is_there(doctor->data);
        char *todo = xasprintf("kappa up --data %s", doctor->data);
        doctor_say(doctor, made ? DOCTOR_WARN : DOCTOR_OK, "server", todo, "is not running");
        free(todo);
        return;
    }
    int64_t began = clock_mono_us(clock_real());
    int rc =
        call_server(doctor->cli, "/v1/status", NULL, CLIENT_WAIT_SECONDS, &doctor->status, &err);
    if (rc < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, "server", &err);
        return;
    }
    double took_ms = (double)(clock_mono_us(clock_real()) - began) / 1e3;
    doctor_say(doctor, took_ms < 1000 ? DOCTOR_OK : DOCTOR_WARN, "server",
               took_ms < 1000 ? NULL : "look at the machine's load", "answers in %.1f ms", took_ms);
    if (!doctor->remote) {
        access_check(doctor);
    }
    limit_check(doctor);
    size_t i;
    const json_t *processor;
    json_array_foreach (json_object_get(doctor->status, "processors"), i, processor) {
        processor_check(doctor, processor);
    }
}
