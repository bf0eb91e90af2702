/* Parsing with getopt_long from the entries. Own header: options.h. */
#include "cli/options.h"

#include "base/buf.h"
#include "base/suggest.h"
#include "base/timefmt.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 40 /* of one command, with the common ones */

const struct cmd_option options_common[] = {
    {"data", '\0', "DIR", "data directory (or KAPPA_DATA; ./kappa-data when nothing is said)"},
    {"server", '\0', "HOST:PORT", "talk to this server (or KAPPA_SERVER)"},
    {"token-file", '\0', "FILE",
     "show the token in it (or KAPPA_TOKEN; ~/.config/kappa/token when nothing is said)"},
    {"output", 'o', "FORMAT", "text (for people) or json (a stable contract)"},
    {"no-color", '\0', NULL, "no colours (or NO_COLOR)"},
    {"help", 'h', NULL, "help for the command"},
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option option_version = {"version", 'V', NULL, "the release"};

/* What getopt_long wants, made from the entries. */
struct accepted {
    const struct cmd_option *options[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 4];
    uint32_t count;
};

static void accept(struct accepted *accepted, const struct cmd_option *option)
{
    uint32_t i = accepted->count++;
    ASSERT_CMP(i, <, OPTIONS_MAX);
    accepted->options[i] = option;
    accepted->longs[i] = (struct option){
        .name = option->name,
        .has_arg = option->value == NULL ? no_argument : required_argument,
        .val = option->letter,
    };
    if (option->letter != '\0') {
        size_t len = strlen(accepted->shorts);
        accepted->shorts[len] = option->letter;
        accepted->shorts[len + 1] = option->value == NULL ? '\0' : ':';
    }
}

static void accept_list(struct accepted *accepted, const struct cmd_option *options)
{
    for (; options->name != NULL; options++) {
        accept(accepted, options);
    }
}

static const struct cmd_option *by_letter(const struct accepted *accepted, int letter)
{
    for (uint32_t i = 0; i < accepted->count; i++) {
        if (accepted->options[i]->letter == letter && letter != '\0') {
            return accepted->options[i];
        }
    }
    return NULL;
}

/* Why getopt_long refused argv[optind - 1], or the letter optopt. */
static int refuse(const struct accepted *accepted, const struct cmd_entry *entry, char *const *argv,
                  bool value_missing, struct err *err)
{
    const char *word = argv[optind - 1];
    if (value_missing) {
        const struct cmd_option *option = by_letter(accepted, optopt);
        int rc = err_set(err, KE_INVALID, "option %s needs a value", word);
        if (option != NULL) {
            err_hint(err, "--%s %s: %s", option->name, option->value, option->help);
        }
        return rc;
    }
    if (strncmp(word, "--", 2) != 0) {
        int rc = err_set(err, KE_INVALID, "unknown option -%c", optopt);
        err_hint(err, "an argument that begins with a dash goes behind \"--\"");
        return rc;
    }
    size_t len = strcspn(word + 2, "=");
    char *typed = xstrndup(word + 2, len);
    struct suggest suggest;
    suggest_begin(&suggest, typed);
    for (uint32_t i = 0; i < accepted->count; i++) {
        suggest_offer(&suggest, accepted->options[i]->name);
    }
    int rc = err_set(err, KE_INVALID, "unknown option --%s", typed);
    bool known = suggest.best != NULL && suggest.distance == 0;
    if (known) {
        rc = err_set(err, KE_INVALID, "option --%s takes no value", typed);
    } else if (suggest.best != NULL) {
        err_hint(err, "did you mean --%s?", suggest.best);
    } else {
        err_hint(err, "`kappa help%s%s` lists the options", entry != NULL ? " " : "",
                 entry != NULL ? entry->name : "");
    }
    free(typed);
    return rc;
}

/* Runs getopt_long over argv[0..argc), whose first word is not looked at. */
static int take_options(const struct accepted *accepted, bool stop_at_word, int argc, char **argv,
                        struct cli *cli, struct err *err)
{
    char shorts[sizeof accepted->shorts + 4];
    (void)snprintf(shorts, sizeof shorts, "%s:%s", stop_at_word ? "+" : "", accepted->shorts);
    optind = 0;
    opterr = 0;
    for (;;) {
        int index = -1;
        int letter = getopt_long(argc, argv, shorts, accepted->longs, &index);
        if (letter == -1) {
            return 0;
        }
        if (letter == '?' || letter == ':') {
            return refuse(accepted, cli->entry, argv, letter == ':', err);
        }
        const struct cmd_option *option =
            index >= 0 ? accepted->options[index] : by_letter(accepted, letter);
        ASSERT(option != NULL);
        if (cli->given_count == CMD_GIVEN_MAX) {
            return err_set(err, KE_LIMIT, "more than %d options", CMD_GIVEN_MAX);
        }
        cli->given[cli->given_count].option = option;
        cli->given[cli->given_count].value = optarg == NULL ? "" : optarg;
        cli->given_count++;
    }
}

const struct cmd_entry *options_find(const char *first, const char *second, int *words)
{
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        const char *name = cmd_entries[i]->name;
        size_t len = strcspn(name, " ");
        if (strlen(first) != len || memcmp(name, first, len) != 0) {
            continue;
        }
        *words = 1;
        if (name[len] == '\0') {
            return cmd_entries[i];
        }
        if (second != NULL && strcmp(name + len + 1, second) == 0) {
            *words = 2;
            return cmd_entries[i];
        }
    }
    return NULL;
}

