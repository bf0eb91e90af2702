/* The folder of one topic. Own header: topic_dir.h. */
#include "log/topic_dir.h"

#include "base/file.h"
#include "base/limits.h"
#include "log/topic_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_BYTES_DEFAULT (64 << 20)
#define SEGMENT_BYTES_MAX     (INT64_C(4) << 30) /* a whole segment is mapped */
#define TOPIC_JSON_BYTES_MAX  4096
#define TOPIC_FORMAT          1

/* ---- Create ---- */

static int options_check(const struct log_topic_options *options, struct err *err)
{
    if (options->partitions == 0) {
        return err_set(err, KE_INVALID, "a topic needs at least one partition");
    }
    if (options->partitions > LIMIT_PARTITIONS) {
        return err_set(err, KE_LIMIT, "%u partitions are more than the %d that a topic may have",
                       options->partitions, LIMIT_PARTITIONS);
    }
    if (options->retain_ms < -1 || options->retain_bytes < -1) {
        return err_set(err, KE_INVALID, "retention must not be negative (-1: keep for ever)");
    }
    if (options->segment_bytes < 0 || options->segment_bytes > SEGMENT_BYTES_MAX) {
        return err_set(err, KE_LIMIT,
                       "a segment of %" PRId64 " bytes is not between 1 and %" PRId64,
                       options->segment_bytes, (int64_t)SEGMENT_BYTES_MAX);
    }
    return 0;
}

static int write_info(const char *dir, const struct log_topic_options *options, uint64_t identity,
                      struct err *err)
{
    char text[TOPIC_JSON_BYTES_MAX];
    int64_t segment_bytes =
        options->segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : options->segment_bytes;
    int len = snprintf(text, sizeof text,
                       "{\"format\":%d,\"partitions\":%u,\"retain_ms\":%" PRId64
                       ",\"retain_bytes\":%" PRId64 ",\"segment_bytes\":%" PRId64
                       ",\"identity\":\"%016" PRIx64 "\"}\n",
                       TOPIC_FORMAT, options->partitions, options->retain_ms, options->retain_bytes,
                       segment_bytes, identity);
    char *path = xasprintf("%s/topic.json", dir);
    int fd = -1;
    int rc = file_create(path, text, (size_t)len, &fd, err);
    if (rc == 0) {
        (void)close(fd);
    }
    free(path);
    return rc;
}

static int make_partitions(const char *dir, uint32_t count, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        char *path = xasprintf("%s/%u", dir, i);
        rc = file_make_dir(path, err);
        free(path);
    }
    return rc;
}

static void remove_dir(const char *dir, uint32_t partitions)
{
    for (uint32_t i = 0; i < partitions; i++) {
        char *path = xasprintf("%s/%u", dir, i);
        (void)rmdir(path);
        free(path);
    }
    char *path = xasprintf("%s/topic.json", dir);
    (void)unlink(path);
    free(path);
    (void)rmdir(dir);
}

int topic_dir_create(const char *log_dir, const char *topic,
                     const struct log_topic_options *options, struct err *err)
{
    uint64_t identity = 0;
    int rc = options_check(options, err);
    if (rc != 0) {
        return rc;
    }
    while (identity == 0) {
        if (getrandom(&identity, sizeof identity, 0) != (ssize_t)sizeof identity) {
            return err_errno(err, errno, "cannot get random bytes");
        }
    }
    char *path = xasprintf("%s/%s", log_dir, topic);
    char *temp = xasprintf("%s/~new-%016" PRIx64, log_dir, identity);
    rc = file_make_dir(temp, err);
    if (rc == 0) {
        rc = write_info(temp, options, identity, err);
    }
    if (rc == 0) {
        rc = make_partitions(temp, options->partitions, err);
    }
    if (rc == 0) {
        rc = file_sync_dir(temp, err);
    }
    if (rc == 0 && rename(temp, path) != 0) {
        /* A topic's folder is never empty, so rename does not replace it. */
        rc = errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR
                 ? err_set(err, KE_EXISTS, "the topic '%s' already exists", topic)
                 : err_errno(err, errno, "cannot rename %s to %s", temp, path);
    }
    if (rc != 0) {
        remove_dir(temp, options->partitions);
    } else {
        rc = file_sync_dir(log_dir, err);
    }
    free(temp);
    free(path);
    return rc;
}

