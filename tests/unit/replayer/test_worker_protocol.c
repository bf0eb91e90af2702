/* Goal: every command line is taken as meant or refused with what is wrong with it; nothing from
 * outside reaches the worker unchecked. Method: a table of lines with the code and a part of the
 * sentence. */
#include "replayer/worker_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "{\"do\":\"open\",\"processor\":\"p\",\"definition\":\"x\",\"dir\":\"d\",\"log\":{}"
#define ONE  "{\"topic\":\"t\",\"partition\":0,\"input\":0,\"start\":5}"
#define GOOD HEAD ",\"sources\":[" ONE "]"

static const struct {
    const char *line;
    const char *says; /* NULL: it is taken */
} opens[] = {
    {GOOD "}", NULL},
    {GOOD ",\"until\":null}", NULL},
    {GOOD ",\"until\":[5]}", NULL},
    {GOOD ",\"topics\":[{\"topic\":\"t\",\"partitions\":1,\"identity\":-3}]}", NULL},
    {GOOD ",\"until\":[4]}", "before the start of source 0"},
    {GOOD ",\"until\":[5,6]}", "array of 1 offsets"},
    {GOOD ",\"until\":[-1]}", "no offset"},
    {GOOD ",\"until\":7}", "\"until\""},
    {GOOD ",\"shards\":0}", "\"shards\""},
    {GOOD ",\"shards\":65}", "1 to 64"},
    {GOOD ",\"shards\":\"2\"}", "\"shards\""},
    {GOOD ",\"batch_records\":5000}", "\"batch_records\""},
    {GOOD ",\"cache_bytes\":-1}", "\"cache_bytes\""},
    {GOOD ",\"limit\":null}", NULL},
    {GOOD ",\"limit\":{\"records_per_second\":5}}", NULL},
    {GOOD ",\"limit\":{\"records_per_second\":0}}", "\"records_per_second\""},
    {GOOD ",\"limit\":5}", "a limit is an object"},
    {GOOD ",\"topics\":[{\"partitions\":1}]}", "topic 0"},
    {GOOD ",\"topics\":[{\"topic\":\"t\",\"partitions\":0}]}", "\"partitions\""},
    {HEAD "}", "\"sources\""},
    {HEAD ",\"sources\":[]}", "\"sources\""},
    {HEAD ",\"sources\":[" ONE ",{}]}", "source 1"},
    {HEAD ",\"sources\":[{\"topic\":\"t\",\"partition\":0}]}", "\"start\""},
    {HEAD ",\"sources\":[{\"topic\":\"t\",\"partition\":-1,\"start\":0}]}", "\"partition\""},
    {HEAD ",\"sources\":[{\"topic\":\"t\",\"partition\":0,\"start\":-1}]}", "\"start\""},
    {HEAD ",\"sources\":[{\"topic\":\"t\",\"partition\":0,\"input\":16,\"start\":0}]}",
     "\"input\""},
    {"{\"do\":\"open\",\"definition\":\"x\",\"dir\":\"d\"}", "\"processor\""},
    {"{\"do\":\"open\",\"processor\":\"p\",\"dir\":\"d\"}", "\"definition\""},
    {"{\"do\":\"open\",\"processor\":\"p\",\"definition\":\"x\"}", "\"dir\""},
    {"{\"do\":\"open\",\"processor\":\"p\",\"definition\":\"x\",\"dir\":\"d\"}", "\"log\""},
};

static void test_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(opens); i++) {
        json_t *message = NULL;
        enum worker_do what = WORKER_STOP;
        struct worker_open open;
        struct err err = {0};
        assert_int_equal(
            worker_message_parse(opens[i].line, strlen(opens[i].line), &message, &what, &err), 0);
        assert_int_equal(what, WORKER_OPEN);
        int rc = worker_open_parse(message, &open, &err);
        if (opens[i].says == NULL) {
            assert_int_equal(rc, 0);
            assert_int_equal(open.sources[0].start, 5);
            assert_true(open.cache_bytes > 0);
            worker_open_free(&open);
        } else if (rc != -KE_INVALID || !strstr(err.text, opens[i].says)) {
            fail_msg("%s: code %d, %s", opens[i].line, rc, err.text);
        }
    }
}

static int parse_command(const char *line, struct worker_command *command, struct err *err)
{
    json_t *message = NULL;
    enum worker_do what = WORKER_STOP;
    int rc = worker_message_parse(line, strlen(line), &message, &what, err);
    if (rc == 0) {
        rc = worker_command_parse(message, what, 2, command, err);
        json_decref(message);
    }
    return rc;
}

static void test_commands(void **state)
{
    (void)state;
    struct worker_command command = {.cut = NULL};
    assert_int_equal(parse_command("{\"do\":\"hold\",\"id\":12}", &command, NULL), 0);
    assert_int_equal(command.what, WORKER_HOLD);
    assert_int_equal(command.id, 12);
    assert_int_equal(parse_command("{\"do\":\"run_to\",\"id\":1,\"cut\":[3,4]}", &command, NULL),
                     0);
    ASSERT(command.cut);
    assert_int_equal(command.cut[1], 4);
    worker_command_free(&command);
    assert_int_equal(parse_command("{\"do\":\"serving\",\"on\":false}", &command, NULL), 0);
    assert_false(command.on);
    static const char *const refused[] = {
        "{\"do\":\"run_to\",\"id\":1,\"cut\":[3]}",
        "{\"do\":\"run_to\",\"id\":1}",
        "{\"do\":\"run_to\",\"id\":1,\"cut\":[3,-4]}",
        "{\"do\":\"run_to\",\"cut\":[3,\"4\"]}",
        "{\"do\":\"hold\",\"id\":\"x\"}",
        "{\"do\":\"hold\",\"id\":-1}",
        "{\"do\":\"Hold\",\"id\":1}",
        "{\"id\":1}",
        "[]",
        "17",
        "{\"do\":7}",
        "{\"do\":\"hold\"",
        "",
    };
    for (size_t i = 0; i < array_len(refused); i++) {
        struct err err = {0};
        if (parse_command(refused[i], &command, &err) != -KE_INVALID) {
            fail_msg("'%s' was taken", refused[i]);
        }
        assert_true(err.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open),
                                       cmocka_unit_test(test_commands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
