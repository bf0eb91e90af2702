/* Names of segment files. Own header: segment_name.h. */
#include "log/segment_name.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_DIGITS 20

char *segment_name_path(const char *dir, int64_t base, const char *suffix)
{
    return xasprintf("%s/%020" PRId64 "%s", dir, base, suffix);
}

static bool name_to_base(const char *name, const char *suffix, int64_t *base)
{
    if (strlen(name) != NAME_DIGITS + strlen(suffix) || strspn(name, "0123456789") != NAME_DIGITS ||
        strcmp(name + NAME_DIGITS, suffix) != 0) {
        return false;
    }
    errno = 0;
    *base = strtoll(name, NULL, 10);
    return errno == 0;
}

static int compare_bases(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int segment_name_list(const char *dir, const char *suffix, int64_t **bases, size_t *count,
                      struct err *err)
{
    DIR *folder = opendir(dir);
    if (folder == NULL) {
        return err_errno(err, errno, "cannot open the folder %s", dir);
    }
    int64_t *list = NULL;
    size_t used = 0;
    size_t room = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL; errno = 0) {
        int64_t base;
        if (!name_to_base(entry->d_name, suffix, &base)) {
            continue;
        }
        if (used == room) {
            room = room == 0 ? 16 : room * 2;
            list = xrealloc(list, room * sizeof *list);
        }
        list[used++] = base;
    }
    int failed = errno;
    (void)closedir(folder);
    if (failed != 0) {
        free(list);
        return err_errno(err, failed, "cannot read the folder %s", dir);
    }
    if (used > 0) {
        qsort(list, used, sizeof *list, compare_bases);
    }
    *bases = list;
    *count = used;
    return 0;
}
