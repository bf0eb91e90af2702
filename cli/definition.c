/* Reading a definition from a file, and the files that it names. Own header: definition.h. */
#include "cli/definition.h"

#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_LEN_MAX  ((size_t)(LIMIT_SQL_LEN))
#define FILE_LEN_MAX ((size_t)(LIMIT_FILE_LEN))

/* Appends what is in it, one block more than `most` at most. */
static int read_all(FILE *file, const char *path, size_t most, struct buf *out, struct err *err)
{
    char block[4096];
    size_t len;
    while ((len = fread(block, 1, sizeof block, file)) > 0) {
        buf_append(out, block, len);
        if (out->len > most) {
            return 0;
        }
    }
    return ferror(file) != 0 ? err_errno(err, errno, "cannot read %s", path) : 0;
}

int definition_read(const char *path, struct buf *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    int rc = read_all(file, path, SQL_LEN_MAX, out, err);
    if (!standard) {
        (void)fclose(file);
    }
    if (rc == 0 && out->len > SQL_LEN_MAX) {
        rc = err_set(err, KE_LIMIT, "%s is larger than %d KiB: is it a definition?", path,
                     LIMIT_SQL_LEN >> 10);
    }
    return rc;
}

/* ---- Files beside it */

struct folder {
    const char *beside; /* the definition's path */
    struct definition *definition;
};

static int file_read(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int rc = err_errno(err, errno, "cannot read %s", path);
        err_hint(err, "it is looked for beside the definition");
        return rc;
    }
    int rc = read_all(file, path, FILE_LEN_MAX, out, err);
    (void)fclose(file);
    if (rc == 0 && out->len > FILE_LEN_MAX) {
        return err_set(err, KE_LIMIT, "%s is larger than %d KiB", path, LIMIT_FILE_LEN >> 10);
    }
    return rc;
}

static const char *file_text(void *ctx, const char *name, struct err *cause)
{
    const struct folder *folder = ctx;
    const char *known = json_text(folder->definition->files, name, NULL);
    if (known != NULL) {
        return known;
    }
    const char *slash = strrchr(folder->beside, '/');
    int len = slash == NULL ? 0 : (int)(slash + 1 - folder->beside);
    char *path = xasprintf("%.*s%s", len, folder->beside, name);
    struct buf bytes = {0};
    json_t *text = NULL;
    if (file_read(path, &bytes, cause) == 0) {
        bool zero = bytes.len > 0 && memchr(bytes.data, 0, bytes.len) != NULL;
        text = zero ? NULL : json_stringn(buf_text(&bytes), bytes.len);
        if (text == NULL) {
            (void)err_set(cause, KE_INVALID, "%s is not UTF-8 text", path);
        } else {
            (void)json_object_set_new(folder->definition->files, name, text);
        }
    }
    folder->definition->file_is_wrong |= text == NULL;
    buf_free(&bytes);
    free(path);
    return json_string_value(text);
}

int definition_compile(const char *path, const struct buf *sql, struct definition *out,
                       struct err *err)
{
    *out = (struct definition){.files = json_object()};
    struct folder folder = {path, out};
    struct plan_files files = {.text = file_text, .ctx = &folder};
    return plan_compile_files(path, buf_text(sql), sql->len, &files, &out->plan, err);
}

void definition_free(struct definition *definition)
{
    json_decref(definition->files);
    if (definition->plan != NULL) {
        plan_free(definition->plan);
    }
}
