/* kappa completion: scripts for shells, which then ask this command what may stand next. */
#include "cli/cmd.h"
#include "cli/completion.h"
#include "cli/output.h"

static int completion_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"words", '\0', NULL,
     "print what the last of the words behind \"--\" may become: what the scripts ask"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_completion = {
    .name = "completion",
    .args = "SHELL",
    .args_min = 0,
    .args_max = -1,
    .summary = "print a script that completes kappa's words in bash, zsh or fish",
    .help =
        "Completes commands, options, and the names of processors, versions, tables and topics, "
        "which the server is\n"
        "asked for.",
    .examples = ". <(kappa completion bash)\n"
                "kappa completion fish > ~/.config/fish/completions/kappa.fish\n",
    .options = options,
    .run = completion_run,
};

static int completion_run(struct cli *cli, struct err *err)
{
    struct buf out = {0};
    int rc = 0;
    if (cli_option(cli, "words") != NULL) {
        completion_candidates(cli->args, cli->arg_count, &out);
    } else {
        const char *script = cli->arg_count == 1 ? completion_script(cli->args[0]) : NULL;
        if (script == NULL) {
            rc = err_set(err, KE_INVALID, "kappa completion: for which shell?");
            err_hint(err, "bash, zsh or fish");
        } else {
            buf_append_text(&out, script);
        }
    }
    rc = rc < 0 ? rc : out_write(&out, err);
    buf_free(&out);
    return rc;
}
