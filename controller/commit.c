/* COMMIT of a swap: the one catalog transaction, and its receipt. Own header: core_inside.h.
 *
 * In the transaction, for each processor that takes part: pointers of all tables, processor (serving,
 * epoch + 1), both versions and those that retire, receipt. Before it nothing has changed, behind it
 * everything has. */
#include "controller/core_inside.h"

#include "base/timefmt.h"
#include "base/trace.h"
#include "controller/judge.h"
#include "table/catalog.h"

#include <stdlib.h>
#include <string.h>

static json_t *digest_of(const struct core_swap *swap, enum swap_side side)
{
    const json_t *digest = json_object_get(swap->at_cut[side], "digest");
    return json_is_string(digest) ? json_incref((json_t *)(uintptr_t)digest) : json_null();
}

/* {name: {"old": hex|null, "new": hex|null}} over the tables of both. */
static json_t *table_digests(const struct core_swap *swap)
{
    static const char *const names[SWAP_SIDES] = {"old", "new"};
    json_t *tables = json_object();
    for (int side = 0; side < SWAP_SIDES; side++) {
        json_t *given = json_object_get(swap->at_cut[side], "tables");
        const char *name;
        json_t *digest;
        json_object_foreach (given, name, digest) {
            json_t *pair = json_object_get(tables, name);
            if (pair == NULL) {
                pair = json_pack("{s:n, s:n}", "old", "new");
                object_set(tables, name, pair);
            }
            object_set(pair, names[side], json_incref(digest));
        }
    }
    return tables;
}

static json_t *receipt_make(const struct core *core, const struct core_processor *processor)
{
    const struct core_swap *swap = &processor->swap;
    char time[TIME_TEXT_LEN];
    time_format(core_now_ms(core) * 1000, time);
    double hold_ms = (double)(core_now_us(core) - swap->swap.started_us) / 1000.0;
    json_t *receipt =
        json_pack("{s:s, s:I, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:f, s:s, s:s}", "processor",
                  processor->name, "epoch", (json_int_t)swap->epoch, "time", time, "old",
                  swap->old != NULL ? (int)swap->old->number : 0, "new", (int)swap->new->number,
                  "cut", partitions_cut_json(&swap->partitions, swap->swap.cut), "old_digest",
                  digest_of(swap, SWAP_OLD), "new_digest", digest_of(swap, SWAP_NEW), "tables",
                  table_digests(swap), "hold_ms", hold_ms, "why", swap->why, "who", swap->who);
    ASSERT(receipt != NULL);
    if (swap->note != NULL) {
        int rc = json_object_update_missing(receipt, swap->note);
        ASSERT(rc == 0);
    }
    return receipt;
}

/* {"name","members":{processor:{"epoch","old","new"}}} */
static json_t *group_json(const struct core *core, const struct core_swap *swap)
{
    json_t *members = json_object();
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_processor *member = core->processors[i];
        if (conduct_moves(member, swap->move)) {
            const struct core_version *old = member->swap.old;
            json_t *one =
                json_pack("{s:I, s:i, s:i}", "epoch", (json_int_t)member->swap.epoch, "old",
                          old != NULL ? (int)old->number : 0, "new", (int)member->swap.new->number);
            ASSERT(one != NULL);
            object_set(members, member->name, one);
        }
    }
    json_t *group = json_pack("{s:s, s:o}", "name", swap->group, "members", members);
    ASSERT(group != NULL);
    return group;
}

/* How long the old version stands by: as the new one's policy says. */
static int64_t standby_of(const struct core *core, const struct core_processor *processor)
{
    struct policy policy;
    settings_read(processor->swap.new->object, &policy);
    if (core->standby_forced) {
        return core->standby_ms;
    }
    return policy.standby_us >= 0 ? policy.standby_us / 1000
                                  : json_int(processor->object, "standby_ms", core->standby_ms);
}

/* Of a group all stand by for as long as one of them asks for, so that there is a way back for all. */
static int64_t standby_ms(const struct core *core, const struct core_processor *processor)
{
    int64_t longest = 0;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        if (conduct_moves(core->processors[i], processor->swap.move)) {
            longest = i64_max(longest, standby_of(core, core->processors[i]));
        }
    }
    return longest;
}

