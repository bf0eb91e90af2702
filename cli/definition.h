/* Reading a definition from a file, and the files that it names. */
#ifndef KAPPA_CLI_DEFINITION_H
#define KAPPA_CLI_DEFINITION_H

#include "base/buf.h"
#include "base/json.h"
#include "processor/plan.h"

/* Appends the whole file; "-" is standard input. LIMIT when it is larger than a definition may be. */
int definition_read(const char *path, struct buf *out, struct err *err) must_check;

struct definition {
    struct plan *plan;  /* NULL: it does not compile */
    json_t *files;      /* {"order.avsc": text}: those it names, which lie beside it */
    bool file_is_wrong; /* why it does not compile: no server can say more about it */
};

/* path: as above. The caller calls definition_free whatever comes back. */
int definition_compile(const char *path, const struct buf *sql, struct definition *out,
                       struct err *err) must_check;
void definition_free(struct definition *definition);

#endif
