/* What the headers of a request say: for whom it is, of what type and size, which route. Own header:
 * http_private.h. */
#include "serve/http_private.h"

#include "base/limits.h"
#include "serve/http_gzip.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Headers */

struct framing {
    uint32_t hosts;
    uint32_t lengths;
    uint32_t codings;
};

static enum MHD_Result framing_count(void *ctx, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct framing *framing = ctx;
    (void)kind;
    (void)value;
    framing->hosts += strcasecmp(name, "Host") == 0 ? 1 : 0;
    framing->lengths += strcasecmp(name, "Content-Length") == 0 ? 1 : 0;
    framing->codings += strcasecmp(name, "Transfer-Encoding") == 0 ? 1 : 0;
    return MHD_YES;
}

/* Where a body ends must be said once: a proxy in front might believe the other header, and give to one
 * client the answer to what another one has hidden in a body. */
static int check_framing(struct MHD_Connection *connection, struct http_request *request)
{
    struct framing framing = {0};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, framing_count, &framing);
    if (framing.lengths + framing.codings <= 1 && framing.hosts <= 1) {
        return 0;
    }
    int rc = framing.hosts > 1
                 ? err_set(&request->err, KE_INVALID, "the request has more than one Host header")
                 : err_set(&request->err, KE_INVALID,
                           "the request says more than once how long it is (Content-Length, "
                           "Transfer-Encoding)");
    err_hint(&request->err, "a request has one Host, and one of the other two: what sends it, or "
                            "passes it on, is not in order");
    return rc;
}

/* A browser that was led here by a foreign name (DNS rebinding) sends that name. */
static int check_host(const struct http_server *server, struct MHD_Connection *connection,
                      struct http_request *request)
{
    if (!server->listening.loopback) {
        return 0;
    }
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    if (host == NULL) {
        return 0; /* HTTP/1.0: no browser */
    }
    size_t len = strcspn(host, host[0] == '[' ? "]" : ":");
    if ((len == 9 && strncasecmp(host, "localhost", len) == 0) ||
        (len >= 7 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len) ||
        strncmp(host, "[::1]", 5) == 0) {
        return 0;
    }
    request->status = MHD_HTTP_FORBIDDEN;
    (void)err_set(&request->err, KE_REFUSED,
                  "the request is for the host \"%.100s\", but this "
                  "server answers for this machine only",
                  host);
    err_hint(&request->err, "use localhost or 127.0.0.1; for access from elsewhere start `kappa up "
                            "--http 0.0.0.0:PORT` behind something that authenticates");
    return -KE_REFUSED;
}

/* A page of another site may not change anything here, not even if it got past the content type:
 * browsers say where a request comes from. */
static int check_site(struct MHD_Connection *connection, struct http_request *request)
{
    const char *site = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *of = origin == NULL ? NULL : strstr(origin, "://");
    bool own;
    if (site != NULL) {
        own = strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    } else {
        own = origin == NULL || (of != NULL && host != NULL && strcasecmp(of + 3, host) == 0);
    }
    if (own) {
        return 0;
    }
    request->status = MHD_HTTP_FORBIDDEN;
    (void)err_set(&request->err, KE_REFUSED,
                  "the request comes from a page of another site (%.100s), which may not change "
                  "anything here",
                  origin == NULL ? "unnamed" : origin);
    err_hint(&request->err, "use the page that this server gives at /; a proxy before it must pass "
                            "the Host header on");
    return -KE_REFUSED;
}

static bool type_is(const char *type, const char *wanted)
{
    size_t len = strcspn(type, "; \t");
    return len == strlen(wanted) && strncasecmp(type, wanted, len) == 0;
}

