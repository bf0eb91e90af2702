/* Goal: the Redis door understands every request however it is cut into pieces, refuses what is none,
 * and survives garbage; rows, transactions and scans over versions that are swapped. Method: parser
 * and sessions without sockets, on the world of test_reader.c. tests/system/test_redis.py has real
 * clients. */
#include "serve/redis_private.h"

#include "tests/unit/serve/reader_world.h"

struct rig {
    struct world world;
    struct reader *reader;
    struct redis_scans *scans;
    struct redis_counters counters;
    struct redis_context context;
    struct redis_session session;
};

static void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    world_open(&rig->world, 3);
    make_version(&rig->world, 1, 100);
    make_version(&rig->world, 2, 400);
    serve(&rig->world, 1, 1);
    assert_ok(reader_open(rig->world.dir, &rig->reader, &fault));
    rig->scans = redis_scans_new();
    redis_context_init(&rig->context, rig->reader, rig->scans, &rig->counters);
    redis_session_init(&rig->session, 1, "test:1");
}

static void rig_close(struct rig *rig)
{
    redis_session_free(&rig->session);
    redis_context_free(&rig->context);
    redis_scans_free(rig->scans);
    reader_close(rig->reader);
    world_close(&rig->world);
}

/* What is answered, of all pieces; one round. */
static const char *ask_bytes(struct rig *rig, const char *bytes, size_t len, size_t piece)
{
    buf_reset(&rig->session.out);
    for (size_t at = 0; at < len; at += piece) {
        buf_append(&rig->session.in, bytes + at, piece < len - at ? piece : len - at);
        while (redis_session_run(&rig->session, &rig->context)) {
        }
    }
    redis_reads_end(&rig->context.reads);
    return buf_text(&rig->session.out);
}

static const char *ask(struct rig *rig, const char *line)
{
    char *text = xasprintf("%s\r\n", line);
    const char *answer = ask_bytes(rig, text, strlen(text), strlen(text));
    free(text);
    return answer;
}

static void test_names(void **state)
{
    (void)state;
    for (uint32_t i = 1; i < redis_command_count; i++) {
        assert_true(strcmp(redis_commands[i - 1].name, redis_commands[i].name) < 0);
    }

    struct {
        const char *pattern;
        const char *text;
        bool match;
    } globs[] = {{"*", "", true},
                 {"a*c", "abbc", true},
                 {"a*c", "abb", false},
                 {"h[a-c]?o", "hbxo", true},
                 {"h[^a]", "ha", false},
                 {"\\*", "*", true},
                 {"*a*b*", "xxaxxbxx", true},
                 {"[", "[", false},
                 {"a\\", "a\\", true}};

    for (size_t i = 0; i < array_len(globs); i++) {
        if (redis_glob(globs[i].pattern, strlen(globs[i].pattern), globs[i].text,
                       strlen(globs[i].text)) != globs[i].match) {
            fail_msg("%s of %s", globs[i].pattern, globs[i].text);
        }
    }
}

static const char mixed[] = "*2\r\n$4\r\nECHO\r\n$5\r\na\r\nbc\r\nPING\r\n*0\r\n\r\n"
                            "ping \"a\\x41\\n\" \r\n*1\r\n$4\r\nping\r\n";
static const char mixed_answer[] = "$5\r\na\r\nbc\r\n+PONG\r\n$3\r\naA\n\r\n+PONG\r\n";

static void test_pieces(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    for (size_t piece = 1; piece <= sizeof mixed; piece++) {
        assert_string_equal(ask_bytes(&rig, mixed, sizeof mixed - 1, piece), mixed_answer);
    }
    rig_close(&rig);
}

