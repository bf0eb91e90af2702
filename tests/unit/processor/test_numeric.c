/* Goal: exact decimals count as PostgreSQL counts, and neither wrap nor lose digits unsaid.
 *
 * Method: tests/sql/numeric.txt holds what a PostgreSQL 15 said: operator, two operands, result ("range":
 * more digits than we have). Random operands of all sizes keep the laws of arithmetic; texts and doubles
 * come back. Run from the top of the repository. */
#include "processor/numeric.h"
#include "tests/unit/unit.h"

#include "base/prng.h"
#include "processor/expr_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct kappa_numeric number(const char *text)
{
    struct kappa_numeric value = numeric_make(0, 0);
    struct kappa_text all = {text, (uint32_t)strlen(text)};
    if (numeric_parse(all, &value) != EXPR_OK) {
        fail_msg("%s is no number", text);
    }
    return value;
}

static const char *text_of(struct kappa_numeric value)
{
    static char texts[4][NUMERIC_TEXT + 1];
    static int next = 0;
    char *text = texts[next++ % 4];
    text[numeric_format(value, text)] = '\0';
    return text;
}

static enum expr_state calculate(const char *op, struct kappa_numeric a, struct kappa_numeric b,
                                 struct kappa_numeric *out)
{
    int64_t whole = 0;
    enum expr_state state = EXPR_OK;
    if (strcmp(op, "round") == 0 || strcmp(op, "trunc") == 0) {
        state = numeric_to_int(b, &whole);
        assert_int_equal(state, EXPR_OK);
        return numeric_round(a, whole, op[0] == 'r' ? NUMERIC_NEAREST : NUMERIC_TOWARDS_ZERO, out);
    }
    if (strcmp(op, "int8") == 0) {
        state = numeric_to_int(a, &whole);
        *out = numeric_from_int(whole);
        return state;
    }
    switch (op[0]) {
    case '+':
        return numeric_add(a, b, out);
    case '-':
        return numeric_subtract(a, b, out);
    case '*':
        return numeric_multiply(a, b, out);
    case '/':
        return numeric_divide(a, b, out);
    case '%':
        return numeric_modulo(a, b, out);
    case 's':
        return numeric_sqrt(a, out);
    case 'c':
        return numeric_round(a, 0, NUMERIC_UP, out);
    case 'f':
        return numeric_round(a, 0, NUMERIC_DOWN, out);
    default:
        *out =
            numeric_from_int(op[0] == '<' ? numeric_compare(a, b) < 0 : numeric_compare(a, b) == 0);
        return EXPR_OK;
    }
}

static const char *said(const char *op, struct kappa_numeric a, struct kappa_numeric b)
{
    static char text[EXPR_VALUE_TEXT + 1];
    struct kappa_numeric out;
    if (strcmp(op, "float8") == 0) {
        text[expr_format_double(numeric_to_double(a), text)] = '\0';
        return text;
    }
    if (strcmp(op, "float4") == 0) {
        double real = 0;
        const char *digits = text_of(a);
        struct kappa_text all = {digits, (uint32_t)strlen(digits)};
        assert_int_equal(expr_parse_real(all, &real), EXPR_OK);
        text[expr_format_real(real, text)] = '\0';
        return text;
    }
    enum expr_state state = calculate(op, a, b, &out);
    return state == EXPR_OK ? text_of(out) : state == EXPR_ERROR_OVERFLOW ? "range" : "error";
}

static void test_postgres(void **state)
{
    (void)state;
    FILE *file = fopen("tests/sql/numeric.txt", "r");
    assert_non_null(file);
    char op[8];
    char a[64];
    char b[64];
    char want[128];
    int bad = 0;
    int rows = 0;
    while (fscanf(file, "%7s %63s %63s %127s", op, a, b, want) == 4) {
        const char *got = said(op, number(a), number(b));
        rows++;
        if (strcmp(got, want) != 0) {
            print_message("%s %s %s: %s, PostgreSQL says %s\n", op, a, b, got, want);
            bad++;
        }
    }
    (void)fclose(file);
    assert_true(rows > 1000);
    assert_int_equal(bad, 0);
}

static struct kappa_numeric random_number(struct prng *prng, uint32_t digits_most)
{
    uint128 value = (uint128)prng_next(prng) << 64 | prng_next(prng);
    value %= numeric_power10((uint32_t)prng_below(prng, digits_most) + 1);
    int128 coefficient = prng_below(prng, 2) == 0 ? (int128)value : -(int128)value;
    return numeric_make(coefficient, (uint32_t)prng_below(prng, digits_most));
}

static void test_laws(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("numeric"));
    for (int i = 0; i < 20000; i++) {
        struct kappa_numeric a = random_number(&prng, 38);
        struct kappa_numeric b = random_number(&prng, 38);
        struct kappa_numeric sum;
        struct kappa_numeric back;
        assert_int_equal(numeric_compare(a, number(text_of(a))), 0);
        assert_int_equal(number(text_of(a)).scale, a.scale);
        assert_int_equal(numeric_compare(a, b), -numeric_compare(b, a));
        if (numeric_add(a, b, &sum) == EXPR_OK && numeric_subtract(sum, b, &back) == EXPR_OK) {
            assert_int_equal(numeric_compare(back, a), 0);
        }
        /* a = b * cut(a / b) + a % b, where everything fits */
        struct kappa_numeric x = random_number(&prng, 18);
        struct kappa_numeric y = random_number(&prng, 9);
        struct kappa_numeric quotient;
        struct kappa_numeric rest;
        struct kappa_numeric product;
        if (numeric_coefficient(y) == 0) {
            assert_int_equal(numeric_divide(x, y, &quotient), EXPR_ERROR_DIVISION);
            assert_int_equal(numeric_modulo(x, y, &rest), EXPR_ERROR_DIVISION);
            continue;
        }
        assert_int_equal(numeric_modulo(x, y, &rest), EXPR_OK);
        assert_int_equal(numeric_subtract(x, rest, &back), EXPR_OK);
        assert_int_equal(numeric_divide(back, y, &quotient), EXPR_OK);
        assert_int_equal(numeric_round(quotient, 0, NUMERIC_NEAREST, &quotient), EXPR_OK);
        assert_int_equal(numeric_multiply(quotient, y, &product), EXPR_OK);
        assert_int_equal(numeric_compare(product, back), 0);
    }
}

