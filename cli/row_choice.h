/* Which rows of a table: the options that `scan` and `tail` share, which are parameters of the server's. */
#ifndef KAPPA_CLI_ROW_CHOICE_H
#define KAPPA_CLI_ROW_CHOICE_H

#include "base/buf.h"
#include "cli/cmd.h"

/* Entries of a table of options. */
#define ROW_CHOICE_OPTIONS                                                                         \
    {"prefix", '\0', "TEXT", "only rows whose next key column begins so"},                         \
        {"from", '\0', "VALUE", "only rows whose next key column is this or behind it"},           \
        {"below", '\0', "VALUE", "only rows whose next key column is below this"},                 \
        {"at", '\0', "TIME", "of a window table: only windows that hold TIME"},                    \
        {"since", '\0', "TIME", "only windows that end later than TIME"},                          \
        {"until", '\0', "TIME", "only windows that end at TIME or before"},                        \
    {                                                                                              \
        "where", '\0', "EXPR", "only rows of which this is true: \"score > 5\""                    \
    }

/* Adds /v1/tables/TABLE/WHAT with the keys that were given as arguments to a path, then these options. */
void row_choice_path(const struct cli *cli, const char *what, struct buf *path);

#endif
