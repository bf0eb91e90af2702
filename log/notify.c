/* The bell of the embedded log. Own header: notify.h. */
#include "log/notify.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOTIFY_BYTES 4096

struct notify_page {
    _Atomic uint32_t sequence; /* the futex word */
};

/* An errno, or 0. */
static int map_file(int fd, struct notify_page **out)
{
    /* Real blocks, not a hole: a store into a hole of a full disk would be SIGBUS. */
    int failed = posix_fallocate(fd, 0, NOTIFY_BYTES);
    if (failed != 0) {
        return failed;
    }
    void *map = mmap(NULL, NOTIFY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    *out = map == MAP_FAILED ? NULL : map;
    return map == MAP_FAILED ? errno : 0;
}

static int map_nothing(struct notify_page **out)
{
    void *map =
        mmap(NULL, NOTIFY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *out = map == MAP_FAILED ? NULL : map;
    return map == MAP_FAILED ? errno : 0;
}

int notify_open(struct notify *notify, const char *dir, struct err *err)
{
    *notify = (struct notify){0};
    char *path = xasprintf("%s/~notify", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int failed = fd < 0 ? errno : map_file(fd, &notify->page);
    if (failed == EACCES || failed == EPERM || failed == EROFS) {
        notify->refused = failed;
        failed = map_nothing(&notify->page);
    }
    int rc = failed == 0 ? 0 : err_errno(err, failed, "cannot open %s", path);
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    return rc;
}

void notify_close(struct notify *notify)
{
    if (notify->page != NULL) {
        (void)munmap(notify->page, NOTIFY_BYTES);
        notify->page = NULL;
    }
}

uint32_t notify_sequence(const struct notify *notify)
{
    return atomic_load(&notify->page->sequence);
}

void notify_ring(struct notify *notify)
{
    (void)atomic_fetch_add(&notify->page->sequence, 1);
    (void)syscall(SYS_futex, &notify->page->sequence, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void notify_wait(struct notify *notify, uint32_t sequence, int timeout_ms)
{
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    (void)syscall(SYS_futex, &notify->page->sequence, FUTEX_WAIT, sequence, &timeout, NULL, 0);
}
