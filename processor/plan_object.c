/* A definition as it was deployed. Own header: plan_object.h. */
#include "processor/plan_object.h"

#include <string.h>

static const char *text_of(void *ctx, const char *name, struct err *cause)
{
    const json_t *files = ctx;
    const char *text = json_text(files, name, NULL);
    if (text == NULL) {
        (void)err_set(cause, KE_NOT_FOUND, "the file \"%.80s\" did not come with the definition",
                      name);
        err_hint(cause,
                 "`kappa deploy` sends the file that lies beside the definition; over HTTP its "
                 "text goes into \"files\": {\"%.80s\": ...}",
                 name);
    }
    return text;
}

struct plan_files plan_files_of(const json_t *files)
{
    return (struct plan_files){.text = text_of, .ctx = (void *)(uintptr_t)files};
}

int plan_compile_object(const json_t *object, struct plan **out, struct err *err)
{
    const char *text = json_text(object, "definition", "");
    struct plan_files files = plan_files_of(json_object_get(object, "files"));
    return plan_compile_files(json_text(object, "file", "definition"), text, strlen(text), &files,
                              out, err);
}
