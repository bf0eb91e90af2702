/* What a worker is told about sending: the object "outbox" of `open` and `serving`, as the options of
 * a sender.
 *
 *     {"name":"fraud#5f0c2a","dir":"DATA/versions/fraud",
 *      "spans":[{"epoch":N,"dir":"DATA/versions/fraud/1","shards":N,
 *                "inputs":[{"topic","identity","partitions"}],"topics":[topic per output],
 *                "from":[offset per source],"to":[offset per source]|null}, ...]} */
#ifndef KAPPA_REPLAYER_WORKER_OUTBOX_H
#define KAPPA_REPLAYER_WORKER_OUTBOX_H

#include "base/json.h"
#include "replayer/sender.h"

struct worker_outbox {
    json_t *message; /* owned: texts are borrowed from it */
    const char *name;
    const char *dir;
    struct sender_span *spans; /* owned, with their arrays */
    uint64_t *epochs;          /* per span; owned */
    uint32_t span_count;
};

/* Borrows the object, keeps a reference. */
int worker_outbox_parse(const json_t *object, struct worker_outbox *out,
                        struct err *err) must_check;
void worker_outbox_free(struct worker_outbox *outbox);

#endif
