/* Nice values of threads. Own header: priority.h. */
#include "replayer/priority.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In a thread of its own, which ends with whatever it has then. */
static void *try_it(void *ctx)
{
    bool *back = ctx;
    id_t self = (id_t)syscall(SYS_gettid);
    errno = 0;
    int was = getpriority(PRIO_PROCESS, self);
    *back = errno == 0 && was < PRIORITY_NICE_MAX &&
            setpriority(PRIO_PROCESS, self, was + 1) == 0 &&
            setpriority(PRIO_PROCESS, self, was) == 0;
    return NULL;
}

int priority_check(struct err *err)
{
    pthread_t thread;
    bool back = false;
    if (pthread_create(&thread, NULL, try_it, &back) == 0) {
        (void)pthread_join(thread, NULL);
    }
    if (back) {
        return 0;
    }
    int rc = err_set(err, KE_REFUSED,
                     "replays cannot have a lower priority here: this user may not "
                     "raise it again when they serve");
    err_hint(err, "LimitNICE=+0 in the systemd unit, `ulimit -e 20`, or CAP_SYS_NICE allow it");
    return rc;
}

void priority_add(int nice)
{
    /* Twice: a thread may have been started meanwhile by one that was still to be set. */
    int target = getpriority(PRIO_PROCESS, 0) + nice;
    for (int pass = 0; pass < 2; pass++) {
        DIR *tasks = opendir("/proc/self/task");
        for (struct dirent *task = tasks ? readdir(tasks) : NULL; task; task = readdir(tasks)) {
            long id = strtol(task->d_name, NULL, 10);
            if (id > 0) {
                (void)setpriority(PRIO_PROCESS, (id_t)id, target);
            }
        }
        if (tasks) {
            (void)closedir(tasks);
        }
    }
}
