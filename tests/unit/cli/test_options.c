/* Goal: command lines mean what people think, and wrong ones are refused with help. Method: a table of
 * commands of this test's own, so that nothing else is linked; lines in, what was understood out. */
#include "base/suggest.h"
#include "cli/options.h"

#include "base/prng.h"
#include "tests/unit/unit.h"

#include <string.h>

static const struct cmd_option get_options[] = {
    {"version", '\0', "N", "a version"},
    {"limit", 'n', "N", "a limit"},
    {"all", 'a', NULL, "a flag"},
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option no_options[] = {
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_entry get_entry = {
    .name = "get", .args = "TABLE KEY...", .args_min = 1, .args_max = 3, .options = get_options};
static const struct cmd_entry create_entry = {
    .name = "topic create", .args = "NAME", .args_min = 1, .args_max = 1, .options = no_options};
static const struct cmd_entry list_entry = {
    .name = "topic list", .args = "", .options = no_options};
static const struct cmd_entry version_entry = {
    .name = "version", .args = "", .options = no_options};
static const struct cmd_entry help_entry = {
    .name = "help", .args = "[COMMAND]", .args_max = 2, .options = no_options};
static const struct cmd_entry hidden_entry = {
    .name = "gets", .args = "", .options = no_options, .hidden = true};

const struct cmd_entry *const cmd_entries[] = {
    &get_entry, &create_entry, &list_entry, &version_entry, &help_entry, &hidden_entry, NULL,
};

/* Splits at blanks ("~" stands for one). The words live until the next split. */
static int split(const char *line, char ***out)
{
    static char words[512];
    static char *argv[32];
    int argc = 0;
    (void)snprintf(words, sizeof words, "kappa %s", line);
    char *at = words;
    while (*at != '\0') {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at == ' ') {
            *at++ = '\0';
        }
    }
    argv[argc] = NULL;
    for (int i = 0; i < argc; i++) {
        for (char *c = argv[i]; *c != '\0'; c++) {
            *c = (char)(*c == '~' ? ' ' : *c);
        }
    }
    *out = argv;
    return argc;
}

static int parse(const char *line, struct cli *cli, struct err *err)
{
    char **argv;
    int argc = split(line, &argv);
    *err = (struct err){0};
    return options_parse(argc, argv, cli, err);
}

/* command|args|options, as one line. */
static void understood(const char *line, const char *wanted)
{
    struct cli cli;
    struct err err;
    if (parse(line, &cli, &err) != 0) {
        fail_msg("%s: %s", line, err.text);
    }
    char text[512];
    int len = snprintf(text, sizeof text, "%s|", cli.entry->name);
    for (int i = 0; i < cli.arg_count; i++) {
        len +=
            snprintf(text + len, sizeof text - (size_t)len, "%s%s", i > 0 ? "," : "", cli.args[i]);
    }
    len += snprintf(text + len, sizeof text - (size_t)len, "|");
    for (uint32_t i = 0; i < cli.given_count; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%s=%s", i > 0 ? "," : "",
                        cli.given[i].option->name, cli.given[i].value);
    }
    assert_string_equal(text, wanted);
}

static void test_good_lines(void **state)
{
    (void)state;
    understood("get t k", "get|t,k|");
    understood("get t k --version 3", "get|t,k|version=3");
    understood("get --version=3 t -n 5 k", "get|t,k|version=3,limit=5");
    understood("--data d get t -o json", "get|t|data=d,output=json");
    understood("-ojson get t -an5", "get|t|output=json,all=,limit=5");
    understood("get t -- -5 --all", "get|t,-5,--all|");
    understood("get t --limit -5", "get|t|limit=-5");
    understood("topic create x --data d", "topic create|x|data=d");
    understood("topic list", "topic list||");
    understood("--version", "version||version=");
    understood("-V -o json", "version||version=,output=json");
    understood("help get", "help|get|");
    understood("get --help", "help|get|help=");
    understood("get t k --help", "help|get|help=");
    understood("topic create -h", "help|topic,create|help=");
    understood("topic --help", "help|topic|");
    understood("--help", "help||help=");
    understood("gets", "gets||");
}

static void refused(const char *line, const char *text, const char *hint)
{
    struct cli cli;
    struct err err;
    assert_int_equal(parse(line, &cli, &err), -KE_INVALID);
    if (strstr(err.text, text) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", line, err.text, text);
    }
    if (strstr(err.hint, hint) == NULL) {
        fail_msg("%s: the hint \"%s\" does not say \"%s\"", line, err.hint, hint);
    }
}

