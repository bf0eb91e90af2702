/* Data directories that are open, what goes wrong in words, and fork. Own header: inner.h and
 * include/kappa/reader.h.
 *
 * fork: the child counts one generation on; what carries an older number is refused there and never
 * touched, since its locks may be held by threads that the child does not have. */
#include "library/inner.h"

#include "include/kappa/version.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned generation; /* changes only in a forked child, while it has one thread */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error; /* of pthread_atfork; read behind fork_once */

_Static_assert((int)KAPPA_INVALID == (int)KE_INVALID && (int)KAPPA_SQL == (int)KE_SQL, "one list");
_Static_assert((int)KAPPA_NOT_FOUND == (int)KE_NOT_FOUND, "of codes");
_Static_assert((int)KAPPA_REFUSED == (int)KE_REFUSED && (int)KAPPA_TIMEOUT == (int)KE_TIMEOUT, "");
_Static_assert((int)KAPPA_IO == (int)KE_IO && (int)KAPPA_DISK_FULL == (int)KE_DISK_FULL, "");
_Static_assert((int)KAPPA_CORRUPT == (int)KE_CORRUPT && (int)KAPPA_BUSY == (int)KE_BUSY, "");
_Static_assert((int)KAPPA_LIMIT == (int)KE_LIMIT && (int)KAPPA_CLOSED == (int)KE_CLOSED, "");
_Static_assert((int)KAPPA_INTERNAL == (int)KE_INTERNAL, "");

/* ---- words */

const char *kappa_library_version(void)
{
    return KAPPA_VERSION;
}

const char *kappa_code_word(int code)
{
    return code == 0 ? "ok" : err_word(code);
}

int library_fail(struct kappa_error *error, enum err_code code, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
        error->code = -(int)code;
        error->hint[0] = '\0';
    }
    return -(int)code;
}

int library_result(int rc, const struct err *reason, struct kappa_error *error)
{
    if (rc < 0 && error != NULL) {
        error->code = rc;
        (void)snprintf(error->text, sizeof error->text, "%s",
                       reason->code != 0 ? reason->text : err_text(rc));
        (void)snprintf(error->hint, sizeof error->hint, "%s",
                       reason->code != 0 ? reason->hint : "");
    }
    return rc;
}

/* ---- fork */

static void fork_child(void)
{
    generation++;
}

static void fork_watch(void)
{
    fork_error = pthread_atfork(NULL, NULL, fork_child);
}

int library_check_fork(unsigned of, struct kappa_error *error)
{
    if (of == generation) {
        return 0;
    }
    return library_fail(error, KE_CLOSED,
                        "it was opened before this process was forked and cannot be used here: "
                        "open a reader in the child");
}

/* ---- readers */

static int check_reader(const struct kappa_reader *reader, struct kappa_error *error)
{
    if (reader == NULL || reader->magic != LIBRARY_READER_MAGIC) {
        return library_fail(error, KE_INVALID, "this is no open reader");
    }
    return library_check_fork(reader->generation, error);
}

int kappa_reader_open(const char *data_dir, struct kappa_reader **out, struct kappa_error *error)
{
    if (data_dir == NULL || out == NULL) {
        return library_fail(error, KE_INVALID,
                            "a data directory and a place for the reader are needed");
    }
    if (strlen(data_dir) > LIMIT_PATH_LEN) {
        return library_fail(error, KE_INVALID,
                            "the path of the data directory is longer than %d bytes",
                            LIMIT_PATH_LEN);
    }
    (void)pthread_once(&fork_once, fork_watch);
    if (fork_error != 0) {
        return library_fail(error, KE_INTERNAL, "forks cannot be watched: %s",
                            strerror(fork_error));
    }
    struct err reason = {0};
    struct reader *reader = NULL;
    int rc = reader_open(data_dir, &reader, &reason);
    if (rc != 0) {
        return library_result(rc, &reason, error);
    }
    struct kappa_reader *opened = xcalloc(1, sizeof *opened);
    opened->magic = LIBRARY_READER_MAGIC;
    opened->generation = generation;
    opened->reader = reader;
    *out = opened;
    return 0;
}

int kappa_reader_close(struct kappa_reader *reader, struct kappa_error *error)
{
    if (reader == NULL) {
        return 0;
    }
    if (reader->magic != LIBRARY_READER_MAGIC) {
        return library_fail(error, KE_INVALID, "this is no open reader");
    }
    if (reader->generation != generation) {
        return 0; /* it is the parent's */
    }
    uint32_t scopes = __atomic_load_n(&reader->scopes, __ATOMIC_ACQUIRE);
    if (scopes > 0) {
        return library_fail(error, KE_BUSY, "%u scopes of the reader are open", scopes);
    }
    reader_close(reader->reader);
    reader->magic = 0;
    free(reader);
    return 0;
}

/* ---- what there is */

