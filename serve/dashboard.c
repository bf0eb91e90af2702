/* The dashboard's files and the description of the API, which are part of the binary: the assembler
 * takes their bytes as they are (.incbin; the Makefile says that this object depends on them). Own
 * header: routes_private.h.
 *
 * The page may load and ask only what comes from this server, may be framed by nobody, and runs no
 * script and no style that is written into it: a record that holds markup stays text. */
#include "serve/routes_private.h"

#include "base/embed.h"

#include <string.h>

#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "                    \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#define SEGMENT_FILE 1 /* of /dashboard/FILE */

#define X(symbol, name, type) EMBED(symbol, "serve/dashboard/" name)
#include "serve/dashboard.def"
#undef X
EMBED(openapi_json, "serve/openapi.json")

static const struct file {
    const char *name;
    const char *type;
    const uint8_t *bytes;
    const uint8_t *end;
} files[] = {

#define X(symbol, name, type) {name, type, embed_##symbol, embed_##symbol##_end},
#include "serve/dashboard.def"
#undef X
};

static void answer_file(const struct file *file, struct route_answer *answer)
{
    answer->type = file->type;
    buf_append(&answer->body, file->bytes, (size_t)(file->end - file->bytes));
    route_answer_header(answer, "Content-Security-Policy", POLICY);
    route_answer_header(answer, "X-Frame-Options", "DENY");
    route_answer_header(answer, "Referrer-Policy", "no-referrer");
    route_answer_header(answer, "Cross-Origin-Resource-Policy", "same-origin");
}

int route_dashboard(const struct route_context *context, const struct route_request *request,
                    struct route_answer *answer, struct err *err)
{
    (void)context;
    const char *name =
        request->segment_count > SEGMENT_FILE ? request->segments[SEGMENT_FILE] : files[0].name;
    for (size_t i = 0; i < array_len(files); i++) {
        if (strcmp(files[i].name, name) == 0) {
            answer_file(&files[i], answer);
            return 0;
        }
    }
    int rc = err_set(err, KE_NOT_FOUND, "the dashboard has no file of this name");
    err_hint(err, "the page is at /");
    return rc;
}

int route_openapi(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err)
{
    (void)context;
    (void)request;
    (void)err;
    buf_append(&answer->body, embed_openapi_json,
               (size_t)(embed_openapi_json_end - embed_openapi_json));
    return 0;
}
