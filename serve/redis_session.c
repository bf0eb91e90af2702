/* A connection's requests, one after the other. Own header: redis_private.h.
 *
 * MULTI keeps requests as bytes and EXEC parses them again: then a transaction of a client is bounded
 * by its bytes, whatever is in it. */
#include "serve/redis_private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct redis_command redis_commands[] = {
#define X(name, function, arity, first, last, queued, help)                                        \
    {#name, function, arity, first, last, queued, help},
#include "serve/redis_commands.def"
};
const uint32_t redis_command_count = array_len(redis_commands);

static const char *const words[] = {/* in the order of the commands */
#define X(name, function, arity, first, last, queued, help) #name,
#include "serve/redis_commands.def"
                                    "unknown"};
_Static_assert(array_len(words) <= REDIS_COUNTED, "each command is counted");

static const char *const refused[][2] = {
/* a command, and the error that it gets */
#define R(name, why) {#name, why},
#include "serve/redis_commands.def"
};

/* ---- life */

void redis_session_init(struct redis_session *session, uint64_t id, const char *address)
{
    memset(session, 0, sizeof *session);
    session->id = id;
    session->reply.protocol = 2;
    redis_parse_init(&session->parse);
    (void)snprintf(session->address, sizeof session->address, "%s", address);
}

void redis_session_free(struct redis_session *session)
{
    redis_parse_free(&session->parse);
    buf_free(&session->in);
    buf_free(&session->out);
    buf_free(&session->multi_bytes);
}

void redis_context_init(struct redis_context *context, struct reader *reader,
                        struct redis_scans *scans, struct redis_counters *counters)
{
    memset(context, 0, sizeof *context);
    context->reader = reader;
    context->scans = scans;
    context->counters = counters;
    context->started_us = clock_mono_us(clock_real());
    redis_reads_init(&context->reads, reader);
}

void redis_context_free(struct redis_context *context)
{
    redis_reads_free(&context->reads);
    buf_free(&context->key);
    buf_free(&context->value);
}

/* ---- arguments */

bool redis_arg_is(const struct redis_arg *arg, const char *word)
{
    return strlen(word) == arg->len && strcasecmp(arg->text, word) == 0;
}

bool redis_arg_int(const struct redis_arg *arg, int64_t least, int64_t most, int64_t *out)
{
    size_t at = arg->len > 0 && arg->text[0] == '-' ? 1 : 0;
    if (at == arg->len || arg->len > 18 || strspn(arg->text + at, "0123456789") != arg->len - at) {
        return false;
    }
    *out = strtoll(arg->text, NULL, 10);
    return *out >= least && *out <= most;
}

void redis_wrong_count(struct redis_session *session, const char *name)
{
    redis_reply_error(&session->reply, "ERR wrong number of arguments for '%s' command", name);
}

static int compare_name(const void *name, const void *command)
{
    return strcasecmp(name, ((const struct redis_command *)command)->name);
}

const struct redis_command *redis_command_find(const struct redis_arg *name)
{
    if (strlen(name->text) != name->len) {
        return NULL;
    }
    return bsearch(name->text, redis_commands, redis_command_count, sizeof redis_commands[0],
                   compare_name);
}

/* ---- one request */

static void unknown(struct redis_session *session, const struct redis_arg *name)
{
    for (uint32_t i = 0; i < array_len(refused); i++) {
        if (redis_arg_is(name, refused[i][0])) {
            redis_reply_error(&session->reply, "%s", refused[i][1]);
            return;
        }
    }
    if (redis_arg_is(name, "POST") || redis_arg_is(name, "HOST:")) {
        session->cut_off = true; /* a page in a browser tries to talk to us */
        return;
    }
    redis_reply_error(&session->reply,
                      "ERR unknown command '%.64s'; COMMAND DOCS lists what there is", name->text);
}

/* The command, or NULL when the error is answered. */
static const struct redis_command *command_for(struct redis_session *session,
                                               const struct redis_arg *args, uint32_t count)
{
    const struct redis_command *command = session->known;
    if (command == NULL || !redis_arg_is(&args[0], command->name)) { /* mostly as before */
        command = redis_command_find(&args[0]);
    }
    if (command == NULL) {
        unknown(session, &args[0]);
        return NULL;
    }
    session->known = command;
    bool fits =
        command->arity < 0 ? count >= (uint32_t)-command->arity : count == (uint32_t)command->arity;
    if (!fits) {
        redis_wrong_count(session, command->name);
        return NULL;
    }
    return command;
}