static void test_not_the_protocol(void **state)
{
    (void)state;
    static const char *const bad[] = {"*65537\r\n",
                                      "*99999999999999999999\r\n",
                                      "*x\r\n",
                                      "*1\r\n$99999999\r\n",
                                      "*1\r\n$-1\r\n",
                                      "*1\r\n:1\r\n",
                                      "*1\r\n$1\r\nabc\r\n",
                                      "ping \"a\r\n",
                                      "*1\r\n$18446744073709551615\r\n",
                                      "*1111111111111111111111111111111111111111",
                                      "*1\n",
                                      "ping 'a'b\r\n"};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct rig rig;
        rig_open(&rig);
        const char *answer = ask_bytes(&rig, bad[i], strlen(bad[i]), 1);
        assert_memory_equal(answer, "-ERR Protocol error", 19);
        assert_true(rig.session.closing);
        rig_close(&rig);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    struct prng prng;
    struct rig rig;
    prng_init(&prng, unit_seed("garbage"));
    rig_open(&rig);
    static const char *const words[] = {"*",    "$",     "\r\n",   "1",   "2",      "3",
                                        "HGET", "multi", "exec",   "get", "totals", ":u1",
                                        " ",    "\"",    "scan 0", "\\",  "@",      "hello 3"};
    for (int run = 0; run < 3000; run++) {
        struct buf text = {0};
        for (uint64_t n = prng_below(&prng, 40); n > 0; n--) {
            if (prng_below(&prng, 4) == 0) {
                buf_append_u8(&text, (uint8_t)prng_below(&prng, 256));
            } else {
                buf_append_text(&text, words[prng_below(&prng, array_len(words))]);
            }
        }
        (void)ask_bytes(&rig, buf_text(&text), text.len, 1 + prng_below(&prng, 20));
        buf_free(&text);
        redis_session_free(&rig.session);
        redis_session_init(&rig.session, 1, "test:1");
    }
    rig_close(&rig);
}

static void test_rows_and_swaps(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    assert_string_equal(ask(&rig, "GET everything"), "$9\r\n{\"c\":100}\r\n");
    assert_string_equal(ask(&rig, "HGETALL everything"), "*2\r\n$1\r\nc\r\n$3\r\n100\r\n");
    assert_string_equal(ask(&rig, "HGET everything@2: c"), "$3\r\n400\r\n");
    assert_string_equal(ask(&rig, "GET totals:nobody"), "$-1\r\n");
    assert_string_equal(ask(&rig, "EXISTS totals:u1 totals:u2 totals:none x:y"), ":2\r\n");
    assert_memory_equal(ask(&rig, "GET x:y"), "-ERR there is no table x", 24);
    assert_memory_equal(ask(&rig, "SET a b"), "-READONLY", 9);
    /* One moment: a swap between queueing and EXEC, and tables named twice. */
    assert_string_equal(ask(&rig, "MULTI"), "+OK\r\n");
    assert_string_equal(ask(&rig, "HGET everything c"), "+QUEUED\r\n");
    assert_string_equal(ask(&rig, "HGET everything@1 c"), "+QUEUED\r\n");
    assert_string_equal(ask(&rig, "EXISTS totals:u1"), "+QUEUED\r\n");
    serve(&rig.world, 2, 2);
    assert_string_equal(ask(&rig, "EXEC"), "*3\r\n$3\r\n400\r\n$3\r\n100\r\n:1\r\n");
    assert_string_equal(ask(&rig, "MULTI"), "+OK\r\n");
    assert_memory_equal(ask(&rig, "KEYS *"), "-ERR KEYS cannot", 16);
    assert_memory_equal(ask(&rig, "EXEC"), "-EXECABORT", 10);
    rig_close(&rig);
}

/* Every row once, whatever COUNT is; a swap in between is an error that says so. */
static void test_scan(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    static const char *const patterns[] = {"totals:*", "per_minute:*", "raw:*", "big@2:*"};
    for (size_t p = 0; p < array_len(patterns); p++) {
        size_t expected = 0;
        for (int size = 1000; size > 0; size = size > 100 ? 7 : size == 7 ? 1 : 0) {
            char cursor[32] = "0";
            size_t rows = 0;
            do {
                char *line = xasprintf("SCAN %s MATCH %s COUNT %d", cursor, patterns[p], size);
                const char *answer = ask(&rig, line);
                long long count = 0;
                assert_int_equal(sscanf(answer, "*2\r\n$%*d\r\n%31[0-9]\r\n*%lld", cursor, &count),
                                 2);
                rows += (size_t)count;
                free(line);
            } while (strcmp(cursor, "0") != 0);
            expected = size == 1000 ? rows : expected;
            assert_int_equal(rows, expected);
        }
        assert_true(expected > 0);
    }
    char cursor[32];
    assert_int_equal(sscanf(ask(&rig, "SCAN 0 MATCH totals:*"), "*2\r\n$%*d\r\n%31[0-9]", cursor),
                     1);
    serve(&rig.world, 2, 2);
    char *line = xasprintf("SCAN %s MATCH totals:*", cursor);
    assert_memory_equal(ask(&rig, line), "-ERR table totals was swapped", 29);
    free(line);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_not_the_protocol),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_rows_and_swaps),
        cmocka_unit_test(test_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
