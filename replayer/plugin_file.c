/* Plugins loaded from files: the one file with dlopen. Own header: plugin_file.h. */
#include "replayer/plugin_file.h"

#include <dlfcn.h>
#include <stdlib.h>

/* Since then functions have only been added behind the others. */
#define ABI_OLDEST 1

struct plugins {
    const struct kappa_plugin **code;
    void **libraries;
    uint32_t count;
};

static int load(const char *file, const char *path, void **library,
                const struct kappa_plugin **code, struct err *err)
{
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*library == NULL) {
        const char *why = dlerror();
        int rc = err_set(err, KE_REFUSED, "plugin %s cannot be loaded: %s", file,
                         why == NULL ? "unknown reason" : why);
        err_hint(err, "build it with: cc -shared -fPIC $(pkg-config --cflags kappa) -o %s", file);
        return rc;
    }
    /* ISO C has no conversion from object to function pointers; POSIX says this one works. */
    const struct kappa_plugin *(*entry)(void) = NULL;
    *(void **)(&entry) = dlsym(*library, "kappa_plugin");
    if (entry == NULL) {
        int rc = err_set(err, KE_REFUSED, "plugin %s exports no function kappa_plugin", file);
        err_hint(err, "include/kappa/plugin.h says what a plugin is");
        return rc;
    }
    *code = entry();
    if (*code == NULL || (*code)->abi < ABI_OLDEST || (*code)->abi > KAPPA_PLUGIN_ABI) {
        int rc =
            err_set(err, KE_REFUSED,
                    "plugin %s speaks version %u of the interface, this release knows %d to %d",
                    file, *code == NULL ? 0 : (*code)->abi, ABI_OLDEST, KAPPA_PLUGIN_ABI);
        err_hint(err, "build it again with this release's include/kappa/plugin.h");
        return rc;
    }
    return 0;
}

int plugins_load(const struct plan *plan, const json_t *files, struct plugins **out,
                 struct err *err)
{
    *out = NULL;
    if (plan->plugin_count == 0) {
        return 0;
    }
    struct plugins *plugins = xcalloc(1, sizeof *plugins);
    plugins->code = xcalloc(plan->plugin_count, sizeof(struct kappa_plugin *));
    plugins->libraries = xcalloc(plan->plugin_count, sizeof(void *));
    for (uint32_t i = 0; i < plan->plugin_count; i++) {
        const char *file = plan->plugins[i].file;
        const char *path = json_text(files, file, NULL);
        int rc = path == NULL ? err_set(err, KE_REFUSED, "plugin %s came without its file", file)
                              : load(file, path, &plugins->libraries[i], &plugins->code[i], err);
        plugins->count++;
        if (rc < 0) {
            plugins_free(plugins);
            return rc;
        }
    }
    *out = plugins;
    return 0;
}

const struct kappa_plugin *const *plugins_code(const struct plugins *plugins)
{
    return plugins == NULL ? NULL : plugins->code;
}

void plugins_free(struct plugins *plugins)
{
    if (plugins == NULL) {
        return;
    }
    for (uint32_t i = 0; i < plugins->count; i++) {
        if (plugins->libraries[i] != NULL) {
            (void)dlclose(plugins->libraries[i]);
        }
    }
    free(plugins->libraries);
    free(plugins->code);
    free(plugins);
}
