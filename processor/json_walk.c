/* The check of what is skipped in a JSON text. Own header: json_walk.h. */
#include "processor/json_walk.h"

#include "base/limits.h"

/* Levels around the place at hand. Not a recursion: bit n - 1 of `objects` says whether level n is
 * an object or an array. */
struct levels {
    uint64_t objects;
    uint32_t depth;
    uint32_t outer; /* depth at which the check is over */
};

_Static_assert(LIMIT_JSON_DEPTH == 64, "one bit per level, and the sentence in open_level");

bool json_fail(struct json_walk *walk, uint32_t k, const char *what)
{
    walk->fault = what;
    walk->fault_token = k;
    return false;
}

static bool check_string(struct json_walk *walk, uint32_t k)
{
    if (!walk->escapes) {
        return true;
    }
    struct kappa_text raw = json_string(walk, k);
    return json_unescape((const uint8_t *)raw.bytes, raw.len, NULL) >= 0 ||
           json_fail(walk, k, "a bad escape in the string");
}

bool json_check_scalar(struct json_walk *walk, uint32_t k)
{
    const uint8_t *p = walk->text + walk->at[k];
    bool good = false;
    switch (*p) {
    case '"':
        return check_string(walk, k);
    case 't':
        good = json_is_true(p);
        break;
    case 'f':
        good = json_is_false(p);
        break;
    case 'n':
        good = json_is_null(p);
        break;
    default:
        good = json_number_check(p);
        break;
    }
    return good || json_fail(walk, k, "expected a value");
}

/* Checks a name and its colon; *k is moved to the value. */
static bool check_name(struct json_walk *walk, uint32_t *k)
{
    if (json_token(walk, *k) != '"') {
        return json_fail(walk, *k, "expected a name in quotes");
    }
    if (json_token(walk, *k + 1) != ':') {
        return json_fail(walk, *k + 1, "expected ':' behind a name");
    }
    if (!check_string(walk, *k)) {
        return false;
    }
    *k += 2;
    return true;
}

static bool in_object(const struct levels *levels)
{
    return (levels->objects >> (levels->depth - 1) & 1) != 0;
}

static uint8_t end_of_level(const struct levels *levels)
{
    return in_object(levels) ? '}' : ']';
}

/* *k is behind the bracket afterwards. */
static bool open_level(struct json_walk *walk, uint32_t *k, struct levels *levels)
{
    if (++levels->depth > LIMIT_JSON_DEPTH) {
        return json_fail(walk, *k, "nested deeper than 64 levels");
    }
    uint64_t bit = UINT64_C(1) << (levels->depth - 1);
    bool object = json_token(walk, *k) == '{';
    levels->objects = object ? levels->objects | bit : levels->objects & ~bit;
    ++*k;
    return true;
}

/* Behind a value: leaves the levels that end here. Then a comma leads to the next value, unless the
 * check is over. */
static bool next_value(struct json_walk *walk, uint32_t *k, struct levels *levels)
{
    while (levels->depth > levels->outer && json_token(walk, *k) == end_of_level(levels)) {
        ++*k;
        levels->depth--;
    }
    if (levels->depth == levels->outer) {
        return true;
    }
    bool object = in_object(levels);
    if (json_token(walk, *k) != ',') {
        return json_fail(walk, *k, object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    ++*k;
    return !object || check_name(walk, k);
}

/* One value or the beginning of one. */
static bool check_value(struct json_walk *walk, uint32_t *k, struct levels *levels)
{
    uint8_t first = json_token(walk, *k);
    if (first == '{' || first == '[') {
        if (!open_level(walk, k, levels)) {
            return false;
        }
        if (json_token(walk, *k) != end_of_level(levels)) {
            return !in_object(levels) || check_name(walk, k);
        }
    } else if (*k + 1 >= walk->count) {
        return json_fail(walk, walk->count, "the object has no end");
    } else if (!json_check_scalar(walk, (*k)++)) {
        return false;
    }
    return next_value(walk, k, levels);
}

bool json_check_nested(struct json_walk *walk, uint32_t *k, uint32_t depth)
{
    struct levels levels = {.depth = depth, .outer = depth};
    ASSERT(json_token(walk, *k) == '{' || json_token(walk, *k) == '[');
    do {
        if (!check_value(walk, k, &levels)) {
            return false;
        }
    } while (levels.depth > levels.outer);
    return true;
}
