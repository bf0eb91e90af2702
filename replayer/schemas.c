/* Schemas from a registry. Own header: schemas.h. The one file of replayer/ that includes libcurl. */
#include "replayer/schemas.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/trace.h"

#define CONNECT_WAIT_MS  1000L
#define ANSWER_WAIT_MS   2000L
#define ANSWER_BYTES_MAX ((size_t)1 << 20)
#define QUESTION_WAIT_US INT64_C(4000000) /* a schema with all that it refers to */
#define REFERENCES_MAX   64
#define NOT_FOUND_FIRST  40401 /* subject, version, schema not found */
#define NOT_FOUND_LAST   40403

struct schemas {
    char *dir;            /* or NULL */
    pthread_mutex_t lock; /* one question at a time */
    CURL *curl;
};

struct schemas *schemas_open(const char *dir)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    struct schemas *schemas = xcalloc(1, sizeof *schemas);
    schemas->dir = dir == NULL ? NULL : xstrdup(dir);
    pthread_mutex_init(&schemas->lock, NULL);
    return schemas;
}

void schemas_close(struct schemas *schemas)
{
    if (schemas == NULL) {
        return;
    }
    if (schemas->curl != NULL) {
        curl_easy_cleanup(schemas->curl);
    }
    pthread_mutex_destroy(&schemas->lock);
    free(schemas->dir);
    free(schemas);
}

/* ---- Files */

/* The folder of a registry: what a person recognises of its address, and a digest of all of it. */
static char *folder_of(const struct schemas *schemas, const char *registry)
{
    uint64_t digest = hash_bytes(registry, strlen(registry));
    const char *host = strstr(registry, "://");
    host = host == NULL ? registry : host + 3;
    const char *at = strchr(host, '@'); /* a password is no name of a folder */
    host = at == NULL ? host : at + 1;
    int len = (int)strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    return xasprintf("%s/%.*s-%08x", schemas->dir, len > 64 ? 64 : len, host,
                     (unsigned)(digest & UINT32_MAX));
}

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    buf_reset(out);
    while (n > 0 && out->len <= ANSWER_BYTES_MAX) {
        buf_reserve(out, 65536);
        n = read(fd, out->data + out->len, 65536);
        out->len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return n == 0;
}

