/* Steps of the exact swap. Own header: swap.h. */
#include "controller/swap.h"

#include <stdlib.h>
#include <string.h>

#define TO(step) STATE_BIT(SWAP_##step)

static const struct state_row rows[] = {
    [SWAP_PREPARE] = {"prepare", TO(RUN_TO) | TO(FAILED), false},
    [SWAP_RUN_TO] = {"run_to", TO(CHECK) | TO(FAILED), false},
    [SWAP_CHECK] = {"check", TO(COMMIT) | TO(FAILED), false},
    [SWAP_COMMIT] = {"commit", TO(RELEASE) | TO(FAILED), false},
    [SWAP_RELEASE] = {"release", 0, true},
    [SWAP_FAILED] = {"failed", 0, true},
};

_Static_assert(array_len(rows) == SWAP_STEP_COUNT, "a row for each step");

const struct state_table swap_steps = {"swap", rows, SWAP_STEP_COUNT};

void swap_open(struct swap *swap, uint64_t id, uint32_t partition_count, int64_t now_us,
               int64_t hold_us_max)
{
    ASSERT_CMP(partition_count, >, 0);
    memset(swap, 0, sizeof *swap);
    swap->step = SWAP_PREPARE;
    swap->id = id;
    swap->started_us = now_us;
    swap->hold_us_max = hold_us_max;
    swap->partition_count = partition_count;
    swap->cut = xcalloc(partition_count, sizeof *swap->cut);
}

void swap_party_set(struct swap *swap, enum swap_side side, enum swap_part part,
                    const uint32_t *map, const int64_t *next, uint32_t count)
{
    struct swap_party *party = &swap->party[side];
    ASSERT(swap->step == SWAP_PREPARE);
    ASSERT(side != SWAP_NEW || part == SWAP_LIVE);
    ASSERT(party->map == NULL);
    party->part = part;
    if (part == SWAP_ABSENT) {
        return;
    }
    party->count = count;
    party->map = xcalloc(count, sizeof *party->map);
    party->next = xcalloc(count, sizeof *party->next);
    party->at = xcalloc(count, sizeof *party->at);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT_CMP(map[i], <, swap->partition_count);
        party->map[i] = map[i];
        party->next[i] = part == SWAP_STILL ? next[i] : -1;
    }
}

void swap_close(struct swap *swap)
{
    for (int side = 0; side < SWAP_SIDES; side++) {
        free(swap->party[side].map);
        free(swap->party[side].next);
        free(swap->party[side].at);
    }
    free(swap->cut);
    memset(swap, 0, sizeof *swap);
}

/* The rule: for each partition the larger position of those that read it. */
static void make_cut(struct swap *swap)
{
    for (uint32_t i = 0; i < swap->partition_count; i++) {
        swap->cut[i] = -1;
    }
    for (int side = 0; side < SWAP_SIDES; side++) {
        const struct swap_party *party = &swap->party[side];
        for (uint32_t i = 0; i < party->count; i++) {
            int64_t *cut = &swap->cut[party->map[i]];
            *cut = i64_max(*cut, party->next[i]);
        }
    }
}

static bool all_live(const struct swap *swap, bool (*is)(const struct swap_party *))
{
    for (int side = 0; side < SWAP_SIDES; side++) {
        if (swap->party[side].part == SWAP_LIVE && !is(&swap->party[side])) {
            return false;
        }
    }
    return true;
}

static bool party_held(const struct swap_party *party)
{
    return party->held;
}

static bool party_at_cut(const struct swap_party *party)
{
    return party->at_cut;
}

/* Is this the answer that the step waits for? */
static bool expected(const struct swap *swap, enum swap_side side, uint64_t id, enum swap_step step)
{
    return swap->step == step && swap->id == id && swap->party[side].part == SWAP_LIVE;
}

static int check_count(const struct swap_party *party, const char *what, uint32_t count,
                       struct err *err)
{
    if (count != party->count) {
        return err_set(err, KE_INVALID, "a worker answered '%s' with %u offsets instead of %u",
                       what, count, party->count);
    }
    return 0;
}