/* A form of a foreign page cannot set this type, so it cannot post here. */
static int check_type(struct MHD_Connection *connection, struct http_request *request)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    bool lines = request->route->body == ROUTE_BODY_LINES;
    bool any = request->route->body == ROUTE_BODY_ANY;
    if (any || (type != NULL && type_is(type, "application/json"))) {
        return 0;
    }
    if (type != NULL && lines && type_is(type, "application/x-ndjson")) {
        return 0;
    }
    const char *wanted = lines ? "application/x-ndjson" : "application/json";
    request->status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    (void)err_set(&request->err, KE_INVALID, "the content type of a POST must be %s, not %.100s",
                  wanted, type == NULL ? "absent" : type);
    err_hint(&request->err, "with curl: -H 'Content-Type: %s'", wanted);
    return -KE_INVALID;
}

static int check_coding(struct MHD_Connection *connection, struct http_request *request)
{
    const char *coding =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Encoding");
    if (coding == NULL || coding[0] == '\0' || strcasecmp(coding, "identity") == 0) {
        return 0;
    }
    request->status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    int rc = err_set(&request->err, KE_INVALID, "bodies with Content-Encoding %.100s are not read",
                     coding);
    err_hint(&request->err, "send it as it is; answers are compressed for who accepts gzip");
    return rc;
}

int http_request_too_large(struct http_request *request)
{
    int rc = err_set(&request->err, KE_LIMIT, "the body of the request is larger than %d MiB",
                     LIMIT_HTTP_BODY_BYTES >> 20);
    err_hint(&request->err, "send it in several requests");
    return rc;
}

static int check_length(struct MHD_Connection *connection, struct http_request *request)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    bool large = text != NULL && strtoull(text, NULL, 10) > LIMIT_HTTP_BODY_BYTES;
    return large ? http_request_too_large(request) : 0;
}

static enum MHD_Result query_add(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    struct http_request *request = ctx;
    size_t i = request->parsed.query_count;
    if (i == ROUTE_QUERY_MAX) {
        (void)err_set(&request->err, KE_LIMIT, "more than %d parameters", ROUTE_QUERY_MAX);
        return MHD_NO;
    }
    request->query_text[2 * i] = xstrdup(name);
    request->query_text[2 * i + 1] = xstrdup(value == NULL ? "" : value);
    if (route_unescape(request->query_text[2 * i], &request->err) < 0 ||
        route_unescape(request->query_text[2 * i + 1], &request->err) < 0) {
        return MHD_NO;
    }
    request->parsed.query[i].name = request->query_text[2 * i];
    request->parsed.query[i].value = request->query_text[2 * i + 1];
    request->parsed.query_count++;
    return MHD_YES;
}

/* As clients write it that take this server for a proxy, http://HOST/PATH, it is the same address. */
static const char *path_of(const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0) {
        return url;
    }
    const char *path = strchr(url + 7, '/');
    return path == NULL ? "/" : path;
}

int http_request_admit(struct http_server *server, struct MHD_Connection *connection,
                       const char *url, const char *method, struct http_request *request)
{
    int rc = check_framing(connection, request);
    if (rc == 0) {
        rc = check_host(server, connection, request);
    }
    if (rc < 0) {
        return rc;
    }
    request->path = xstrdup(path_of(url));
    request->parsed.method = strcmp(method, "HEAD") == 0 ? "GET" : method;
    rc = route_split(request->path, &request->parsed, &request->err);
    if (rc < 0) {
        return rc;
    }
    const char *tags = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");
    request->if_none_match = tags == NULL ? NULL : xstrdup(tags);
    request->parsed.if_none_match = request->if_none_match;
    request->gzip = http_gzip_accepted(
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding"));
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, query_add, request);
    if (request->err.code != 0) {
        return request->err.code;
    }
    rc = route_find(&request->parsed, &request->route, &request->allow, &request->err);
    if (rc < 0) {
        request->status = request->allow != NULL ? MHD_HTTP_METHOD_NOT_ALLOWED : 0;
        return rc;
    }
    rc = http_people_admit(server, connection, request);
    if (rc == 0 && strcmp(method, "POST") == 0) {
        rc = check_site(connection, request);
        if (rc == 0) {
            rc = check_type(connection, request);
        }
        if (rc == 0) {
            rc = check_coding(connection, request);
        }
        if (rc == 0) {
            rc = check_length(connection, request);
        }
    }
    return rc;
}
