/* Finding the route of a request, and the parts of answers. Own header: routes.h. */
#include "serve/routes.h"

#include "base/digest.h"
#include "base/limits.h"
#include "serve/json_check.h"
#include "serve/metrics.h"
#include "serve/routes_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int answer_alive(const struct route_context *context, const struct route_request *request,
                        struct route_answer *answer, struct err *err)
{
    (void)context;
    (void)request;
    (void)err;
    answer->type = "text/plain; charset=utf-8";
    buf_append_text(&answer->body, "alive\n");
    return 0;
}

/* The controller has answered, so its loop turns and its catalog is readable. */
static void render_ready(json_t *body, const struct route_counters *counters,
                         struct route_answer *answer)
{
    (void)body;
    (void)counters;
    answer->type = "text/plain; charset=utf-8";
    buf_append_text(&answer->body, "ready\n");
}

static void render_metrics(json_t *body, const struct route_counters *counters,
                           struct route_answer *answer)
{
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(body, counters, &answer->body);
}

#define P     "/v1/processors"
#define T     "/v1/tables/*/rows"
#define JSON  ROUTE_BODY_JSON
#define LINES ROUTE_BODY_LINES
#define ANY   ROUTE_BODY_ANY

/* Who may ask: the pages and the description of the API are no secret, and say nothing of the data. */
#define OPEN    0
#define READ    ROLE_READ
#define WRITE   ROLE_WRITE
#define OPERATE ROLE_OPERATE
#define METRICS ROLE_METRICS

