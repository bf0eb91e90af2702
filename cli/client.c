/* libcurl behind four calls. Own header: client.h. */
#include "cli/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_WAIT_MS 5000L

struct client {
    CURL *curl;
    char *base;          /* "http://host:port" */
    char *shown;         /* what the person gave */
    char *authorization; /* a header, or NULL */
    char curl_text[CURL_ERROR_SIZE];
};

/* Where the body of an answer goes. */
struct sink {
    struct buf text; /* all of it, or of lines the part without its end yet */
    bool (*line)(void *ctx, const char *text, size_t len); /* NULL: collect */
    void *ctx;
    CURL *curl;   /* for the status */
    bool stopped; /* line said so */
};

int client_open(const char *server, const char *token, struct client **out, struct err *err)
{
    static bool started;
    if (!started && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_set(err, KE_INTERNAL, "libcurl cannot be set up");
    }
    started = true;
    struct client *client = xcalloc(1, sizeof *client);
    client->shown = xstrdup(server);
    client->authorization = token == NULL ? NULL : xasprintf("Authorization: Bearer %s", token);
    bool whole = strncmp(server, "http://", 7) == 0 || strncmp(server, "https://", 8) == 0;
    client->base = whole ? xstrdup(server)
                         : xasprintf("http://%s%s", server[0] == ':' ? "127.0.0.1" : "", server);
    for (size_t len = strlen(client->base); len > 0 && client->base[len - 1] == '/'; len--) {
        client->base[len - 1] = '\0';
    }
    client->curl = curl_easy_init();
    if (client->curl == NULL) {
        client_close(client);
        return err_set(err, KE_INTERNAL, "libcurl cannot be set up");
    }
    *out = client;
    return 0;
}

void client_close(struct client *client)
{
    if (client->curl != NULL) {
        curl_easy_cleanup(client->curl);
    }
    if (client->authorization != NULL) {
        explicit_bzero(client->authorization, strlen(client->authorization));
    }
    free(client->authorization);
    free(client->base);
    free(client->shown);
    free(client);
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct sink *sink = ctx;
    size_t len = size * count;
    buf_append(&sink->text, bytes, len);
    long status = 0;
    (void)curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &status);
    if (sink->line == NULL || status >= 300) {
        return len;
    }
    size_t at = 0;
    const char *text = buf_text(&sink->text);
    const char *end;
    while (!sink->stopped && (end = memchr(text + at, '\n', sink->text.len - at)) != NULL) {
        size_t line_len = (size_t)(end - text) - at;
        sink->stopped = !sink->line(sink->ctx, text + at, line_len);
        at += line_len + 1;
    }
    memmove(sink->text.data, sink->text.data + at, sink->text.len - at);
    sink->text.len -= at;
    return sink->stopped ? 0 : len; /* 0 makes libcurl stop */
}

static int unreachable(const struct client *client, CURLcode code, struct err *err)
{
    if (code == CURLE_OPERATION_TIMEDOUT) {
        int rc =
            err_set(err, KE_UNREACHABLE, "the server at %s did not answer in time", client->shown);
        err_hint(err, "is it busy or stopped? see the messages of `kappa up`");
        return rc;
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
        int rc = err_set(err, KE_INVALID, "\"%s\" is not the address of a server", client->shown);
        err_hint(err, "write HOST:PORT or http://HOST:PORT");
        return rc;
    }
    int rc = err_set(err, KE_UNREACHABLE, "cannot reach the server at %s: %s", client->shown,
                     client->curl_text[0] != '\0' ? client->curl_text : curl_easy_strerror(code));
    err_hint(err, "is `kappa up` running there? --server HOST:PORT or KAPPA_SERVER names another");
    return rc;
}

/* The error that the server sent, or what can be said without one. */
static int refused(const struct client *client, long status, const struct buf *text,
                   struct err *err)
{
    struct err sent = {0};
    json_t *body = json_parse(buf_text(text), text->len, NULL);
    bool known = body != NULL && json_to_err(body, &sent) && sent.code != 0;
    json_decref(body);
    if (!known) {
        return err_set(err, KE_UNREACHABLE,
                       "%s answered with status %ld and no error of kappa: is it a kappa server?",
                       client->shown, status);
    }
    if (err != NULL) {
        *err = sent;
    }
    return sent.code;
}

