/* Candidates from the entries of the commands, and from the server. Own header: completion.h. */
#include "cli/completion.h"

#include "cli/call.h"
#include "cli/options.h"
#include "cli/topics.h"
#include "processor/policy.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define COMPLETION_WAIT_SECONDS 2

/* A line that is being typed, as far as it can be understood. */
struct line {
    struct cli cli;    /* of the words before the last */
    const char *typed; /* the last word */
    struct buf *out;
};

static void offer(struct line *line, const char *word)
{
    if (word != NULL && strncmp(word, line->typed, strlen(line->typed)) == 0) {
        buf_printf(line->out, "%s\n", word);
    }
}

static void offer_words(struct line *line, const char *words, char separator)
{
    while (*words != '\0') {
        const char *end = strchrnul(words, separator);
        char *word = xstrndup(words, (size_t)(end - words));
        offer(line, word);
        free(word);
        words = *end == '\0' ? end : end + 1;
    }
}

static void offer_options(struct line *line, const struct cmd_option *options)
{
    for (; options->name != NULL; options++) {
        char *word = xasprintf("--%s", options->name);
        offer(line, word);
        free(word);
    }
}

/* Values that an option or argument of this name may have. What ends with '=' goes on; others can be
 * found out only by the server, or are free. */
static const struct {
    const char *name;
    const char *words;
} known_values[] = {
    {"SHELL", "bash zsh fish"},
    {"GOAL", "caught-up serving"},
    {"WHEN", "auto manual"},
    {"WHAT", "all new"},
    {"UNIT", "s ms us ns"},
    {"POSITION", "beginning end"},
    {"SHARE%|off", "off 1% 5% 10% 25% 50% 100%"},
    {"LIMIT", "none"},

#define X(ROLE, word, help) word " "
    {
        "ROLE[,ROLE]",
#include "serve/roles.def"
    },
#undef X
#define X(type) #type " "
    {
        "TYPE,...",
#include "controller/journal.def"
    },
#undef X
};

static void offer_known(struct line *line, const char *name)
{
    for (size_t i = 0; i < array_len(known_values); i++) {
        if (strcmp(name, known_values[i].name) == 0) {
            offer_words(line, known_values[i].words, ' ');
        }
    }
}

/* NAME=VALUE, by what it is of. */
static void offer_assignment(struct line *line, const char *of)
{
    if (strcmp(of, "topic set") == 0) {
        offer_words(line, "archive=on archive=off retain= retain-bytes=", ' ');
    }
    for (int i = 0; strcmp(of, "set") == 0 && i < POLICY_SETTINGS; i++) {
        char *word = xasprintf("%s=", policy_name((enum policy_setting)i));
        offer(line, word);
        free(word);
    }
}

/* First words of commands, each once; or the second words of those that begin with `first`. */
static void offer_commands(struct line *line, const char *first)
{
    const char *before = "";
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        const char *name = cmd_entries[i]->name;
        size_t len = strcspn(name, " ");
        if (cmd_entries[i]->hidden) {
            continue;
        }
        if (first != NULL) {
            if (strlen(first) == len && memcmp(first, name, len) == 0 && name[len] == ' ') {
                offer(line, name + len + 1);
            }
        } else if (strncmp(before, name, len) != 0 || strcspn(before, " ") != len) {
            char *word = xstrndup(name, len);
            offer(line, word);
            free(word);
        }
        before = name;
    }
}

/* ---- What only the server knows. */

static json_t *ask(struct line *line, const char *path)
{
    struct err err = {0};
    json_t *answer = NULL;
    int rc = call_server(&line->cli, path, NULL, COMPLETION_WAIT_SECONDS, &answer, &err);
    return rc == 0 ? answer : NULL;
}

static void offer_topics(struct line *line)
{
    json_t *answer = ask(line, "/v1/topics");
    size_t i;
    json_t *topic;
    json_array_foreach (json_object_get(answer, "topics"), i, topic) {
        offer(line, json_text(topic, "name", NULL));
    }
    json_decref(answer);
}

/* what: "PROCESSOR", "TABLE" of what serves, or anything else for the versions of the first argument. */
static void offer_from_status(struct line *line, const char *what)
{
    json_t *answer = ask(line, "/v1/status");
    size_t i;
    json_t *processor;
    json_array_foreach (json_object_get(answer, "processors"), i, processor) {
        const char *name = json_text(processor, "name", "");
        size_t v;
        json_t *version;
        if (strcmp(what, "PROCESSOR") == 0) {
            offer(line, name);
            continue;
        }
        json_array_foreach (json_object_get(processor, "versions"), v, version) {
            json_t *number = json_object_get(version, "version");
            size_t t;
            json_t *table;
            if (strcmp(what, "TABLE") != 0) {
                char *text = xasprintf("%lld", (long long)json_integer_value(number));
                offer(line, strcmp(name, line->cli.args[0]) == 0 ? text : NULL);
                free(text);
            } else if (json_equal(number, json_object_get(processor, "serving"))) {
                json_array_foreach (json_object_get(version, "tables"), t, table) {
                    offer(line, json_string_value(table));
                }
            }
        }
    }
    json_decref(answer);
}

/* ---- The line. */

/* What the usage calls the argument with this number, without brackets and dots; the last one may repeat. */
static char *argument_name(const char *usage, int number)
{
    while (number-- > 0 && strchr(usage, ' ') != NULL) {
        usage = strchr(usage, ' ') + 1;
    }
    usage += strspn(usage, "[");
    return xstrndup(usage, strcspn(usage, " ]."));
}