static void test_refused_lines(void **state)
{
    (void)state;
    refused("", "which command", "kappa help");
    refused("gte t", "\"gte\"", "`kappa get`");
    refused("topic creat x", "\"topic creat\"", "`kappa topic create`");
    refused("topic", "one more word", "help topic");
    refused("nothing-like-it", "nothing-like-it", "lists all");
    refused("get", "missing", "usage: kappa get TABLE KEY...");
    refused("get a b c d", "\"d\" is one argument too many", "usage");
    refused("get t --limt 5", "--limt", "did you mean --limit");
    refused("get t --nonsense", "--nonsense", "");
    refused("get t -x", "-x", "");
    refused("get t -5", "-5", "behind \"--\"");
    refused("get t --limit", "needs a value", "--limit N");
    refused("get t -n", "needs a value", "--limit N");
    refused("get t --all=yes", "takes no value", "");
    refused("get t -o xml", "text or json", "");
    refused("--limit 5 get t", "--limit", "");
}

static void test_values(void **state)
{
    (void)state;
    struct cli cli;
    struct err err;
    int64_t value;
    assert_int_equal(parse("get t --limit 1 --limit 22", &cli, &err), 0);
    assert_string_equal(cli_option(&cli, "limit"), "22");
    assert_string_equal(cli_option_at(&cli, "limit", 0), "1");
    assert_null(cli_option_at(&cli, "limit", 2));
    assert_null(cli_option(&cli, "version"));
    assert_int_equal(cli_option_int(&cli, "limit", 0, 100, 7, &value, &err), 0);
    assert_int_equal(value, 22);
    assert_int_equal(cli_option_int(&cli, "version", 0, 100, 7, &value, &err), 0);
    assert_int_equal(value, 7);
    assert_int_equal(cli_option_int(&cli, "limit", 0, 21, 7, &value, &err), -KE_INVALID);
    static const char *const bad[] = {"x", "1x", "1.5", "99999999999999999999", "~1x"};
    for (size_t i = 0; i < array_len(bad); i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "get t --limit %s", bad[i]);
        assert_int_equal(parse(line, &cli, &err), 0);
        assert_int_equal(cli_option_int(&cli, "limit", 0, INT64_MAX, 7, &value, &err), -KE_INVALID);
    }
    assert_int_equal(parse("get t --limit 1h30m", &cli, &err), 0);
    assert_int_equal(cli_option_duration(&cli, "limit", 7, &value, &err), 0);
    assert_int_equal(value, INT64_C(5400000000));
    uint32_t version;
    assert_int_equal(cli_version_arg("12", &version, &err), 0);
    assert_int_equal(version, 12);
    assert_int_equal(cli_version_arg("v3", &version, &err), 0);
    assert_int_equal(version, 3);
    static const char *const no_versions[] = {"", "v", "0", "-1", "3x", "vv1", "99999999999"};
    for (size_t i = 0; i < array_len(no_versions); i++) {
        assert_int_equal(cli_version_arg(no_versions[i], &version, &err), -KE_INVALID);
    }
}

static void test_want_json(void **state)
{
    (void)state;
    static const char *const yes[] = {"-o json", "x -ojson", "--output=json --zzz",
                                      "--output json"};
    static const char *const no[] = {"-o text", "-- -ojson", "json -o", "x"};
    char **argv;
    for (size_t i = 0; i < array_len(yes); i++) {
        int argc = split(yes[i], &argv);
        assert_true(options_want_json(argc, argv));
        argc = split(no[i], &argv);
        assert_false(options_want_json(argc, argv));
    }
}

/* Any distance is what the definition by recursion over all edits gives, on short words. */
/* NOLINTNEXTLINE(misc-no-recursion): at most five letters */
static unsigned naive(const char *a, const char *b)
{
    if (*a == '\0' || *b == '\0') {
        return (unsigned)(strlen(a) + strlen(b));
    }
    unsigned best = naive(a + 1, b + 1) + (*a != *b);
    unsigned drop = naive(a + 1, b) + 1;
    unsigned add = naive(a, b + 1) + 1;
    best = drop < best ? drop : best;
    best = add < best ? add : best;
    if (a[1] != '\0' && b[1] != '\0' && a[0] == b[1] && a[1] == b[0]) {
        unsigned swap = naive(a + 2, b + 2) + 1;
        best = swap < best ? swap : best;
    }
    return best;
}

static void test_distance(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("distance"));
    for (int i = 0; i < 20000; i++) {
        char words[2][6];
        for (int w = 0; w < 2; w++) {
            size_t len = prng_below(&prng, 6);
            for (size_t c = 0; c < len; c++) {
                words[w][c] = (char)('a' + prng_below(&prng, 3));
            }
            words[w][len] = '\0';
        }
        assert_int_equal(suggest_distance(words[0], words[1]), naive(words[0], words[1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_lines), cmocka_unit_test(test_refused_lines),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_want_json),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
