/* Receipts, newest first: of one processor, or of all. Own header: core_inside.h.
 *
 * A processor's receipts are numbered by its epochs, so those of several are merged from their newest ones
 * on: no more receipts are read than are told, and one for each processor. */
#include "controller/core_inside.h"

#include "table/catalog.h"

#include <stdlib.h>
#include <string.h>

/* The receipts of one processor on the way back in time. */
struct history {
    const struct core_processor *processor;
    uint64_t epoch;  /* of `next` */
    json_t *receipt; /* the next one to be told, owned; NULL: there is none */
};

/* Goes back to the receipt before. */
static int history_step(struct core *core, struct history *history, struct err *err)
{
    int rc = -KE_NOT_FOUND;
    json_decref(history->receipt);
    history->receipt = NULL;
    while (rc == -KE_NOT_FOUND && history->epoch > 1) {
        char key[CATALOG_KEY_LEN];
        catalog_key_receipt(key, history->processor->name, --history->epoch);
        rc = catalog_get(core->catalog, key, &history->receipt, err);
    }
    return rc == -KE_NOT_FOUND ? 0 : rc;
}

static struct history *newest(struct history *all, uint32_t count)
{
    struct history *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct history *one = &all[i];
        if (one->receipt != NULL &&
            (found == NULL || strcmp(json_text(one->receipt, "time", ""),
                                     json_text(found->receipt, "time", "")) > 0)) {
            found = one;
        }
    }
    return found;
}

json_t *history_json(struct core *core, const struct core_processor *only, size_t most,
                     struct err *err)
{
    uint32_t count = only != NULL ? 1 : core->processor_count;
    struct history *all = xcalloc(count + 1, sizeof *all);
    json_t *receipts = json_array();
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        all[i].processor = only != NULL ? only : core->processors[i];
        all[i].epoch = (uint64_t)json_int(all[i].processor->object, "epoch", 0) + 1;
        rc = history_step(core, &all[i], err);
    }
    struct history *next;
    while (rc == 0 && json_array_size(receipts) < most && (next = newest(all, count)) != NULL) {
        rc = json_array_append(receipts, next->receipt);
        ASSERT(rc == 0);
        rc = history_step(core, next, err);
    }
    for (uint32_t i = 0; i < count; i++) {
        json_decref(all[i].receipt);
    }
    free(all);
    json_t *body = rc == 0 ? json_pack("{s:O}", "receipts", receipts) : NULL;
    json_decref(receipts);
    return body;
}