/* clang-format off */
static const struct route routes[] = { /* the one that is asked for most stands first */
    {"GET",  T "/**",                   "at,version", READ, route_row, NULL, 0, 200, false, JSON, route_view},
    {"GET",  "/",                       "", OPEN, route_dashboard, NULL, 0, 200, false, JSON, NULL},
    {"GET",  "/dashboard/*",            "", OPEN, route_dashboard, NULL, 0, 200, false, JSON, NULL},
    {"GET",  "/healthz",                "", OPEN, answer_alive, NULL, 0, 200, false, JSON, NULL},
    {"GET",  "/readyz",                 "", OPEN,
                                        NULL, render_ready, HTTP_VERB_STATUS, 200, false, JSON, NULL},
    {"GET",  "/metrics",                "", READ | METRICS,
                                        NULL, render_metrics, HTTP_VERB_STATUS, 200, false, JSON, NULL},
    {"GET",  "/v1/openapi.json",        "", OPEN, route_openapi, NULL, 0, 200, false, JSON, NULL},
    {"GET",  "/v1/status",              "", READ, NULL, NULL, HTTP_VERB_STATUS, 200, false, JSON, NULL},
    {"GET",  "/v1/status/stream",       "", READ, NULL, NULL, ROUTE_STREAM, 200, false, JSON, NULL},
    {"GET",  P,                         "", READ, NULL, NULL, HTTP_VERB_STATUS, 200, false, JSON, NULL},
    {"GET",  P "/*",                    "", READ, NULL, NULL, HTTP_VERB_STATUS, 200, false, JSON, NULL},
    {"POST", P,                         "", OPERATE, NULL, NULL, HTTP_VERB_DEPLOY, 201, false, JSON, NULL},
    {"POST", P "/*/replay",             "", OPERATE, NULL, NULL, HTTP_VERB_REPLAY, 201, false, JSON, NULL},
    {"POST", P "/*/swap",               "", OPERATE, NULL, NULL, HTTP_VERB_SWAP, 200, false, JSON, NULL},
    {"POST", P "/*/rollback",           "", OPERATE, NULL, NULL, HTTP_VERB_ROLLBACK, 200, false, JSON, NULL},
    {"POST", P "/*/canary",             "", OPERATE, NULL, NULL, HTTP_VERB_CANARY, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/abort",   "", OPERATE, NULL, NULL, HTTP_VERB_ABORT, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/pause",   "", OPERATE, NULL, NULL, HTTP_VERB_PAUSE, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/resume",  "", OPERATE, NULL, NULL, HTTP_VERB_RESUME, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/limit",   "", OPERATE, NULL, NULL, HTTP_VERB_LIMIT, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/drop",    "", OPERATE, NULL, NULL, HTTP_VERB_DROP, 200, false, JSON, NULL},
    {"POST", P "/*/versions/*/verify",  "", OPERATE, NULL, NULL, HTTP_VERB_VERIFY, 200, false, JSON, NULL},
    {"POST", P "/*/diff",               "", OPERATE, NULL, NULL, HTTP_VERB_DIFF, 200, false, JSON, NULL},
    {"GET",  P "/*/snapshots",          "", READ, NULL, NULL, HTTP_VERB_SNAPSHOTS, 200, false, JSON, NULL},
    {"POST", P "/*/snapshots",          "", OPERATE, NULL, NULL, HTTP_VERB_SNAPSHOT, 201, false, JSON, NULL},
    {"POST", P "/*/drop-snapshot",      "", OPERATE,
                                        NULL, NULL, HTTP_VERB_SNAPSHOT_DROP, 200, false, JSON, NULL},
    {"POST", P "/*/corrected",          "", OPERATE, NULL, NULL, HTTP_VERB_CORRECTED, 200, false, JSON, NULL},
    {"GET",  P "/*/history",            "", READ, NULL, NULL, HTTP_VERB_HISTORY, 200, false, JSON, NULL},
    {"GET",  P "/*/plots",              "", READ, NULL, NULL, HTTP_VERB_PLOTS, 200, false, JSON, NULL},
    {"GET",  P "/*/versions/*/dead",    "limit", READ, route_dead, NULL, 0, 200, true, JSON, NULL},
    {"GET",  P "/*/versions/*/late",    "limit", READ, route_late, NULL, 0, 200, true, JSON, NULL},
    {"GET",  P "/*/outbox",             "limit,version", READ, route_outbox, NULL, 0, 200, true, JSON, NULL},
    {"GET",  "/v1/history",             "", READ, NULL, NULL, HTTP_VERB_HISTORY, 200, false, JSON, NULL},
    {"POST", "/v1/limit",               "", OPERATE, NULL, NULL, HTTP_VERB_LIMIT_ALL, 200, false, JSON, NULL},
    {"POST", "/v1/gc",                  "", OPERATE, NULL, NULL, HTTP_VERB_GC, 200, false, JSON, NULL},
    {"GET",  "/v1/events",              "after,limit,processor,wait", READ,
                                        NULL, NULL, HTTP_VERB_EVENTS, 200, false, JSON, NULL},
    {"GET",  "/v1/topics",              "", READ, route_topic_list, NULL, 0, 200, true, JSON, NULL},
    {"GET",  "/v1/archive",             "", READ, route_archive, NULL, 0, 200, true, JSON, NULL},
    {"POST", "/v1/topics",              "", WRITE, route_topic_create, NULL, 0, 201, true, JSON, NULL},
    {"GET",  "/v1/topics/*/records",    "from,limit,partition,until", READ,
                                        route_topic_read, NULL, 0, 200, true, JSON, NULL},
    {"POST", "/v1/topics/*/records",    "key,time,partition,envelope", WRITE,
                                        route_topic_produce, NULL, 0, 200, true, LINES, NULL},
    {"POST", "/v1/sql",                 "", READ, route_sql, NULL, 0, 200, true, JSON, NULL},
    {"GET",  "/v1/tables",              "", READ, route_tables, NULL, 0, 200, true, JSON, NULL},
    {"GET",  "/v1/tables/*/row",        "at,version", READ,
                                        route_row, NULL, 0, 200, false, JSON, route_view},
    {"GET",  "/v1/tables/*/changes",    "after,at,below,from,key,prefix,rows,since,until,where", READ,
                                        NULL, NULL, ROUTE_CHANGES, 200, false, JSON, NULL},
    {"POST", "/v1/tables/*/get",        "", READ, route_get_many, NULL, 0, 200, true, JSON, NULL},
    {"GET",  T,                         "after,at,below,from,key,limit,prefix,since,until,version,where",
                                        READ, route_rows, NULL, 0, 200, true, JSON, NULL},
    {"POST", "/get-online-features",    "", READ, route_features, NULL, 0, 200, true, ANY, NULL},
};
/* clang-format on */

#undef P
#undef T
#undef JSON
#undef LINES
#undef ANY
#undef OPEN
#undef READ
#undef WRITE
#undef OPERATE
#undef METRICS

_Static_assert(array_len(routes) <= ROUTES_MAX, "each route has counters");

uint32_t route_number(const struct route *route)
{
    ASSERT(route >= routes && route < routes + array_len(routes));
    return (uint32_t)(route - routes);
}

const struct route *route_numbered(uint32_t number)
{
    return number < array_len(routes) ? &routes[number] : NULL;
}

int route_unescape(char *text, struct err *err)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || high * 16 + low == 0) {
            return err_set(err, KE_INVALID,
                           "the address has a %% that is not followed by the two "
                           "hexadecimal digits of a character (00 is refused)");
        }
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    if (!utf8_check(text, (size_t)(to - text))) {
        return err_set(err, KE_INVALID, "the address is not UTF-8 once its %% escapes are undone");
    }
    return 0;
}

