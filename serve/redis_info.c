/* Commands on the connection and the server: what clients ask before they read. Own header:
 * redis_private.h. */
#include "serve/redis_private.h"

#include "base/clock.h"
#include "include/kappa/version.h"
#include "serve/process_stats.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LIKE_REDIS "7.0.0" /* whose commands these are; clients choose features by it */

void redis_ok(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    redis_reply_status(&session->reply, "OK");
}

void redis_ping(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    if (count > 2) {
        redis_wrong_count(session, "ping");
    } else if (count == 2) {
        redis_reply_bulk(&session->reply, args[1].text, args[1].len);
    } else {
        redis_reply_status(&session->reply, "PONG");
    }
}

void redis_echo(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)count;
    redis_reply_bulk(&session->reply, args[1].text, args[1].len);
}

void redis_quit(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    redis_reply_status(&session->reply, "OK");
    session->closing = true;
}

void redis_time(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    char text[24];
    int64_t now = clock_wall_ms(clock_real());
    (void)args;
    (void)count;
    redis_reply_array(&session->reply, 2);
    (void)snprintf(text, sizeof text, "%" PRId64, now / 1000);
    redis_reply_text(&session->reply, text);
    (void)snprintf(text, sizeof text, "%" PRId64, now % 1000 * 1000);
    redis_reply_text(&session->reply, text);
}

static int64_t uptime_s(const struct redis_session *session)
{
    return (clock_mono_us(clock_real()) - session->context->started_us) / 1000000;
}

void redis_lastsave(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    redis_reply_int(&session->reply, clock_wall_ms(clock_real()) / 1000 - uptime_s(session));
}

void redis_role(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    redis_reply_array(&session->reply, 3);
    redis_reply_text(&session->reply, "master");
    redis_reply_int(&session->reply, 0);
    redis_reply_array(&session->reply, 0);
}

/* Tools ask for these on their own: there is nothing in them. */
void redis_slowlog(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)count;
    if (redis_arg_is(&args[1], "GET")) {
        redis_reply_array(&session->reply, 0);
    } else if (redis_arg_is(&args[1], "LEN")) {
        redis_reply_int(&session->reply, 0);
    } else if (redis_arg_is(&args[1], "RESET")) {
        redis_reply_status(&session->reply, "OK");
    } else {
        redis_reply_error(&session->reply, "ERR SLOWLOG takes GET, LEN or RESET");
    }
}

void redis_latency(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)count;
    if (redis_arg_is(&args[1], "LATEST") || redis_arg_is(&args[1], "HISTORY")) {
        redis_reply_array(&session->reply, 0);
    } else if (redis_arg_is(&args[1], "HISTOGRAM")) {
        redis_reply_map(&session->reply, 0);
    } else if (redis_arg_is(&args[1], "RESET")) {
        redis_reply_int(&session->reply, 0);
    } else {
        redis_reply_error(&session->reply, "ERR LATENCY takes LATEST, HISTORY, HISTOGRAM or RESET");
    }
}

void redis_module(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)count;
    if (redis_arg_is(&args[1], "LIST")) {
        redis_reply_array(&session->reply, 0);
    } else {
        redis_reply_error(&session->reply, "ERR MODULE takes LIST: there are no modules");
    }
}

void redis_acl(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    const char *name = session->person.name;
    (void)count;
    if (redis_arg_is(&args[1], "WHOAMI")) {
        redis_reply_text(&session->reply, name[0] == '\0' ? REDIS_ANYBODY : name);
    } else {
        redis_reply_error(&session->reply, "ERR ACL takes WHOAMI: who may read is in the file of "
                                           "kappa up --access");
    }
}

void redis_keys(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    (void)args;
    (void)count;
    redis_reply_error(&session->reply,
                      "ERR KEYS is refused: it would hold up every reader for as long as the "
                      "tables are large; use SCAN 0 MATCH table:* COUNT 1000");
}

void redis_select(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    int64_t number;
    (void)count;
    if (!redis_arg_int(&args[1], INT32_MIN, INT32_MAX, &number)) {
        redis_reply_error(&session->reply, "ERR value is not an integer or out of range");
    } else if (number != 0) {
        redis_reply_error(&session->reply, "ERR DB index is out of range: there is 0 alone");
    } else {
        redis_reply_status(&session->reply, "OK");
    }
}

/* ---- HELLO and CLIENT */