static void offer_argument(struct line *line)
{
    const struct cmd_entry *entry = line->cli.entry;
    if (entry->args_max >= 0 && line->cli.arg_count >= entry->args_max) {
        return;
    }
    char *name = argument_name(entry->args, line->cli.arg_count);
    if (strcmp(name, "PROCESSOR") == 0 || strcmp(name, "TABLE") == 0) {
        offer_from_status(line, name);
    } else if ((strcmp(name, "VERSION") == 0 || strcmp(name, "A") == 0 || strcmp(name, "B") == 0) &&
               line->cli.arg_count > 0) {
        offer_from_status(line, name);
    } else if (strcmp(name, "TOPIC") == 0) {
        offer_topics(line);
    } else if (strcmp(name, "COMMAND|TOPIC") == 0) {
        offer_commands(line, line->cli.arg_count == 0 ? NULL : line->cli.args[0]);
        for (size_t i = 0; line->cli.arg_count == 0 && topics_name(i) != NULL; i++) {
            offer(line, topics_name(i));
        }
    } else if (strcmp(name, "NAME=VALUE") == 0) {
        offer_assignment(line, entry->name);
    } else {
        offer_known(line, name);
    }
    free(name);
}

/* The option that still wants its value: `word` is the one before the last. */
static const struct cmd_option *wants_value(const struct cmd_option *options, const char *word)
{
    for (; options->name != NULL; options++) {
        bool name = strncmp(word, "--", 2) == 0 && strcmp(word + 2, options->name) == 0;
        bool letter =
            word[0] == '-' && word[1] == options->letter && word[1] != '\0' && word[2] == '\0';
        if (options->value != NULL && (name || letter)) {
            return options;
        }
    }
    return NULL;
}

static void offer_value(struct line *line, const struct cmd_option *option)
{
    const char *formats = line->cli.entry == NULL ? NULL : line->cli.entry->formats;
    if (strcmp(option->name, "output") == 0) {
        offer_words(line, "text json", ' ');
        offer_words(line, formats == NULL ? "" : formats, ',');
    } else if (strcmp(option->value, "TOPIC") == 0) {
        offer_topics(line);
    } else if (strcmp(option->value, "TABLE") == 0 || strcmp(option->value, "PROCESSOR") == 0) {
        offer_from_status(line, option->value);
    } else if (strcmp(option->value, "NAME=VALUE") == 0) {
        offer_assignment(line, option->name);
    } else {
        offer_known(line, option->value);
    }
}

void completion_candidates(char *const *words, int count, struct buf *out)
{
    struct line line = {.typed = count > 0 ? words[count - 1] : "", .out = out};
    int argc = count > 0 ? count : 1;
    char **argv =
        xcalloc((size_t)argc + 1, sizeof *argv); /* "kappa" and the words before the last */
    char program[] = "kappa";
    argv[0] = program;
    for (int i = 1; i < argc; i++) {
        argv[i] = words[i - 1];
    }
    const char *last = argv[argc - 1];
    struct err ignored = {0};
    /* Most lines are not whole yet. Without an entry: is there a word that is not (yet) a command? */
    bool word = options_parse(argc, argv, &line.cli, &ignored) < 0 && optind < argc;
    const struct cmd_entry *entry = line.cli.entry;
    const struct cmd_option *option = wants_value(options_common, last);
    if (option == NULL && entry != NULL) {
        option = wants_value(entry->options, last);
    }
    if (option != NULL) {
        offer_value(&line, option);
    } else if (line.typed[0] == '-') {
        offer_options(&line, options_common);
        if (entry != NULL) {
            offer_options(&line, entry->options);
        }
    } else if (entry == NULL) {
        offer_commands(&line, word ? last : NULL);
    } else if (line.cli.args != NULL) {
        offer_argument(&line);
    }
    free(argv);
}

/* Each script asks `kappa completion --words`, and leaves files to the shell. */
static const char bash[] =
    "# kappa completion bash; put it where bash looks, or: . <(kappa completion bash)\n"
    "_kappa()\n"
    "{\n"
    "    local IFS=$'\\n'\n"
    "    local words=(\"${COMP_WORDS[@]:1:COMP_CWORD}\")\n"
    "    COMPREPLY=($(\"${COMP_WORDS[0]}\" completion --words -- \"${words[@]}\" 2>/dev/null))\n"
    "    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null\n"
    "}\n"
    "complete -o default -o bashdefault -F _kappa kappa\n";
static const char zsh[] =
    "#compdef kappa\n"
    "# kappa completion zsh; put it as _kappa into a folder of $fpath\n"
    "_kappa()\n"
    "{\n"
    "    local -a found\n"
    "    found=(${(f)\"$(\"${words[1]}\" completion --words -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)\"})\n"
    "    if (( $#found )); then compadd -a found; else _files; fi\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _kappa ]; then _kappa \"$@\"; else compdef _kappa kappa; fi\n";
static const char fish[] =
    "# kappa completion fish; put it into ~/.config/fish/completions/kappa.fish\n"
    "function __kappa_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    set -l found ($words[1] completion --words -- $words[2..-1] 2>/dev/null)\n"
    "    test -n \"$found\"; and string join \\n $found; or __fish_complete_path $words[-1]\n"
    "end\n"
    "complete -c kappa -f -a '(__kappa_complete)'\n";

const char *completion_script(const char *shell)
{
    return strcmp(shell, "bash") == 0   ? bash
           : strcmp(shell, "zsh") == 0  ? zsh
           : strcmp(shell, "fish") == 0 ? fish
                                        : NULL;
}