/* New and old change places; a version that stood by before retires. */
static void change_roles(const struct core *core, struct change *change,
                         const struct core_processor *processor)
{
    const struct core_swap *swap = &processor->swap;
    json_t *object = version_object_in(core, swap->new, VERSION_SERVING);
    object_set(object, "barred", json_false());
    object_set(object, "standby_until_ms", json_null());
    object_set(object, "refusal", json_null());
    change_version(change, swap->new, object);
    if (swap->old != NULL && swap->old->child.blocked) {
        change_version(change, swap->old, version_object_in(core, swap->old, VERSION_FAILED));
    } else if (swap->old != NULL) {
        object = version_object_in(core, swap->old, VERSION_STANDBY);
        object_set(object, "barred", json_boolean(strcmp(swap->why, "rollback") == 0));
        object_set(object, "standby_until_ms",
                   json_integer(core_now_ms(core) + standby_ms(core, processor)));
        change_version(change, swap->old, object);
    }
    for (uint32_t i = 0; i < processor->version_count; i++) {
        struct core_version *other = processor->versions[i];
        ASSERT(other != NULL);
        if (!conduct_involves(other) && version_role(other) == VERSION_STANDBY) {
            change_version(change, other, version_object_in(core, other, VERSION_RETIRED));
        }
    }
}

/* Tables of the new version point to it; those that it no longer has point nowhere. */
static void change_pointers(struct change *change, const struct core_processor *processor)
{
    const struct core_swap *swap = &processor->swap;
    for (uint32_t i = 0; swap->old != NULL && i < version_table_count(swap->old); i++) {
        const char *name = version_table(swap->old, i);
        bool kept = false;
        for (uint32_t k = 0; k < version_table_count(swap->new); k++) {
            kept = kept || strcmp(version_table(swap->new, k), name) == 0;
        }
        if (!kept) {
            change_pointer_delete(change, name);
        }
    }
    for (uint32_t i = 0; i < version_table_count(swap->new); i++) {
        change_pointer(change, version_table(swap->new, i), processor->name, swap->new->number,
                       swap->epoch, NULL);
    }
}

/* The processor's new object; NULL when it cannot be. */
static json_t *processor_object(const struct core_processor *processor, struct err *err)
{
    const struct core_swap *swap = &processor->swap;
    json_t *object = json_copy(processor->object);
    object_set(object, "serving", json_integer(swap->new->number));
    object_set(object, "epoch", json_integer((json_int_t)swap->epoch));
    (void)json_object_del(object, "canary"); /* its pointers end with these */
    who_served(processor, object, swap->new->number);
    if (outputs_swap(processor, object, err) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static void change_member(const struct core *core, struct change *change,
                          struct core_processor *processor, json_t *object)
{
    const struct core_swap *swap = &processor->swap;
    char key[CATALOG_KEY_LEN];
    catalog_key_receipt(key, processor->name, swap->epoch);
    change_roles(core, change, processor);
    change_pointers(change, processor);
    change_processor(change, processor, object);
    change_put(change, key, NULL, json_copy(swap->receipt));
}

/* What can fail before anything is written: per processor its new object, or NULL for those that do
 * not take part. */
static int prepare_members(const struct core *core, uint64_t move, json_t **objects,
                           struct err *err)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *member = core->processors[i];
        if (conduct_moves(member, move)) {
            ASSERT(member->swap.swap.step == SWAP_COMMIT);
            ASSERT(member->swap.receipt == NULL);
            member->swap.epoch = (uint64_t)json_int(member->object, "epoch", 0) + 1;
        }
    }
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *member = core->processors[i];
        struct core_swap *swap = &member->swap;
        if (!conduct_moves(member, move)) {
            continue;
        }
        swap->receipt = receipt_make(core, member);
        if (swap->group != NULL) {
            object_set(swap->receipt, "group", group_json(core, swap));
        }
        objects[i] = processor_object(member, err);
        if (objects[i] == NULL) {
            return -KE_LIMIT;
        }
    }
    return 0;
}

int conduct_commit(struct core *core, uint64_t move, struct err *err)
{
    json_t **objects = xcalloc(core->processor_count, sizeof(json_t *));
    int rc = prepare_members(core, move, objects, err);
    if (rc == 0) {
        struct change change;
        change_begin(&change, core);
        for (uint32_t i = 0; i < core->processor_count; i++) {
            if (objects[i] != NULL) {
                change_member(core, &change, core->processors[i], json_incref(objects[i]));
            }
        }
        rc = change_commit(&change, err);
    }
    for (uint32_t i = 0; i < core->processor_count; i++) {
        json_decref(objects[i]);
    }
    free(objects);
    return rc;
}

void conduct_correct_hold(struct core *core, struct core_processor *processor)
{
    const struct core_swap *swap = &processor->swap;
    char key[CATALOG_KEY_LEN];
    catalog_key_receipt(key, processor->name, swap->epoch);
    json_t *known = NULL;
    struct err err = {0};
    int rc = core->dead ? -KE_CLOSED : catalog_get(core->catalog, key, &known, &err);
    if (rc == 0) {
        struct change change;
        change_begin(&change, core);
        change_put(&change, key, known, json_copy(swap->receipt));
        rc = change_commit(&change, &err);
        json_decref(known);
    }
    if (rc != 0 && !core->dead) {
        trace(TRACE_WARN, "the receipt %s keeps its hold as of the commit: %s", key, err.text);
    }
}
