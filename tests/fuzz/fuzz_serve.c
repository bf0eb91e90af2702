/* Fuzz target: any bytes as what clients of the server send. The first byte chooses the parser. Each must
 * take or refuse, with a reason; where there is another way to the same answer, both are gone. */
#include "base/json.h"
#include "serve/json_check.h"
#include "serve/json_line.h"
#include "serve/people_file.h"
#include "serve/query_translate.h"
#include "serve/redis_key.h"
#include "serve/redis_parse.h"
#include "serve/row_filter.h"
#include "serve/row_range.h"
#include "serve/topics_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct plan_view *view_of(void)
{
    static const char definition[] =
        "CREATE TABLE t (s text, l bigint, n numeric(12, 3), c date, z timestamptz) "
        "WITH (topic='t', format='json', event_time='z');"
        "CREATE MATERIALIZED VIEW v AS SELECT s, n, c, window_end, count(*) AS k, sum(l) AS total "
        "FROM tumble(t, z, interval '1 minute') GROUP BY s, n, c, window_end;";
    static struct plan *plan;
    if (plan == NULL) {
        struct err err = {0};
        ASSERT(plan_compile("fuzz.sql", definition, strlen(definition), &plan, &err) == 0);
    }
    return &plan->views[0];
}

static void refused(int rc, const struct err *err)
{
    ASSERT(rc >= 0 || (err->code == rc && err->text[0] != '\0'));
}

/* ---- requests of Redis, whole and byte by byte */

/* Appends the requests that len bytes hold, each step of which shows `step` bytes more. */
static void requests(const char *text, size_t len, size_t step, struct buf *out)
{
    struct redis_parse parse;
    const char *why = NULL;
    char *left = xmalloc(len + 1);
    size_t there = len;
    int rc = 0;
    memcpy(left, text, len);
    redis_parse_init(&parse);
    for (size_t seen = step < len ? step : len; rc >= 0;) {
        rc = redis_parse_next(&parse, left, seen, &why);
        if (rc == 1) {
            buf_printf(out, "(%u", parse.count);
            for (uint32_t i = 0; i < parse.count; i++) {
                ASSERT_CMP(strlen(parse.args[i].text), <=, parse.args[i].len);
                buf_printf(out, " %zu:", parse.args[i].len);
                buf_append(out, parse.args[i].text, parse.args[i].len);
            }
            ASSERT_CMP(parse.pos, <=, seen);
            ASSERT_CMP(parse.pos, >, 0);
            memmove(left, left + parse.pos, there - parse.pos);
            there -= parse.pos;
            seen -= parse.pos;
            redis_parse_reset(&parse);
        } else if (seen == there) {
            break;
        } else {
            seen = there - seen < step ? there : seen + step;
        }
    }
    buf_printf(out, "%s", rc < 0 ? why : "");
    redis_parse_free(&parse);
    free(left);
}

