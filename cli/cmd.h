/* A command of the command line: an entry that says what it is, and a function.
 *
 * Each cmd_*.c starts with its entry; commands.c lists them in the order of the help. Parsing, help,
 * did-you-mean and docs/COMMANDS.md are made from the entries. */
#ifndef KAPPA_CLI_CMD_H
#define KAPPA_CLI_CMD_H

#include "base/err.h"

#define CMD_GIVEN_MAX 64 /* options of one command line */

struct cli;

struct cmd_option {
    const char *name;  /* without the dashes; NULL ends a list */
    char letter;       /* short form, or '\0' */
    const char *value; /* what its value is called in the help; NULL: it has none */
    const char *help;
};

struct cmd_entry {
    const char *name; /* one or two words */
    const char *args; /* as the usage shows them; "" when there are none */
    int args_min;
    int args_max; /* -1: any number */
    const char *summary;
    const char *help;     /* paragraphs, filled; lines that begin with a blank stay as they are */
    const char *examples; /* lines, or "" */
    const struct cmd_option *options;
    const char *formats; /* more values of -o than text and json, "csv,table"; or NULL */
    int (*run)(struct cli *cli, struct err *err); /* 0 or a negative code */
    bool hidden;
};

/* A parsed command line. */
struct cli {
    const struct cmd_entry *entry;
    char **args; /* positional ones, arg_count of them, then NULL; borrowed from main */
    int arg_count;

    struct {
        const struct cmd_option *option;
        const char *value; /* "" for an option without one */
    } given[CMD_GIVEN_MAX];

    uint32_t given_count;
    bool json;       /* -o json */
    bool colour;     /* stdout is a terminal that may be coloured */
    bool live;       /* stderr is a terminal: progress may be redrawn */
    int exit_code;   /* when all went well: 0 unless the command sets it */
    int exit_failed; /* at least this when it did not */
};

/* The option's value when it was given (the last one wins), else NULL. */
const char *cli_option(const struct cli *cli, const char *name);
/* Its i-th value, or NULL. */
const char *cli_option_at(const struct cli *cli, const char *name, uint32_t i);
/* A whole number within bounds; fallback when it was not given. */
int cli_option_int(const struct cli *cli, const char *name, int64_t least, int64_t most,
                   int64_t fallback, int64_t *out, struct err *err) must_check;
/* A duration such as 10m, in microseconds. */
int cli_option_duration(const struct cli *cli, const char *name, int64_t fallback_us, int64_t *out,
                        struct err *err) must_check;
/* A size in bytes such as 20GiB. */
int cli_option_bytes(const struct cli *cli, const char *name, int64_t fallback, int64_t *out,
                     struct err *err) must_check;
/* A positional argument that is the number of a version ("3" or "v3"). */
int cli_version_arg(const char *text, uint32_t *version, struct err *err) must_check;

/* All commands, in the order of the help; the last has no name. */
extern const struct cmd_entry *const cmd_entries[];

#endif
