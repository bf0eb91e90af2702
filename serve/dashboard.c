/* The dashboard's files, which are part of the binary: the assembler takes their bytes as they are
 * (.incbin; the Makefile says that this object depends on them). Own header: routes_private.h.
 *
 * The page may load and ask only what comes from this server, may be framed by nobody, and runs no
 * script and no style that is written into it: a record that holds markup stays text. */
#include "serve/routes_private.h"

#include <string.h>

#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "                    \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#define SEGMENT_FILE 1 /* of /dashboard/FILE */

/* dashboard_SYMBOL .. dashboard_SYMBOL_end: the bytes. */
#define X(symbol, name, type)                                                                      \
    __asm__(".pushsection .rodata\n"                                                               \
            ".hidden dashboard_" #symbol "\n.global dashboard_" #symbol "\n"                       \
            "dashboard_" #symbol ":\n.incbin \"serve/dashboard/" name "\"\n"                       \
            ".hidden dashboard_" #symbol "_end\n.global dashboard_" #symbol "_end\n"               \
            "dashboard_" #symbol "_end:\n.byte 0\n.popsection\n");                                 \
    extern const uint8_t dashboard_##symbol[] __attribute__((visibility("hidden")));               \
    extern const uint8_t dashboard_##symbol##_end[] __attribute__((visibility("hidden")));
#include "serve/dashboard.def"
#undef X

static const struct file {
    const char *name;
    const char *type;
    const uint8_t *bytes;
    const uint8_t *end;
} files[] = {

#define X(symbol, name, type) {name, type, dashboard_##symbol, dashboard_##symbol##_end},
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