static void fuzz_redis(const char *text, size_t len)
{
    struct buf whole = {0};
    struct buf slow = {0};
    requests(text, len, len + 1, &whole);
    requests(text, len, 1, &slow);
    ASSERT_CMP(whole.len, ==, slow.len);
    ASSERT(whole.len == 0 || memcmp(whole.data, slow.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&slow);
}

static void fuzz_redis_key(const char *text, size_t len)
{
    struct redis_key key;
    struct err err = {0};
    struct buf parts_text = {0};
    const char *parts[REDIS_KEY_PARTS];
    uint32_t count = 0;
    int rc = redis_key_parse(text, len, &key, &err);
    refused(rc, &err);
    if (rc == 0 && key.rest != NULL) {
        refused(redis_key_split(&key, view_of(), &parts_text, parts, &count, &err), &err);
    }
    const char *middle = memchr(text, '\n', len);
    size_t half = middle == NULL ? len : (size_t)(middle - text);
    (void)redis_glob(text, half, text + half, len - half);
    ASSERT(redis_glob("*", 1, text, len));
    buf_free(&parts_text);
}

/* ---- JSON */

/* Objects and arrays that jansson takes are taken, unless too deep; what is taken beyond that are numbers
 * which it has no room for. */
static void fuzz_json(const char *text, size_t len)
{
    json_error_t reason;
    json_t *parsed = json_loadb(text, len, JSON_ALLOW_NUL, &reason);
    bool taken = json_check_container(text, len);
    if (parsed != NULL && !taken) {
        char *again = json_dumps(parsed, JSON_COMPACT);
        size_t deep = 0;
        for (const char *at = again; at != NULL && *at != '\0'; at++) {
            deep += *at == '[' || *at == '{' ? 1 : 0;
        }
        ASSERT_CMP(deep, >, LIMIT_JSON_DEPTH);
        free(again);
    }
    ASSERT(!taken || parsed != NULL || json_error_code(&reason) == json_error_numeric_overflow);
    ASSERT(!taken || utf8_check(text, len));
    json_decref(parsed);
}

static void fuzz_line(const char *text, size_t len)
{
    struct topic_sink sink = {0};
    struct kappa_record record = {0};
    struct err err = {0};
    struct buf key = {0};
    bool null = false;
    int64_t time_ms = 0;
    refused(topic_envelope_fill(&sink, text, len, &record, &err), &err);
    refused(json_line_key(text, len, "key", &key, &null, &err), &err);
    refused(json_line_time(text, len, "time", &time_ms, &err), &err);
    buf_free(&key);
    buf_free(&sink.key);
    buf_free(&sink.value);
    buf_free(&sink.headers);
}

/* ---- statements, conditions, choices of rows, people */

static void fuzz_sql(const char *text, size_t len)
{
    struct query_text query = {0};
    struct err err = {0};
    bool empty;
    ASSERT_CMP(query_statement(text, len, &empty), <=, len);
    int rc = query_translate(&query, text, len, NULL, &err);
    refused(rc, &err);
    for (size_t at = 0; rc == 0 && at <= query.out.len; at++) {
        ASSERT_CMP(query_place(&query, at), <=, len);
    }
    query_text_free(&query);
}

static void fuzz_filter(const char *text, size_t len)
{
    (void)len;
    const struct plan_view *view = view_of();
    struct kappa_value row[LIMIT_COLUMNS];
    struct row_filter *filter = NULL;
    struct err err = {0};
    int rc = row_filter_open(view, text, &filter, &err);
    refused(rc, &err);
    if (rc == 0) {
        for (uint32_t i = 0; i < view->output_count; i++) {
            row[i] = (struct kappa_value){.type = view->outputs[i].type, .is_null = true};
        }
        refused(row_filter_holds(filter, row, &err), &err);
        row_filter_close(filter);
    }
}

/* Lines are the parameters: a letter and its text. */
static void fuzz_range(char *text)
{
    struct row_range range = {0};
    struct reader_bounds *bounds = xcalloc(1, sizeof *bounds);
    struct err err = {0};
    for (char *line = text, *end = text; line != NULL; line = end) {
        end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        const char *value = line[0] == '\0' ? line : line + 1;
        switch (*line) {
        case 'k':
            range.keys[range.key_count] = value;
            range.key_count += range.key_count < ROUTE_QUERY_MAX - 1 ? 1 : 0;
            break;
        case 'f':
            range.from = value;
            break;
        case 'b':
            range.below = value;
            break;
        case 'p':
            range.prefix = value;
            break;
        case 's':
            range.since = value;
            break;
        case 'u':
            range.until = value;
            break;
        default:
            range.at = value;
        }
    }
    reader_bounds_init(bounds);
    refused(row_range_bounds(&range, view_of(), bounds, &err), &err);
    reader_bounds_free(bounds);
    free(bounds);
}

static void fuzz_people(const char *text)
{
    struct people_list list = {0};
    struct err err = {0};
    uint32_t roles = 0;
    int rc = people_parse(text, &list, &err);
    refused(rc, &err);
    for (uint32_t i = 0; rc == 0 && i < list.count; i++) {
        struct buf words = {0};
        uint32_t again = 0;
        ASSERT(person_name_check(list.persons[i].name, &err) == 0);
        ASSERT(people_list_find(&list, list.persons[i].name) == &list.persons[i]);
        roles_write(list.persons[i].roles, ",", &words);
        ASSERT(roles_parse(buf_text(&words), &again, &err) == 0 && again == list.persons[i].roles);
        buf_free(&words);
    }
    if (rc == 0) {
        people_list_free(&list);
    }
    refused(roles_parse(text, &roles, &err), &err);
}

static void fuzz_path(char *text)
{
    struct route_request request = {.method = "GET"};
    const struct route *route = NULL;
    const char *allow = NULL;
    struct err err = {0};
    int rc = route_split(text, &request, &err);
    refused(rc, &err);
    if (rc == 0) {
        refused(route_find(&request, &route, &allow, &err), &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t len = size - 1;
    char *text = xmalloc(len + 1); /* of this size: reading behind it shows */
    memcpy(text, data + 1, len);
    text[len] = '\0';
    switch (data[0] % 9) {
    case 0:
        fuzz_redis(text, len);
        break;
    case 1:
        fuzz_redis_key(text, len);
        break;
    case 2:
        fuzz_json(text, len);
        break;
    case 3:
        fuzz_line(text, len);
        break;
    case 4:
        fuzz_sql(text, len);
        break;
    case 5:
        fuzz_filter(text, len);
        break;
    case 6:
        fuzz_range(text);
        break;
    case 7:
        fuzz_people(text);
        break;
    default:
        fuzz_path(text);
    }
    free(text);
    return 0;
}