static void test_doubles(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("numeric doubles"));
    for (int i = 0; i < 20000; i++) {
        struct kappa_numeric a = random_number(&prng, 38);
        assert_true(numeric_to_double(a) == strtod(text_of(a), NULL));
        struct kappa_numeric fifteen = random_number(&prng, 15);
        struct kappa_numeric back;
        assert_int_equal(numeric_from_double(numeric_to_double(fifteen), 15, &back), EXPR_OK);
        assert_int_equal(numeric_compare(back, fifteen), 0);
    }
    struct kappa_numeric out;
    assert_int_equal(numeric_from_double((double)NAN, 15, &out), EXPR_ERROR_OVERFLOW);
    assert_int_equal(numeric_from_double((double)INFINITY, 15, &out), EXPR_ERROR_OVERFLOW);
    assert_int_equal(numeric_from_double(1e300, 15, &out), EXPR_ERROR_OVERFLOW);
    assert_int_equal(numeric_from_double(1e-300, 15, &out), EXPR_OK);
    assert_int_equal(numeric_coefficient(out), 0);
}

static void test_bounds(void **state)
{
    (void)state;
    static const char nines[] = "99999999999999999999999999999999999999";
    static const char tiny[] = "0.00000000000000000000000000000000000001";

    static const struct {
        const char *op;
        const char *a;
        const char *b;
        const char *want;
    } cases[] = {
        {"+", nines, "1", "range"},
        {"+", nines, "0.1", "range"},
        {"-", "-99999999999999999999999999999999999999", "1", "range"},
        {"*", nines, "10", "range"},
        {"*", nines, nines, "range"},
        {"*", tiny, tiny, "0.00000000000000000000000000000000000000"},
        {"*", nines, "0.5", "range"},
        {"*", "9999999999999999999999999999999999999", "0.5",
         "4999999999999999999999999999999999999.5"},
        {"/", nines, "0.1", "range"},
        {"/", "1", nines, "0.00000000000000000000000000000000000001"},
        {"%", nines, tiny, "0.00000000000000000000000000000000000000"},
        {"%", tiny, nines, tiny},
        {"round", nines, "1", "range"},
        {"round", nines, "-37", "range"},
        {"round", nines, "-38", "range"},
        {"round", "44444444444444444444444444444444444444", "-38", "0"},
        {"round", "44444444444444444444444444444444444444", "-100", "0"},
        {"ceil", tiny, "0", "1"},
        {"floor", tiny, "0", "0"},
        {"sqrt", nines, "0", "10000000000000000000"},
        {"sqrt", "-1", "0", "error"},
        {"int8", "9223372036854775807.4", "0", "9223372036854775807"},
        {"int8", "9223372036854775807.5", "0", "range"},
        {"int8", "-9223372036854775808.4", "0", "-9223372036854775808"},
    };

    int bad = 0;
    for (size_t i = 0; i < array_len(cases); i++) {
        const char *got = said(cases[i].op, number(cases[i].a), number(cases[i].b));
        if (strcmp(got, cases[i].want) != 0) {
            print_message("%s %s %s: %s, expected %s\n", cases[i].op, cases[i].a, cases[i].b, got,
                          cases[i].want);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
}

static void test_texts(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        const char *want; /* NULL: no number; "": beyond */
    } cases[] = {
        {"0", "0"},
        {"-0.00", "0.00"},
        {"+1.50", "1.50"},
        {".5", "0.5"},
        {"5.", "5"},
        {"1e3", "1000"},
        {"1.25e-3", "0.00125"},
        {"1.25E+1", "12.5"},
        {"1.250e3", "1250"},
        {"0e99999999999", "0"},
        {"00000000000000000000000000000000000000000000000012", "12"},
        {"99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
        {"100000000000000000000000000000000000000", ""},
        {"1e38", ""},
        {"1e-39", ""},
        {"1e99999999999", ""},
        {"", NULL},
        {".", NULL},
        {"-", NULL},
        {"1e", NULL},
        {"1e+", NULL},
        {"1 ", NULL},
        {"0x1", NULL},
        {"NaN", NULL},
        {"Infinity", NULL},
        {"1.2.3", NULL},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        struct kappa_numeric value;
        struct kappa_text text = {cases[i].text, (uint32_t)strlen(cases[i].text)};
        enum expr_state got = numeric_parse(text, &value);
        if (cases[i].want == NULL) {
            assert_int_equal(got, EXPR_ERROR_CAST);
        } else if (cases[i].want[0] == '\0') {
            assert_int_equal(got, EXPR_ERROR_OVERFLOW);
        } else {
            assert_int_equal(got, EXPR_OK);
            assert_string_equal(text_of(value), cases[i].want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres), cmocka_unit_test(test_laws),
        cmocka_unit_test(test_doubles),  cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
