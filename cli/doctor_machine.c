/* The machine, and the data directory on it. Own header: doctor.h. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/timefmt.h"
#include "cli/client.h"
#include "cli/output.h"
#include "include/kappa/version.h"
#include "log/log.h"
#include "serve/http.h"
#include "serve/people_token.h"
#include "serve/query.h"
#include "table/env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#define FILES_ENOUGH                                                                               \
    4096 /* 1,024 HTTP and 1,024 Redis connections, files of versions and segments */
#define MAPS_ENOUGH 65530
#define FREE_WARN   (UINT64_C(2) << 30)
#define FREE_FAIL   (UINT64_C(200) << 20)
#define YEAR_2024   INT64_C(1704067200)

static void libraries(struct doctor *doctor)
{
    static void (*const all[])(struct library *) = {
        env_library, log_kafka_library, http_library, query_library, token_library, client_library};
    doctor_say(doctor, DOCTOR_OK, "kappa", NULL, "%s", KAPPA_VERSION);
    for (size_t i = 0; i < array_len(all); i++) {
        struct library library;
        all[i](&library);
        /* "2.0.2" of "2.0.2-RC1", and the first two numbers of the others decide. */
        size_t len = strcspn(library.built, ".");
        len += library.built[len] == '.' ? 1 + strcspn(library.built + len + 1, ".") : 0;
        if (strncmp(library.built, library.runs, len) == 0) {
            doctor_say(doctor, DOCTOR_OK, library.name, NULL, "%s", library.runs);
        } else {
            doctor_say(doctor, DOCTOR_WARN, library.name,
                       "build Kappa on this machine, or install the library it was built with",
                       "%s, but Kappa was built with %s", library.runs, library.built);
        }
    }
}

/* ---- Limits */

/* "Max open files" of the server, whose limits count; -1: unknown. */
static int64_t files_of(int64_t pid)
{
    char path[64];
    char line[256];
    long long soft = -1;
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/limits", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && soft < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "Max open files", 14) == 0 &&
            sscanf(line + 14, "%lld", &soft) != 1) { // NOLINT
            soft = INT64_MAX;                        /* unlimited */
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return soft;
}

static void open_files(struct doctor *doctor)
{
    struct rlimit limit;
    int64_t files = doctor->server_pid > 0 ? files_of(doctor->server_pid) : -1;
    const char *whose = files < 0 ? "for what this shell starts" : "for kappa up";
    if (files < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        files = limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
    }
    if (files >= FILES_ENOUGH) {
        doctor_say(doctor, DOCTOR_OK, "open files", NULL, "%" PRId64 " %s", files, whose);
    } else {
        doctor_say(doctor, DOCTOR_WARN, "open files",
                   "`ulimit -n 20000` before kappa up, or LimitNOFILE=20000 in its unit",
                   "%" PRId64 " %s; with many clients and topics it needs %d", files, whose,
                   FILES_ENOUGH);
    }
}

static int64_t number_in(const char *path)
{
    char line[64];
    FILE *file = fopen(path, "re");
    int64_t number = -1;
    if (file != NULL) {
        number = fgets(line, sizeof line, file) == NULL ? -1 : strtoll(line, NULL, 10);
        (void)fclose(file);
    }
    return number;
}

/* LMDB and the segments of the log are mapped: address space, number of maps, and promises. */
static void maps(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        doctor_say(doctor, DOCTOR_FAIL, "map size",
                   "`ulimit -v unlimited`; bound memory with a cgroup (MemoryMax) instead",
                   "address space is limited to %" PRIu64 " MiB, and tables are mapped whole",
                   (uint64_t)limit.rlim_cur >> 20);
    } else {
        doctor_say(doctor, DOCTOR_OK, "map size", NULL, "address space is not limited");
    }
    int64_t count = number_in("/proc/sys/vm/max_map_count");
    if (count >= 0 && count < MAPS_ENOUGH) {
        doctor_say(doctor, DOCTOR_WARN, "number of maps", "sysctl vm.max_map_count=262144",
                   "%" PRId64 "; each segment of the log that is read takes one", count);
    } else {
        doctor_say(doctor, DOCTOR_OK, "number of maps", NULL, "%" PRId64, count);
    }
}

