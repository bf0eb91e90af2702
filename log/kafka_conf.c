/* Clients of librdkafka: which properties they get, what their callbacks do, and how their errors
 * read. Own header: kafka_private.h.
 *
 * Properties come in three kinds: those that Kappa owns (a promise rests on them; giving one is an
 * error), those it sets but leaves to the operator (speed and memory), and all others, which pass
 * through. */
#include "log/kafka_private.h"

#include "base/clock.h"
#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define ERROR_TEXT_LEN 512
#define LOG_QUIET_US   1000000 /* at most one warning of librdkafka a second */

/* ---- Properties */

struct owned_row {
    const char *name;
    const char *reason;
};

#define REASON_POSITION "Kappa keeps positions with the rows, in one transaction"
#define REASON_WRITER   "records are written once and in order, acknowledged by all replicas"
#define REASON_KEYS     "records with one key go where Kafka's Java client would put them"
#define REASON_CALLBACK "Kappa receives librdkafka's events its own way"

static const struct owned_row owned_rows[] = {
    {"bootstrap.servers", "the brokers are given on their own"},
    {"metadata.broker.list", "the brokers are given on their own"},
    {"group.id", "the group is named after processor and version"},
    {"group.instance.id", "Kappa assigns partitions itself"},
    {"enable.auto.commit", REASON_POSITION},
    {"auto.commit.enable", REASON_POSITION},
    {"enable.auto.offset.store", REASON_POSITION},
    {"offset.store.method", REASON_POSITION},
    {"offset.store.path", REASON_POSITION},
    {"auto.offset.reset", "a position that is gone must be an error"},
    {"enable.partition.eof", "the end of a partition must be seen"},
    {"check.crcs", "damaged records must be seen"},
    {"isolation.level", "only committed records are read"},
    {"max.poll.interval.ms", "not reading for a while is how Kappa slows down"},
    {"allow.auto.create.topics", "a mistyped topic must be an error"},
    {"enable.idempotence", REASON_WRITER},
    {"enable.gapless.guarantee", REASON_WRITER},
    {"transactional.id", REASON_WRITER},
    {"acks", REASON_WRITER},
    {"request.required.acks", REASON_WRITER},
    {"delivery.report.only.error", REASON_WRITER},
    {"partitioner", REASON_KEYS},
    {"sticky.partitioning.linger.ms", REASON_KEYS},
    {"enable.random.seed", REASON_KEYS},
    {"opaque", REASON_CALLBACK},
    {"enabled_events", REASON_CALLBACK},
    {"log.queue", REASON_CALLBACK},
    {"log_level", "KAPPA_LOG=debug shows what librdkafka says"},
    {"plugin.library.paths", "Kappa loads no foreign code through properties"},
};

static const struct owned_row *owned_find(const char *name)
{
    for (size_t i = 0; i < array_len(owned_rows); i++) {
        if (strcmp(owned_rows[i].name, name) == 0) {
            return &owned_rows[i];
        }
    }
    return NULL;
}

static const char *true_false(bool value)
{
    return value ? "true" : "false";
}

/* A new text of a JSON scalar, or NULL. */
static char *scalar_text(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return xstrdup(json_string_value(value));
    case JSON_INTEGER:
        return xasprintf("%lld", (long long)json_integer_value(value));
    case JSON_REAL:
        return xasprintf("%g", json_real_value(value));
    case JSON_TRUE:
    case JSON_FALSE:
        return xstrdup(true_false(json_is_true(value)));
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        break;
    }
    return NULL;
}

/* Lets librdkafka look at one property. */
static int property_try(const struct kafka_property *property, struct err *err)
{
    char text[ERROR_TEXT_LEN] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result =
        rd_kafka_conf_set(conf, property->name, property->value, text, sizeof text);
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_OK) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "Kafka property %s: %s", property->name, text);
    err_hint(err, "the names and values are those of librdkafka %s (CONFIGURATION.md)",
             rd_kafka_version_str());
    return rc;
}

