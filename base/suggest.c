/* Optimal string alignment distance over short words. Own header: suggest.h. */
#include "base/suggest.h"

#include "base/limits.h"

#include <string.h>

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

unsigned suggest_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len > LIMIT_NAME_LEN || b_len > LIMIT_NAME_LEN) {
        return UINT32_MAX;
    }
    unsigned rows[3][LIMIT_NAME_LEN + 1];
    unsigned *before = rows[0];
    unsigned *last = rows[1];
    unsigned *now = rows[2];
    for (size_t j = 0; j <= b_len; j++) {
        last[j] = (unsigned)j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_len];
}

void suggest_begin(struct suggest *suggest, const char *typed)
{
    /* One letter in three may be wrong, and one more: but of a word of three, a third is all. */
    unsigned len = (unsigned)strlen(typed);
    *suggest = (struct suggest){.typed = typed, .distance = len > 3 ? len / 3 + 2 : 2};
}

void suggest_offer(struct suggest *suggest, const char *word)
{
    unsigned distance = suggest_distance(suggest->typed, word);
    if (distance < suggest->distance) {
        suggest->best = word;
        suggest->distance = distance;
    }
}
