/* Reading a definition from a file. Own header: definition.h. */
#include "cli/definition.h"

#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SQL_LEN_MAX ((size_t)(LIMIT_SQL_LEN))

int definition_read(const char *path, struct buf *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    char block[4096];
    size_t len;
    while ((len = fread(block, 1, sizeof block, file)) > 0 && out->len <= SQL_LEN_MAX) {
        buf_append(out, block, len);
    }
    int rc = ferror(file) != 0 ? err_errno(err, errno, "cannot read %s", path) : 0;
    if (!standard) {
        (void)fclose(file);
    }
    if (rc == 0 && out->len > SQL_LEN_MAX) {
        rc = err_set(err, KE_LIMIT, "%s is larger than %d KiB: is it a definition?", path,
                     LIMIT_SQL_LEN >> 10);
    }
    return rc;
}