static int property_add(struct kafka_settings *settings, const char *name, const json_t *value,
                        struct err *err)
{
    const struct owned_row *owned = owned_find(name);
    if (owned != NULL) {
        int rc =
            err_set(err, KE_INVALID, "Kafka property %s cannot be set: %s", name, owned->reason);
        err_hint(err, "leave it out");
        return rc;
    }
    char *text = scalar_text(value);
    if (text == NULL) {
        return err_set(err, KE_INVALID, "Kafka property %s must be a text or a number", name);
    }
    struct kafka_property *property = &settings->properties[settings->count++];
    property->name = xstrdup(name);
    property->value = text;
    return property_try(property, err);
}

int kafka_settings_init(struct kafka_settings *settings, const char *brokers,
                        const json_t *properties, struct err *err)
{
    *settings = (struct kafka_settings){0};
    if (brokers == NULL || strspn(brokers, " ,") == strlen(brokers)) {
        int rc = err_set(err, KE_INVALID, "no Kafka broker is named");
        err_hint(err, "give host:port, or several with commas between");
        return rc;
    }
    if (properties != NULL && !json_is_object(properties)) {
        return err_set(err, KE_INVALID, "Kafka properties must be an object of name and text");
    }
    settings->brokers = xstrdup(brokers);
    settings->properties = xcalloc(json_object_size(properties) + 1, sizeof *settings->properties);
    void *step = json_object_iter((json_t *)(uintptr_t)properties);
    for (; step != NULL; step = json_object_iter_next((json_t *)(uintptr_t)properties, step)) {
        int rc =
            property_add(settings, json_object_iter_key(step), json_object_iter_value(step), err);
        if (rc != 0) {
            kafka_settings_close(settings);
            return rc;
        }
    }
    return 0;
}

void kafka_settings_close(struct kafka_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        free(settings->properties[i].name);
        free(settings->properties[i].value);
    }
    free(settings->properties);
    free(settings->brokers);
    *settings = (struct kafka_settings){0};
}

const char *kafka_settings_find(const struct kafka_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->properties[i].name, name) == 0) {
            return settings->properties[i].value;
        }
    }
    return NULL;
}

/* ---- Configuration of a client */

struct setting_row {
    const char *name;
    const char *value;
};

/* Defaults that the operator may change. */
static const struct setting_row common_rows[] = {
    {"client.id", "kappa"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "30000"},       /* a broker that hangs is noticed in half a minute */
    {"reconnect.backoff.max.ms", "1000"}, /* a broker that is back is used within a second */
};

/* Queue and fetch sizes bound a reader's memory: about queued.max.messages.kbytes plus one response
 * of fetch.max.bytes plus some 300 bytes for each of queued.min.messages. */
static const struct setting_row reader_rows[] = {
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "32768"},
    {"fetch.message.max.bytes", "1048576"},
    {"fetch.max.bytes", "16777216"},
    {"fetch.min.bytes", "1"},
    /* The end behind transaction markers shows only when an empty fetch returns: keep it short. */
    {"fetch.wait.max.ms", "50"},
    {"fetch.error.backoff.ms", "100"},
    {"topic.metadata.refresh.interval.ms", "30000"},
    {"topic.metadata.propagation.max.ms", "10000"},
};

static const struct setting_row reader_owned_rows[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
    {"isolation.level", "read_committed"},
    {"max.poll.interval.ms", "86400000"},
    {"allow.auto.create.topics", "false"},
    {"debug", "topic,broker"}, /* is_doubtful() listens; it adds to what the operator set */
};

static const struct setting_row metadata_owned_rows[] = {
    {"isolation.level", "read_committed"}, /* the end is the last stable offset */
    {"allow.auto.create.topics", "false"},
};

static const struct setting_row writer_rows[] = {
    {"linger.ms", "5"},
    {"message.max.bytes", "20000000"}, /* the broker's bound counts, not this one */
    {"queue.buffering.max.kbytes", "65536"},
    {"message.timeout.ms", "30000"},
};

static const struct setting_row writer_owned_rows[] = {
    {"enable.idempotence", "true"}, /* brings acks=all and order */
    {"allow.auto.create.topics", "false"},
    /* Else records without a key would not come to our partitioner. */
    {"sticky.partitioning.linger.ms", "0"},
};

static const struct setting_row sender_rows[] = {
    {"linger.ms", "0"}, /* a commit follows at once */
    {"message.max.bytes", "20000000"},
    {"queue.buffering.max.kbytes", "65536"},
};

