/* Did you mean: the word of a list that is nearest to what was typed. */
#ifndef KAPPA_BASE_SUGGEST_H
#define KAPPA_BASE_SUGGEST_H

#include "base/base.h"

struct suggest {
    const char *typed;
    const char *best; /* NULL until something is near enough */
    unsigned distance;
};

void suggest_begin(struct suggest *suggest, const char *typed);
void suggest_offer(struct suggest *suggest, const char *word);

/* Edits (insert, delete, change, swap of neighbours) between two words (optimal string alignment);
 * UINT32_MAX when one is longer than a name may be. */
unsigned suggest_distance(const char *a, const char *b);

#endif