static bool tell_version(const json_t *version,
                         bool (*fn)(void *, const struct kappa_catalog_entry *), void *ctx)
{
    size_t i;
    json_t *table;
    int64_t number = json_int(version, "version", 0);
    json_array_foreach (json_object_get(version, "tables"), i, table) {
        struct kappa_catalog_entry entry = {
            .table = json_string_value(table),
            .processor = json_text(version, "processor", ""),
            .state = json_text(version, "state", ""),
            .version = number > 0 && number <= UINT32_MAX ? (uint32_t)number : 0,
        };
        if (entry.table != NULL && entry.version != 0 && !fn(ctx, &entry)) {
            return false;
        }
    }
    return true;
}

int kappa_reader_tables(struct kappa_reader *reader,
                        bool (*fn)(void *ctx, const struct kappa_catalog_entry *entry), void *ctx,
                        struct kappa_error *error)
{
    int rc = check_reader(reader, error);
    if (rc != 0) {
        return rc;
    }
    if (fn == NULL) {
        return library_fail(error, KE_INVALID, "a function to call is needed");
    }
    struct err reason = {0};
    json_t *versions = NULL;
    rc = catalog_list(reader->reader->catalog, "v/", &versions, &reason);
    if (rc != 0) {
        return library_result(rc, &reason, error);
    }
    size_t i;
    json_t *item;
    bool on = true;
    json_array_foreach (versions, i, item) {
        on = on && tell_version(json_object_get(item, "value"), fn, ctx);
    }
    json_decref(versions);
    return 0;
}

/* ---- beginning a scope */

/* "table" or "table@3" in its parts; name has LIMIT_NAME_LEN + 1 bytes. */
static int name_split(const char *text, char *name, uint32_t *version, struct kappa_error *error)
{
    const char *at = strrchr(text, '@');
    size_t len = at != NULL ? (size_t)(at - text) : strlen(text);
    *version = 0;
    if (len == 0 || len > LIMIT_NAME_LEN) {
        return library_fail(error, KE_INVALID, "a name of a table has 1 to %d bytes",
                            LIMIT_NAME_LEN);
    }
    if (at != NULL) {
        if (!reader_version_parse(at + 1, strlen(at + 1), version)) {
            return library_fail(
                error, KE_INVALID,
                "\"%.200s\": behind the @ stands the number of a version, 1 or more, or "
                "`" READER_CANDIDATE_WORD "`",
                text);
        }
    }
    memcpy(name, text, len);
    name[len] = '\0';
    return 0;
}

static struct kappa_scope *scope_new(struct kappa_reader *reader, const struct reader_read *reading)
{
    const struct plan *plan = reading->version->plan;
    struct kappa_scope *scope =
        xcalloc(1, sizeof *scope + plan->view_count * sizeof scope->tables[0]);
    scope->magic = LIBRARY_SCOPE_MAGIC;
    scope->generation = generation;
    scope->owner = reader;
    scope->reading = *reading;
    arena_init(&scope->memory);
    for (uint32_t i = 0; i < plan->view_count; i++) {
        scope->tables[i] = (struct kappa_table){
            .magic = LIBRARY_TABLE_MAGIC, .scope = scope, .index = i, .view = &plan->views[i]};
    }
    return scope;
}

/* key NULL: of none. */
static int scope_begin(struct kappa_reader *reader, const char *name, const char *key,
                       struct kappa_scope **out, struct kappa_error *error)
{
    char table[LIMIT_NAME_LEN + 1];
    uint32_t version = 0;
    int rc = check_reader(reader, error);
    if (rc != 0) {
        return rc;
    }
    if (name == NULL || out == NULL) {
        return library_fail(error, KE_INVALID, "a table and a place for the scope are needed");
    }
    rc = name_split(name, table, &version, error);
    if (rc != 0) {
        return rc;
    }
    struct err reason;
    reason.code = 0;
    struct reader_read reading;
    (void)__atomic_add_fetch(&reader->scopes, 1, __ATOMIC_ACQ_REL);
    rc = key != NULL && version == 0
             ? reader_begin_for(reader->reader, table, key, &reading, &reason)
             : reader_begin(reader->reader, table, version, &reading, &reason);
    if (rc != 0) {
        (void)__atomic_sub_fetch(&reader->scopes, 1, __ATOMIC_ACQ_REL);
        return library_result(rc, &reason, error);
    }
    *out = scope_new(reader, &reading);
    return 0;
}

int kappa_scope_begin(struct kappa_reader *reader, const char *name, struct kappa_scope **out,
                      struct kappa_error *error)
{
    return scope_begin(reader, name, NULL, out, error);
}

int kappa_scope_begin_for(struct kappa_reader *reader, const char *name, const char *key,
                          struct kappa_scope **out, struct kappa_error *error)
{
    int rc = check_reader(reader, error);
    if (rc == 0 && key == NULL) {
        rc = library_fail(error, KE_INVALID, "the key that the scope is for is needed");
    }
    return rc == 0 ? scope_begin(reader, name, key, out, error) : rc;
}