int swap_held(struct swap *swap, enum swap_side side, uint64_t id, const int64_t *next,
              uint32_t count, struct err *err)
{
    struct swap_party *party = &swap->party[side];
    if (!expected(swap, side, id, SWAP_PREPARE)) {
        return 0;
    }
    int rc = check_count(party, "held", count, err);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (next[i] < 0) {
            return err_set(err, KE_INVALID, "a worker holds at offset %lld of source %u",
                           (long long)next[i], i);
        }
        party->next[i] = next[i];
    }
    party->held = true;
    if (all_live(swap, party_held)) {
        make_cut(swap);
        state_move(&swap_steps, &swap->step, SWAP_RUN_TO);
    }
    return 0;
}

void swap_held_since(struct swap *swap, int64_t at_us)
{
    ASSERT(swap->step <= SWAP_RUN_TO);
    swap->started_us = i64_max(swap->started_us, at_us);
}

void swap_cut_of(const struct swap *swap, enum swap_side side, int64_t *out)
{
    const struct swap_party *party = &swap->party[side];
    ASSERT(swap->step != SWAP_PREPARE);
    for (uint32_t i = 0; i < party->count; i++) {
        out[i] = swap->cut[party->map[i]];
        ASSERT_CMP(out[i], >=, party->next[i]);
    }
}

int swap_at_cut(struct swap *swap, enum swap_side side, uint64_t id, const int64_t *cut,
                uint32_t count, struct err *err)
{
    struct swap_party *party = &swap->party[side];
    if (!expected(swap, side, id, SWAP_RUN_TO)) {
        return 0;
    }
    int rc = check_count(party, "at_cut", count, err);
    if (rc != 0) {
        return rc;
    }
    memcpy(party->at, cut, count * sizeof *cut);
    party->at_cut = true;
    if (all_live(swap, party_at_cut)) {
        state_move(&swap_steps, &swap->step, SWAP_CHECK);
    }
    return 0;
}

int swap_may_commit(struct swap *swap, int64_t now_us, struct err *err)
{
    ASSERT(swap->step == SWAP_CHECK);
    for (int side = 0; side < SWAP_SIDES; side++) {
        const struct swap_party *party = &swap->party[side];
        for (uint32_t i = 0; party->part == SWAP_LIVE && i < party->count; i++) {
            int64_t cut = swap->cut[party->map[i]];
            if (party->at[i] != cut) {
                return err_set(err, KE_INTERNAL,
                               "the %s version committed offset %lld of source %u, the cut is %lld",
                               side == SWAP_OLD ? "old" : "new", (long long)party->at[i], i,
                               (long long)cut);
            }
        }
    }
    if (swap_expired(swap, now_us)) {
        return err_set(err, KE_TIMEOUT, "the hold ran out before the commit");
    }
    state_move(&swap_steps, &swap->step, SWAP_COMMIT);
    return 0;
}

void swap_committed(struct swap *swap)
{
    state_move(&swap_steps, &swap->step, SWAP_RELEASE);
}

void swap_fail(struct swap *swap)
{
    state_move(&swap_steps, &swap->step, SWAP_FAILED);
}

bool swap_expired(const struct swap *swap, int64_t now_us)
{
    return swap_running(swap) && now_us - swap->started_us > swap->hold_us_max;
}

bool swap_running(const struct swap *swap)
{
    return !swap_steps.rows[swap->step].final;
}

const char *swap_waits_for(const struct swap *swap, enum swap_side *side)
{
    bool holding = swap->step == SWAP_PREPARE;
    const struct swap_party *old = &swap->party[SWAP_OLD];
    bool new_missing = holding ? !swap->party[SWAP_NEW].held /* it is asked first */
                               : old->part != SWAP_LIVE || old->at_cut;
    *side = new_missing ? SWAP_NEW : SWAP_OLD;
    return holding ? "to hold" : "to reach the cut";
}