static bool write_all(int fd, const struct buf *bytes)
{
    for (size_t at = 0; at < bytes->len;) {
        ssize_t n = write(fd, bytes->data + at, bytes->len - at);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0;
}

/* Whole or not at all. That it cannot be kept is said, and no more: it will be asked for again. */
static void keep(const struct schemas *schemas, const char *registry, uint32_t id,
                 const char *ending, const struct buf *bytes)
{
    if (schemas->dir == NULL) {
        return;
    }
    char *folder = folder_of(schemas, registry);
    char *path = xasprintf("%s/%u.%s", folder, id, ending);
    char *fresh = xasprintf("%s/.%u.%ld", folder, id, (long)getpid());
    (void)mkdir(schemas->dir, 0777);
    (void)mkdir(folder, 0777);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && write_all(fd, bytes);
    int cause = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (good && rename(fresh, path) != 0) {
        good = false;
        cause = errno;
    }
    if (!good) {
        trace(TRACE_WARN, "schema %u cannot be kept in %s: %s", id, folder, strerror(cause));
    }
    free(folder);
    free(path);
    free(fresh);
}

/* ---- The registry */

/* The schema out of an answer; false if there is none in it. */
static bool take_schema(const struct buf *answer, struct buf *text)
{
    json_t *tree = json_parse(buf_text(answer), answer->len, NULL);
    const char *schema = json_text(tree, "schema", NULL);
    buf_reset(text);
    if (schema != NULL) {
        buf_append_text(text, schema);
    }
    json_decref(tree);
    return schema != NULL;
}

static bool kept(const struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                 bool *missing)
{
    if (schemas->dir == NULL) {
        return false;
    }
    struct buf answer = {0};
    char *folder = folder_of(schemas, registry);
    char *found = xasprintf("%s/%u.json", folder, id);
    char *none = xasprintf("%s/%u.missing", folder, id);
    bool known = read_file(found, &answer) && take_schema(&answer, text);
    *missing = !known && access(none, F_OK) == 0;
    free(folder);
    free(found);
    free(none);
    buf_free(&answer);
    return known || *missing;
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct buf *answer = ctx;
    if (answer->len + size * count > ANSWER_BYTES_MAX) {
        return 0;
    }
    buf_append(answer, bytes, size * count);
    return size * count;
}

/* One question: a schema, and those it refers to. */
struct question {
    struct schemas *schemas;
    const char *registry;
    uint32_t id;
    int64_t deadline_us;
    json_t *texts;       /* [schemas referred to, each behind those it refers to itself] */
    json_t *names;       /* {"name by which it was referred to": true} */
    struct buf *refusal; /* the answer that there is none */
    bool missing;
};

static int unreachable(const struct question *question, const char *why, struct err *err)
{
    const char *at = strchr(question->registry, '@');
    int rc = err_set(err, KE_UNREACHABLE, "schema %u cannot be had from the registry %s: %s",
                     question->id, at == NULL ? question->registry : at + 1, why);
    err_hint(err,
             "the version waits; look at the registry, or at schema_registry in the definition");
    return rc;
}

/* path: behind the registry's URL. *status: of the answer. */
static int ask(const struct question *question, const char *path, struct buf *answer, long *status,
               struct err *err)
{
    CURL *curl = question->schemas->curl;
    const char *registry = question->registry;
    int64_t left_ms = (question->deadline_us - clock_mono_us(clock_real())) / 1000;
    if (left_ms <= 0) {
        return unreachable(question, "its answers take too long", err);
    }
    size_t len = strlen(registry);
    while (len > 0 && registry[len - 1] == '/') {
        len--;
    }
    char text[CURL_ERROR_SIZE] = "";
    char *url = xasprintf("%.*s/%s", (int)len, registry, path);
    long wait_ms = left_ms < ANSWER_WAIT_MS ? (long)left_ms : ANSWER_WAIT_MS;
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_WAIT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, wait_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    free(url);
    if (code != CURLE_OK) {
        return unreachable(question, text[0] != '\0' ? text : curl_easy_strerror(code), err);
    }
    return 0;
}

/* "Subject", "version", "schema not found": not what a proxy says of a wrong path. */
static bool says_not_found(const struct buf *answer)
{
    json_t *tree = json_parse(buf_text(answer), answer->len, NULL);
    int64_t code = json_int(tree, "error_code", 0);
    json_decref(tree);
    return code >= NOT_FOUND_FIRST && code <= NOT_FOUND_LAST;
}

/* The tree of an answer that holds a schema; NULL and 0: the registry says that there is none. */
static int ask_schema(struct question *question, const char *path, json_t **out, struct err *err)
{
    struct buf answer = {0};
    long status = 0;
    *out = NULL;
    int rc = ask(question, path, &answer, &status, err);
    if (rc == 0 && status == 404 && says_not_found(&answer)) {
        question->missing = true;
        buf_reset(question->refusal);
        buf_append(question->refusal, answer.data, answer.len);
    } else if (rc == 0) {
        *out = status == 200 ? json_parse(buf_text(&answer), answer.len, NULL) : NULL;
        if (json_text(*out, "schema", NULL) == NULL) {
            char why[80];
            (void)snprintf(why, sizeof why, "it answered %ld without a schema", status);
            json_decref(*out);
            *out = NULL;
            rc = unreachable(question, why, err);
        }
    }
    buf_free(&answer);
    return rc;
}

/* A text of the registry as JSON: in doubt it is a text, which is no schema. */
static json_t *schema_tree(const json_t *answer)
{
    const char *text = json_text(answer, "schema", "");
    json_t *tree = json_parse(text, strlen(text), NULL);
    return tree != NULL ? tree : json_string(text);
}

static int refer(struct question *question, const json_t *answer, struct err *err);

/* Fetches one that is referred to, with all that it refers to itself. As in Confluent's own reader, the
 * first of a name counts. */
// NOLINTNEXTLINE(misc-no-recursion): REFERENCES_MAX names are followed at most
static int refer_one(struct question *question, const json_t *reference, struct err *err)
{
    const char *name = json_text(reference, "name", "");
    const char *subject = json_text(reference, "subject", "");
    if (json_object_get(question->names, name) != NULL) {
        return 0;
    }
    if (json_object_size(question->names) == REFERENCES_MAX) {
        question->missing = true;
        buf_reset(question->refusal);
        buf_append_text(question->refusal, "{\"message\":\"it refers to more than 64 schemas\"}");
        return 0;
    }
    (void)json_object_set_new(question->names, name, json_true());
    char *escaped = curl_easy_escape(question->schemas->curl, subject, 0);
    char *path = xasprintf("subjects/%s/versions/%" PRId64 "?deleted=true",
                           escaped == NULL ? "" : escaped, json_int(reference, "version", 0));
    json_t *answer = NULL;
    int rc = ask_schema(question, path, &answer, err);
    if (rc == 0 && answer != NULL) {
        rc = refer(question, answer, err);
        (void)json_array_append_new(question->texts, schema_tree(answer));
    }
    json_decref(answer);
    curl_free(escaped);
    free(path);
    return rc;
}

// NOLINTNEXTLINE(misc-no-recursion): see refer_one
static int refer(struct question *question, const json_t *answer, struct err *err)
{
    const json_t *references = json_object_get(answer, "references");
    int rc = 0;
    for (size_t i = 0; rc == 0 && !question->missing && i < json_array_size(references); i++) {
        rc = refer_one(question, json_array_get(references, i), err);
    }
    return rc;
}

/* What is kept of a schema: the answer itself, or all texts as one. */
static json_t *whole(const struct question *question, const json_t *answer)
{
    if (json_array_size(question->texts) == 0) {
        return json_pack("{s:O}", "schema", json_object_get(answer, "schema"));
    }
    json_t *all =
        json_pack("{s:o, s:O}", "schema", schema_tree(answer), "references", question->texts);
    char *text = json_print(all);
    json_t *kept = json_pack("{s:s}", "schema", text);
    free(text);
    json_decref(all);
    return kept;
}

static int fetch(struct question *question, struct buf *text, bool *missing, struct err *err)
{
    struct schemas *schemas = question->schemas;
    char path[40];
    json_t *answer = NULL;
    struct buf bytes = {0};
    (void)snprintf(path, sizeof path, "schemas/ids/%u", question->id);
    int rc = ask_schema(question, path, &answer, err);
    if (rc == 0) {
        rc = refer(question, answer, err);
    }
    *missing = rc == 0 && question->missing;
    if (*missing) {
        keep(schemas, question->registry, question->id, "missing", question->refusal);
    } else if (rc == 0) {
        json_t *kept = whole(question, answer);
        json_write(&bytes, kept);
        buf_reset(text);
        buf_append_text(text, json_text(kept, "schema", ""));
        keep(schemas, question->registry, question->id, "json", &bytes);
        json_decref(kept);
    }
    json_decref(answer);
    buf_free(&bytes);
    return rc;
}

static int fetch_whole(struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                       bool *missing, struct err *err)
{
    if (schemas->curl == NULL) {
        schemas->curl = curl_easy_init();
    }
    if (schemas->curl == NULL) {
        return err_set(err, KE_INTERNAL, "libcurl cannot be set up");
    }
    struct buf refusal = {0};
    struct question question = {.schemas = schemas,
                                .registry = registry,
                                .id = id,
                                .deadline_us = clock_mono_us(clock_real()) + QUESTION_WAIT_US,
                                .texts = json_array(),
                                .names = json_object(),
                                .refusal = &refusal};
    int rc = fetch(&question, text, missing, err);
    json_decref(question.texts);
    json_decref(question.names);
    buf_free(&refusal);
    return rc;
}

int schemas_get(struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                bool *missing, struct err *err)
{
    *missing = false;
    pthread_mutex_lock(&schemas->lock);
    int rc = kept(schemas, registry, id, text, missing)
                 ? 0
                 : fetch_whole(schemas, registry, id, text, missing, err);
    pthread_mutex_unlock(&schemas->lock);
    return rc;
}
