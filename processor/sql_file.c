/* Files that lie beside the definition and are deployed with it. Own header: sql_format.h.
 *
 * A definition names them by a path inside of its own folder. Their texts come from who asked for the
 * compilation (struct plan_files): the folder at a deploy, the stored version from then on. */
#include "base/digest.h"
#include "processor/sql_format.h"

#include <string.h>

/* Relative, and no part of it leads out of the folder or to the same place by another name. */
static bool path_is_inside(const char *path)
{
    for (const char *part = path;;) {
        size_t len = strcspn(part, "/");
        if (len == 0 || strncmp(part, ".", len) == 0 || (len == 2 && strncmp(part, "..", 2) == 0)) {
            return false;
        }
        if (part[len] == '\0') {
            return true;
        }
        part += len + 1;
    }
}

static int path_check(struct sql *sql, const struct sql_option *option)
{
    if (strchr(option->value, '\\') == NULL && path_is_inside(option->value)) {
        return 0;
    }
    int rc = sql_error(sql, option->place,
                       "option \"%s\": \"%.80s\" is no path inside of the definition's folder",
                       option->name, option->value);
    err_hint(sql->err,
             "the file is deployed with the definition: put it beside it, and write "
             "%s='name.avsc' or 'folder/name.avsc'",
             option->name);
    return rc;
}

/* The same name twice is one file. */
static void file_note(struct sql *sql, const char *name, struct digest hash)
{
    struct plan *plan = sql->plan;
    for (uint32_t i = 0; i < plan->file_count; i++) {
        if (strcmp(plan->files[i].name, name) == 0) {
            return;
        }
    }
    ASSERT_CMP(plan->file_count, <, LIMIT_INPUTS);
    sql->file_list[plan->file_count++] =
        (struct plan_file){.name = arena_strdup(&plan->memory, name), .hash = hash};
}

static struct digest json_hash(const json_t *tree)
{
    struct buf text = {0};
    json_write(&text, tree);
    struct digest digest = hash_content(text.data, text.len);
    buf_free(&text);
    return digest;
}

const char *sql_file_json(struct sql *sql, const struct sql_option *option)
{
    if (path_check(sql, option) != 0) {
        return NULL;
    }
    struct err cause = {.code = 0};
    const char *text = NULL;
    if (sql->files == NULL) {
        (void)err_set(&cause, KE_NOT_FOUND, "no files came with the definition");
    } else {
        text = sql->files->text(sql->files->ctx, option->value, &cause);
    }
    if (text != NULL && strlen(text) > (size_t)LIMIT_FILE_LEN) {
        (void)err_set(&cause, KE_LIMIT, "\"%.80s\" is larger than %d KiB", option->value,
                      LIMIT_FILE_LEN >> 10);
        text = NULL;
    }
    json_t *tree = text == NULL ? NULL : json_parse(text, strlen(text), &cause);
    if (tree == NULL) {
        (void)sql_error(sql, option->place, "option \"%s\": %s%s", option->name,
                        text == NULL ? "" : "no JSON document: ", cause.text);
        if (cause.hint[0] != '\0') {
            err_hint(sql->err, "%s", cause.hint);
        }
        return NULL;
    }
    file_note(sql, option->value, json_hash(tree));
    json_decref(tree);
    return arena_strdup(&sql->temp, text);
}

void sql_file_hash(struct plan *plan)
{
    if (plan->file_count == 0) {
        return;
    }
    struct buf all = {0};
    char hash[DIGEST_TEXT_LEN + 1];
    digest_format(plan->hash, hash);
    buf_append_text(&all, hash);
    for (uint32_t i = 0; i < plan->file_count; i++) {
        digest_format(plan->files[i].hash, hash);
        buf_printf(&all, " %s", hash);
    }
    plan->hash = hash_content(all.data, all.len);
    buf_free(&all);
}
