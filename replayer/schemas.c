/* Schemas from a registry. Own header: schemas.h. The one file of replayer/ that includes libcurl. */
#include "replayer/schemas.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/trace.h"

#define CONNECT_WAIT_MS  1000L
#define ANSWER_WAIT_MS   2000L
#define ANSWER_BYTES_MAX ((size_t)1 << 20)
#define NOT_FOUND_CODE   40403 /* "Schema not found": not what a proxy says of a wrong path */

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

static int unreachable(const char *registry, uint32_t id, const char *why, struct err *err)
{
    const char *at = strchr(registry, '@');
    int rc = err_set(err, KE_UNREACHABLE, "schema %u cannot be had from the registry %s: %s", id,
                     at == NULL ? registry : at + 1, why);
    err_hint(err,
             "the version waits; look at the registry, or at schema_registry in the definition");
    return rc;
}

/* *status: of the answer. */
static int ask(struct schemas *schemas, const char *registry, uint32_t id, struct buf *answer,
               long *status, struct err *err)
{
    if (schemas->curl == NULL) {
        schemas->curl = curl_easy_init();
    }
    CURL *curl = schemas->curl;
    if (curl == NULL) {
        return err_set(err, KE_INTERNAL, "libcurl cannot be set up");
    }
    size_t len = strlen(registry);
    while (len > 0 && registry[len - 1] == '/') {
        len--;
    }
    char text[CURL_ERROR_SIZE] = "";
    char *url = xasprintf("%.*s/schemas/ids/%u", (int)len, registry, id);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_WAIT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_WAIT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    free(url);
    if (code != CURLE_OK) {
        return unreachable(registry, id, text[0] != '\0' ? text : curl_easy_strerror(code), err);
    }
    return 0;
}

static bool says_not_found(const struct buf *answer)
{
    json_t *tree = json_parse(buf_text(answer), answer->len, NULL);
    bool says = json_int(tree, "error_code", 0) == NOT_FOUND_CODE;
    json_decref(tree);
    return says;
}

static int fetch(struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                 bool *missing, struct err *err)
{
    struct buf answer = {0};
    long status = 0;
    int rc = ask(schemas, registry, id, &answer, &status, err);
    if (rc == 0 && status == 200 && take_schema(&answer, text)) {
        keep(schemas, registry, id, "json", &answer);
    } else if (rc == 0 && status == 404 && says_not_found(&answer)) {
        *missing = true;
        keep(schemas, registry, id, "missing", &answer);
    } else if (rc == 0) {
        char why[80];
        (void)snprintf(why, sizeof why, "it answered %ld without a schema", status);
        rc = unreachable(registry, id, why, err);
    }
    buf_free(&answer);
    return rc;
}

int schemas_get(struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                bool *missing, struct err *err)
{
    *missing = false;
    pthread_mutex_lock(&schemas->lock);
    int rc = kept(schemas, registry, id, text, missing)
                 ? 0
                 : fetch(schemas, registry, id, text, missing, err);
    pthread_mutex_unlock(&schemas->lock);
    return rc;
}
