/* Which rows of a table, as a path of the server's. Own header: row_choice.h. */
#include "cli/row_choice.h"

#include "cli/client.h"

void row_choice_path(const struct cli *cli, const char *what, struct buf *path)
{
    static const struct cmd_option options[] = {ROW_CHOICE_OPTIONS};
    buf_append_text(path, "/v1/tables");
    client_path_add(path, cli->args[0]);
    buf_append_text(path, what);
    for (int i = 1; i < cli->arg_count; i++) {
        client_query_add(path, "key", cli->args[i]);
    }
    for (size_t i = 0; i < array_len(options); i++) {
        client_query_add(path, options[i].name, cli_option(cli, options[i].name));
    }
}
