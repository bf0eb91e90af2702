/* A definition with the files it names, as it was deployed: the version's object in the catalog and the
 * message that opens a worker hold both, so whoever compiles a version compiles the same.
 *
 *     {"definition": text, "file": its name for messages, "files": {"order.avsc": text} if it names any} */
#ifndef KAPPA_PROCESSOR_PLAN_OBJECT_H
#define KAPPA_PROCESSOR_PLAN_OBJECT_H

#include "base/json.h"
#include "processor/plan.h"

int plan_compile_object(const json_t *object, struct plan **out, struct err *err) must_check;
/* Texts out of {"name": text}, which may be NULL: borrowed. */
struct plan_files plan_files_of(const json_t *files);

#endif
