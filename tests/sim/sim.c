/* The simulator's world: scheduler, clock, deaths, and the story that each run tells. See sim.h.
 *
 * usage: sim [--seed N] [--runs M] [--verbose]      seeds N, N+1, ... N+M-1; exit 1 at the first that fails
 */
#include "tests/sim/sim.h"

#include <ftw.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list args;
    (void)printf("FAILED: seed %llu: ", (unsigned long long)sim->seed);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)printf("\n  again: make sim SEED=%llu RUNS=1   (data kept in %s)\n",
                 (unsigned long long)sim->seed, sim->dir);
    (void)fflush(stdout);
    _Exit(1);
}

bool sim_chance(struct sim *sim, uint64_t in)
{
    return prng_below(&sim->prng, in) == 0;
}

void sim_note(struct sim *sim, const char *format, ...)
{
    if (sim->verbose) {
        va_list args;
        va_start(args, format);
        (void)printf("%9.3f ", (double)sim->now_us / 1e6);
        (void)vprintf(format, args);
        (void)printf("\n");
        va_end(args);
    }
}

/* ---- The world that the brain sees ---- */

static int64_t sim_mono_us(void *ctx)
{
    return ((struct sim *)ctx)->now_us;
}

static int64_t sim_wall_ms(void *ctx)
{
    const struct sim *sim = ctx;
    return INT64_C(1790000000000) + sim->set_ms + sim->now_us / 1000;
}

static struct sim_worker *worker_find(struct sim *sim, uint64_t id)
{
    struct sim_worker *worker = sim->workers;
    while (worker != NULL && worker->id != id) {
        worker = worker->next;
    }
    return worker;
}

static int op_worker_start(void *ctx, uint64_t id, const char *name, struct err *err)
{
    struct sim *sim = ctx;
    (void)err;
    sim_note(sim, "start %s as %llu", name, (unsigned long long)id);
    struct sim_worker *worker = sim_worker_new(sim, id, name);
    worker->next = sim->workers;
    sim->workers = worker;
    return 1000 + (int)(id % 10000);
}

static void op_worker_send(void *ctx, uint64_t id, const json_t *message)
{
    struct sim_worker *worker = worker_find(ctx, id);
    if (worker != NULL && !worker->gone) {
        json_t *copy = json_deep_copy(message);
        int rc = json_array_append_new(worker->inbox, copy);
        ASSERT(rc == 0);
    }
}

