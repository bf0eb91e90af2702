/* The head of a partition. Own header: head.h. */
#include "log/head.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAGIC   UINT64_C(0x3144414548504B00) /* "\0KPHEAD1" */
#define HEAD_VERSION 1
#define HEAD_BYTES   4096
#define BOOT_ID_LEN  36

/* Each field is stored with release and loaded with acquire: that keeps them between the two
 * accesses to the generation, without fences, which thread sanitizers do not know. */
struct head_slot {
    _Atomic int64_t start_offset;
    _Atomic int64_t end_offset;
    _Atomic int64_t segment_base;
    _Atomic int64_t position;
    _Atomic int64_t time_min;
    _Atomic int64_t time_max;
    int64_t unused[2];
};

struct head_page {
    uint64_t magic;
    uint32_t version;
    uint32_t unused1;
    char boot_id[BOOT_ID_LEN + 1];
    char unused2[11];
    _Atomic uint64_t generation; /* the slot in use is generation mod 2 */
    _Atomic int64_t synced_offset;
    uint64_t unused3[6];
    struct head_slot slots[2];
};

_Static_assert(offsetof(struct head_page, generation) == 64, "layout of the head");
_Static_assert(offsetof(struct head_page, slots) == 128, "layout of the head");
_Static_assert(sizeof(struct head_slot) == 64, "layout of the head");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "atomics work between processes");

static char boot_id[BOOT_ID_LEN + 1]; /* stays empty where the kernel does not tell */
static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;

static void boot_id_load(void)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, boot_id, BOOT_ID_LEN) != BOOT_ID_LEN) {
            memset(boot_id, 0, sizeof boot_id);
        }
        (void)close(fd);
    }
}

static const char *boot_id_now(void)
{
    (void)pthread_once(&boot_id_once, boot_id_load);
    return boot_id;
}

/* refused: 0, or why it is only read. */
static int head_map(struct head *head, int fd, int refused, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "cannot look at %s", path);
    }
    int how = refused == 0 ? PROT_READ | PROT_WRITE : PROT_READ;
    void *map = mmap(NULL, HEAD_BYTES, how, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return err_errno(err, errno, "cannot map %s", path);
    }
    *head = (struct head){map, st.st_dev, st.st_ino, refused};
    return 0;
}

static enum head_found head_judge(const struct head_page *page)
{
    if (page->magic != HEAD_MAGIC || page->version != HEAD_VERSION) {
        return HEAD_DAMAGED;
    }
    bool same = memcmp(page->boot_id, boot_id_now(), BOOT_ID_LEN + 1) == 0;
    return same ? HEAD_GOOD : HEAD_OTHER_BOOT;
}

int head_open(struct head *head, const char *dir, enum head_found *found, struct err *err)
{
    *head = (struct head){0};
    char *path = xasprintf("%s/head", dir);
    int rc = 0;
    struct stat st;
    int refused = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS)) {
        refused = errno;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 && errno == ENOENT) {
        *found = HEAD_MISSING;
    } else if (fd < 0 || fstat(fd, &st) != 0) {
        rc = err_errno(err, errno, "cannot open %s", path);
    } else if (st.st_size != HEAD_BYTES) {
        *found = HEAD_DAMAGED;
    } else {
        rc = head_map(head, fd, refused, path, err);
        if (rc == 0) {
            *found = head_judge(head->page);
            if (*found == HEAD_DAMAGED) {
                head_close(head);
            }
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    return rc;
}

static void slot_store(struct head_slot *slot, const struct head_state *state)
{
    atomic_store_explicit(&slot->start_offset, state->start_offset, memory_order_release);
    atomic_store_explicit(&slot->end_offset, state->end_offset, memory_order_release);
    atomic_store_explicit(&slot->segment_base, state->segment_base, memory_order_release);
    atomic_store_explicit(&slot->position, state->position, memory_order_release);
    atomic_store_explicit(&slot->time_min, state->time_min, memory_order_release);
    atomic_store_explicit(&slot->time_max, state->time_max, memory_order_release);
}

int head_create(struct head *head, const char *dir, const struct head_state *state, struct err *err)
{
    ASSERT(head->page == NULL);
    char *path = xasprintf("%s/head", dir);
    char *temp = xasprintf("%s/head.tmp", dir);
    uint8_t *bytes = xcalloc(1, HEAD_BYTES);
    struct head_page *page = (void *)bytes;
    page->magic = HEAD_MAGIC;
    page->version = HEAD_VERSION;
    memcpy(page->boot_id, boot_id_now(), BOOT_ID_LEN + 1);
    slot_store(&page->slots[0], state);
    atomic_store(&page->synced_offset, state->end_offset);
    int fd = -1;
    int rc = file_create(temp, bytes, HEAD_BYTES, &fd, err);
    if (rc == 0) {
        rc = head_map(head, fd, 0, temp, err);
    }
    if (rc == 0 && rename(temp, path) != 0) {
        rc = err_errno(err, errno, "cannot rename %s to %s", temp, path);
    }
    if (rc == 0) {
        rc = file_sync_dir(dir, err);
    }
    if (rc != 0) {
        head_close(head);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(bytes);
    free(temp);
    free(path);
    return rc;
}

void head_close(struct head *head)
{
    if (head->page != NULL) {
        (void)munmap(head->page, HEAD_BYTES);
        head->page = NULL;
    }
}

void head_read(const struct head *head, struct head_state *out)
{
    struct head_page *page = head->page;
    uint64_t before;
    uint64_t after;
    do {
        /* The slot in use is overwritten only after the generation has moved. */
        before = atomic_load_explicit(&page->generation, memory_order_acquire);
        struct head_slot *slot = &page->slots[before & 1];
        out->start_offset = atomic_load_explicit(&slot->start_offset, memory_order_acquire);
        out->end_offset = atomic_load_explicit(&slot->end_offset, memory_order_acquire);
        out->segment_base = atomic_load_explicit(&slot->segment_base, memory_order_acquire);
        out->position = atomic_load_explicit(&slot->position, memory_order_acquire);
        out->time_min = atomic_load_explicit(&slot->time_min, memory_order_acquire);
        out->time_max = atomic_load_explicit(&slot->time_max, memory_order_acquire);
        after = atomic_load_explicit(&page->generation, memory_order_relaxed);
    } while (before != after);
}

void head_publish(struct head *head, const struct head_state *state)
{
    ASSERT_CMP(state->start_offset, <=, state->end_offset);
    ASSERT_CMP(state->segment_base, <=, state->end_offset);
    struct head_page *page = head->page;
    uint64_t now = atomic_load_explicit(&page->generation, memory_order_relaxed);
    slot_store(&page->slots[(now + 1) & 1], state);
    atomic_store_explicit(&page->generation, now + 1, memory_order_release);
}

int64_t head_synced(const struct head *head)
{
    return atomic_load(&head->page->synced_offset);
}

void head_set_synced(struct head *head, int64_t offset)
{
    int64_t now = atomic_load(&head->page->synced_offset);
    while (now < offset &&
           !atomic_compare_exchange_weak(&head->page->synced_offset, &now, offset)) {
    }
}

void head_sync(const struct head *head)
{
    (void)msync(head->page, HEAD_BYTES, MS_SYNC);
}

bool head_gone(const struct head *head, const char *dir)
{
    char *path = xasprintf("%s/head", dir);
    struct stat st;
    bool same = stat(path, &st) == 0 && st.st_dev == head->device && st.st_ino == head->inode;
    free(path);
    return !same;
}
