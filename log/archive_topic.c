/* The folder of an archived topic. Own header: archive_topic.h. */
#include "log/archive_topic.h"

#include "base/clock.h"
#include "base/file.h"
#include "log/topic_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define FORMAT    1
#define BYTES_MAX 16384

static int replace(const char *dir, const char *name, const json_t *value, struct err *err)
{
    char *path = xasprintf("%s/%s", dir, name);
    char *temp = xasprintf("%s/%s.tmp", dir, name);
    struct buf text = {0};
    int fd = -1;
    json_write(&text, value);
    buf_append_u8(&text, '\n');
    int rc = file_create(temp, text.data, text.len, &fd, err);
    if (rc == 0) {
        (void)close(fd);
        rc = rename(temp, path) == 0 ? file_sync_dir(dir, err)
                                     : err_errno(err, errno, "cannot rename %s", temp);
    }
    buf_free(&text);
    free(temp);
    free(path);
    return rc;
}

static int parse(const char *path, const struct buf *text, struct archive_topic *out,
                 struct err *err)
{
    json_t *json = json_parse(buf_text(text), text->len, NULL);
    int64_t partitions = json_int(json, "partitions", 0);
    *out = (struct archive_topic){
        .partitions = (uint32_t)partitions,
        .identity = strtoull(json_text(json, "identity", "0"), NULL, 16),
        .on = json_bool(json, "on", false),
        .retain = {json_int(json, "retain_ms", -1), json_int(json, "retain_bytes", -1)},
    };
    bool good = json != NULL && json_int(json, "format", 0) == FORMAT && partitions > 0 &&
                partitions <= LIMIT_SOURCES;
    json_decref(json);
    return good ? 0
                : err_set(err, KE_CORRUPT, "%s does not describe an archive of format %d", path,
                          FORMAT);
}

int archive_topic_load(const char *archive_dir, const char *topic, struct archive_topic *out,
                       struct err *err)
{
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    char *path = xasprintf("%s/%s/archive.json", archive_dir, topic);
    struct buf text = {0};
    rc = file_read(path, BYTES_MAX, &text, err);
    if (rc == 0) {
        rc = parse(path, &text, out, err);
    } else if (rc == -KE_NOT_FOUND) {
        rc = err_set(err, KE_NOT_FOUND, "there is no archive of topic '%s' in %s", topic,
                     archive_dir);
        err_hint(err, "kappa topic set %s archive=on begins one; kappa archive ls lists them",
                 topic);
    }
    buf_free(&text);
    free(path);
    return rc;
}

int archive_topic_store(const char *archive_dir, const char *topic,
                        const struct archive_topic *settings, struct err *err)
{
    char identity[17];
    (void)snprintf(identity, sizeof identity, "%016" PRIx64, settings->identity);
    char *dir = xasprintf("%s/%s", archive_dir, topic);
    json_t *json = json_pack("{s:i,s:I,s:s,s:b,s:I,s:I}", "format", FORMAT, "partitions",
                             (json_int_t)settings->partitions, "identity", identity, "on",
                             (int)settings->on, "retain_ms", (json_int_t)settings->retain.ms,
                             "retain_bytes", (json_int_t)settings->retain.bytes);
    int rc = topic_name_check(topic, err);
    if (rc == 0) {
        rc = file_make_dir(archive_dir, err);
    }
    if (rc == 0) {
        rc = file_make_dir(dir, err);
    }
    if (rc == 0) {
        rc = replace(dir, "archive.json", json, err);
    }
    json_decref(json);
    free(dir);
    return rc;
}

int archive_topic_same(struct log *log, const char *archive_dir, const char *topic,
                       const struct archive_topic *settings, bool *known, struct err *err)
{
    uint64_t identity = 0;
    int rc = log->ops->topic_identity(log, topic, &identity, err);
    *known = rc == 0 && identity != 0 && settings->identity != 0;
    if (*known && identity != settings->identity) {
        rc = err_set(err, KE_TOPIC_CHANGED, "topic '%s' was deleted and made again", topic);
        err_hint(err, "its archive is of the earlier topic: move %s/%s away to begin a new one",
                 archive_dir, topic);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int archive_topic_list(const char *archive_dir, json_t **out, struct err *err)
{
    DIR *folder = opendir(archive_dir);
    if (folder == NULL && errno != ENOENT) {
        return err_errno(err, errno, "cannot open the folder %s", archive_dir);
    }
    char **names = NULL;
    size_t count = 0;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        struct archive_topic settings;
        if (topic_name_valid(entry->d_name) &&
            archive_topic_load(archive_dir, entry->d_name, &settings, NULL) == 0) {
            names = xrealloc(names, (count + 1) * sizeof *names);
            names[count++] = xstrdup(entry->d_name);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    if (count > 0) {
        qsort(names, count, sizeof *names, by_name);
    }
    *out = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(*out, json_string(names[i]));
        free(names[i]);
    }
    free(names);
    return 0;
}

static int lock_open(const char *archive_dir, const char *topic, const char *name, int *fd,
                     struct err *err)
{
    char *path = xasprintf("%s/%s/%s", archive_dir, topic, name);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int rc = *fd < 0 ? err_errno(err, errno, "cannot open %s", path) : 0;
    free(path);
    return rc;
}

static int busy(const char *topic, struct err *err)
{
    int rc = err_set(err, KE_BUSY, "the archive of topic '%s' is being written by another process",
                     topic);
    err_hint(err, "try again in a moment");
    return rc;
}

/* Tries until then. */
static bool lock_until(int fd, int64_t deadline_us)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (clock_mono_us(clock_real()) >= deadline_us) {
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

int archive_topic_lock(const char *archive_dir, const char *topic, int wait_ms, int *fd,
                       struct err *err)
{
    int turn = -1;
    int file = -1;
    int64_t deadline_us = clock_mono_us(clock_real()) + (int64_t)wait_ms * 1000;
    int rc = lock_open(archive_dir, topic, "lock", &file, err);
    if (rc == 0 && wait_ms > 0) {
        rc = lock_open(archive_dir, topic, "turn", &turn, err);
        if (rc == 0 && !lock_until(turn, deadline_us)) {
            rc = busy(topic, err);
        }
    }
    if (rc == 0 && !lock_until(file, deadline_us)) {
        rc = busy(topic, err);
    }
    if (turn >= 0) {
        (void)close(turn);
    }
    if (rc == 0) {
        *fd = file;
    } else if (file >= 0) {
        (void)close(file);
    }
    return rc;
}

bool archive_topic_wanted(const char *archive_dir, const char *topic)
{
    int turn = -1;
    if (lock_open(archive_dir, topic, "turn", &turn, NULL) != 0) {
        return false;
    }
    bool wanted = flock(turn, LOCK_SH | LOCK_NB) != 0;
    (void)close(turn);
    return wanted;
}

void archive_topic_state_store(const char *archive_dir, const char *topic, const json_t *state)
{
    char *dir = xasprintf("%s/%s", archive_dir, topic);
    (void)replace(dir, "state.json", state, NULL);
    free(dir);
}

json_t *archive_topic_state(const char *archive_dir, const char *topic)
{
    char *path = xasprintf("%s/%s/state.json", archive_dir, topic);
    struct buf text = {0};
    json_t *state = NULL;
    if (file_read(path, BYTES_MAX, &text, NULL) == 0) {
        state = json_parse(buf_text(&text), text.len, NULL);
    }
    buf_free(&text);
    free(path);
    return state;
}
