/* kappa: the one binary. Parses, runs a command, says what went wrong.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused by a safety check, 5 cannot
 * reach the server, 6 not authorized, 7 a wait ran out (base/errors.def). */
#include "cli/cmd.h"
#include "cli/options.h"
#include "cli/output.h"

#include <locale.h>
#include <signal.h>

int main(int argc, char **argv)
{
    /* Widths of letters only; numbers and sentences stay as they are. */
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        (void)setlocale(LC_CTYPE, "");
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct cli cli = {0};
    struct err err = {0};
    bool json = options_want_json(argc, argv);
    int rc = options_parse(argc, argv, &cli, &err);
    if (rc == 0) {
        out_terminals(&cli);
        json = cli.json;
        rc = cli.entry->run(&cli, &err);
    }
    if (rc == 0) {
        return cli.exit_code;
    }
    if (err.code == 0) { /* only the code came up */
        (void)err_set(&err, (enum err_code) - rc, "%s", err_text(rc));
    }
    int code = out_error(&err, json);
    return code < cli.exit_failed ? cli.exit_failed : code;
}
