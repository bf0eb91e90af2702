/* Reading a definition from a file, and the files that it names. Own header: definition.h. */
#include "cli/definition.h"

#include "base/file.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQL_LEN_MAX  ((size_t)(LIMIT_SQL_LEN))
#define FILE_LEN_MAX ((size_t)(LIMIT_FILE_LEN))

int definition_read(const char *path, struct buf *out, struct err *err)
{
    int rc = strcmp(path, "-") == 0 ? file_read_fd(STDIN_FILENO, path, SQL_LEN_MAX, out, err)
                                    : file_read(path, SQL_LEN_MAX, out, err);
    struct stat status;
    if (rc < 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        rc = err_set(err, KE_INVALID, "%s is a folder, not a definition", path);
        err_hint(err, "`kappa apply %s` deploys all definitions in it", path);
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

static int beside_read(const char *path, struct buf *out, struct err *err)
{
    int rc = file_read(path, FILE_LEN_MAX, out, err);
    if (rc < 0) {
        err_hint(err, "it is looked for beside the definition");
        return rc;
    }
    if (out->len > FILE_LEN_MAX) {
        return err_set(err, KE_LIMIT, "%s is larger than %d KiB", path, LIMIT_FILE_LEN >> 10);
    }
    return 0;
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
    if (beside_read(path, &bytes, cause) == 0) {
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
