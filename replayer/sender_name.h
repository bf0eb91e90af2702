/* The name of a message in its topic: the header "kappa-out". Pure.
 *
 *     fraud#5f0c2a transactions/3@1812.0.1
 *     |            |            | |    | '- seq: number among the messages of this record and output
 *     |            |            | |    '- output: index of the topic in the definition
 *     |            |            | '- offset of the record that caused it
 *     |            |            '- partition
 *     |            '- input topic, with its identity as ":hex" where the log knows one
 *     '- sender: a processor, and a mark made with it, so that another one of that name is another
 *
 * Names of one input partition ascend in the order of sending; but for corrections. These bear the name
 * of the message that they correct, and beside it the header "kappa-correction":
 *
 *     7 replaced
 *     | '- what it does: replaced, added or retracted (correction.h)
 *     '- epoch of the swap after which it was sent
 */
#ifndef KAPPA_REPLAYER_SENDER_NAME_H
#define KAPPA_REPLAYER_SENDER_NAME_H

#include "base/buf.h"
#include "include/kappa/message.h"

#define SENDER_HEADER     KAPPA_MESSAGE_NAME
#define SENDER_CORRECTION KAPPA_MESSAGE_CORRECTION

/* Where a message stands in its input partition. */
struct sender_place {
    int64_t offset; /* -1: below all */
    uint32_t output;
    uint32_t seq;
};

struct sender_name {
    const char *sender; /* borrowed; not NUL-terminated */
    size_t sender_len;
    const char *topic;
    size_t topic_len;
    uint64_t identity;
    uint32_t partition;
    struct sender_place place;
};

/* < 0, 0, > 0 */
int sender_place_order(const struct sender_place *a, const struct sender_place *b);

void sender_name_write(struct buf *text, const char *sender, const char *topic, uint64_t identity,
                       uint32_t partition, const struct sender_place *place);
/* False: it is no name. */
bool sender_name_read(const char *text, size_t len, struct sender_name *out);
/* The name among the headers of a record; false when there is none. */
bool sender_name_find(const struct kappa_record *record, struct sender_name *out);
/* Does the record correct a message that was sent before? Then its name says nothing about how far the
 * sender has come. */
bool sender_name_corrects(const struct kappa_record *record);
/* The value of a header, borrowed; false when there is none of that name, or it is null. */
bool sender_header_find(const struct kappa_record *record, const char *name, const char **value,
                        size_t *len);

#endif
