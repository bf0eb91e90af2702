/* Finding snapshots. Own header: snapshot_files.h. */
#include "controller/snapshot_files.h"

#include "base/file.h"
#include "base/trace.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_BYTES_MAX ((size_t)64 << 20)

static json_t *note_read(const char *dir, const char *id)
{
    struct err err = {0};
    struct buf text = {0};
    char *path = xasprintf("%s/%s/snapshot.json", dir, id);
    json_t *note = NULL;
    if (file_read(path, NOTE_BYTES_MAX, &text, &err) == 0) {
        note = json_parse(buf_text(&text), text.len, &err);
    }
    if (note == NULL || strcmp(json_text(note, "id", ""), id) != 0) {
        trace(TRACE_WARN, "%s is no snapshot: %s", path, err.text);
        json_decref(note);
        note = NULL;
    }
    buf_free(&text);
    free(path);
    return note;
}

/* Into the list, at its place. */
static void list_add(json_t *list, json_t *note)
{
    size_t at = json_array_size(list);
    int64_t made = json_int(note, "made_ms", 0);
    while (at > 0 && json_int(json_array_get(list, at - 1), "made_ms", 0) > made) {
        at--;
    }
    int rc = json_array_insert_new(list, at, note);
    ASSERT(rc == 0);
}

json_t *snapshot_list(const char *data_dir, const char *processor)
{
    json_t *list = json_array();
    char *path = xasprintf("%s/versions/%s/snapshots", data_dir, processor);
    DIR *dir = opendir(path);
    for (const struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        json_t *note = entry->d_name[0] != '.' ? note_read(path, entry->d_name) : NULL;
        if (note != NULL) {
            list_add(list, note);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(path);
    return list;
}

json_t *snapshot_named(const json_t *list, const char *text)
{
    size_t i;
    json_t *note;
    json_array_foreach ((json_t *)(uintptr_t)list, i, note) {
        if (strcmp(json_text(note, "id", ""), text) == 0 ||
            strcmp(json_text(note, "name", ""), text) == 0) {
            return note;
        }
    }
    return NULL;
}

int64_t snapshot_bytes(const json_t *list)
{
    int64_t sum = 0;
    size_t i;
    const json_t *note;
    json_array_foreach (list, i, note) {
        sum += json_int(note, "bytes", 0);
    }
    return sum;
}