/* ---- Clock */

static void clock_check(struct doctor *doctor)
{
    struct timex times = {0};
    char text[TIME_TEXT_LEN];
    int64_t now = clock_wall_ms(clock_real()) / 1000;
    time_format(now * US_SECOND, text);
    int rc = adjtimex(&times);
    if (now < YEAR_2024) {
        doctor_say(doctor, DOCTOR_FAIL, "clock", "set it: receipts, lag and retention go by it",
                   "says %s", text);
    } else if (rc == -1) {
        doctor_say(doctor, DOCTOR_OK, "clock", NULL,
                   "%s; whether it is kept right is not to be seen", text);
    } else if ((times.status & STA_UNSYNC) != 0) {
        doctor_say(doctor, DOCTOR_WARN, "clock",
                   "run chrony or systemd-timesyncd: lag in seconds and retention go by the clock",
                   "%s; the kernel says that nothing keeps it right", text);
    } else {
        doctor_say(doctor, DOCTOR_OK, "clock", NULL, "%s, kept right to %.0f ms", text,
                   (double)times.maxerror / 1e3);
    }
}

void doctor_machine(struct doctor *doctor)
{
    libraries(doctor);
    if (doctor->remote) {
        doctor_say(doctor, DOCTOR_OK, "machine", NULL,
                   "not looked at: --server names another one; run kappa doctor there, too");
        return;
    }
    open_files(doctor);
    maps(doctor);
    clock_check(doctor);
}

/* ---- The data directory */

static void disk(struct doctor *doctor)
{
    struct statvfs disk;
    char left[OUT_NUMBER_LEN];
    char used[OUT_NUMBER_LEN];
    if (statvfs(doctor->data, &disk) != 0) {
        doctor_say(doctor, DOCTOR_FAIL, "disk", NULL, "%s: %s", doctor->data, strerror(errno));
        return;
    }
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    char *path = xasprintf("%s/versions", doctor->data);
    uint64_t versions = file_tree_bytes(path);
    free(path);
    (void)out_bytes((double)room, left);
    (void)out_bytes((double)versions, used);
    const char *todo = versions > 0 ? "`kappa gc --dry-run` says what old versions would give back"
                                    : "make room there, or name another disk with --data";
    if (room < FREE_FAIL) {
        doctor_say(doctor, DOCTOR_FAIL, "disk", todo, "%s left: commits will fail", left);
    } else if (room < FREE_WARN || room < versions) {
        doctor_say(doctor, DOCTOR_WARN, "disk", todo,
                   "%s left, versions take %s: a replay of all of them does not fit beside them",
                   left, used);
    } else {
        doctor_say(doctor, DOCTOR_OK, "disk", NULL, "%s left, versions take %s", left, used);
    }
}

void doctor_data(struct doctor *doctor)
{
    struct stat status;
    struct err err = {0};
    if (doctor->remote) {
        return;
    }
    if (stat(doctor->data, &status) != 0) {
        doctor_say(doctor, DOCTOR_OK, "data directory", NULL,
                   "%s is not there yet; kappa up makes it", doctor->data);
        return;
    }
    if (!S_ISDIR(status.st_mode) || access(doctor->data, R_OK | W_OK | X_OK) != 0) {
        doctor_say(doctor, DOCTOR_FAIL, "data directory",
                   "run as the user whose it is, or name another with --data",
                   "%s cannot be read and written by this user", doctor->data);
        return;
    }
    if (env_refuse_network(doctor->data, &err) < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, "data directory", &err);
    } else {
        doctor_say(doctor, DOCTOR_OK, "data directory", NULL, "%s", doctor->data);
    }
    disk(doctor);
}
