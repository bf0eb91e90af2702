/* The second input of the simulator, and recounts of what operators with state make: loops over all
 * records below a cut. Own headers: sim.h, sim_operators.h. */
#include "tests/sim/sim_operators.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_MS  INT64_C(5000)
#define BURST_MS  INT64_C(4000)
#define TYPES     3
#define TOP       3
#define NO_TYPE   TYPES
#define NO_VIEWED SIM_PRODUCTS
#define ROWS_MAX  8192

static const char *const type_names[] = {"view", "click", "purchase"};

/* ---- The second input: how profiles stand now, by key. */

void sim_profile_produce(struct sim *sim)
{
    static const char *const broken[] = {"{\"id\":\"k", "{\"id\":\"k0\",\"level\":\"low\"}"};
    if (sim->profile_count == SIM_PROFILES_MAX) {
        return;
    }
    struct prng *prng = &sim->prng;
    struct sim_profile *profile = &sim->profiles[sim->profile_count++];
    *profile = (struct sim_profile){.id = (uint32_t)prng_below(prng, SIM_IDS),
                                    .level = (uint32_t)prng_below(prng, 7)};
    uint64_t kind = prng_below(prng, 12);
    profile->gone = kind < 4;
    profile->bad = kind == 4;
    uint32_t partition = profile->id % sim->profile_partitions;
    char key[16];
    char text[128] = "";
    (void)snprintf(key, sizeof key, "k%u", profile->id);
    if (profile->bad) {
        (void)snprintf(text, sizeof text - KAPPA_RECORD_TAIL, "%s", broken[profile->level % 2]);
    } else {
        (void)snprintf(text, sizeof text - KAPPA_RECORD_TAIL, "{\"id\":\"%s\",\"level\":%u}", key,
                       profile->level);
    }
    struct kappa_record record = {.time_ms = sim->event_ms,
                                  .key = (const uint8_t *)key,
                                  .key_len = (uint32_t)strlen(key),
                                  .value = profile->gone ? NULL : (const uint8_t *)text,
                                  .value_len =
                                      profile->gone ? KAPPA_NULL_LEN : (uint32_t)strlen(text)};
    struct err err = {0};
    if (sim->profile_writer->ops->append(sim->profile_writer, (int32_t)partition, &record, &err) !=
        0) {
        sim_fail(sim, "append: %s", err.text);
    }
    sim->offsets[sim->partitions + partition]++;
}

/* ---- Rows as texts, to be compared as sets. */

struct sim_texts {
    char *text[ROWS_MAX];
    uint32_t count;
};

struct sim_texts *sim_texts_new(void)
{
    return xcalloc(1, sizeof(struct sim_texts));
}

void sim_texts_add(struct sim_texts *texts, json_t *row)
{
    ASSERT(row != NULL);
    ASSERT_CMP(texts->count, <, ROWS_MAX);
    texts->text[texts->count++] = json_print(row);
    json_decref(row);
}

static bool take_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    sim_texts_add(ctx, reader_row_json(view, values));
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void texts_end(struct sim_texts *texts)
{
    for (uint32_t i = 0; i < texts->count; i++) {
        free(texts->text[i]);
    }
    texts->count = 0;
}

void sim_texts_compare(struct sim *sim, const char *table, struct sim_texts *want)
{
    struct sim_texts *got = xcalloc(1, sizeof *got);
    struct reader_stamp stamp = {0};
    struct err err = {0};
    if (reader_scan(sim->reader, table, 0, -1, take_row, got, &stamp, &err) != 0) {
        sim_fail(sim, "scan of %s: %s", table, err.text);
    }
    json_decref(stamp.cut);
    qsort(want->text, want->count, sizeof want->text[0], by_text);
    qsort(got->text, got->count, sizeof got->text[0], by_text);
    for (uint32_t i = 0; i < want->count || i < got->count; i++) {
        const char *wanted = i < want->count ? want->text[i] : "nothing more";
        const char *is = i < got->count ? got->text[i] : "nothing more";
        if (strcmp(wanted, is) != 0) {
            sim_fail(sim, "%s: %s, a recount gives %s", table, is, wanted);
        }
    }
    texts_end(want);
    texts_end(got);
    free(got);
}

static json_t *user_json(uint32_t user)
{
    char name[16];
    (void)snprintf(name, sizeof name, "u%u", user);
    return json_string(name);
}

