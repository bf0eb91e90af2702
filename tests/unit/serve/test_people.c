/* Goal: the access file is read as it says, nothing else than a right file is taken, changes of it are
 * seen and change nothing when they are wrong, and only the right token lets in.
 * Method: files in a folder of the test; SHA-256 against its published answers; random texts for the
 * parser. */
#include "serve/people.h"

#include "base/file.h"
#include "base/prng.h"
#include "serve/people_token.h"
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HASH_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char folder[] = "/tmp/kappa-people-XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/access", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    struct err err = {0};
    int fd = -1;
    assert_int_equal(file_create(path, text, strlen(text), &fd, &err), 0);
    close(fd);
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_hash(void **state)
{
    (void)state;
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                  0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                  0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t hash[TOKEN_HASH_LEN];
    token_hash("abc", 3, hash);
    assert_memory_equal(hash, abc, sizeof abc);
    assert_true(token_hash_same(hash, abc));
    for (size_t i = 0; i < sizeof hash; i++) {
        hash[i] ^= 1;
        assert_false(token_hash_same(hash, abc));
        hash[i] ^= 1;
    }
    char a[TOKEN_TEXT_LEN + 1];
    char b[TOKEN_TEXT_LEN + 1];
    token_new(a);
    token_new(b);
    assert_int_equal(strlen(a), TOKEN_TEXT_LEN);
    assert_string_not_equal(a, b);
    assert_memory_equal(a, "kappa_", 6);
    assert_int_equal(strspn(a + 6, "0123456789abcdef"), 64);
}

#define LINE(name, roles) name " " roles " sha256:" HASH_OF_ABC "\n"

static void test_parse(void **state)
{
    (void)state;
    struct people_list list;
    struct err err = {0};
    assert_int_equal(people_parse("", &list, &err), 0);
    assert_int_equal(list.count, 0);
    people_list_free(&list);
    const char *text = "# a comment\n\n  \t\r\n" LINE(
        "alice", "read,operate") " # another\n"
                                 "  b.o-b_1@x\tmetrics \t sha256:" HASH_OF_ABC
                                 " \r\n" LINE("c", "write,write");
    assert_int_equal(people_parse(text, &list, &err), 0);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.persons[0].name, "alice");
    assert_int_equal(list.persons[0].roles, ROLE_READ | ROLE_OPERATE);
    assert_int_equal(list.persons[0].hash[0], 0xba);
    assert_string_equal(list.persons[1].name, "b.o-b_1@x");
    assert_int_equal(list.persons[1].roles, ROLE_METRICS);
    assert_int_equal(list.persons[2].roles, ROLE_WRITE);
    assert_ptr_equal(people_list_find(&list, "c"), &list.persons[2]);
    assert_null(people_list_find(&list, "d"));
    people_list_free(&list);

    static const struct {
        const char *text;
        const char *says;
    } wrong[] = {
        {"alice\n", "line 1: it is not NAME"},
        {"\nalice read\n", "line 2: it is not NAME"},
        {LINE("alice", "read") "alice read x\n", "line 2: the third word"},
        {LINE("alice", "read") LINE("alice", "write"), "twice"},
        {LINE("alice", "read,"), "\"\" is not a role"},
        {LINE("alice", ",read"), "\"\" is not a role"},
        {LINE("alice", "READ"), "is not a role"},
        {LINE("alice", "admin"), "\"admin\" is not a role"},
        {LINE("al/ce", "read"), "is not a name"},
        {LINE("local", "read"), "is taken"},
        {LINE("default", "read"), "is taken"},
        {"alice read sha256:" HASH_OF_ABC " more\n", "it is not NAME"},
        {"alice read sha256:" HASH_OF_ABC "0\n", "the third word"},
        {"alice read sha512:" HASH_OF_ABC "\n", "the third word"},
        {"alice read " HASH_OF_ABC "\n", "the third word"},
    };

    for (size_t i = 0; i < array_len(wrong); i++) {
        if (people_parse(wrong[i].text, &list, &err) != -KE_INVALID ||
            strstr(err.text, wrong[i].says) == NULL) {
            fail_msg("case %zu: %s", i, err.text);
        }
        assert_null(
            strstr(err.text, HASH_OF_ABC)); /* what stands there may be a token by mistake */
        assert_null(strstr(err.hint, HASH_OF_ABC));
    }
}

