/* At which record too many are dead. Own header: dead_limit.h. */
#include "processor/dead_limit.h"

#include <inttypes.h>
#include <stdlib.h>

static bool too_many(const struct plan_input *input, uint64_t dead, uint64_t records)
{
    if (!input->dead_share) {
        return dead > (uint64_t)input->dead_max;
    }
    uint64_t of = records < PLAN_DEAD_SAMPLE ? PLAN_DEAD_SAMPLE : records;
    return (uint128)dead * 1000000 > (uint128)of * input->dead_ppm;
}

static void excess(struct processor *p, const struct node_source *source, uint64_t dead,
                   uint64_t records, int64_t offset, const char *reason)
{
    const struct plan_input *input = &p->options.plan->inputs[source->input];
    p->excess.code = err_set(
        &p->excess, KE_REFUSED,
        "table \"%s\": the dead_limit is exceeded %s offset %" PRId64 " of partition %" PRIu32
        ": %" PRIu64 " of the %" PRIu64 " records taken are dead%s%s",
        input->name, reason == NULL ? "below" : "at", offset, source->partition, dead, records,
        reason == NULL ? "" : ", the last one because of: ", reason == NULL ? "" : reason);
    err_hint(&p->excess, "kappa dead shows them; change the definition, or its dead_limit, and "
                         "deploy it again");
}

void dead_limit_check(struct processor *p, const struct kappa_source_state *before, size_t listed,
                      const struct kappa_record *records, uint32_t count)
{
    const struct plan_input *input = &p->options.plan->inputs[p->chunk.source->input];
    if (p->excess.code != 0 || p->dead.count == listed || !input->dead_limited) {
        return;
    }
    uint32_t *at = xmalloc(count * sizeof *at);
    dead_count(&p->dead, listed, records, count, at);
    for (uint32_t i = 0; i < count && p->excess.code == 0; i++) {
        uint64_t dead = before->dead + at[i];
        uint64_t taken = before->records + i + 1;
        if (at[i] > (i == 0 ? 0 : at[i - 1]) && too_many(input, dead, taken)) {
            excess(p, p->chunk.source, dead, taken, records[i].offset,
                   dead_reason(&p->dead, records[i].offset));
        }
    }
    free(at);
}

void dead_limit_restored(struct processor *p, const struct node_source *source)
{
    const struct plan_input *input = &p->options.plan->inputs[source->input];
    const struct kappa_source_state *state = &source->state;
    if (p->excess.code == 0 && input->dead_limited &&
        too_many(input, state->dead, state->records)) {
        excess(p, source, state->dead, state->records, state->next_offset, NULL);
    }
}