/* A transaction that its sender left open keeps readers of the topic waiting until it times out. */
static const struct setting_row sender_owned_rows[] = {
    {"enable.idempotence", "true"},
    {"allow.auto.create.topics", "false"},
    {"transaction.timeout.ms", "20000"},
    {"message.timeout.ms", "15000"}, /* these two not above the transaction's */
    {"socket.timeout.ms", "10000"},
    {"isolation.level", "read_uncommitted"}, /* the end is behind all there is */
};

static void conf_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[ERROR_TEXT_LEN];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, text, sizeof text);
    ASSERT(result == RD_KAFKA_CONF_OK); /* own rows, and properties that were tried before */
}

static void conf_rows(rd_kafka_conf_t *conf, const struct setting_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        conf_set(conf, rows[i].name, rows[i].value);
    }
}

static void conf_role(rd_kafka_conf_t *conf, const struct kafka_settings *settings,
                      enum kafka_role role, const char *name)
{
    conf_rows(conf, common_rows, array_len(common_rows));
    if (role == KAFKA_READER) {
        conf_rows(conf, reader_rows, array_len(reader_rows));
    } else if (role == KAFKA_WRITER) {
        conf_rows(conf, writer_rows, array_len(writer_rows));
    } else if (role == KAFKA_SENDER) {
        conf_rows(conf, sender_rows, array_len(sender_rows));
    }
    for (size_t i = 0; i < settings->count; i++) {
        conf_set(conf, settings->properties[i].name, settings->properties[i].value);
    }
    conf_set(conf, "bootstrap.servers", settings->brokers);
    switch (role) {
    case KAFKA_METADATA:
        conf_rows(conf, metadata_owned_rows, array_len(metadata_owned_rows));
        if (name != NULL) {
            conf_set(conf, "group.id", name);
            conf_set(conf, "enable.auto.commit", "false");
        }
        break;
    case KAFKA_READER:
        conf_rows(conf, reader_owned_rows, array_len(reader_owned_rows));
        conf_set(conf, "group.id", name); /* assign() refuses to work without one */
        break;
    case KAFKA_WRITER:
        conf_rows(conf, writer_owned_rows, array_len(writer_owned_rows));
        break;
    case KAFKA_SENDER:
        conf_rows(conf, sender_owned_rows, array_len(sender_owned_rows));
        conf_set(conf, "transactional.id", name);
        break;
    }
}

/* ---- Callbacks */

/* What librdkafka says (debug: topic, broker) when a partition loses its leader or a fetch is refused, when
 * a topic is not known, and when a connection is lost. Most of it never becomes an error for us: it tries
 * again, by the topic's name. It says so in the thread that fetches, before it fetches again, so whoever is
 * handed what came behind it sees the doubt. */
static bool is_doubtful(const char *facility, const char *text)
{
    static const char *const facilities[] = {"BROKERUA", "BRKDELGT", "TOPICERROR", "TOPICPROP"};
    for (size_t i = 0; i < array_len(facilities); i++) {
        if (strcmp(facility, facilities[i]) == 0) {
            return true;
        }
    }
    return (strcmp(facility, "METADATA") == 0 && strstr(text, "Error in metadata") != NULL) ||
           (strcmp(facility, "STATE") == 0 &&
            (strstr(text, "-> DOWN") != NULL || strstr(text, "changed state exists") != NULL) &&
            strstr(text, "GroupCoordinator") == NULL);
}

void kafka_client_doubt(struct kafka_client *client)
{
    static _Atomic uint64_t doubts; /* of all clients: no reader has the number of another */
    atomic_store(&client->doubt, atomic_fetch_add(&doubts, 1) + 1);
}

/* Clients that are open, for callbacks of one that is left behind (kafka_client_close): its threads go on
 * talking when the struct is gone. */
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kafka_client *live;

static void live_add(struct kafka_client *client)
{
    pthread_mutex_lock(&live_lock);
    client->next_live = live;
    live = client;
    pthread_mutex_unlock(&live_lock);
}

static void live_remove(const struct kafka_client *client)
{
    pthread_mutex_lock(&live_lock);
    struct kafka_client **at = &live;
    while (*at != client) {
        at = &(*at)->next_live;
        ASSERT(*at != NULL);
    }
    *at = client->next_live;
    pthread_mutex_unlock(&live_lock);
}