static json_t *product_json(uint32_t product)
{
    char name[16];
    (void)snprintf(name, sizeof name, "p%u", product);
    return product == NO_VIEWED ? json_null() : json_string(name);
}

/* ---- Records of one user in one partition, in offset order. */

struct own {
    const struct sim_record *at[SIM_RECORDS_MAX];
    uint32_t count;
    const int64_t *cut;
};

/* timely: without those that come behind the watermark. */
static void own_records(const struct sim *sim, uint32_t partition, uint32_t user, bool timely,
                        struct own *own)
{
    int64_t newest = INT64_MIN;
    int64_t offset = 0;
    own->count = 0;
    for (uint32_t i = 0; i < sim->record_count && offset < own->cut[partition]; i++) {
        const struct sim_record *record = &sim->records[i];
        if (record->partition != partition) {
            continue;
        }
        offset++;
        if (record->bad) {
            continue;
        }
        newest = i64_max(newest, record->time_ms);
        bool late = record->time_ms < newest - BOUND_MS;
        if (record->user == user && !(timely && late)) {
            own->at[own->count++] = record;
        }
    }
}

/* ---- OVER */

struct step {
    int64_t n, places, bursts;
    double least;
};

static void step_of(const struct own *own, uint32_t i, struct step (*steps)[TYPES])
{
    const struct sim_record *row = own->at[i];
    const struct sim_record *before[2] = {NULL, NULL}; /* the two rows in front, nearest first */
    int64_t place = 0;
    int64_t burst = 0;
    for (uint32_t j = 0; j <= i; j++) {
        const struct sim_record *other = own->at[j];
        burst += other->time_ms >= row->time_ms - BURST_MS && other->time_ms <= row->time_ms;
        place += other->time_ms <= row->time_ms; /* j <= i: of one time the first come first */
        if (j == i || other->time_ms > row->time_ms) {
            continue;
        }
        if (before[0] == NULL || other->time_ms >= before[0]->time_ms) {
            before[1] = before[0];
            before[0] = other;
        } else if (before[1] == NULL || other->time_ms >= before[1]->time_ms) {
            before[1] = other;
        }
    }
    double least = row->amount;
    for (uint32_t k = 0; k < 2 && before[k] != NULL; k++) {
        least = before[k]->amount < least ? before[k]->amount : least;
    }
    struct step *step = &steps[before[0] == NULL ? NO_TYPE : before[0]->type][row->type];
    step->least = step->n == 0 || least > step->least ? least : step->least;
    step->n++;
    step->places += place;
    step->bursts += burst;
}

static void check_steps(struct sim *sim, struct sim_texts *want, struct own *own)
{
    for (uint32_t user = 0; user < sim->users; user++) {
        struct step steps[TYPES + 1][TYPES] = {{{0}}};
        for (uint32_t p = 0; p < sim->partitions; p++) {
            own_records(sim, p, user, true, own);
            for (uint32_t i = 0; i < own->count; i++) {
                step_of(own, i, steps);
            }
        }
        for (uint32_t k = 0; k < (TYPES + 1) * TYPES; k++) {
            uint32_t before = k / TYPES;
            const struct step *step = &steps[before][k % TYPES];
            if (step->n > 0) {
                sim_texts_add(want,
                              json_pack("{s:o, s:s?, s:s, s:I, s:I, s:I, s:f}", "user_id",
                                        user_json(user), "before",
                                        before == NO_TYPE ? NULL : type_names[before], "event_type",
                                        type_names[k % TYPES], "n", (json_int_t)step->n, "places",
                                        (json_int_t)step->places, "bursts",
                                        (json_int_t)step->bursts, "least", step->least));
            }
        }
    }
    sim_texts_compare(sim, "steps", want);
}

/* ---- The join within the topic */

static void check_led(struct sim *sim, struct sim_texts *want, struct own *own)
{
    for (uint32_t user = 0; user < sim->users; user++) {
        int64_t n[SIM_PRODUCTS + 1] = {0};
        double most[SIM_PRODUCTS + 1] = {0};
        for (uint32_t p = 0; p < sim->partitions; p++) {
            uint32_t viewed = NO_VIEWED;
            own_records(sim, p, user, false, own);
            for (uint32_t i = 0; i < own->count; i++) {
                const struct sim_record *record = own->at[i];
                if (record->type == 2) {
                    n[viewed]++;
                    most[viewed] = record->amount > most[viewed] ? record->amount : most[viewed];
                }
                viewed = record->type == 0 ? record->product : viewed;
            }
        }
        for (uint32_t k = 0; k <= NO_VIEWED; k++) {
            if (n[k] > 0) {
                sim_texts_add(want,
                              json_pack("{s:o, s:o, s:I, s:f}", "user_id", user_json(user), "led",
                                        product_json(k), "n", (json_int_t)n[k], "most", most[k]));
            }
        }
    }
    sim_texts_compare(sim, "led", want);
}

