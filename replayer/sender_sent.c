/* The file SENT of a processor. Own header: sender_inside.h.
 *
 *     {"clean":bool,"sent":N,
 *      "inputs":[{"topic","identity","partition","sent","times":{topic with marks:ms}}],
 *      "topics":[{"topic","identity","partitions","checkpoints":[offset or -1]}]}
 *
 * Written beside and renamed, so that it is whole when a process dies; when the system does, it may
 * be gone, which only makes the next sender read more. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "replayer/sender_inside.h"

#define SENT_BYTES_MAX (64 << 20)

static json_t *times_json(const struct sender *sender, const struct sender_input *input)
{
    json_t *object = json_object();
    for (uint32_t t = 0; t < sender->topic_count; t++) {
        if (input->times[t] != KAPPA_NO_TIME) {
            json_object_set_new(object, sender->topics[t].name, json_integer(input->times[t]));
        }
    }
    return object;
}

static json_t *inputs_json(const struct sender *sender)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < sender->input_count; i++) {
        const struct sender_input *input = &sender->inputs[i];
        json_t *object = json_pack("{s:s, s:I, s:i, s:I}", "topic", input->topic, "identity",
                                   (json_int_t)input->identity, "partition", (int)input->partition,
                                   "sent", (json_int_t)input->sent);
        ASSERT(object != NULL);
        if (sender->marking) {
            json_object_set_new(object, "times", times_json(sender, input));
        }
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *topics_json(const struct sender *sender)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        const struct sender_topic *topic = &sender->topics[i];
        json_t *checkpoints = json_array();
        for (uint32_t p = 0; p < topic->partitions; p++) {
            json_array_append_new(checkpoints, json_integer(topic->checkpoints[p]));
        }
        json_t *object = json_pack("{s:s, s:I, s:i, s:o}", "topic", topic->name, "identity",
                                   (json_int_t)topic->identity, "partitions",
                                   (int)topic->partitions, "checkpoints", checkpoints);
        ASSERT(object != NULL);
        json_array_append_new(array, object);
    }
    return array;
}

static int write_all(const char *path, const struct buf *text, bool sync, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return err_errno(err, errno, "cannot write %s", path);
    }
    ssize_t n = write(fd, text->data, text->len);
    int failed = n < 0 ? errno : ENOSPC;
    bool good = n == (ssize_t)text->len;
    if (good && sync && fdatasync(fd) != 0) {
        good = false;
        failed = errno;
    }
    close(fd);
    return good ? 0 : err_errno(err, failed, "cannot write %s", path);
}

int sender_sent_save(struct sender *sender, bool clean, bool sync, struct err *err)
{
    json_t *object =
        json_pack("{s:b, s:I, s:o, s:o}", "clean", clean, "sent", (json_int_t)sender->sent,
                  "inputs", inputs_json(sender), "topics", topics_json(sender));
    ASSERT(object != NULL);
    struct buf text = {0};
    json_write(&text, object);
    json_decref(object);
    char *path = xasprintf("%s/SENT", sender->dir);
    char *beside = xasprintf("%s/SENT.new", sender->dir);
    int rc = write_all(beside, &text, sync, err);
    if (rc == 0 && rename(beside, path) != 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    if (rc == 0 && sync) {
        rc = file_sync_dir(sender->dir, err);
    }
    buf_free(&text);
    free(path);
    free(beside);
    if (rc == 0) {
        sender->clean = clean;
        sender->changed = false;
        sender->saved_us = clock_mono_us(sender->clock);
    }
    return rc;
}

/* ---- Reading */

static json_t *read_object(const char *path)
{
    json_t *object = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    struct buf text = {0};
    ssize_t n = 1;
    while (n > 0 && text.len < SENT_BYTES_MAX) {
        buf_reserve(&text, 65536);
        n = read(fd, text.data + text.len, 65536);
        text.len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (n == 0 && text.len > 0) {
        object = json_parse((const char *)text.data, text.len, NULL);
    }
    buf_free(&text);
    return object;
}

static void take_times(const struct sender *sender, struct sender_input *input, const json_t *times)
{
    for (uint32_t t = 0; sender->marking && t < sender->topic_count; t++) {
        input->times[t] = json_int(times, sender->topics[t].name, KAPPA_NO_TIME);
    }
}

static void take_input(struct sender *sender, const json_t *object)
{
    const char *topic = json_text(object, "topic", "");
    uint64_t identity = (uint64_t)json_int(object, "identity", 0);
    int64_t partition = json_int(object, "partition", -1);
    for (uint32_t i = 0; i < sender->input_count; i++) {
        struct sender_input *input = &sender->inputs[i];
        if (input->partition == partition && input->identity == identity &&
            strcmp(input->topic, topic) == 0) {
            input->sent = i64_max(input->sent, json_int(object, "sent", -1));
            take_times(sender, input, json_object_get(object, "times"));
        }
    }
}

static void take_topic(struct sender *sender, const json_t *object)
{
    const json_t *checkpoints = json_object_get(object, "checkpoints");
    size_t partitions = json_array_size(checkpoints);
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        struct sender_topic *topic = &sender->topics[i];
        if (topic->partitions != 0 || partitions == 0 || partitions > LIMIT_SOURCES ||
            strcmp(topic->name, json_text(object, "topic", "")) != 0) {
            continue;
        }
        topic->partitions = u32_from(partitions);
        topic->identity = (uint64_t)json_int(object, "identity", 0);
        topic->checkpoints = xcalloc(partitions, sizeof *topic->checkpoints);
        topic->written = xcalloc(partitions, sizeof *topic->written);
        topic->found = xcalloc(partitions, sizeof(struct sender_place *));
        for (size_t p = 0; p < partitions; p++) {
            const json_t *offset = json_array_get(checkpoints, p);
            topic->checkpoints[p] = json_is_integer(offset) ? json_integer_value(offset) : -1;
        }
    }
}

json_t *sender_sent_read(const char *dir)
{
    char *path = xasprintf("%s/SENT", dir);
    json_t *object = read_object(path);
    free(path);
    return object;
}

void sender_sent_load(struct sender *sender)
{
    json_t *object = sender_sent_read(sender->dir);
    size_t i;
    json_t *entry;
    json_array_foreach (json_object_get(object, "inputs"), i, entry) {
        take_input(sender, entry);
    }
    json_array_foreach (json_object_get(object, "topics"), i, entry) {
        take_topic(sender, entry);
    }
    sender->clean = json_bool(object, "clean", false);
    sender->sent = (uint64_t)json_int(object, "sent", 0);
    json_decref(object);
}
