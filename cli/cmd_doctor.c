/* kappa doctor. */
#include "cli/call.h"
#include "cli/cmd.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/place.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_WIDTH 22

static int doctor_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"strict", '\0', NULL, "warnings fail, too"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "look for what is wrong, and say what to do",
    .help = "Looks at the libraries, limits, clock and disk of this machine, at the server and its "
            "versions, and at the log:\n"
            "is it reached, how long does it keep what replays need, do its ends fit the versions. "
            "Each line is ok, warn or\n"
            "fail; what is not ok says what to do. Nothing is changed. Exit code: 0, or 1 when a "
            "line says fail (with\n"
            "--strict: or warn). With -o json: {\"checks\":[{\"check\",\"state\",\"found\","
            "\"todo\"}],\"ok\",\"warn\",\"fail\"}.\n"
            "Before the first `kappa up`, --kafka and -X try a broker.",
    .examples = "kappa doctor\nkappa doctor --strict -o json\n"
                "kappa doctor --kafka broker:9093 -X security.protocol=SSL\n",
    .options = options,
    .run = doctor_run,
};

static const char *const words[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

void doctor_say(struct doctor *doctor, enum doctor_state state, const char *check, const char *todo,
                const char *found, ...)
{
    char text[1024];
    va_list args;
    va_start(args, found);
    (void)vsnprintf(text, sizeof text, found, args);
    va_end(args);
    json_t *line = json_pack("{s:s, s:s, s:o, s:o}", "check", check, "state", words[state], "found",
                             json_text_lossy(text, strlen(text)), "todo",
                             todo == NULL ? json_null() : json_text_lossy(todo, strlen(todo)));
    ASSERT(line != NULL);
    int rc = json_array_append_new(doctor->checks, line);
    ASSERT(rc == 0);
    doctor->counts[state]++;
}

void doctor_say_err(struct doctor *doctor, enum doctor_state state, const char *check,
                    const struct err *err)
{
    doctor_say(doctor, state, check, err->hint[0] == '\0' ? NULL : err->hint, "%s", err->text);
}

static void line_text(const struct cli *cli, const json_t *line, struct buf *out)
{
    static const enum out_style styles[] = {
        [DOCTOR_OK] = OUT_GREEN, [DOCTOR_WARN] = OUT_YELLOW, [DOCTOR_FAIL] = OUT_RED};

    const char *word = json_text(line, "state", "");
    const char *todo = json_text(line, "todo", NULL);
    const char *found = json_text(line, "found", "");
    for (size_t i = 0; i < array_len(words); i++) {
        if (strcmp(words[i], word) == 0) {
            out_styled(out, cli->colour, styles[i], word);
        }
    }
    buf_printf(out, "%*s%-*s ", (int)(6 - strlen(word)), "", NAME_WIDTH,
               json_text(line, "check", ""));
    out_safe(out, found, strlen(found));
    if (todo != NULL) {
        buf_append_text(out, "\n      -> ");
        out_safe(out, todo, strlen(todo));
    }
    buf_append_u8(out, '\n');
}

static void doctor_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    size_t i;
    const json_t *line;
    json_array_foreach (json_object_get(answer, "checks"), i, line) {
        line_text(cli, line, out);
    }
    buf_printf(out, "%d ok, %d warn, %d fail\n", (int)json_int(answer, "ok", 0),
               (int)json_int(answer, "warn", 0), (int)json_int(answer, "fail", 0));
}

static int doctor_run(struct cli *cli, struct err *err)
{
    struct doctor doctor = {.cli = cli,
                            .data = place_data(cli),
                            .remote = place_server(cli) != NULL,
                            .checks = json_array()};
    doctor_server(&doctor);
    doctor_machine(&doctor);
    doctor_data(&doctor);
    doctor_archive(&doctor);
    doctor_log(&doctor);
    json_t *answer =
        json_pack("{s:o, s:i, s:i, s:i}", "checks", doctor.checks, "ok", doctor.counts[DOCTOR_OK],
                  "warn", doctor.counts[DOCTOR_WARN], "fail", doctor.counts[DOCTOR_FAIL]);
    ASSERT(answer != NULL);
    bool strict = cli_option(cli, "strict") != NULL;
    if (doctor.counts[DOCTOR_FAIL] > 0 || (strict && doctor.counts[DOCTOR_WARN] > 0)) {
        cli->exit_code = 1;
    }
    int rc = call_print(cli, answer, doctor_text, err);
    json_decref(doctor.status);
    json_decref(answer);
    return rc;
}
