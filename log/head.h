/* The head of a partition: a page of shared memory (file `head`) that says how far the log is
 * published. It makes records visible to readers in all processes at once, without a system call.
 *
 *     head_open, or head_create after recovery -> head_read (any thread) -> head_close
 *     writer, holding the partition's lock: head_read, write records, head_publish
 *
 * Invariants:
 *  1. Everything below end_offset lies in the segment files; `position` is the first byte of the
 *     active segment that is not published.
 *  2. A state is seen whole: it is written into the slot that is not in use, then the generation
 *     moves. A writer killed at any instruction leaves the old state or the new one, and never a
 *     reader that waits.
 *  3. It holds only while the machine runs: pages reach the disk in any order. So a head of another
 *     boot is not believed, but for two facts that were true when they were written: start_offset
 *     and synced_offset. See partition_recover.c.
 *
 * Bytes (little-endian): 0 magic u64, 8 version u32, 16 boot id (36 characters, NUL), 64 generation
 * u64, 72 synced_offset i64, 128 and 192 the two slots, 4096 end. */
#ifndef KAPPA_LOG_HEAD_H
#define KAPPA_LOG_HEAD_H

#include "base/err.h"

#include <sys/types.h>

struct head_state {
    int64_t start_offset; /* first offset kept */
    int64_t end_offset;   /* first offset not published */
    int64_t segment_base; /* base offset, hence name, of the active segment */
    int64_t position;     /* bytes used in the active segment */
    int64_t time_min;     /* of the active segment's records, ms; INT64_MAX when it has none */
    int64_t time_max;     /* INT64_MIN when it has none */
};

struct head_page;

struct head {
    struct head_page *page; /* shared mapping; NULL: closed */
    dev_t device;           /* of the file, to see when it was removed */
    ino_t inode;
    int refused; /* 0, or the errno with which it may not be written: then it is only read */
};

enum head_found { HEAD_GOOD, HEAD_MISSING, HEAD_OTHER_BOOT, HEAD_DAMAGED };

/* dir: the partition's folder. *found says what is there; the head is open when it is HEAD_GOOD or
 * HEAD_OTHER_BOOT. Returns an error only when the file cannot be read. */
int head_open(struct head *head, const char *dir, enum head_found *found,
              struct err *err) must_check;
/* Puts a new file in place at once, synced, with this boot's id; everything in `state` is durable.
 * head is closed before, open after. */
int head_create(struct head *head, const char *dir, const struct head_state *state,
                struct err *err) must_check;
void head_close(struct head *head);

/* Never blocks. Any thread. */
void head_read(const struct head *head, struct head_state *out);
/* The caller holds the partition's lock. */
void head_publish(struct head *head, const struct head_state *state);

/* Records below this offset survive a crash of the machine. It only grows. */
int64_t head_synced(const struct head *head);
void head_set_synced(struct head *head, int64_t offset);
/* Writes the page to disk, so that synced_offset is known after a crash of the machine. Failing is
 * harmless: the older value is true too. */
void head_sync(const struct head *head);
/* Was the file taken away or replaced since it was opened? */
bool head_gone(const struct head *head, const char *dir);

#endif
