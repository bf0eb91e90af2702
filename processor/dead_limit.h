/* dead_limit of an input: at which record of a partition too many are dead. Of one that was dead in
 * several views each counts, as in the source's state. */
#ifndef KAPPA_PROCESSOR_DEAD_LIMIT_H
#define KAPPA_PROCESSOR_DEAD_LIMIT_H

#include "processor/node.h"

/* The chunk's source has taken these records. before: its state as of the first of them; listed:
 * entries of p->dead that were there before. Fills p->excess at the first record that is too many:
 * it depends on the records below it and on nothing else. */
void dead_limit_check(struct processor *p, const struct kappa_source_state *before, size_t listed,
                      const struct kappa_record *records, uint32_t count);
/* The same for a source that was stored beyond its limit. */
void dead_limit_restored(struct processor *p, const struct node_source *source);

#endif