/* ---- First rows of a key */

static void check_dearest(struct sim *sim, struct sim_texts *want, struct own *own)
{
    for (uint32_t user = 0; user < sim->users; user++) {
        const struct sim_record *top[TOP + 1] = {NULL};
        for (uint32_t p = 0; p < sim->partitions; p++) {
            own_records(sim, p, user, false, own);
            for (uint32_t i = 0; i < own->count; i++) {
                uint32_t k = TOP;
                for (; k > 0 && (top[k - 1] == NULL || top[k - 1]->amount < own->at[i]->amount);
                     k--) {
                    top[k] = top[k - 1];
                }
                top[k] = own->at[i];
            }
        }
        for (uint32_t k = 0; k < TOP && top[k] != NULL; k++) {
            sim_texts_add(want, json_pack("{s:o, s:i, s:f, s:o}", "user_id", user_json(user),
                                          "place", (int)k + 1, "amount", top[k]->amount,
                                          "product_id", product_json(top[k]->product)));
        }
    }
    sim_texts_compare(sim, "dearest", want);
}

/* ---- The plugin */

static void check_counted(struct sim *sim, struct sim_texts *want, struct own *own)
{
    for (uint32_t user = 0; user < sim->users; user++) {
        int64_t n = 0;
        int64_t total = 0;
        int64_t most = 0;
        for (uint32_t p = 0; p < sim->partitions; p++) {
            int64_t number = 0;
            own_records(sim, p, user, false, own);
            for (uint32_t i = 0; i < own->count; i++) {
                const struct sim_record *record = own->at[i];
                if (record->type == 0 && record->product == 2) {
                    continue;
                }
                number++;
                n += record->type == 1 && record->product == 1 ? 2 : 1;
                total += number;
                most = i64_max(most, number);
                number = record->type == 2 && record->product == 0 ? 0 : number;
            }
        }
        if (n > 0) {
            sim_texts_add(want, json_pack("{s:o, s:I, s:I, s:I}", "user_id", user_json(user), "n",
                                          (json_int_t)n, "total", (json_int_t)total, "most",
                                          (json_int_t)most));
        }
    }
    sim_texts_compare(sim, "counted", want);
}

/* ---- The table of the second input */

void sim_people_check(struct sim *sim, const char *table, struct sim_texts *want,
                      const int64_t *cut)
{
    const struct sim_profile *now[SIM_IDS] = {NULL};
    int64_t offsets[SIM_SOURCES_MAX] = {0};
    for (uint32_t i = 0; i < sim->profile_count; i++) {
        const struct sim_profile *profile = &sim->profiles[i];
        uint32_t source = sim->partitions + profile->id % sim->profile_partitions;
        if (offsets[source]++ >= cut[source]) {
            continue;
        }
        bool dead = !profile->gone && (profile->bad || profile->level == 0);
        now[profile->id] = dead ? now[profile->id] : profile;
    }
    for (uint32_t id = 0; id < SIM_IDS; id++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%u", id);
        if (now[id] != NULL && !now[id]->gone && now[id]->level != 3) {
            sim_texts_add(want,
                          json_pack("{s:s, s:i, s:i}", "id", name, "level", (int)now[id]->level,
                                    "share", (int)(60 / now[id]->level)));
        }
    }
    sim_texts_compare(sim, table, want);
}

void sim_operators_check(struct sim *sim, const int64_t *cut)
{
    struct sim_texts *want = sim_texts_new();
    struct own *own = xcalloc(1, sizeof *own);
    own->cut = cut;
    check_steps(sim, want, own);
    check_led(sim, want, own);
    check_dearest(sim, want, own);
    if (sim->plugin) {
        check_counted(sim, want, own);
    }
    sim_people_check(sim, "people", want, cut);
    free(want);
    free(own);
}