int route_split(char *path, struct route_request *request, struct err *err)
{
    request->segment_count = 0;
    char *rest = path[0] == '/' ? path + 1 : path;
    while (rest != NULL) {
        char *slash = strchr(rest, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (request->segment_count == ROUTE_SEGMENTS_MAX) {
            return err_set(err, KE_LIMIT, "the path has more than %d segments", ROUTE_SEGMENTS_MAX);
        }
        int rc = route_unescape(rest, err);
        if (rc < 0) {
            return rc;
        }
        request->segments[request->segment_count++] = rest;
        rest = slash == NULL ? NULL : slash + 1;
    }
    return 0;
}

static bool path_matches(const char *pattern, const struct route_request *request)
{
    uint32_t i = 0;
    for (const char *at = pattern; *at == '/'; i++) {
        if (i >= request->segment_count) {
            return false;
        }
        const char *segment = request->segments[i];
        at++;
        if (at[0] == '*') {
            if (at[1] == '*') {
                return true;
            }
            at++;
            continue;
        }
        while (*at != '\0' && *at != '/' && *at == *segment) { /* most differ soon */
            at++;
            segment++;
        }
        if (*segment != '\0' || (*at != '\0' && *at != '/')) {
            return false;
        }
    }
    return i == request->segment_count;
}

static int query_check(const struct route *route, const struct route_request *request,
                       struct err *err)
{
    for (uint32_t i = 0; i < request->query_count; i++) {
        if (list_has(route->query, request->query[i].name)) {
            continue;
        }
        int rc = err_set(err, KE_INVALID, "unknown parameter \"%s\"", request->query[i].name);
        if (route->query[0] == '\0') {
            err_hint(err, "this address takes none");
        } else {
            err_hint(err, "it may be one of: %s", route->query);
        }
        return rc;
    }
    return 0;
}

int route_find(const struct route_request *request, const struct route **out, const char **allow,
               struct err *err)
{
    const struct route *other = NULL;
    bool both = false;
    for (size_t i = 0; i < array_len(routes); i++) {
        if (!path_matches(routes[i].path, request)) {
            continue;
        }
        if (strcmp(routes[i].method, request->method) == 0) {
            *out = &routes[i];
            *allow = NULL;
            return query_check(&routes[i], request, err);
        }
        both = other != NULL && other->method[0] != routes[i].method[0];
        other = &routes[i];
    }
    if (other == NULL) {
        *allow = NULL;
        int rc = err_set(err, KE_NOT_FOUND, "there is nothing at this address");
        err_hint(err, "/v1/openapi.json lists the addresses; rows are at /v1/tables/NAME/rows/KEY");
        return rc;
    }
    *allow = both ? "GET, HEAD, POST" : other->method[0] == 'G' ? "GET, HEAD" : "POST";
    return err_set(err, KE_INVALID, "method %s is not for this address, which takes %s",
                   request->method, *allow);
}

int route_body_object(const struct route_request *request, json_t **out, struct err *err)
{
    json_t *body = request->body_len == 0
                       ? json_object()
                       : json_parse((const char *)request->body, request->body_len, err);
    if (body == NULL) {
        err_prefix(err, "the body of the request");
        return -KE_INVALID;
    }
    if (!json_is_object(body)) {
        json_decref(body);
        return err_set(err, KE_INVALID, "the body of the request must be a JSON object");
    }
    *out = body;
    return 0;
}

int route_body_int(const json_t *body, const char *name, int64_t least, int64_t most, int64_t *out,
                   struct err *err)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < least ||
        json_integer_value(value) > most) {
        return err_set(err, KE_INVALID, "\"%s\" must be a whole number from %lld to %lld", name,
                       (long long)least, (long long)most);
    }
    *out = json_integer_value(value);
    return 0;
}

