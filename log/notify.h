/* The bell of the embedded log: one word in a small shared file, DATA/log/~notify, that counts
 * publishes of all topics. Who waits for records sleeps on it with a futex, across processes.
 *
 *     notify_open -> { seq = notify_sequence; look for records; none: notify_wait(seq) } ... -> close
 *     writer: publish, then notify_ring
 *
 * Looking after taking the sequence and before the wait leaves no gap: a ring in between makes the
 * wait return at once. Being woken does not mean that there is something.
 *
 * Who may only read DATA/log has a bell of his own: nobody rings it but himself, and his waits end with
 * their time. He must not write (`refused`): nobody would be woken. */
#ifndef KAPPA_LOG_NOTIFY_H
#define KAPPA_LOG_NOTIFY_H

#include "base/err.h"

struct notify_page;

struct notify {
    struct notify_page *page; /* shared mapping */
    int refused;              /* 0, or the errno with which the file may not be written */
};

/* dir: DATA/log, exists. */
int notify_open(struct notify *notify, const char *dir, struct err *err) must_check;
void notify_close(struct notify *notify);
uint32_t notify_sequence(const struct notify *notify);
/* Wakes every waiter in every process. Any thread. */
void notify_ring(struct notify *notify);
/* Sleeps until the sequence differs from this one, or timeout_ms. May return early. */
void notify_wait(struct notify *notify, uint32_t sequence, int timeout_ms);

#endif