/* ---- Load ---- */

static int parse_info(const char *path, const char *text, size_t len, struct topic_info *info,
                      struct err *err)
{
    json_t *json = json_parse(text, len, NULL);
    if (json == NULL) {
        return err_set(err, KE_CORRUPT, "%s is not JSON", path);
    }
    int64_t partitions = json_int(json, "partitions", 0);
    *info = (struct topic_info){
        .partitions = (uint32_t)partitions,
        .retain_ms = json_int(json, "retain_ms", -1),
        .retain_bytes = json_int(json, "retain_bytes", -1),
        .segment_bytes = json_int(json, "segment_bytes", SEGMENT_BYTES_DEFAULT),
        .identity = strtoull(json_text(json, "identity", "0"), NULL, 16),
    };
    bool good = json_int(json, "format", 0) == TOPIC_FORMAT && partitions > 0 &&
                partitions <= LIMIT_PARTITIONS && info->segment_bytes > 0;
    json_decref(json);
    return good ? 0
                : err_set(err, KE_CORRUPT, "%s does not describe a topic of format %d", path,
                          TOPIC_FORMAT);
}

/* NOT_FOUND without a hint when there is no such file. */
static int load_info(const char *log_dir, const char *topic, struct topic_info *info,
                     struct err *err)
{
    char text[TOPIC_JSON_BYTES_MAX];
    char *path = xasprintf("%s/%s/topic.json", log_dir, topic);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc;
    if (fd < 0) {
        rc = err_errno(err, errno == ENOTDIR ? ENOENT : errno, "cannot open %s", path);
    } else {
        ssize_t len = read(fd, text, sizeof text);
        rc = len < 0 ? err_errno(err, errno, "cannot read %s", path)
                     : parse_info(path, text, (size_t)len, info, err);
        (void)close(fd);
    }
    free(path);
    return rc;
}

int topic_dir_load(const char *log_dir, const char *topic, struct topic_info *info, struct err *err)
{
    int rc = load_info(log_dir, topic, info, err);
    if (rc == -KE_NOT_FOUND) {
        json_t *topics = NULL;
        if (topic_dir_list(log_dir, &topics, err) != 0) {
            topics = NULL; /* then without near names */
        }
        rc = topic_name_not_found(topic, topics, err);
        json_decref(topics);
    }
    return rc;
}

/* ---- List ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of folders that may be topics; malloc'd, sorted. */
static int read_names(const char *log_dir, char ***names, size_t *count, struct err *err)
{
    DIR *folder = opendir(log_dir);
    if (folder == NULL) {
        return err_errno(err, errno, "cannot open the folder %s", log_dir);
    }
    size_t used = 0;
    size_t room = 0;
    char **list = NULL;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (!topic_name_valid(entry->d_name)) {
            continue;
        }
        if (used == room) {
            room = room == 0 ? 16 : room * 2;
            list = xrealloc(list, room * sizeof *list);
        }
        list[used++] = xstrdup(entry->d_name);
    }
    (void)closedir(folder);
    if (used > 0) {
        qsort(list, used, sizeof *list, by_name);
    }
    *names = list;
    *count = used;
    return 0;
}

int topic_dir_list(const char *log_dir, json_t **out, struct err *err)
{
    char **names = NULL;
    size_t count = 0;
    int rc = read_names(log_dir, &names, &count, err);
    if (rc != 0) {
        return rc;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct topic_info info = {0};
        /* Another folder, or one that was deleted a moment ago, is not a topic. */
        if (load_info(log_dir, names[i], &info, NULL) == 0) {
            (void)json_array_append_new(list, json_pack("{s:s,s:I}", "name", names[i], "partitions",
                                                        (json_int_t)info.partitions));
        }
        free(names[i]);
    }
    free(names);
    *out = list;
    return 0;
}