static void test_random_texts(void **state)
{
    (void)state;
    static const char letters[] = "a ,\n\tread#sha256:0f@.\r";
    struct prng prng;
    prng_init(&prng, unit_seed("people"));
    for (int i = 0; i < 20000; i++) {
        char text[200];
        size_t len = prng_below(&prng, sizeof text);
        for (size_t k = 0; k < len; k++) {
            text[k] = letters[prng_below(&prng, sizeof letters - 1)];
        }
        text[len] = '\0';
        struct people_list list;
        struct err err = {0};
        if (people_parse(text, &list, &err) == 0) {
            people_list_free(&list);
        } else {
            assert_true(err.code != 0);
        }
    }
}

static void make_person(struct person *person, const char *name, uint32_t roles, const char *token)
{
    *person = (struct person){.roles = roles};
    memcpy(person->name, name, strlen(name));
    token_hash(token, strlen(token), person->hash);
}

static void test_file(void **state)
{
    (void)state;
    struct err err = {0};
    struct person ann;
    struct person ben;
    struct stat status;
    struct buf text = {0};
    make_person(&ann, "ann", ROLE_READ, "one");
    make_person(&ben, "ben", ROLE_ALL, "two");
    assert_int_equal(people_file_remove(path, "ann", &err), -KE_NOT_FOUND);
    assert_int_equal(people_file_add(path, &ann, &err), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(people_file_add(path, &ann, &err), -KE_EXISTS);
    assert_int_equal(people_file_add(path, &ben, &err), 0);
    assert_int_equal(people_file_remove(path, "an", &err), -KE_NOT_FOUND);
    assert_int_equal(people_file_remove(path, "ann", &err), 0);
    assert_int_equal(people_file_read(path, &text, &err), 0);
    struct people_list list;
    assert_int_equal(people_parse(buf_text(&text), &list, &err), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.persons[0].roles, ROLE_ALL);
    assert_memory_equal(list.persons[0].hash, ben.hash, TOKEN_HASH_LEN);
    people_list_free(&list);

    /* What a person wrote stays; a last line without its end is no trap. */
    write_file("# ours\n" LINE("eve", "read") "  eva read sha256:" HASH_OF_ABC);
    assert_int_equal(people_file_add(path, &ann, &err), 0);
    assert_int_equal(people_file_remove(path, "eva", &err), 0);
    buf_reset(&text);
    assert_int_equal(people_file_read(path, &text, &err), 0);
    assert_memory_equal(buf_text(&text), "# ours\n" LINE("eve", "read") "ann read ", 7);
    assert_null(strstr(buf_text(&text), "eva"));
    assert_non_null(strstr(buf_text(&text), "\nann read sha256:"));

    write_file("nonsense\n"); /* not made worse */
    assert_int_equal(people_file_add(path, &ann, &err), -KE_INVALID);

    static const mode_t open_modes[] = {0640, 0604, 0660, 0620, 0602, 0644, 0601};
    for (size_t i = 0; i < array_len(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(people_file_read(path, &text, &err), -KE_REFUSED);
        assert_non_null(strstr(err.hint, "chmod 600"));
    }
    assert_int_equal(people_file_read(folder, &text, &err), -KE_INVALID);
    buf_free(&text);
    (void)unlink(path);
}

/* Many programs at once: no name is lost. */
static void test_writers(void **state)
{
    (void)state;

    enum { WRITERS = 4, EACH = 10 };

    for (int i = 0; i < WRITERS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        for (int k = 0; pid == 0 && k < EACH; k++) {
            char name[32];
            struct person person;
            struct err err = {0};
            (void)snprintf(name, sizeof name, "p%d-%d", i, k);
            make_person(&person, name, ROLE_READ, name);
            if (people_file_add(path, &person, &err) != 0) {
                (void)fprintf(stderr, "%s\n", err.text);
                _exit(1);
            }
        }
        if (pid == 0) {
            _exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    struct buf text = {0};
    struct err err = {0};
    struct people_list list;
    assert_int_equal(people_file_read(path, &text, &err), 0);
    assert_int_equal(people_parse(buf_text(&text), &list, &err), 0);
    assert_int_equal(list.count, WRITERS * EACH);
    people_list_free(&list);
    buf_free(&text);
    (void)unlink(path);
}

static bool knows(struct people *people, const char *token, const char *name, uint32_t roles)
{
    struct person person;
    bool found = people_find(people, token, strlen(token), &person);
    assert_int_equal(found, name != NULL);
    return !found || (strcmp(person.name, name) == 0 && person.roles == roles);
}

static void test_live(void **state)
{
    (void)state;
    struct err err = {0};
    struct people *people = NULL;
    struct person ann;
    struct person found;
    assert_int_equal(people_open(path, &people, &err), -KE_NOT_FOUND);
    assert_non_null(strstr(err.hint, "kappa access add"));
    write_file("wrong\n");
    assert_int_equal(people_open(path, &people, &err), -KE_INVALID);
    assert_non_null(strstr(err.text, "access: line 1"));
    write_file(LINE("abc", "read"));
    assert_int_equal(people_open(path, &people, &err), 0);

    assert_true(knows(people, "abc", "abc", ROLE_READ));
    assert_true(knows(people, "ab", NULL, 0));
    assert_true(knows(people, "", NULL, 0));
    assert_true(knows(people, "abcd", NULL, 0));
    assert_true(knows(people, HASH_OF_ABC, NULL, 0));
    assert_true(knows(people, people_local_token(people), PERSON_LOCAL, ROLE_ALL));
    char long_token[TOKEN_LEN_MAX + 2];
    memset(long_token, 'a', sizeof long_token - 1);
    long_token[sizeof long_token - 1] = '\0';
    assert_true(knows(people, long_token, NULL, 0));

    assert_true(people_find(people, "abc", 3, &found));
    make_person(&ann, "ann", ROLE_WRITE, "one");
    assert_int_equal(people_file_add(path, &ann, &err), 0);
    assert_true(knows(people, "one", NULL, 0)); /* not yet looked at */
    people_tick(people);
    assert_true(knows(people, "one", "ann", ROLE_WRITE));
    assert_true(people_still(people, &found));

    /* A change in place within one tick of the file's times, of the same length. */
    write_file(LINE("abd", "read"));
    people_tick(people);
    write_file(LINE("abe", "read"));
    people_tick(people);
    assert_true(knows(people, "abc", "abe", ROLE_READ));
    assert_false(people_still(people, &found)); /* another name, the same token */
    assert_true(people_find(people, "abc", 3, &found));
    write_file(LINE("abe", "write"));
    people_tick(people);
    assert_true(people_still(people, &found));
    assert_int_equal(found.roles, ROLE_WRITE);

    write_file("abe all x\n"); /* wrong: the last good one counts */
    people_tick(people);
    people_tick(people);
    assert_true(knows(people, "abc", "abe", ROLE_WRITE));
    assert_int_equal(chmod(path, 0644), 0);
    people_tick(people);
    assert_true(knows(people, "abc", "abe", ROLE_WRITE));
    assert_int_equal(unlink(path), 0);
    people_tick(people);
    assert_true(knows(people, "abc", "abe", ROLE_WRITE));
    write_file("");
    people_tick(people);
    assert_true(knows(people, "abc", NULL, 0));
    assert_false(people_still(people, &found));
    assert_true(knows(people, people_local_token(people), PERSON_LOCAL, ROLE_ALL));
    people_close(people);
}

/* A link that is put on another file, as where files are mounted: what it leads to now counts. */
static void test_link(void **state)
{
    (void)state;
    struct err err = {0};
    struct people *people = NULL;
    char other[80];
    char target[80];
    (void)snprintf(target, sizeof target, "%s/one", folder);
    (void)snprintf(other, sizeof other, "%s/two", folder);
    write_file(LINE("one", "read"));
    assert_int_equal(rename(path, target), 0);
    write_file(LINE("two", "read"));
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink("one", path), 0);
    assert_int_equal(people_open(path, &people, &err), 0);
    assert_true(knows(people, "abc", "one", ROLE_READ));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("two", path), 0);
    assert_int_equal(unlink(target), 0);
    people_tick(people);
    assert_true(knows(people, "abc", "two", ROLE_READ));
    people_close(people);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(other), 0);
}

static void test_say(void **state)
{
    (void)state;
    struct err err;
    struct person ann = {.name = "ann"};
    assert_int_equal(people_say(PEOPLE_MISSING, ROLE_READ, NULL, &err), -KE_UNAUTHORIZED);
    assert_int_equal(people_say(PEOPLE_UNKNOWN, ROLE_READ, NULL, &err), -KE_UNAUTHORIZED);
    assert_int_equal(people_say(PEOPLE_FORBIDDEN, ROLE_READ | ROLE_METRICS, &ann, &err),
                     -KE_FORBIDDEN);
    assert_string_equal(err.text, "ann lacks the role read or metrics");
    assert_int_equal(err_http_status(err.code), 403);
    assert_int_equal(err_exit_code(err.code), 6);
    assert_string_equal(roles_words(), "read, write, operate, metrics");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),         cmocka_unit_test(test_parse),
        cmocka_unit_test(test_random_texts), cmocka_unit_test(test_file),
        cmocka_unit_test(test_writers),      cmocka_unit_test(test_live),
        cmocka_unit_test(test_link),         cmocka_unit_test(test_say),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