static void op_worker_stop(void *ctx, uint64_t id, bool kill)
{
    struct sim_worker *worker = worker_find(ctx, id);
    if (worker != NULL && kill) {
        sim_worker_kill(worker);
    } else if (worker != NULL && !worker->gone) {
        json_t *stop = json_pack("{s:s}", "do", "stop");
        int rc = json_array_append_new(worker->inbox, stop);
        ASSERT(rc == 0);
    }
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int op_remove_files(void *ctx, const char *dir, struct err *err)
{
    struct sim *sim = ctx;
    char path[700];
    (void)err;
    (void)snprintf(path, sizeof path, "%s/versions/%s", sim->dir, dir);
    remove_tree(path);
    return 0;
}

static void op_reply(void *ctx, void *request, json_t *body, const struct err *err)
{
    struct sim *sim = ctx;
    ASSERT(request == sim);
    ASSERT(sim->asked);
    ASSERT(!sim->answered);
    sim->answered = true;
    sim->answer = err == NULL ? (struct err){0} : *err;
    sim->answer_body = body;
    sim_note(sim, "answer: %s", err == NULL ? "done" : err->text);
}

static void op_run_job(void *ctx, struct core_job *job)
{
    struct sim *sim = ctx;
    ASSERT_CMP(sim->job_count, <, array_len(sim->jobs));
    sim->jobs[sim->job_count++] = job;
}

static int op_version_digest(void *ctx, const char *processor, uint32_t version, json_t **out,
                             struct err *err)
{
    struct sim *sim = ctx;
    return reader_version_digest(sim->reader, processor, version, out, err);
}

static void op_in_doubt(void *ctx, const struct err *err)
{
    struct sim *sim = ctx;
    sim_note(sim, "in doubt: %s", err->text);
    sim->core_dead = true;
}

static int op_fail_point(void *ctx, const char *step)
{
    struct sim *sim = ctx;
    sim->commit_count += strcmp(step, "commit") == 0 ? 1 : 0;
    bool now = sim->die_in > 0 && --sim->die_in == 0;
    if (!sim->crashes || !(now || sim_chance(sim, 400))) {
        return 0;
    }
    sim_note(sim, "the controller dies at %s", step);
    sim->group_deaths += now ? 1 : 0;
    sim->core_dead = true;
    sim->crash_count++;
    return -KE_INTERNAL;
}

/* ---- Life of the controller ---- */

static void controller_up(struct sim *sim)
{
    struct err err = {0};
    char path[300];
    (void)snprintf(path, sizeof path, "%s/catalog", sim->dir);
    if (catalog_open(path, true, &sim->catalog, &err) != 0) {
        sim_fail(sim, "catalog: %s", err.text);
    }
    struct core_options options = {
        .ops = {.ctx = sim,
                .clock = &sim->clock,
                .worker_start = op_worker_start,
                .worker_send = op_worker_send,
                .worker_stop = op_worker_stop,
                .remove_files = op_remove_files,
                .reply = op_reply,
                .run_job = op_run_job,
                .version_digest = op_version_digest,
                .in_doubt = op_in_doubt,
                .fail_point = op_fail_point},
        .catalog = sim->catalog,
        .log = sim->log,
        .log_config = sim->log_config,
        .data_dir = sim->dir,
        .shards = 1 + (uint32_t)prng_below(&sim->prng, 3),
        .cache_bytes = sim_chance(sim, 3)   ? 1
                       : sim_chance(sim, 2) ? 4000
                                            : 1 << 20,
        .standby_ms = -1,
    };
    if (core_open(&options, &sim->core, &err) != 0) {
        sim_fail(sim, "controller: %s", err.text);
    }
    sim->core_dead = false;
    memset(sim->deaths, 0, sizeof sim->deaths);
    if (sim->reader == NULL && reader_open(sim->dir, &sim->reader, &err) != 0) {
        sim_fail(sim, "reader: %s", err.text);
    }
}

static void workers_free(struct sim *sim)
{
    while (sim->workers != NULL) {
        struct sim_worker *worker = sim->workers;
        sim->workers = worker->next;
        sim_worker_free(worker);
    }
}

/* kill -9 of the controller; its workers die with it. */
static void controller_down(struct sim *sim)
{
    core_close(sim->core);
    sim->core = NULL;
    if (sim->asked && !sim->answered) {
        sim_note(sim, "no answer: the connection broke");
        sim->asked = false;
    }
    for (uint32_t i = 0; i < sim->job_count; i++) {
        core_job_finish(NULL, sim->jobs[i]);
    }
    sim->job_count = 0;
    workers_free(sim);
    catalog_close(sim->catalog);
    sim->catalog = NULL;
}

static void new_boot(struct sim *sim)
{
    (void)snprintf(sim->boot_id, sizeof sim->boot_id, "boot-%u", ++sim->boots);
}

static void crash_something(struct sim *sim)
{
    uint64_t what = prng_below(&sim->prng, 10);
    sim->crash_count++;
    if (what < 6 && sim->workers != NULL) {
        uint64_t skip = prng_below(&sim->prng, 4);
        struct sim_worker *worker = sim->workers;
        while (skip-- > 0 && worker->next != NULL) {
            worker = worker->next;
        }
        if (sim_worker_may_die(worker)) {
            sim_note(sim, "kill -9 of worker %llu", (unsigned long long)worker->id);
            sim_worker_kill(worker);
        }
        return;
    }
    sim_note(sim, "kill -9 of the controller%s", what == 9 ? ", and of the machine" : "");
    sim->core_dead = true;
    if (what == 9) {
        new_boot(sim);
    }
}

/* The machine is slow, or somebody sets its clock. */
static void hinder(struct sim *sim)
{
    if (sim_chance(sim, 3)) {
        sim->set_ms += (int64_t)prng_below(&sim->prng, 7200000) - 3600000;
        sim_note(sim, "the clock is set");
    } else if (sim->workers != NULL && sim->now_us >= sim->stopped_us) {
        sim->stopped = sim->workers->id;
        sim->stopped_us = sim->now_us + (int64_t)prng_below(&sim->prng, 15000000);
        sim_note(sim, "worker %llu stops for a while", (unsigned long long)sim->stopped);
    }
}

/* ---- The scheduler ---- */

static void hear_worker(struct sim *sim, struct sim_worker *worker)
{
    json_t *event = json_incref(json_array_get(worker->outbox, 0));
    int rc = json_array_remove(worker->outbox, 0);
    ASSERT(rc == 0);
    if (json_object_get(event, "exit") == NULL) {
        core_worker_event(sim->core, worker->id, event);
        json_decref(event);
        return;
    }
    uint64_t id = worker->id;
    struct sim_worker **link = &sim->workers;
    while (*link != worker) {
        link = &(*link)->next;
    }
    *link = worker->next;
    sim_worker_free(worker);
    core_worker_exited(sim->core, id, (int)json_int(event, "exit", 0),
                       (int)json_int(event, "signal", 0));
    json_decref(event);
}

static struct sim_worker *worker_any(struct sim *sim)
{
    uint64_t count = 0;
    for (struct sim_worker *worker = sim->workers; worker != NULL; worker = worker->next) {
        count++;
    }
    if (count == 0) {
        return NULL;
    }
    uint64_t skip = prng_below(&sim->prng, count);
    struct sim_worker *worker = sim->workers;
    while (skip-- > 0) {
        worker = worker->next;
    }
    return worker;
}

static void job_step(struct sim *sim)
{
    if (sim->job_count == 0) {
        return;
    }
    uint32_t pick = (uint32_t)prng_below(&sim->prng, sim->job_count);
    struct core_job *job = sim->jobs[pick];
    sim->jobs[pick] = sim->jobs[--sim->job_count];
    job->run(job);
    core_job_finish(sim->core, job);
}

static void step_worker(struct sim *sim, uint64_t draw)
{
    struct sim_worker *worker = worker_any(sim);
    if (worker == NULL) {
        return;
    }
    bool stopped = !worker->gone && worker->id == sim->stopped && sim->now_us < sim->stopped_us;
    if (stopped && draw < 13) {
        return;
    }
    if (draw < 9) {
        sim_worker_step(worker);
    } else if (draw < 13) {
        sim_worker_deliver(worker);
    } else if (json_array_size(worker->outbox) > 0) {
        hear_worker(sim, worker);
    }
}

void sim_step(struct sim *sim, bool produce)
{
    uint64_t draw = prng_below(&sim->prng, 20);
    if (draw < 17) {
        step_worker(sim, draw);
    } else if (draw == 17) {
        job_step(sim);
    } else {
        sim->now_us += (int64_t)prng_below(&sim->prng, 15000);
        core_tick(sim->core);
    }
    sim->now_us += 10;
    if (produce && sim_chance(sim, 60)) {
        sim_produce(sim, 1 + (uint32_t)prng_below(&sim->prng, 6));
    }
    if (sim_chance(sim, 40)) {
        sim_read(sim);
    }
    if (sim->crashes && sim_chance(sim, 2500)) {
        crash_something(sim);
    }
    if (sim->crashes && sim_chance(sim, 6000)) {
        hinder(sim);
    }
    if (sim->core_dead) {
        controller_down(sim);
        controller_up(sim);
    }
}

/* ---- The story ---- */

void sim_ask(struct sim *sim, const char *verb, const struct sim_processor *processor,
             uint32_t version, json_t *body)
{
    ASSERT(!sim->asked);
    sim_note(sim, "ask %s %s %u", verb, processor->name, version);
    sim->asked = true;
    sim->answered = false;
    core_request(sim->core, sim, verb, processor->name, version, body);
    json_decref(body);
}

void sim_answer_taken(struct sim *sim)
{
    sim->asked = false;
    sim->answered = false;
    json_decref(sim->answer_body);
    sim->answer_body = NULL;
}

uint32_t sim_serving(struct sim *sim, const struct sim_processor *processor)
{
    struct catalog_pointer pointer;
    struct err err = {0};
    return catalog_pointer_get(sim->catalog, processor->table, &pointer, &err) == 0
               ? pointer.version
               : 0;
}

static json_t *deploy_body(struct sim *sim, const struct sim_processor *processor, bool right)
{
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:{s:s}}", "name", processor->name, "file",
                             "it.sql", "sql", processor->definition(sim, right), "swap", "auto",
                             "plugins", SIM_PLUGIN, "0123456789abcdef0123456789abcdef");
    ASSERT(body != NULL);
    if (sim->group) {
        int rc = json_object_set_new(body, "settings", json_pack("{s:s}", "swap.in_group", "shop"));
        ASSERT(rc == 0);
    }
    return body;
}