void options_offer(struct suggest *suggest)
{
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        if (!cmd_entries[i]->hidden) {
            suggest_offer(suggest, cmd_entries[i]->name);
        }
    }
}

/* What a word of another tool means here, or NULL. */
static const char *meant(const char *word)
{
    static const struct {
        const char *word;
        const char *hint;
    } words[] = {

#define X(word, hint) {word, hint},
#include "cli/meant.def"
#undef X
    };
    for (size_t i = 0; i < array_len(words); i++) {
        if (strcmp(words[i].word, word) == 0) {
            return words[i].hint;
        }
    }
    return NULL;
}

/* "create, list, set" of topic; owned by the caller. */
static char *second_words(const char *first)
{
    struct buf words = {0};
    size_t len = strlen(first);
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        const char *name = cmd_entries[i]->name;
        if (strncmp(name, first, len) == 0 && name[len] == ' ') {
            buf_printf(&words, "%s%s", words.len > 0 ? ", " : "", name + len + 1);
        }
    }
    char *text = xstrdup(buf_text(&words));
    buf_free(&words);
    return text;
}

static int unknown_command(const char *first, const char *second, struct err *err)
{
    bool group = false; /* the first word is right */
    struct suggest suggest;
    char *both = xasprintf("%s %s", first, second == NULL ? "" : second);
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        size_t len = strlen(first);
        const char *name = cmd_entries[i]->name;
        group = group || (strncmp(name, first, len) == 0 && name[len] == ' ');
    }
    suggest_begin(&suggest, group ? both : first);
    options_offer(&suggest);
    int rc;
    if (group && second == NULL) {
        rc = err_set(err, KE_INVALID, "\"kappa %s\" needs one more word", first);
        char *words = second_words(first);
        err_hint(err, "one of: %s; `kappa help %s` says more", words, first);
        free(words);
    } else {
        rc = err_set(err, KE_INVALID, "there is no command \"%s\"", group ? both : first);
        if (!group && meant(first) != NULL) {
            err_hint(err, "%s", meant(first));
        } else if (suggest.best != NULL) {
            err_hint(err, "did you mean `kappa %s`? `kappa help` lists all commands", suggest.best);
        } else {
            err_hint(err, "`kappa help` lists all commands");
        }
    }
    free(both);
    return rc;
}

/* Makes the line mean `help`, or `version`, with these arguments. */
static void become(struct cli *cli, const char *command, char **args, int arg_count)
{
    int words;
    cli->entry = options_find(command, NULL, &words);
    ASSERT(cli->entry != NULL);
    cli->args = args;
    cli->arg_count = arg_count;
}

/* The word of "PROCESSOR VERSION" that nothing was given for. */
static const char *missing_word(const char *args, int given, int *len)
{
    for (; given > 0; given--) {
        args += strcspn(args, " ");
        args += strspn(args, " ");
    }
    *len = (int)strcspn(args, " ");
    *len -= *len > 3 && strncmp(args + *len - 3, "...", 3) == 0 ? 3 : 0;
    return args;
}

static int check_args(const struct cli *cli, struct err *err)
{
    const struct cmd_entry *entry = cli->entry;
    int rc = 0;
    if (cli->arg_count < entry->args_min) {
        int len = 0;
        const char *word = missing_word(entry->args, cli->arg_count, &len);
        rc = err_set(err, KE_INVALID, "kappa %s: %.*s is missing", entry->name, len, word);
    } else if (entry->args_max >= 0 && cli->arg_count > entry->args_max) {
        rc = err_set(err, KE_INVALID, "kappa %s: \"%s\" is one argument too many", entry->name,
                     cli->args[entry->args_max]);
    }
    if (rc < 0) {
        err_hint(err, "usage: kappa %s%s%s", entry->name, entry->args[0] == '\0' ? "" : " ",
                 entry->args);
    }
    return rc;
}

static int check_output(struct cli *cli, struct err *err)
{
    const char *output = cli_option(cli, "output");
    cli->json = output != NULL && strcmp(output, "json") == 0;
    if (output == NULL || cli->json || strcmp(output, "text") == 0) {
        return 0;
    }
    const char *more = cli->entry->formats;
    if (more != NULL && list_has(more, output)) {
        return 0;
    }
    return more == NULL ? err_set(err, KE_INVALID, "-o %s: the format is text or json", output)
                        : err_set(err, KE_INVALID, "-o %s: the format is text, json, or one of %s",
                                  output, more);
}

