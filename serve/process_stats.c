/* Numbers from /proc and statvfs. Own header: process_stats.h. */
#include "serve/process_stats.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void set_number(json_t *object, const char *name, double value)
{
    int rc = json_object_set_new(object, name, json_real(value));
    ASSERT(rc == 0);
}

static void set_bytes(json_t *object, const char *name, uint64_t value)
{
    int rc = json_object_set_new(object, name, json_integer((json_int_t)value));
    ASSERT(rc == 0);
}

/* The first line of a file in /proc that begins with this word; false: none. */
static bool proc_line(const char *path, const char *word, char *line, int size)
{
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file != NULL && !found && fgets(line, size, file) != NULL) {
        found = strncmp(line, word, strlen(word)) == 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static void set_memory(json_t *out)
{
    char line[256];
    unsigned long virtual_pages;
    unsigned long resident_pages;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (proc_line("/proc/self/statm", "", line, sizeof line) &&
        sscanf(line, "%lu %lu", &virtual_pages, &resident_pages) == 2) { // NOLINT
        set_bytes(out, "virtual_bytes", virtual_pages * page);
        set_bytes(out, "rss_bytes", resident_pages * page);
    }
}

static void set_files(json_t *out)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (dir != NULL && readdir(dir) != NULL) {
        count++;
    }
    if (dir != NULL) {
        (void)closedir(dir);
        set_bytes(out, "open_files", count - 3); /* without ".", ".." and this look */
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        set_bytes(out, "max_files", limit.rlim_cur);
    }
}

/* Field 22 of /proc/self/stat, in ticks since the machine began; btime says when that was. */
static void set_start(json_t *out)
{
    char line[1024];
    char boot[64];
    unsigned long long ticks;
    long long boot_seconds;
    if (!proc_line("/proc/self/stat", "", line, sizeof line) ||
        !proc_line("/proc/stat", "btime ", boot, sizeof boot) ||
        sscanf(boot, "btime %lld", &boot_seconds) != 1) { // NOLINT
        return;
    }
    const char *rest = strrchr(line, ')'); /* the name may hold anything */
    if (rest != NULL && sscanf(rest,       // NOLINT
                               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
                               "%*d %*d %*d %*d %llu",
                               &ticks) == 1) {
        set_number(out, "start_seconds",
                   (double)boot_seconds + (double)ticks / (double)sysconf(_SC_CLK_TCK));
    }
}

json_t *process_stats(void)
{
    json_t *out = json_object();
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        set_number(out, "cpu_seconds",
                   (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    }
    set_memory(out);
    set_files(out);
    set_start(out);
    return out;
}

json_t *disk_stats(const char *dir)
{
    json_t *out = json_object();
    struct statvfs disk;
    if (dir != NULL && statvfs(dir, &disk) == 0) {
        set_bytes(out, "free_bytes", (uint64_t)disk.f_bavail * disk.f_frsize);
        set_bytes(out, "size_bytes", (uint64_t)disk.f_blocks * disk.f_frsize);
    }
    return out;
}