void sim_goal_ask(struct sim *sim, const struct sim_goal *goal,
                  const struct sim_processor *processor)
{
    json_t *body = strcmp(goal->verb, "deploy") == 0
                       ? deploy_body(sim, processor, goal->right)
                       : json_pack("{s:b}", "alone", (int)goal->alone);
    sim_ask(sim, goal->verb, processor, goal->version, body);
}

/* Asks until the version serves; whoever dies meanwhile. */
void sim_reach(struct sim *sim, const struct sim_goal *goal)
{
    const struct sim_processor *processor = goal->processor;
    for (uint32_t i = 0; i < SIM_STEPS_MAX; i++) {
        if (sim_serving(sim, processor) == goal->want && !sim->asked) {
            sim_note(sim, "%s v%u serves", processor->name, goal->want);
            return;
        }
        if (sim->asked && sim->answered) {
            sim_answer_taken(sim);
        } else if (!sim->asked && (i == 0 || sim_chance(sim, 300))) {
            sim_goal_ask(sim, goal, processor);
        }
        sim_step(sim, true);
    }
    sim_fail(sim, "%s v%u does not serve after %d steps of %s", processor->name, goal->want,
             SIM_STEPS_MAX, goal->verb);
}

static bool all_applied(struct sim *sim, const struct sim_processor *processor)
{
    json_t *digest = NULL;
    struct err err = {0};
    bool all = true;
    if (reader_version_digest(sim->reader, processor->name, sim_serving(sim, processor), &digest,
                              &err) != 0) {
        return false;
    }
    int64_t cut[SIM_SOURCES_MAX];
    sim_cut(sim, json_object_get(digest, "cut"), cut);
    for (uint32_t s = 0; s < sim->sources; s++) {
        all = all && cut[s] == sim->offsets[s];
    }
    json_decref(digest);
    return all;
}

