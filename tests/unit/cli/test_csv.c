/* Goal: what csv_write writes is what csv_next reads, whatever the fields hold; files of others are read as
 * RFC 4180 says, and broken ones refused with the line. Method: random fields there and back; a table of
 * texts. */
#include "cli/csv.h"

#include "base/prng.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void file_of(const void *bytes, size_t len, char path[32])
{
    memcpy(path, "/tmp/kappa-csv-XXXXXX", 22);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

/* All rows as "field|field;field|field;", quoted ones in <>; or the error. */
static void read_all(const char *text, size_t len, struct buf *out)
{
    char path[32];
    struct csv *csv = NULL;
    const struct csv_field *fields = NULL;
    uint32_t count = 0;
    struct err err = {.code = 0};
    file_of(text, len, path);
    assert_int_equal(csv_open(path, &csv, &err), 0);
    int rc;
    while ((rc = csv_next(csv, &fields, &count, &err)) == 1) {
        for (uint32_t i = 0; i < count; i++) {
            buf_printf(out, "%s%s%.*s%s", i == 0 ? "" : "|", fields[i].quoted ? "<" : "",
                       (int)fields[i].len, fields[i].text, fields[i].quoted ? ">" : "");
        }
        buf_append_u8(out, ';');
    }
    if (rc < 0) {
        const char *line = strstr(err.text, "line ");
        assert_non_null(line);
        buf_append_text(out, line);
    }
    csv_close(csv);
    assert_int_equal(unlink(path), 0);
}

static void test_files_of_others(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        const char *rows;
    } cases[] = {
        {"", ""},
        {"\n\r\n\n", ""},
        {"a", "a;"},
        {"a,b\r\n1,2\r\n", "a|b;1|2;"},
        {"\xEF\xBB\xBF"
         "a,b\n",
         "a|b;"},
        {"\xEF\xBB", "\xEF\xBB;"},
        {"a,\n,b\n,", "a|;|b;|;"},
        {"\"a,b\",\"c\nd\"\n", "<a,b>|<c\nd>;"},
        {"\"say \"\"hi\"\"\",\"\"", "<say \"hi\">|<>;"},
        {"a\rb,c", "a\rb|c;"},
        {"a\"b,c\n", "a\"b|c;"},
        {"a\r", "a;"},
        {"a\n\"b", "a;line 2: a field's quotes do not end"},
        {"a\n\n\"b\"c\n", "a;line 3: something follows a field's closing quote"},
        {"\"a\n\n\"\n\"b\"c\n", "<a\n\n>;line 4: something follows a field's closing quote"},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        struct buf out = {0};
        read_all(cases[i].text, strlen(cases[i].text), &out);
        assert_string_equal(buf_text(&out), cases[i].rows);
        buf_free(&out);
    }
}

static void test_there_and_back(void **state)
{
    (void)state;
    static const char letters[] = {'a', ' ', ',', '"', '\n', '\r', '\0', (char)0xC3, 'z'};
    uint64_t seed = unit_seed("csv");
    struct prng prng;
    prng_init(&prng, seed);
    struct buf text = {0};
    struct buf wanted = {0};
    for (uint32_t row = 0; row < 300; row++) {
        uint32_t fields = 1 + (uint32_t)prng_below(&prng, 5);
        for (uint32_t f = 0; f < fields; f++) {
            char field[12];
            size_t len = prng_below(&prng, sizeof field);
            for (size_t i = 0; i < len; i++) {
                field[i] = letters[prng_below(&prng, sizeof letters)];
            }
            if (f > 0) {
                buf_append_u8(&text, ',');
                buf_append_u8(&wanted, '|');
            }
            csv_write(&text, field, len);
            bool quoted = len == 0;
            for (size_t i = 0; i < len; i++) {
                quoted |= memchr(",\"\n\r", field[i], 5) != NULL;
            }
            buf_append_text(&wanted, quoted ? "<" : "");
            buf_printf(&wanted, "%.*s", (int)len, field);
            buf_append_text(&wanted, quoted ? ">" : "");
        }
        buf_append_u8(&text, '\n');
        buf_append_u8(&wanted, ';');
    }
    struct buf out = {0};
    read_all(buf_text(&text), text.len, &out);
    assert_string_equal(buf_text(&out), buf_text(&wanted));
    buf_free(&out);
    buf_free(&text);
    buf_free(&wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_others),
        cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