static void live_doubt(const void *client)
{
    pthread_mutex_lock(&live_lock);
    for (struct kafka_client *at = live; at != NULL; at = at->next_live) {
        if (at == client) {
            kafka_client_doubt(at);
        }
    }
    pthread_mutex_unlock(&live_lock);
}

/* librdkafka's own messages, from any of its threads: its warnings and errors repeat while a broker
 * is away, so that most of them are only for debugging. */
static void log_callback(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    static _Atomic int64_t quiet_until;
    if (rk != NULL && is_doubtful(facility, text)) {
        live_doubt(rd_kafka_opaque(rk));
    }
    if (level <= LOG_ERR) {
        int64_t now = clock_mono_us(clock_real());
        int64_t until = atomic_load(&quiet_until);
        if (now >= until &&
            atomic_compare_exchange_strong(&quiet_until, &until, now + LOG_QUIET_US)) {
            trace(TRACE_WARN, "kafka: %s: %s", facility, text);
            return;
        }
    }
    trace(TRACE_DEBUG, "kafka: %s: %s", facility, text);
}

static void error_callback(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk;
    struct kafka_client *client = opaque;
    MAGIC_ASSERT(client, KAFKA_CLIENT_MAGIC);
    pthread_mutex_lock(&client->lock);
    /* "1/1 brokers are down" says less than the reason that came before it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || client->trouble_text[0] == '\0') {
        (void)snprintf(client->trouble_text, sizeof client->trouble_text, "%s", reason);
    }
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
        client->partition_lost = true;
    }
    atomic_store(&client->trouble, true);
    pthread_mutex_unlock(&client->lock);
}

/* Statistics are asked for by a property only; nobody reads them. */
/* NOLINTNEXTLINE(readability-non-const-parameter): librdkafka's type */
static int stats_callback(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    (void)rk;
    (void)json;
    (void)len;
    (void)opaque;
    return 0;
}

/* ---- Clients */

int kafka_client_init(struct kafka_client *client, const struct kafka_settings *settings,
                      enum kafka_role role, const char *name, struct err *err)
{
    char text[ERROR_TEXT_LEN] = "";
    *client = (struct kafka_client){.magic = KAFKA_CLIENT_MAGIC, .settings = settings};
    kafka_client_doubt(client);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    conf_role(conf, settings, role, name);
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, log_callback);
    rd_kafka_conf_set_error_cb(conf, error_callback);
    rd_kafka_conf_set_stats_cb(conf, stats_callback);
    if (role == KAFKA_WRITER) {
        rd_kafka_conf_set_dr_msg_cb(conf, kafka_delivery);
    } else if (role == KAFKA_SENDER) {
        rd_kafka_conf_set_dr_msg_cb(conf, kafka_sender_delivery);
    }
    pthread_mutex_init(&client->lock, NULL);
    bool produces = role == KAFKA_WRITER || role == KAFKA_SENDER;
    rd_kafka_type_t type = produces ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    live_add(client);
    client->rk = rd_kafka_new(type, conf, text, sizeof text);
    if (client->rk != NULL) {
        return 0;
    }
    live_remove(client);
    rd_kafka_conf_destroy(conf);
    pthread_mutex_destroy(&client->lock);
    int rc = err_set(err, KE_INVALID, "librdkafka refuses the Kafka properties: %s", text);
    err_hint(err, "check the properties given with -X against each other");
    return rc;
}

