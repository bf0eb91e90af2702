/* Bringing a definition's plugins to the server. Own header: plugin_copy.h.
 *
 * Native code comes in through the file system alone, never through HTTP: who may write to the data
 * directory may run code in its workers. */
#include "cli/plugin_copy.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/file.h"
#include "cli/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLUGIN_BYTES_MAX ((size_t)64 << 20)

static int read_all(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int rc = err_errno(err, errno, "cannot read the plugin %s", path);
        err_hint(
            err,
            "build it beside the definition: cc -shared -fPIC $(pkg-config --cflags kappa) -o %s",
            path);
        return rc;
    }
    char block[65536];
    size_t len;
    while ((len = fread(block, 1, sizeof block, file)) > 0 && out->len <= PLUGIN_BYTES_MAX) {
        buf_append(out, block, len);
    }
    int rc = ferror(file) != 0 ? err_errno(err, errno, "cannot read the plugin %s", path) : 0;
    (void)fclose(file);
    if (rc == 0 && out->len > PLUGIN_BYTES_MAX) {
        rc = err_set(err, KE_LIMIT, "the plugin %s is larger than 64 MiB", path);
    }
    return rc;
}

/* Under its name at once and whole, or not at all. One that is there becomes as young as a new one, so that
 * `kappa gc` does not take it for one that nobody needs while it is being deployed again. */
static int write_all(const char *dir, const char *hash, const struct buf *bytes, struct err *err)
{
    char *path = xasprintf("%s/%s.so", dir, hash);
    char *part = xasprintf("%s/%s.%d.part", dir, hash, (int)getpid());
    int rc = 0;
    if (access(path, R_OK) != 0 || utimensat(AT_FDCWD, path, NULL, 0) != 0) {
        FILE *file = fopen(part, "we");
        bool good = file != NULL && fwrite(bytes->data, 1, bytes->len, file) == bytes->len &&
                    fflush(file) == 0 && fsync(fileno(file)) == 0;
        int why = errno;
        good = (file == NULL || fclose(file) == 0) && good;
        if (!good || rename(part, path) != 0) {
            rc = err_errno(err, good ? errno : why, "cannot write %s", path);
            (void)unlink(part);
        }
        rc = rc == 0 ? file_sync_dir(dir, err) : rc;
    }
    free(part);
    free(path);
    return rc;
}

static int copy_one(const struct cli *cli, const char *beside, const char *name, json_t *out,
                    struct err *err)
{
    struct buf bytes = {0};
    const char *slash = strrchr(beside, '/');
    int folder = slash == NULL ? 0 : (int)(slash + 1 - beside);
    char *path = xasprintf("%.*s%s", folder, beside, name);
    char *dir = xasprintf("%s/plugins", place_data(cli));
    int rc = read_all(path, &bytes, err);
    bool dry = cli_option(cli, "dry-run") != NULL;
    if (rc == 0 && !dry && mkdir(dir, 0755) != 0 && errno != EEXIST) {
        rc = err_errno(err, errno, "cannot make %s", dir);
    }
    if (rc == 0) {
        char hash[DIGEST_TEXT_LEN + 1];
        digest_format(hash_content(bytes.data, bytes.len), hash);
        rc = dry ? 0 : write_all(dir, hash, &bytes, err);
        (void)json_object_set_new(out, name, json_string(hash));
    }
    free(dir);
    free(path);
    buf_free(&bytes);
    return rc;
}

int plugins_copy(const struct cli *cli, const char *file, const struct plan *plan, json_t **out,
                 struct err *err)
{
    int rc = plan->plugin_count == 0 ? 0 : place_own_check(cli, err);
    json_t *hashes = json_object();
    *out = NULL;
    if (rc == 0 && plan->plugin_count > 0 && place_server(cli) != NULL) {
        rc = err_set(err, KE_REFUSED,
                     "plugins are deployed on the machine of the server, with --data");
        err_hint(err, "native code is not taken over HTTP");
    }
    for (uint32_t i = 0; i < plan->plugin_count && rc == 0; i++) {
        rc = copy_one(cli, file, plan->plugins[i].file, hashes, err);
    }
    if (rc == 0 && plan->plugin_count > 0) {
        *out = json_incref(hashes);
    }
    json_decref(hashes);
    return rc;
}
