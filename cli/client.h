/* Talking to a server over HTTP. Errors of the server come back as they are: code, sentence, hint.
 *
 *     client_open -> call, lines, post_lines (one at a time) -> client_close */
#ifndef KAPPA_CLI_CLIENT_H
#define KAPPA_CLI_CLIENT_H

#include "base/buf.h"
#include "base/json.h"
#include "base/library.h"

struct client;

#define CLIENT_WAIT_SECONDS  30 /* for an answer that should come at once */
#define CLIENT_WAIT_FOR_EVER 0

/* server: "HOST:PORT", ":PORT" or a URL. token: shown to it; or NULL. */
int client_open(const char *server, const char *token, struct client **out,
                struct err *err) must_check;
void client_close(struct client *client);

/* body NULL: GET, else POST of it. *out: a new reference. UNREACHABLE when nobody answers. */
int client_call(struct client *client, const char *path, const json_t *body, long wait_seconds,
                json_t **out, struct err *err) must_check;
/* GET of lines: each is given without its end; false stops the transfer. */
int client_lines(struct client *client, const char *path,
                 bool (*line)(void *ctx, const char *text, size_t len), void *ctx,
                 struct err *err) must_check;
/* POST of a body whose answer comes in lines. stop: atomic, or NULL; set to break off (CLOSED). */
int client_post_for_lines(struct client *client, const char *path, const json_t *body,
                          bool (*line)(void *ctx, const char *text, size_t len), void *ctx,
                          const bool *stop, struct err *err) must_check;
/* POST of JSON lines. */
int client_post_lines(struct client *client, const char *path, const void *lines, size_t len,
                      json_t **out, struct err *err) must_check;
/* A header of the last answer, or NULL; lives until the next call. */
const char *client_header(struct client *client, const char *name);

/* Appends "/" and the segment with its escapes. */
void client_path_add(struct buf *path, const char *segment);
/* Appends "?name=value" or "&name=value"; nothing when value is NULL. */
void client_query_add(struct buf *path, const char *name, const char *value);

/* Of libcurl. */
void client_library(struct library *out);

#endif