/* Is it answered at once also behind MULTI? */
static bool at_once(const struct redis_command *command)
{
    return command->run == redis_exec || command->run == redis_discard ||
           command->run == redis_multi || command->run == redis_quit ||
           command->run == redis_reset || command->run == redis_hello;
}

static void queue(struct redis_session *session, const struct redis_command *command,
                  const struct redis_arg *args, uint32_t count)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += args[i].len + 32;
    }
    if (!command->queued) {
        redis_reply_error(&session->reply, "ERR %s cannot be part of a transaction", command->name);
        session->multi_failed = true;
    } else if (session->multi_bytes.len + size > REDIS_MULTI_MAX) {
        redis_reply_error(&session->reply, "ERR a transaction of more than %d bytes",
                          REDIS_MULTI_MAX);
        session->multi_failed = true;
    } else {
        buf_printf(&session->multi_bytes, "*%u\r\n", count);
        for (uint32_t i = 0; i < count; i++) {
            buf_printf(&session->multi_bytes, "$%zu\r\n", args[i].len);
            buf_append(&session->multi_bytes, args[i].text, args[i].len);
            buf_append(&session->multi_bytes, "\r\n", 2);
        }
        session->multi_count++;
        redis_reply_status(&session->reply, "QUEUED");
    }
}

static void count_one(struct redis_context *context, const struct redis_command *command)
{
    size_t i = command == NULL ? array_len(redis_commands) : (size_t)(command - redis_commands);
    context->commands++;
    context->commands_of[i]++;
    context->counted |= UINT64_C(1) << i;
}

static void request(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    const struct redis_command *command = command_for(session, args, count);
    count_one(session->context, command);
    if (command == NULL || !redis_let_in(session, command)) {
        session->multi_failed = session->multi;
    } else if (session->multi && !at_once(command)) {
        queue(session, command, args, count);
    } else {
        command->run(session, args, count);
    }
    if (session->out.len > REDIS_OUT_MAX) {
        session->cut_off = true;
    }
}

/* ---- transactions */

static void multi_end(struct redis_session *session)
{
    session->multi = false;
    session->multi_failed = false;
    session->multi_count = 0;
    buf_free(&session->multi_bytes);
}

void redis_multi(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    if (session->multi) {
        redis_reply_error(&session->reply, "ERR MULTI calls can not be nested");
        return;
    }
    session->multi = true;
    redis_reply_status(&session->reply, "OK");
}