static bool name_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= LIMIT_NAME_LEN && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") == len;
}

static int version_parse(const char *text, uint32_t *version, struct err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value == 0 ||
        value > INT32_MAX) {
        return err_set(err, KE_INVALID, "\"%s\" is not the number of a version", text);
    }
    *version = (uint32_t)value;
    return 0;
}

/* The processor and version that the path names, or for a deploy and a swap the body. */
static int call_target(const struct route *route, const struct route_request *request,
                       const json_t *body, const char **processor, uint32_t *version,
                       struct err *err)
{
    const char *name = request->segment_count > 2 ? request->segments[2] : NULL;
    if (route->verb == HTTP_VERB_DEPLOY) {
        name = json_text(body, "name", "");
        if (json_text(body, "sql", NULL) == NULL) {
            return err_set(err, KE_INVALID, "a deploy needs \"name\" and \"sql\", both text");
        }
    }
    if (name != NULL && !name_valid(name)) {
        return err_set(err, KE_INVALID,
                       "\"%s\" is not the name of a processor: letters, digits, '_', '-' and '.', "
                       "at most %d of them",
                       name, LIMIT_NAME_LEN);
    }
    *processor = name;
    if (request->segment_count > 4) {
        return version_parse(request->segments[4], version, err);
    }
    const json_t *asked = json_object_get(body, "version");
    if (asked == NULL || json_is_null(asked)) {
        *version = 0;
        return 0;
    }
    if (!json_is_integer(asked) || json_integer_value(asked) < 1 ||
        json_integer_value(asked) > INT32_MAX) {
        return err_set(err, KE_INVALID, "\"version\" must be the number of a version");
    }
    *version = (uint32_t)json_integer_value(asked);
    return 0;
}

/* The parameters of a GET are its body, as text. */
static json_t *query_object(const struct route_request *request)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < request->query_count; i++) {
        int rc = json_object_set_new(object, request->query[i].name,
                                     json_string(request->query[i].value));
        ASSERT(rc == 0);
    }
    return object;
}

int route_call(const struct route *route, const struct route_request *request,
               const char **processor, uint32_t *version, json_t **body, struct err *err)
{
    ASSERT(route->answer == NULL);
    ASSERT_CMP(route->verb, <, ROUTE_STREAM);
    json_t *object = NULL;
    if (route->method[0] == 'P') {
        int rc = route_body_object(request, &object, err);
        if (rc < 0) {
            return rc;
        }
    } else if (request->query_count > 0) {
        object = query_object(request);
    }
    int rc = call_target(route, request, object, processor, version, err);
    if (rc < 0) {
        json_decref(object);
        return rc;
    }
    *body = object;
    return 0;
}

void route_answer_init(struct route_answer *answer, int status)
{
    *answer = (struct route_answer){.status = status, .type = "application/json", .spill = -1};
}

void route_answer_free(struct route_answer *answer)
{
    answer->header_count = 0;
    buf_free(&answer->header_values);
    buf_free(&answer->body);
    if (answer->spill >= 0) {
        (void)close(answer->spill);
        answer->spill = -1;
    }
}

