/* Plugins of a definition, loaded from files: include/kappa/plugin.h.
 *
 *     plugins_load -> plugins_code ... -> plugins_free
 *
 * Loading runs the library's constructors: only a worker does it, which may die of it. */
#ifndef KAPPA_REPLAYER_PLUGIN_FILE_H
#define KAPPA_REPLAYER_PLUGIN_FILE_H

#include "base/err.h"
#include "base/json.h"
#include "include/kappa/plugin.h"
#include "processor/plan.h"

struct plugins;

/* files: {"fraud.so": "/path/of/it"}, a path for each plugin of the plan. *out is NULL when the plan has
 * none. */
int plugins_load(const struct plan *plan, const json_t *files, struct plugins **out,
                 struct err *err) must_check;
/* One per plugin of the plan, as struct processor_options wants them; NULL for NULL. */
const struct kappa_plugin *const *plugins_code(const struct plugins *plugins);
void plugins_free(struct plugins *plugins);

#endif
