/* The inside of corrections: correction.c (life, the walk), correction_topics.c (reading the topics) and
 * correction_send.c. */
#ifndef KAPPA_REPLAYER_CORRECTION_INSIDE_H
#define KAPPA_REPLAYER_CORRECTION_INSIDE_H

#include "base/buf.h"
#include "replayer/correction.h"
#include "table/ledger.h"
#include "table/outbox.h"

/* An input partition that names speak of: the version's sources first. */
struct correction_input {
    const char *topic;
    char *owned; /* of one that is no source: the same; else NULL */
    uint64_t identity;
    uint32_t partition;
    int64_t start, cut;
};

struct correction_output {
    const char *name;
    uint32_t partitions; /* as it is now */
    uint32_t spread;
    bool timed; /* records keep the times that they bring */
};

/* What a record should have made, and what is there. Bytes of keys lie in `bytes`. */
struct correction_wanted {
    struct outbox_row row;
    struct kappa_record record;
    struct digest content;
    bool matched;
    bool same;
    enum correction_kind kind;
    uint32_t partition; /* when matched */
};

struct corrections {
    struct correction_options options;
    struct correction_input *inputs;
    uint32_t input_count;
    struct correction_output *topics;
    struct ledger *ledger;
    struct outbox *outbox; /* or NULL */
    struct log_sender *sender;
    struct correction_counts counts;
    struct buf scratch;

    /* A record. */
    struct correction_wanted *wanted;
    uint32_t wanted_count, wanted_cap;
    struct ledger_entry *found; /* key: its place in `keys` until the record is whole */
    size_t *key_at;
    uint32_t found_count, found_cap;
    struct buf keys;
};

/* Hash of what a message says besides its key and time. */
struct digest correction_content(struct buf *scratch, const struct kappa_record *record);
/* The number of the input that a name speaks of; it is added when it is not known. */
uint32_t correction_input(struct corrections *corrections, const struct sender_name *name);

#endif
