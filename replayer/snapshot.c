/* Making a snapshot. Own header: snapshot.h. */
#include "replayer/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/limits.h"
#include "table/copy.h"

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE        (3 << 13)

void snapshot_lower_priority(void)
{
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
}

/* ---- The note */

static json_t *time_json(int64_t value, int64_t unit)
{
    return value == KAPPA_NO_TIME ? json_null() : json_integer(value / unit);
}

/* Of a source that was never committed: nothing is known. */
static json_t *source_json(const struct store_copy_source *source)
{
    char digest[DIGEST_TEXT_LEN + 1];
    digest_format(source->digest, digest);
    const struct kappa_source_state *state = &source->state;
    json_t *item =
        json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:s}", "next", (json_int_t)state->next_offset,
                  "records", (json_int_t)state->records, "dead", (json_int_t)state->dead, "late",
                  (json_int_t)state->late, "event_time_ms", time_json(state->event_time_max, 1000),
                  "record_time_ms", time_json(state->record_time_max, 1), "digest", digest);
    ASSERT(item != NULL);
    return item;
}

struct making {
    const char *making; /* the directory */
    json_t **sources;   /* by number; NULL until known */
    uint32_t count;
    struct digest digest;
    uint64_t bytes;
};

static int take_copy(struct making *m, const struct store_copied *copied, struct err *err)
{
    m->bytes += copied->bytes;
    for (uint32_t i = 0; i < copied->count; i++) {
        const struct store_copy_source *source = &copied->sources[i];
        if (source->source >= m->count || m->sources[source->source] != NULL) {
            return err_set(err, KE_CORRUPT, "%s: source %u is not of this version", m->making,
                           source->source);
        }
        m->sources[source->source] = source_json(source);
        digest_add(&m->digest, source->digest);
    }
    return 0;
}

static int note_write(struct making *m, json_t *note, struct err *err)
{
    json_t *sources = json_array();
    int rc = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->sources[i] == NULL) {
            rc = err_set(err, KE_REFUSED, "source %u has not been committed yet", i);
        } else {
            (void)json_array_append(sources, m->sources[i]);
        }
    }
    char digest[DIGEST_TEXT_LEN + 1];
    digest_format(m->digest, digest);
    (void)json_object_set_new(note, "sources", sources);
    (void)json_object_set_new(note, "digest", json_string(digest));
    (void)json_object_set_new(note, "bytes", json_integer((json_int_t)m->bytes));
    struct buf text = {0};
    json_write(&text, note);
    buf_append_u8(&text, '\n');
    char *path = xasprintf("%s/snapshot.json", m->making);
    int fd = -1;
    if (rc == 0) {
        rc = file_create(path, text.data, text.len, &fd, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    buf_free(&text);
    return rc == 0 ? file_sync_dir(m->making, err) : rc;
}

/* ---- The directory */

static int step(int (*fail_point)(void *ctx, const char *step), const char *name, struct err *err)
{
    int code = fail_point == NULL ? 0 : fail_point(NULL, name);
    return code == 0 ? 0 : err_set(err, KE_INTERNAL, "stopped at fail point \"%s\"", name);
}

static int copy_all(struct making *m, const char *from, uint32_t shards,
                    int (*fail_point)(void *ctx, const char *step), struct err *err)
{
    int rc = file_make_dir(m->making, err);
    for (uint32_t i = 0; rc == 0 && i < shards; i++) {
        struct store_copied copied;
        char *source = xasprintf("%s/%u", from, i);
        char *to = xasprintf("%s/%u", m->making, i);
        rc = store_copy(source, to, &copied, err);
        if (rc == 0) {
            rc = take_copy(m, &copied, err);
            free(copied.sources);
        }
        if (rc == 0) {
            rc = step(fail_point, "copied", err);
        }
        free(source);
        free(to);
    }
    return rc;
}

/* The folder of a path, made when missing: "a/b" of "a/b/c". */
static int parent_of(const char *path, char **out, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return err_set(err, KE_INVALID, "copy: \"to\" is no path");
    }
    *out = xstrndup(path, (size_t)(slash - path));
    return file_make_dir(*out, err);
}

static int publish(const char *making, const char *to,
                   int (*fail_point)(void *ctx, const char *step), struct err *err)
{
    char *parent = NULL;
    int rc = parent_of(to, &parent, err);
    if (rc == 0) {
        rc = step(fail_point, "whole", err);
    }
    if (rc == 0 && rename(making, to) != 0) {
        rc = err_errno(err, errno, "cannot make the directory %s", to);
    }
    if (rc == 0) {
        rc = step(fail_point, "there", err);
    }
    if (rc == 0) {
        rc = file_sync_dir(parent, err);
    }
    free(parent);
    return rc;
}

int snapshot_make(const json_t *order, int (*fail_point)(void *ctx, const char *step),
                  json_t **note, struct err *err)
{
    const char *from = json_text(order, "from", NULL);
    const char *to = json_text(order, "to", NULL);
    const json_t *info = json_object_get(order, "info");
    int64_t shards = json_int(order, "shards", 0);
    struct making m = {.making = json_text(order, "making", NULL)};
    m.count = u32_from(json_array_size(json_object_get(info, "start")));
    if (from == NULL || to == NULL || m.making == NULL || shards < 1 || shards > LIMIT_SHARDS ||
        m.count == 0 || m.count > LIMIT_SOURCES) {
        return err_set(err, KE_INVALID,
                       "copy: needs \"from\", \"to\", \"making\", \"shards\" and "
                       "\"info\"");
    }
    m.sources = xcalloc(m.count, sizeof(json_t *));
    *note = json_deep_copy(info);
    int rc = copy_all(&m, from, u32_from((size_t)shards), fail_point, err);
    if (rc == 0) {
        rc = note_write(&m, *note, err);
    }
    if (rc == 0) {
        rc = publish(m.making, to, fail_point, err);
    }
    for (uint32_t i = 0; i < m.count; i++) {
        json_decref(m.sources[i]);
    }
    free(m.sources);
    if (rc != 0) {
        json_decref(*note);
        *note = NULL;
    }
    return rc;
}