void redis_discard(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    if (!session->multi) {
        redis_reply_error(&session->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi_end(session);
    redis_reply_status(&session->reply, "OK");
}

/* The tables of a request, to be pinned. What is no name of a row is for the command to refuse. */
static int pin_keys(struct redis_session *session, const struct redis_arg *args, uint32_t count,
                    struct err *err)
{
    const struct redis_command *command = redis_command_find(&args[0]);
    ASSERT(command != NULL);
    int first = command->first_key;
    int last = command->last_key < 0 ? (int)count - 1 : command->last_key;
    if ((command->run == redis_memory || command->run == redis_object) && count > 2) {
        first = last = 2;
    }
    int rc = 0;
    for (int i = first; first > 0 && i <= last && rc == 0; i++) {
        struct redis_key key;
        struct err none;
        if (redis_key_parse(args[i].text, args[i].len, &key, &none) == 0) {
            rc = reader_pins_add(&session->context->reads.pins, key.table, key.version, err);
        }
    }
    return rc;
}

/* Each request that is kept. */
static int multi_each(struct redis_session *session, struct buf *bytes,
                      int (*each)(struct redis_session *session, const struct redis_arg *args,
                                  uint32_t count, struct err *err),
                      struct err *err)
{
    struct redis_parse parse;
    redis_parse_init(&parse);
    const char *why = NULL;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < bytes->len;) {
        int found = redis_parse_next(&parse, (char *)bytes->data + at, bytes->len - at, &why);
        ASSERT_CMP(found, ==, 1);
        rc = each(session, parse.args, parse.count, err);
        for (uint32_t i = 0; i < parse.count; i++) { /* as it was: it is parsed twice */
            bytes->data[at + parse.places[i] + parse.args[i].len] = '\r';
        }
        at += parse.pos;
        redis_parse_reset(&parse);
    }
    redis_parse_free(&parse);
    return rc;
}

static int run_one(struct redis_session *session, const struct redis_arg *args, uint32_t count,
                   struct err *err)
{
    (void)err;
    if (!session->cut_off) {
        request(session, args, count);
    }
    return 0;
}

void redis_exec(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct redis_reads *reads = &session->context->reads;
    (void)args;
    (void)count;
    if (!session->multi) {
        redis_reply_error(&session->reply, "ERR EXEC without MULTI");
        return;
    }
    if (session->multi_failed) {
        multi_end(session);
        redis_reply_error(&session->reply,
                          "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    struct buf bytes = session->multi_bytes;
    uint32_t queued = session->multi_count;
    session->multi_bytes = (struct buf){0};
    multi_end(session);
    struct err err = {0};
    redis_reads_end(reads);
    int rc = multi_each(session, &bytes, pin_keys, &err);
    if (rc == 0) {
        rc = redis_reads_pin(reads, &err);
    }
    if (rc == 0) {
        redis_reply_array(&session->reply, queued);
        (void)multi_each(session, &bytes, run_one, &err);
    } else {
        redis_reply_err(&session->reply, &err);
    }
    redis_reads_end(reads); /* what comes next is never older */
    buf_free(&bytes);
}

void redis_reset(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    multi_end(session);
    session->reply.protocol = 2;
    session->name[0] = '\0';
    session->person = (struct person){0};
    redis_reply_status(&session->reply, "RESET");
}

/* ---- many requests */

/* 1: one was answered, 0: none is whole, or the connection ends. */
static int run_next(struct redis_session *session, size_t *at)
{
    const char *why = NULL;
    char *data = (char *)session->in.data;
    struct redis_parse *parse = &session->parse;
    if (data == NULL) {
        return 0;
    }
    int rc = redis_parse_next(parse, data + *at, session->in.len - *at, &why);
    if (rc < 0) {
        redis_reply_error(&session->reply, "ERR %s", why);
        __atomic_add_fetch(&session->context->counters->cut_off, 1, __ATOMIC_RELAXED);
        session->closing = true;
        return 0;
    }
    if (rc == 0) {
        return 0;
    }
    if (parse->count > 0) {
        request(session, parse->args, parse->count);
    }
    *at += parse->pos;
    redis_parse_reset(parse);
    return 1;
}

void redis_count_commands(struct redis_context *context)
{
    __atomic_add_fetch(&context->counters->commands, context->commands, __ATOMIC_RELAXED);
    context->commands = 0;
    for (; context->counted != 0; context->counted &= context->counted - 1) {
        int i = __builtin_ctzll(context->counted);
        __atomic_add_fetch(&context->counters->commands_of[i], context->commands_of[i],
                           __ATOMIC_RELAXED);
        context->commands_of[i] = 0;
    }
}

const char *redis_command_word(uint32_t i)
{
    return i < array_len(words) ? words[i] : NULL;
}

bool redis_session_run(struct redis_session *session, struct redis_context *context)
{
    size_t at = 0;
    uint32_t done = 0;
    uint64_t errors = session->reply.errors;
    session->context = context;
    session->reply.out = &session->out;
    bool more = true;
    context->views_us = 0;
    while (more && !session->closing && !session->cut_off && done < REDIS_ROUND_COMMANDS &&
           session->out.len < REDIS_OUT_PAUSE && context->views_us < REDIS_VIEWS_PAUSE_US) {
        more = run_next(session, &at) == 1;
        done++;
    }
    if (at > 0) {
        session->in.len -= at;
        memmove(session->in.data, session->in.data + at, session->in.len);
    }
    if (session->reply.errors != errors) {
        __atomic_add_fetch(&context->counters->errors, session->reply.errors - errors,
                           __ATOMIC_RELAXED);
    }
    redis_count_commands(context);
    return more && !session->closing && !session->cut_off;
}