/* A name without blanks and control characters; false and an error if it is none. */
static bool take_name(struct redis_session *session, char *name, const struct redis_arg *arg)
{
    bool good = arg->len <= REDIS_NAME_MAX;
    for (size_t i = 0; good && i < arg->len; i++) {
        good = arg->text[i] > ' ' && arg->text[i] <= '~';
    }
    if (!good) {
        redis_reply_error(&session->reply,
                          "ERR names are at most %d printable characters "
                          "without blanks",
                          REDIS_NAME_MAX);
        return false;
    }
    memcpy(name, arg->text, arg->len);
    name[arg->len] = '\0';
    return true;
}

static void hello_reply(struct redis_session *session)
{
    struct redis_reply *reply = &session->reply;
    redis_reply_map(reply, 7);
    redis_reply_text(reply, "server");
    redis_reply_text(reply, "kappa");
    redis_reply_text(reply, "version");
    redis_reply_text(reply, LIKE_REDIS);
    redis_reply_text(reply, "proto");
    redis_reply_int(reply, reply->protocol);
    redis_reply_text(reply, "id");
    redis_reply_int(reply, (int64_t)session->id);
    redis_reply_text(reply, "mode");
    redis_reply_text(reply, "standalone");
    redis_reply_text(reply, "role");
    redis_reply_text(reply, "master");
    redis_reply_text(reply, "modules");
    redis_reply_array(reply, 0);
}

void redis_hello(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    int64_t protocol = session->reply.protocol;
    if (count > 1 && !redis_arg_int(&args[1], 2, 3, &protocol)) {
        redis_reply_error(&session->reply, "NOPROTO unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < count;) {
        if (redis_arg_is(&args[i], "AUTH") && i + 2 < count) {
            if (!redis_login(session, &args[i + 1], &args[i + 2])) {
                return;
            }
            i += 3;
            continue;
        }
        if (!redis_arg_is(&args[i], "SETNAME") || i + 1 >= count) {
            redis_reply_error(&session->reply, "ERR syntax error in HELLO");
            return;
        }
        if (!take_name(session, session->name, &args[i + 1])) {
            return;
        }
        i += 2;
    }
    if (!redis_known(session)) {
        redis_reply_error(&session->reply,
                          "NOAUTH HELLO must be called with the client already authenticated, "
                          "otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
                          "authenticate the client and select the RESP protocol version at the "
                          "same time");
        return;
    }
    session->reply.protocol = (int)protocol;
    hello_reply(session);
}

static void reply_client(struct redis_session *session)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "id=%" PRIu64 " addr=%s name=%s db=0 sub=0 psub=0 multi=%d qbuf=%zu omem=%zu "
                   "cmd=client resp=%d lib-name=%s lib-ver=%s\n",
                   session->id, session->address, session->name,
                   session->multi ? (int)session->multi_count : -1, session->in.len,
                   session->out.len, session->reply.protocol, session->library,
                   session->library_version);
    redis_reply_text(&session->reply, text);
}

static void client_setinfo(struct redis_session *session, const struct redis_arg *args)
{
    char *what = redis_arg_is(&args[2], "LIB-NAME")  ? session->library
                 : redis_arg_is(&args[2], "LIB-VER") ? session->library_version
                                                     : NULL;
    if (what == NULL) {
        redis_reply_error(&session->reply, "ERR CLIENT SETINFO takes LIB-NAME or LIB-VER");
    } else if (take_name(session, what, &args[3])) {
        redis_reply_status(&session->reply, "OK");
    }
}

void redis_client(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    const struct redis_arg *what = &args[1];
    if (redis_arg_is(what, "SETNAME") && count == 3) {
        if (take_name(session, session->name, &args[2])) {
            redis_reply_status(&session->reply, "OK");
        }
    } else if (redis_arg_is(what, "SETINFO") && count == 4) {
        client_setinfo(session, args);
    } else if (redis_arg_is(what, "GETNAME") && count == 2) {
        if (session->name[0] == '\0') {
            redis_reply_null(&session->reply);
        } else {
            redis_reply_text(&session->reply, session->name);
        }
    } else if (redis_arg_is(what, "ID") && count == 2) {
        redis_reply_int(&session->reply, (int64_t)session->id);
    } else if (redis_arg_is(what, "INFO") || redis_arg_is(what, "LIST")) {
        reply_client(session);
    } else if (redis_arg_is(what, "NO-EVICT") || redis_arg_is(what, "NO-TOUCH") ||
               (redis_arg_is(what, "TRACKING") && count == 3 && redis_arg_is(&args[2], "OFF"))) {
        redis_reply_status(&session->reply, "OK");
    } else if (redis_arg_is(what, "TRACKING")) {
        redis_reply_error(&session->reply,
                          "ERR CLIENT TRACKING is refused: nobody is told when a row changes, so a "
                          "cache in the client would be stale; switch it off there");
    } else {
        redis_reply_error(&session->reply,
                          "ERR unknown subcommand '%.64s' of CLIENT, or wrong "
                          "number of arguments",
                          what->text);
    }
}