int options_parse(int argc, char **argv, struct cli *cli, struct err *err)
{
    *cli = (struct cli){0};
    struct accepted before = {0};
    accept_list(&before, options_common);
    accept(&before, &option_version);
    int rc = take_options(&before, true, argc, argv, cli, err);
    if (rc < 0) {
        return rc;
    }
    if (cli_option(cli, "version") != NULL) {
        become(cli, "version", argv + argc, 0);
        return check_output(cli, err);
    }
    int at = optind;
    if (at == argc && cli_option(cli, "help") != NULL) {
        become(cli, "help", argv + argc, 0);
        return check_output(cli, err);
    }
    if (at == argc) {
        rc = err_set(err, KE_INVALID, "which command?");
        err_hint(err, "`kappa help` lists them; `kappa help COMMAND` says more");
        return rc;
    }
    int words = 0;
    cli->entry = options_find(argv[at], at + 1 < argc ? argv[at + 1] : NULL, &words);
    if (cli->entry == NULL) {
        const char *second = at + 1 < argc ? argv[at + 1] : NULL;
        bool option = second != NULL && second[0] == '-';
        if (option && (strcmp(second, "--help") == 0 || strcmp(second, "-h") == 0)) {
            become(cli, "help", argv + at, 1); /* `kappa topic --help` */
            return check_output(cli, err);
        }
        return unknown_command(argv[at], option ? NULL : second, err);
    }
    struct accepted accepted = {0};
    accept_list(&accepted, cli->entry->options);
    accept_list(&accepted, options_common);
    char **name = argv + at;
    char **rest = argv + at + words - 1; /* its first word is skipped as a program's name */
    int rest_count = argc - at - words + 1;
    rc = take_options(&accepted, false, rest_count, rest, cli, err);
    if (rc < 0) {
        return rc;
    }
    if (cli_option(cli, "help") != NULL) {
        become(cli, "help", name, words);
        return check_output(cli, err);
    }
    cli->args = rest + optind;
    cli->arg_count = rest_count - optind;
    rc = check_output(cli, err);
    return rc < 0 ? rc : check_args(cli, err);
}

bool options_want_json(int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool split = strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0;
        if (strcmp(argv[i], "-ojson") == 0 || strcmp(argv[i], "--output=json") == 0 ||
            (split && i + 1 < argc && strcmp(argv[i + 1], "json") == 0)) {
            return true;
        }
    }
    return false;
}

const char *cli_option_at(const struct cli *cli, const char *name, uint32_t index)
{
    for (uint32_t i = 0; i < cli->given_count; i++) {
        if (strcmp(cli->given[i].option->name, name) == 0 && index-- == 0) {
            return cli->given[i].value;
        }
    }
    return NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    const char *value = NULL;
    for (uint32_t i = 0; i < cli->given_count; i++) {
        if (strcmp(cli->given[i].option->name, name) == 0) {
            value = cli->given[i].value;
        }
    }
    return value;
}

int cli_option_int(const struct cli *cli, const char *name, int64_t least, int64_t most,
                   int64_t fallback, int64_t *out, struct err *err)
{
    const char *text = cli_option(cli, name);
    if (text == NULL) {
        *out = fallback;
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
        return most == INT64_MAX
                   ? err_set(err, KE_INVALID, "--%s %s: not a whole number from %lld on", name,
                             text, (long long)least)
                   : err_set(err, KE_INVALID, "--%s %s: not a whole number from %lld to %lld", name,
                             text, (long long)least, (long long)most);
    }
    *out = value;
    return 0;
}

int cli_option_duration(const struct cli *cli, const char *name, int64_t fallback_us, int64_t *out,
                        struct err *err)
{
    const char *text = cli_option(cli, name);
    *out = fallback_us;
    if (text == NULL || duration_parse(text, strlen(text), out)) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "--%s %s: not a duration", name, text);
    err_hint(err, "write 30s, 10m or 1h30m");
    return rc;
}

int cli_option_bytes(const struct cli *cli, const char *name, int64_t fallback, int64_t *out,
                     struct err *err)
{
    static const struct {
        const char *name;
        double times;
    } units[] = {{"", 1},         {"B", 1},        {"kB", 1e3},    {"KB", 1e3},
                 {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},   {"KiB", 0x1p10},
                 {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};

    const char *text = cli_option(cli, name);
    *out = fallback;
    if (text == NULL) {
        return 0;
    }
    char *end = NULL;
    size_t len = strspn(text, "0123456789.");
    double number = len > 0 && len < 18 ? strtod(text, &end) : -1;
    for (size_t i = 0; i < array_len(units) && end == text + len; i++) {
        if (strcmp(end, units[i].name) == 0 && number * units[i].times < 0x1p62) {
            *out = (int64_t)(number * units[i].times);
            return 0;
        }
    }
    int rc = err_set(err, KE_INVALID, "--%s %s: not a size", name, text);
    err_hint(err, "write 500MiB, 20GiB or 1TB");
    return rc;
}

int cli_version_arg(const char *text, uint32_t *version, struct err *err)
{
    const char *digits = text[0] == 'v' ? text + 1 : text;
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || errno != 0 || value == 0 ||
        value > INT32_MAX) {
        return err_set(err, KE_INVALID, "\"%s\" is not the number of a version", text);
    }
    *version = (uint32_t)value;
    return 0;
}