static bool settled(struct sim *sim)
{
    return all_applied(sim, &sim->features) && (!sim->group || all_applied(sim, &sim->pair)) &&
           sim_outputs_sent(sim);
}

static void settle(struct sim *sim)
{
    sim->crashes = false;
    for (uint32_t i = 0; !settled(sim); i++) {
        if (i == SIM_STEPS_MAX) {
            sim_fail(sim,
                     "the serving version does not reach the end of the log, or does not send");
        }
        sim_step(sim, false);
    }
}

/* `kappa verify` of the serving version, by the brain itself. */
static void verify(struct sim *sim, const struct sim_processor *processor)
{
    sim_ask(sim, "verify", processor, sim_serving(sim, processor), json_object());
    for (uint32_t i = 0; !sim->answered; i++) {
        if (i == SIM_STEPS_MAX) {
            sim_fail(sim, "verify does not answer");
        }
        sim_step(sim, false);
    }
    if (sim->answer.code != 0 || !json_bool(sim->answer_body, "verified", false)) {
        char *text = json_print(sim->answer_body == NULL ? json_null() : sim->answer_body);
        sim_fail(sim, "verify: %s %s", sim->answer.text, text);
    }
    sim_answer_taken(sim);
}

static void tell_alone(struct sim *sim)
{
    const struct sim_processor *features = &sim->features;
    sim_reach(sim, &(struct sim_goal){.processor = features, .want = 1, .verb = "deploy"});
    sim_produce(sim, (uint32_t)prng_below(&sim->prng, 300));
    sim_reach(
        sim, &(struct sim_goal){.processor = features, .want = 2, .verb = "deploy", .right = true});
    sim_reach(sim, &(struct sim_goal){.processor = features, .want = 1, .verb = "rollback"});
    sim_reach(sim,
              &(struct sim_goal){.processor = features, .want = 2, .verb = "swap", .version = 2});
}

static void tell(struct sim *sim)
{
    sim_produce(sim, (uint32_t)prng_below(&sim->prng, 300));
    sim->crashes = true;
    if (sim->group) {
        sim_group_tell(sim);
    } else {
        tell_alone(sim);
    }
    settle(sim);
    sim_check_all(sim);
    sim_outputs_check(sim);
    verify(sim, &sim->features);
    if (sim->group) {
        sim_group_check(sim);
        verify(sim, &sim->pair);
    }
}