/* ---- COMMAND */

static void command_name(char name[32], const struct redis_command *command)
{
    size_t i = 0;
    for (; command->name[i] != '\0' && i < 31; i++) {
        char c = command->name[i];
        name[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    name[i] = '\0';
}

static void reply_command(struct redis_session *session, const struct redis_command *command)
{
    struct redis_reply *reply = &session->reply;
    char name[32];
    command_name(name, command);
    redis_reply_array(reply, 10);
    redis_reply_text(reply, name);
    redis_reply_int(reply, command->arity);
    redis_reply_set(reply, 1);
    redis_reply_status(reply, command->first_key > 0 ? "readonly" : "fast");
    redis_reply_int(reply, command->first_key);
    redis_reply_int(reply, command->last_key);
    redis_reply_int(reply, command->first_key > 0);
    redis_reply_set(reply, 1);
    redis_reply_status(reply, command->first_key > 0 ? "@read" : "@connection");
    redis_reply_array(reply, 0); /* tips */
    redis_reply_array(reply, 0); /* places of keys: the three numbers say it all */
    redis_reply_array(reply, 0); /* subcommands */
}

static void reply_docs(struct redis_session *session, const struct redis_command *command)
{
    struct redis_reply *reply = &session->reply;
    char name[32];
    command_name(name, command);
    redis_reply_text(reply, name);
    redis_reply_map(reply, 3);
    redis_reply_text(reply, "summary");
    redis_reply_text(reply, command->help);
    redis_reply_text(reply, "since");
    redis_reply_text(reply, "1.0.0");
    redis_reply_text(reply, "group");
    redis_reply_text(reply, command->first_key > 0 ? "hash" : "server");
}

static void command_docs(struct redis_session *session, const struct redis_arg *args,
                         uint32_t count)
{
    uint64_t found = 0;
    for (uint32_t i = 2; i < count; i++) {
        found += redis_command_find(&args[i]) != NULL ? 1 : 0;
    }
    redis_reply_map(&session->reply, count == 2 ? redis_command_count : found);
    for (uint32_t i = 0; count == 2 && i < redis_command_count; i++) {
        reply_docs(session, &redis_commands[i]);
    }
    for (uint32_t i = 2; i < count && session->out.len <= REDIS_OUT_MAX; i++) {
        const struct redis_command *command = redis_command_find(&args[i]);
        if (command != NULL) {
            reply_docs(session, command);
        }
    }
}

static void command_info(struct redis_session *session, const struct redis_arg *args,
                         uint32_t count)
{
    redis_reply_array(&session->reply, count <= 2 ? redis_command_count : count - 2);
    for (uint32_t i = 0; count <= 2 && i < redis_command_count; i++) {
        reply_command(session, &redis_commands[i]);
    }
    for (uint32_t i = 2; i < count && session->out.len <= REDIS_OUT_MAX; i++) {
        const struct redis_command *command = redis_command_find(&args[i]);
        if (command == NULL) {
            redis_reply_null(&session->reply);
        } else {
            reply_command(session, command);
        }
    }
}

void redis_command(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    if (count == 1 || redis_arg_is(&args[1], "INFO")) {
        command_info(session, args, count);
    } else if (redis_arg_is(&args[1], "COUNT")) {
        redis_reply_int(&session->reply, redis_command_count);
    } else if (redis_arg_is(&args[1], "DOCS")) {
        command_docs(session, args, count);
    } else if (redis_arg_is(&args[1], "LIST")) {
        redis_reply_array(&session->reply, redis_command_count);
        for (uint32_t i = 0; i < redis_command_count; i++) {
            char name[32];
            command_name(name, &redis_commands[i]);
            redis_reply_text(&session->reply, name);
        }
    } else {
        redis_reply_error(&session->reply, "ERR unknown subcommand '%.64s' of COMMAND",
                          args[1].text);
    }
}

/* ---- CONFIG and INFO */

void redis_config(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    static const char *const settings[][2] = {
        {"databases", "1"}, {"maxmemory", "0"}, {"save", ""}, {"appendonly", "no"}};
    bool wanted[array_len(settings)] = {false};
    uint64_t found = 0;
    if (!redis_arg_is(&args[1], "GET") || count < 3) {
        redis_reply_error(&session->reply, "ERR only CONFIG GET is known here: settings are "
                                           "options of kappa up");
        return;
    }
    for (size_t s = 0; s < array_len(settings); s++) {
        for (uint32_t i = 2; i < count && !wanted[s]; i++) {
            wanted[s] =
                redis_glob(args[i].text, args[i].len, settings[s][0], strlen(settings[s][0]));
        }
        found += wanted[s] ? 1 : 0;
    }
    redis_reply_map(&session->reply, found);
    for (size_t s = 0; s < array_len(settings); s++) {
        if (wanted[s]) {
            redis_reply_text(&session->reply, settings[s][0]);
            redis_reply_text(&session->reply, settings[s][1]);
        }
    }
}

static uint64_t counter(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static bool section(const struct redis_arg *args, uint32_t count, const char *name)
{
    for (uint32_t i = 1; i < count; i++) {
        if (redis_arg_is(&args[i], name) || redis_arg_is(&args[i], "all") ||
            redis_arg_is(&args[i], "everything") || redis_arg_is(&args[i], "default")) {
            return true;
        }
    }
    return count == 1;
}

static void info_server(struct redis_session *session, struct buf *text)
{
    int64_t up = uptime_s(session);
    buf_printf(text,
               "redis_version:" LIKE_REDIS "\r\nkappa_version:" KAPPA_VERSION
               "\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\nprocess_id:%d\r\n"
               "tcp_port:%u\r\nuptime_in_seconds:%" PRId64 "\r\nuptime_in_days:%" PRId64 "\r\n",
               (int)getpid(), session->context->port, up, up / 86400);
}

static void info_clients(struct redis_session *session, struct buf *text)
{
    buf_printf(text,
               "connected_clients:%" PRIu64 "\r\nmaxclients:%d\r\nblocked_clients:0\r\n"
               "tracking_clients:0\r\n",
               counter(&session->context->counters->connected), REDIS_CONNECTIONS_MAX);
}

/* Of the whole server: tables are mapped files, and the pages of them that are in memory count. */
static void info_memory(struct redis_session *session, struct buf *text)
{
    json_t *stats = process_stats();
    json_int_t rss = json_integer_value(json_object_get(stats, "rss_bytes"));
    (void)session;
    buf_printf(text,
               "used_memory:%" JSON_INTEGER_FORMAT "\r\nused_memory_rss:%" JSON_INTEGER_FORMAT
               "\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n",
               rss, rss);
    json_decref(stats);
}

static void info_persistence(struct redis_session *session, struct buf *text)
{
    (void)session;
    buf_append_text(text, "loading:0\r\n");
}

static void info_stats(struct redis_session *session, struct buf *text)
{
    const struct redis_counters *counters = session->context->counters;
    redis_count_commands(session->context);
    buf_printf(text,
               "total_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64
               "\r\ntotal_error_replies:%" PRIu64
               "\r\nexpired_keys:0\r\nevicted_keys:0\r\npubsub_channels:0\r\n",
               counter(&counters->connections), counter(&counters->commands),
               counter(&counters->errors));
}

static void info_replication(struct redis_session *session, struct buf *text)
{
    (void)session;
    buf_append_text(text, "role:master\r\nconnected_slaves:0\r\n");
}

static void info_cpu(struct redis_session *session, struct buf *text)
{
    struct rusage usage;
    (void)session;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        buf_printf(text, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
                   (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec,
                   (long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec);
    }
}

static void info_cluster(struct redis_session *session, struct buf *text)
{
    (void)session;
    buf_append_text(text, "cluster_enabled:0\r\n");
}

/* As with Redis, nothing of a database without keys; nor of one whose tables cannot be counted now. */
static void info_keyspace(struct redis_session *session, struct buf *text)
{
    struct err none;
    int64_t rows = 0;
    if (!session->context->reads.pinned && redis_rows(session->context, &rows, &none) == 0 &&
        rows > 0) {
        buf_printf(text, "db0:keys=%" PRId64 ",expires=0,avg_ttl=0\r\n", rows);
    }
}

void redis_info(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    static const struct {
        const char *name;
        void (*print)(struct redis_session *session, struct buf *text);
    } sections[] = {{"Server", info_server},    {"Clients", info_clients},
                    {"Memory", info_memory},    {"Persistence", info_persistence},
                    {"Stats", info_stats},      {"Replication", info_replication},
                    {"CPU", info_cpu},          {"Cluster", info_cluster},
                    {"Keyspace", info_keyspace}};
    struct buf *text = &session->context->value;
    buf_reset(text);
    for (size_t i = 0; i < array_len(sections); i++) {
        if (section(args, count, sections[i].name)) {
            buf_printf(text, "%s# %s\r\n", text->len > 0 ? "\r\n" : "", sections[i].name);
            sections[i].print(session, text);
        }
    }
    redis_reply_bulk(&session->reply, buf_text(text), text->len);
}
