/* kappa status. */
#include "base/clock.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "cli/status_text.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define WATCH_MS 500

static int status_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"watch", 'w', NULL, "show it again and again until interrupted"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_status = {
    .name = "status",
    .args = "[PROCESSOR]",
    .args_max = 1,
    .summary = "show versions, what serves, lag and progress",
    .help =
        "For every version its state, records, dead and late records, lag in records and in "
        "time, rate "
        "and time left;\n"
        "where it shows one processor, for every partition the log's start, the version's cut (the "
        "next offset to read),\nthe log's end and the lag; of a version on its way, where its "
        "threads' time goes: fetch (reading the log), "
        "decode, compute,\ncommit, limited (by `kappa limit`) and wait, with --watch over the "
        "last second, and a bar per partition.\nWith -o json: {\"processors\":[...]}; with --watch "
        "one such object a line.",
    .examples = "kappa status\nkappa status features --watch\nkappa status -o json\n",
    .options = options,
    .run = status_run,
};

/* {"processors":[...]}, also for one. */
static int fetch(const struct cli *cli, json_t **out, struct err *err)
{
    struct client *client;
    int rc = place_client(cli, &client, err);
    if (rc < 0) {
        return rc;
    }
    if (cli->arg_count == 0) {
        rc = client_call(client, "/v1/status", NULL, CLIENT_WAIT_SECONDS, out, err);
    } else {
        json_t *processor;
        rc = call_status(client, cli->args[0], &processor, err);
        if (rc == 0) {
            *out = json_pack("{s:[o]}", "processors", processor);
        }
    }
    client_close(client);
    return rc;
}

/* From the top left corner, over what is there: clearing first would flicker. */
static void draw_over(struct buf *text)
{
    struct buf out = {0};
    uint32_t columns;
    uint32_t rows;
    out_screen(STDOUT_FILENO, &columns, &rows);
    (void)out_clip(text, columns, rows);
    buf_append_text(&out, "\x1b[H");
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == '\n') {
            buf_append_text(&out, "\x1b[K");
        }
        buf_append_u8(&out, text->data[i]);
    }
    buf_append_text(&out, "\x1b[J");
    buf_free(text);
    *text = out;
}

static int show(const struct cli *cli, const json_t *status, const struct status_view *view,
                bool over, struct err *err)
{
    if (cli->json) {
        return out_json(status, err);
    }
    struct buf text = {0};
    status_text(&text, status, view);
    if (over) {
        draw_over(&text);
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int status_run(struct cli *cli, struct err *err)
{
    bool watch = cli_option(cli, "watch") != NULL;
    bool over = watch && isatty(STDOUT_FILENO) == 1;
    struct progress_past past = {.before = NULL};
    int rc;
    do {
        json_t *status;
        rc = fetch(cli, &status, err);
        if (rc == 0) {
            progress_past_add(&past, status, clock_mono_us(clock_real()));
            struct status_view view = {.colour = cli->colour,
                                       .whole = cli->arg_count == 1,
                                       .watched = watch,
                                       .before = past.before};
            rc = show(cli, status, &view, over, err);
            json_decref(status);
        }
        if (watch && rc == 0) {
            (void)nanosleep(&(struct timespec){.tv_nsec = WATCH_MS * 1000000L}, NULL);
        }
    } while (watch && rc == 0);
    progress_past_free(&past);
    return rc;
}