void kafka_client_close(struct kafka_client *client)
{
    live_remove(client);
    if (client->partition_lost) {
        /* When an assigned partition was deleted, 2.0.2 miscounts its references and destroying
         * the client waits for ever (fixed in 2.1.1). Its memory and sleeping threads are left
         * behind: such a version has failed, and its worker exits. */
        trace(TRACE_DEBUG, "kafka: a client that lost a partition is left behind");
    } else {
        /* Without a group membership there is nothing to close, and the flag keeps a broker that
         * is away from being waited for. */
        rd_kafka_destroy_flags(client->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    pthread_mutex_destroy(&client->lock);
    client->rk = NULL;
}

void kafka_client_trouble(struct kafka_client *client, char *text, size_t size)
{
    pthread_mutex_lock(&client->lock);
    (void)snprintf(text, size, "%s", client->trouble_text);
    pthread_mutex_unlock(&client->lock);
}

void kafka_client_trouble_over(struct kafka_client *client)
{
    if (!atomic_load(&client->trouble)) {
        return;
    }
    pthread_mutex_lock(&client->lock);
    client->trouble_text[0] = '\0';
    atomic_store(&client->trouble, false);
    pthread_mutex_unlock(&client->lock);
}

/* ---- Errors */

enum err_code kafka_error_code(rd_kafka_resp_err_t code)
{
    static const struct {
        rd_kafka_resp_err_t from;
        enum err_code to;
    } rows[] = {
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, KE_NOT_FOUND},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, KE_NOT_FOUND},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, KE_NOT_FOUND},
        {RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, KE_EXISTS},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, KE_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, KE_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_CONFIG, KE_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_REQUEST, KE_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, KE_INVALID},
        {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, KE_REFUSED},
        {RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, KE_INVALID},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, KE_LIMIT},
        {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, KE_LIMIT},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, KE_UNAUTHORIZED},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, KE_UNAUTHORIZED},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, KE_UNAUTHORIZED},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, KE_UNAUTHORIZED},
        {RD_KAFKA_RESP_ERR__BAD_MSG, KE_CORRUPT},
        {RD_KAFKA_RESP_ERR__BAD_COMPRESSION, KE_CORRUPT},
        {RD_KAFKA_RESP_ERR_INVALID_MSG, KE_CORRUPT},
        {RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, KE_CORRUPT},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        if (rows[i].from == code) {
            return rows[i].to;
        }
    }
    return KE_BROKER;
}

static void hint_brokers(const struct kafka_client *client, enum err_code code, struct err *err)
{
    if (code == KE_UNAUTHORIZED) {
        err_hint(err, "check sasl.username, sasl.password and the ACLs of the topic on %s",
                 client->settings->brokers);
    } else if (code == KE_BROKER) {
        err_hint(err,
                 "check that Kafka runs at %s, that its advertised.listeners can be reached from "
                 "here, and that security.protocol is the listener's",
                 client->settings->brokers);
    }
}

int kafka_error(struct kafka_client *client, rd_kafka_resp_err_t code, const char *detail,
                struct err *err, const char *what, ...)
{
    char head[ERROR_TEXT_LEN];
    char said[ERROR_TEXT_LEN] = "";
    va_list args;
    va_start(args, what);
    (void)vsnprintf(head, sizeof head, what, args);
    va_end(args);
    enum err_code mapped = kafka_error_code(code);
    if (detail == NULL || detail[0] == '\0') {
        detail = rd_kafka_err2str(code);
    }
    if (mapped == KE_BROKER) {
        kafka_client_trouble(client, said, sizeof said);
    }
    int rc = err_set(err, mapped, "%s: %s (brokers %s)%s%s", head, detail,
                     client->settings->brokers, said[0] == '\0' ? "" : "; last heard: ", said);
    hint_brokers(client, mapped, err);
    return rc;
}

int kafka_error_brokers(struct kafka_client *client, struct err *err, const char *what, ...)
{
    char head[ERROR_TEXT_LEN];
    char said[ERROR_TEXT_LEN];
    va_list args;
    va_start(args, what);
    (void)vsnprintf(head, sizeof head, what, args);
    va_end(args);
    kafka_client_trouble(client, said, sizeof said);
    int rc = err_set(err, KE_BROKER, "%s (brokers %s)%s%s", head, client->settings->brokers,
                     said[0] == '\0' ? "" : ": ", said);
    hint_brokers(client, KE_BROKER, err);
    return rc;
}

void log_kafka_library(struct library *out)
{
    *out = (struct library){.name = "librdkafka"};
    (void)snprintf(out->built, sizeof out->built, "%d.%d.%d", RD_KAFKA_VERSION >> 24,
                   RD_KAFKA_VERSION >> 16 & 0xff, RD_KAFKA_VERSION >> 8 & 0xff);
    (void)snprintf(out->runs, sizeof out->runs, "%s", rd_kafka_version_str());
}