/* A file without a name, on a disk rather than in memory where there is a choice. */
int route_spill_open(struct err *err)
{
    static const char *const places[] = {"/var/tmp", "/tmp"};
    const char *wanted = getenv("TMPDIR");
    int fd = wanted == NULL ? -1 : open(wanted, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    for (size_t i = 0; fd < 0 && i < array_len(places); i++) {
        fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    return fd >= 0 ? fd : err_errno(err, errno, "no temporary file for a large answer");
}

int route_answer_spill(struct route_answer *answer, struct err *err)
{
    if (answer->body.len < ROUTE_SPILL_BYTES) {
        return 0;
    }
    if (answer->spill < 0) {
        int fd = route_spill_open(err);
        if (fd < 0) {
            return fd;
        }
        answer->spill = fd;
    }
    return route_answer_spill_rest(answer, err);
}

int route_answer_spill_rest(struct route_answer *answer, struct err *err)
{
    ASSERT(answer->spill >= 0);
    size_t done = 0;
    while (done < answer->body.len) {
        ssize_t len = write(answer->spill, answer->body.data + done, answer->body.len - done);
        if (len < 0 && errno != EINTR) {
            return err_errno(err, errno, "a large answer could not be kept in a temporary file");
        }
        done += len < 0 ? 0 : (size_t)len;
    }
    answer->spilled += done;
    buf_reset(&answer->body);
    return 0;
}

#define HEADER_VALUES_BYTES 250 /* of most answers; a long cut takes more */

void route_answer_header(struct route_answer *answer, const char *name, const char *value)
{
    ASSERT(answer->header_count < ROUTE_HEADERS_MAX);
    struct buf *values = &answer->header_values;
    if (values->len == 0) {
        buf_reserve(values, HEADER_VALUES_BYTES);
    }
    answer->headers[answer->header_count].name = name;
    answer->headers[answer->header_count].value = values->len;
    answer->header_count++;
    buf_append(values, value, strlen(value) + 1);
}

const char *route_header_value(const struct route_answer *answer, uint32_t header)
{
    ASSERT_CMP(header, <, answer->header_count);
    return buf_text(&answer->header_values) + answer->headers[header].value;
}

/* Is it in a list like `"a", W/"b"`, or is that `*`? Compared weakly: W/ says nothing. */
static bool tag_listed(const char *list, const char *tag)
{
    size_t len = strlen(tag);
    for (const char *at = list; *at != '\0';) {
        at += strspn(at, ", \t");
        if (*at == '*') {
            return true;
        }
        at += strncmp(at, "W/", 2) == 0 ? 2 : 0;
        if (strncmp(at, tag, len) == 0) {
            return true;
        }
        at += strcspn(at, ",");
    }
    return false;
}

bool route_answer_tag(struct route_answer *answer, const struct route_request *request,
                      const void *content, size_t len)
{
    char tag[DIGEST_TEXT_LEN + 5] = "W/\"";
    digest_format(hash_content(content, len), tag + 3);
    tag[DIGEST_TEXT_LEN + 3] = '"';
    tag[DIGEST_TEXT_LEN + 4] = '\0';
    route_answer_header(answer, "ETag", tag);
    answer->tagged = true;
    if (request->if_none_match == NULL || !tag_listed(request->if_none_match, tag + 2)) {
        return false;
    }
    answer->status = 304;
    return true;
}

void route_answer_json(struct route_answer *answer, const json_t *body)
{
    json_write(&answer->body, body);
    buf_append_u8(&answer->body, '\n');
}

void route_answer_err(struct route_answer *answer, const struct err *err)
{
    route_answer_free(answer);
    route_answer_init(answer, err_http_status(err->code));
    json_t *body = json_from_err(err);
    route_answer_json(answer, body);
    json_decref(body);
}

const char *route_query(const struct route_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, name) == 0) {
            return request->query[i].value;
        }
    }
    return NULL;
}

int route_query_int(const struct route_request *request, const char *name, int64_t least,
                    int64_t most, int64_t fallback, int64_t *out, struct err *err)
{
    const char *text = route_query(request, name);
    if (text == NULL) {
        *out = fallback;
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
        return err_set(err, KE_INVALID, "%s=%s is not a whole number from %lld to %lld", name, text,
                       (long long)least, (long long)most);
    }
    *out = value;
    return 0;
}
