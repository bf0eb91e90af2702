/* Bodies of deploys. Own header: definition_body.h. */
#include "cli/definition_body.h"

#include "cli/call.h"
#include "cli/definition.h"
#include "cli/plugin_copy.h"

#include <string.h>

char *definition_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    return xstrndup(base, dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base));
}

/* What the definition names, beside it. One that does not compile has nothing: the server says what is
 * wrong, unless it is a file. */
static int body_beside(const struct cli *cli, const char *path, const struct buf *sql, json_t *body,
                       struct err *err)
{
    struct definition definition;
    json_t *plugins = NULL;
    struct err unsaid = {0};
    int rc = definition_compile(path, sql, &definition, &unsaid);
    if (rc == 0) {
        rc = plugins_copy(cli, path, definition.plan, &plugins, err);
    } else if (definition.file_is_wrong) {
        *err = unsaid;
    } else {
        rc = 0;
    }
    if (rc == 0 && plugins != NULL) {
        (void)json_object_set_new(body, "plugins", plugins);
    }
    if (rc == 0 && json_object_size(definition.files) > 0) {
        (void)json_object_set(body, "files", definition.files);
    }
    definition_free(&definition);
    return rc;
}

int definition_body(const struct cli *cli, const char *path, const char *name,
                    const struct buf *sql, json_t **out, struct err *err)
{
    json_t *text = json_stringn(buf_text(sql), sql->len);
    if (text == NULL) {
        return err_set(err, KE_SQL, "%s is not UTF-8 text", path);
    }
    json_t *body = call_body();
    (void)json_object_set_new(body, "name", json_string(name));
    (void)json_object_set_new(body, "file", json_string(path));
    (void)json_object_set_new(body, "sql", text);
    int rc = body_beside(cli, path, sql, body, err);
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    *out = body;
    return 0;
}