/* Performs what is set up on the handle. type: a header of the request, or NULL. */
static int perform(struct client *client, const char *path, const char *type, long wait_seconds,
                   struct sink *sink, struct err *err)
{
    CURL *curl = client->curl;
    char *url = xasprintf("%s%s", client->base, path);
    struct curl_slist *headers = type == NULL ? NULL : curl_slist_append(NULL, type);
    if (client->authorization != NULL) {
        headers = curl_slist_append(headers, client->authorization);
    }
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    sink->curl = curl;
    client->curl_text[0] = '\0';
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_text);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a key may be ".." */
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_WAIT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, wait_seconds);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    free(url);
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && sink->stopped)) {
        return unreachable(client, code, err);
    }
    return status >= 200 && status < 300 ? 0 : refused(client, status, &sink->text, err);
}

static int post(struct client *client, const char *path, const char *type, const void *body,
                size_t len, long wait_seconds, struct sink *sink, struct err *err)
{
    (void)curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    (void)curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body);
    return perform(client, path, type, wait_seconds, sink, err);
}

static int json_answer(struct client *client, const struct sink *sink, json_t **out,
                       struct err *err)
{
    json_t *answer = json_parse_exact(buf_text(&sink->text), sink->text.len, NULL);
    if (answer == NULL) {
        return err_set(err, KE_UNREACHABLE, "%s did not answer in JSON: is it a kappa server?",
                       client->shown);
    }
    *out = answer;
    return 0;
}

int client_call(struct client *client, const char *path, const json_t *body, long wait_seconds,
                json_t **out, struct err *err)
{
    struct sink sink = {0};
    int rc;
    if (body == NULL) {
        (void)curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
        rc = perform(client, path, NULL, wait_seconds, &sink, err);
    } else {
        char *text = json_print(body);
        rc = post(client, path, "Content-Type: application/json", text, strlen(text), wait_seconds,
                  &sink, err);
        free(text);
    }
    if (rc == 0) {
        rc = json_answer(client, &sink, out, err);
    }
    buf_free(&sink.text);
    return rc;
}

int client_lines(struct client *client, const char *path,
                 bool (*line)(void *ctx, const char *text, size_t len), void *ctx, struct err *err)
{
    struct sink sink = {.line = line, .ctx = ctx};
    (void)curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
    int rc = perform(client, path, NULL, CLIENT_WAIT_FOR_EVER, &sink, err);
    buf_free(&sink.text);
    return rc;
}

/* libcurl asks now and then: not 0 ends the transfer. */
static int look_at_stop(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                        curl_off_t up)
{
    const bool *stop = ctx;
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return __atomic_load_n(stop, __ATOMIC_RELAXED);
}

int client_post_for_lines(struct client *client, const char *path, const json_t *body,
                          bool (*line)(void *ctx, const char *text, size_t len), void *ctx,
                          const bool *stop, struct err *err)
{
    struct sink sink = {.line = line, .ctx = ctx};
    char *text = json_print(body);
    if (stop != NULL) {
        (void)curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, look_at_stop);
        (void)curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)stop);
    }
    int rc = post(client, path, "Content-Type: application/json", text, strlen(text),
                  CLIENT_WAIT_FOR_EVER, &sink, err);
    (void)curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 1L);
    free(text);
    buf_free(&sink.text);
    if (rc < 0 && stop != NULL && __atomic_load_n(stop, __ATOMIC_RELAXED)) {
        rc = err_set(err, KE_CLOSED, "the statement was cancelled");
    }
    return rc;
}

int client_post_lines(struct client *client, const char *path, const void *lines, size_t len,
                      json_t **out, struct err *err)
{
    struct sink sink = {0};
    int rc = post(client, path, "Content-Type: application/x-ndjson", lines, len,
                  CLIENT_WAIT_SECONDS, &sink, err);
    if (rc == 0) {
        rc = json_answer(client, &sink, out, err);
    }
    buf_free(&sink.text);
    return rc;
}

const char *client_header(struct client *client, const char *name)
{
    struct curl_header *header = NULL;
    if (curl_easy_header(client->curl, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) {
        return NULL;
    }
    return header->value;
}

static void escape(struct buf *out, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    ASSERT(escaped != NULL);
    buf_append_text(out, text[0] == '\0' ? "" : escaped);
    curl_free(escaped);
}

void client_path_add(struct buf *path, const char *segment)
{
    buf_append_u8(path, '/');
    escape(path, segment);
}

void client_query_add(struct buf *path, const char *name, const char *value)
{
    if (value == NULL) {
        return;
    }
    buf_append_u8(path, strchr(buf_text(path), '?') == NULL ? '?' : '&');
    buf_append_text(path, name);
    buf_append_u8(path, '=');
    escape(path, value);
}

void client_library(struct library *out)
{
    *out = (struct library){.name = "libcurl"};
    (void)snprintf(out->built, sizeof out->built, "%s", LIBCURL_VERSION);
    (void)snprintf(out->runs, sizeof out->runs, "%s", curl_version_info(CURLVERSION_NOW)->version);
}