static void sim_open(struct sim *sim)
{
    struct err err = {0};
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(sim->dir, sizeof sim->dir, "%s/kappa-sim-XXXXXX", base);
    if (mkdtemp(sim->dir) == NULL || log_open_memory(&sim->log, &err) != 0) {
        sim_fail(sim, "cannot make %s: %s", sim->dir, err.text);
    }
    sim->partitions = 1 + (uint32_t)prng_below(&sim->prng, SIM_PARTITIONS_MAX);
    sim->profile_partitions = 1 + (uint32_t)prng_below(&sim->prng, 2);
    sim->sources = sim->partitions + sim->profile_partitions;
    sim->plugin = sim_chance(sim, 2);
    sim->group = sim_chance(sim, 2);
    sim->features = (struct sim_processor){
        .name = "features", .table = SIM_TABLE, .definition = sim_definition};
    sim->pair = (struct sim_processor){
        .name = "pair", .table = SIM_PAIR_TABLE, .definition = sim_pair_definition};
    sim->users = 1 + (uint32_t)prng_below(&sim->prng, SIM_USERS_MAX);
    sim->event_ms = INT64_C(1760000000000);
    sim->clock = (struct clock_ops){sim, sim_mono_us, sim_wall_ms};
    sim->log_config = json_pack("{s:s}", "kind", "memory");
    new_boot(sim);
    struct log_topic_options topic = {
        .partitions = sim->partitions, .retain_ms = -1, .retain_bytes = -1};
    struct log_topic_options profiles = topic;
    profiles.partitions = sim->profile_partitions;
    const struct log_ops *ops = sim->log->ops;
    if (ops->topic_create(sim->log, SIM_TOPIC, &topic, &err) != 0 ||
        ops->writer_open(sim->log, SIM_TOPIC, &sim->writer, &err) != 0 ||
        ops->topic_create(sim->log, SIM_PROFILES, &profiles, &err) != 0 ||
        ops->writer_open(sim->log, SIM_PROFILES, &sim->profile_writer, &err) != 0) {
        sim_fail(sim, "%s", err.text);
    }
    controller_up(sim);
}

static void sim_close(struct sim *sim)
{
    controller_down(sim);
    reader_close(sim->reader);
    sim->writer->ops->close(sim->writer);
    sim->profile_writer->ops->close(sim->profile_writer);
    sim->log->ops->close(sim->log);
    json_decref(sim->log_config);
    remove_tree(sim->dir);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t runs = 1;
    bool verbose = false;
    static const struct option options[] = {{"seed", 1, NULL, 's'},
                                            {"runs", 1, NULL, 'r'},
                                            {"verbose", 0, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's') {
            seed = strtoull(optarg, NULL, 10);
        } else if (option == 'r') {
            runs = strtoull(optarg, NULL, 10);
        } else if (option == 'v') {
            verbose = true;
        } else {
            (void)fprintf(stderr, "usage: sim [--seed N] [--runs M] [--verbose]\n");
            return 2;
        }
    }
    if (!verbose) {
        (void)setenv("KAPPA_LOG", "error", 0);
    }
    uint64_t crashes = 0;
    uint64_t commits = 0;
    uint64_t reads = 0;
    uint64_t moves = 0;
    uint64_t deaths = 0;
    for (uint64_t i = 0; i < runs; i++) {
        struct sim *sim = xcalloc(1, sizeof *sim);
        sim->seed = seed + i;
        sim->verbose = verbose;
        prng_init(&sim->prng, sim->seed * UINT64_C(0x9E3779B97F4A7C15));
        sim_open(sim);
        tell(sim);
        sim_close(sim);
        crashes += sim->crash_count;
        commits += sim->commit_count;
        reads += sim->reads;
        moves += sim->group_moves;
        deaths += sim->group_deaths;
        free(sim);
    }
    (void)printf("sim: seeds %llu to %llu: %llu crashes, %llu commits, %llu reads, %llu moves of "
                 "a group with %llu deaths in them, all held\n",
                 (unsigned long long)seed, (unsigned long long)(seed + runs - 1),
                 (unsigned long long)crashes, (unsigned long long)commits,
                 (unsigned long long)reads, (unsigned long long)moves, (unsigned long long)deaths);
    return 0;
}
