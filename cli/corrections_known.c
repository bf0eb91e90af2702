/* What is to be compared: the catalog, the newest receipt, how far messages are sent. Own header:
 * corrections.h. */
#include "cli/corrections.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/place.h"
#include "replayer/sender.h"
#include "table/catalog.h"

#define WAIT_US (INT64_C(60) * 1000000)
#define LOOK_US 100000

/* ---- The catalog */

static int objects_load(const char *processor, struct corrections_known *known, struct err *err)
{
    char key[CATALOG_KEY_LEN];
    json_t *list = NULL;
    size_t i;
    json_t *entry;
    catalog_key_processor(key, processor);
    int rc = catalog_get(known->catalog, key, &known->processor, err);
    if (rc == -KE_NOT_FOUND) {
        return err_set(err, KE_NOT_FOUND, "there is no processor %s", processor);
    }
    known->versions = json_object();
    known->receipts = json_array();
    char *prefix = xasprintf("v/%s/", processor);
    rc = rc == 0 ? catalog_list(known->catalog, prefix, &list, err) : rc;
    json_array_foreach (list, i, entry) {
        json_t *object = json_object_get(entry, "value");
        char number[16];
        (void)snprintf(number, sizeof number, "%" PRId64, json_int(object, "version", 0));
        (void)json_object_set(known->versions, number, object);
    }
    json_decref(list);
    list = NULL;
    prefix[0] = 'r';
    rc = rc == 0 ? catalog_list(known->catalog, prefix, &list, err) : rc;
    json_array_foreach (list, i, entry) {
        (void)json_array_append(known->receipts, json_object_get(entry, "value"));
    }
    json_decref(list);
    free(prefix);
    return rc;
}

static json_t *version_of(const struct corrections_known *known, int64_t number)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    return json_object_get(known->versions, text);
}

/* What nobody can say the difference of, and why there is none. */
static int kind_check(struct corrections_known *known, const char *processor, struct err *err)
{
    int64_t number = json_int(known->processor, "serving", 0);
    const json_t *window = json_object_get(known->version, "window");
    size_t i;
    json_t *receipt;
    if (json_object_get(known->receipt, "outputs_from") == NULL) {
        known->none = "it sends no messages to topics";
        return 0;
    }
    if (json_int(known->receipt, "old", 0) == 0) {
        known->none = "it is the first version that serves: nothing was sent before it";
        return 0;
    }
    if (json_object_size(window) > 0) {
        (void)err_set(err, KE_REFUSED,
                      "v%" PRId64 " of %s took windows over from v%" PRId64
                      " as that stood then: no replay of its own definition makes its messages",
                      number, processor, json_int(window, "of", 0));
        err_hint(err, "kappa replay %s makes a version of all records; swap that in first",
                 processor);
        return -KE_REFUSED;
    }
    json_array_foreach (known->receipts, i, receipt) {
        int64_t served = json_int(receipt, "new", 0);
        if (strcmp(json_text(version_of(known, served), "outputs_from", "all"), "new") == 0) {
            (void)err_set(err, KE_REFUSED,
                          "v%" PRId64 " of %s was deployed with --outputs new: what came before "
                          "its swap was not to be sent, and all of it would be a difference",
                          served, processor);
            err_hint(err, "deploy the definition under another name, with a topic of its own, to "
                          "have all of its messages");
            return -KE_REFUSED;
        }
    }
    return 0;
}

static int serving_find(struct corrections_known *known, const char *processor, struct err *err)
{
    int64_t number = json_int(known->processor, "serving", 0);
    int64_t epoch = json_int(known->processor, "epoch", 0);
    size_t count = json_array_size(known->receipts);
    if (number == 0) {
        return err_set(err, KE_NOT_FOUND, "no version of %s serves yet", processor);
    }
    known->version = json_incref(version_of(known, number));
    known->receipt = count == 0 ? NULL : json_incref(json_array_get(known->receipts, count - 1));
    if (known->version == NULL || json_int(known->receipt, "epoch", -1) != epoch ||
        json_int(known->receipt, "new", -1) != number) {
        return err_set(err, KE_AGAIN, "a swap of %s has just been made", processor);
    }
    return kind_check(known, processor, err);
}

int corrections_still(const struct corrections_known *known, struct err *err)
{
    char key[CATALOG_KEY_LEN];
    json_t *now = NULL;
    const char *name = json_text(known->processor, "processor", "");
    catalog_key_processor(key, name);
    int rc = catalog_get(known->catalog, key, &now, err);
    if (rc == 0 && json_int(now, "epoch", 0) != json_int(known->processor, "epoch", 0)) {
        (void)err_set(err, KE_REFUSED,
                      "v%" PRId64 " of %s was swapped in meanwhile: no more corrections are sent "
                      "for the version before",
                      json_int(now, "serving", 0), name);
        err_hint(err, "once more: kappa corrections %s --send; it finds what is left to do", name);
        rc = -KE_REFUSED;
    }
    json_decref(now);
    return rc;
}

static void topic_add(json_t *topics, const char *name)
{
    size_t i;
    json_t *topic;
    json_array_foreach (topics, i, topic) {
        if (strcmp(json_string_value(topic), name) == 0) {
            return;
        }
    }
    (void)json_array_append_new(topics, json_string(name));
}

json_t *corrections_topics(const struct corrections_known *known)
{
    json_t *topics = json_array();
    size_t i;
    size_t k;
    json_t *receipt;
    json_t *topic;
    json_array_foreach (known->receipts, i, receipt) {
        const json_t *version = version_of(known, json_int(receipt, "new", 0));
        json_array_foreach (json_object_get(version, "outputs"), k, topic) {
            topic_add(topics, json_string_value(topic));
        }
    }
    json_array_foreach (json_object_get(known->sent, "topics"), i, topic) {
        topic_add(topics, json_text(topic, "topic", ""));
    }
    return topics;
}

/* ---- How far messages are sent */

static int64_t sent_of(const json_t *sent, const json_t *input, int64_t partition)
{
    size_t i;
    json_t *known;
    json_array_foreach (json_object_get(sent, "inputs"), i, known) {
        if (strcmp(json_text(known, "topic", ""), json_text(input, "topic", "")) == 0 &&
            json_int(known, "identity", 0) == json_int(input, "identity", 0) &&
            json_int(known, "partition", -1) == partition) {
            return json_int(known, "sent", -1);
        }
    }
    return -1;
}

static int64_t cut_of(const json_t *span, const char *topic, int64_t partition)
{
    const json_t *offsets = json_object_get(json_object_get(span, "cut"), topic);
    return i64_max(json_integer_value(json_array_get(offsets, (size_t)partition)), 0);
}

/* The messages of records between the cuts of this span and of the next one. *missing: the partition of
 * which some are not sent. */
static bool span_sent(const struct corrections_known *known, const json_t *sent, const json_t *span,
                      const json_t *next, char **missing)
{
    const json_t *version = version_of(known, json_int(span, "version", 0));
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(version, "inputs"), i, input) {
        const char *topic = json_text(input, "topic", "");
        for (int64_t p = 0; p < json_int(input, "partitions", 0); p++) {
            int64_t from = cut_of(span, topic, p);
            int64_t to = cut_of(next, topic, p);
            int64_t at = sent_of(sent, input, p);
            if (from < to && at < to) {
                *missing = xasprintf("%s/%" PRId64 ", sent below offset %" PRId64 " of %" PRId64,
                                     topic, p, i64_max(at, from), to);
                return false;
            }
        }
    }
    return true;
}

static bool all_sent(const struct corrections_known *known, const json_t *sent, char **missing)
{
    const json_t *spans = json_object_get(known->processor, "spans");
    for (size_t i = 0; i + 1 < json_array_size(spans); i++) {
        if (!span_sent(known, sent, json_array_get(spans, i), json_array_get(spans, i + 1),
                       missing)) {
            return false;
        }
    }
    return true;
}

/* SENT is written behind what it says: what it says is true, and it may be late. */
static int sent_wait(const struct cli *cli, struct corrections_known *known, struct err *err)
{
    const char *name = json_text(known->processor, "processor", "");
    int64_t until = clock_mono_us(clock_real()) + WAIT_US;
    char *missing = NULL;
    for (;;) {
        json_t *sent = sender_sent_read(known->dir);
        if (all_sent(known, sent, &missing)) {
            known->sent = sent;
            return 0;
        }
        json_decref(sent);
        if (place_server_pid(cli) == 0 || clock_mono_us(clock_real()) > until) {
            break;
        }
        free(missing);
        missing = NULL;
        (void)usleep(LOOK_US);
    }
    (void)err_set(err, KE_REFUSED,
                  "messages of the version before are not all sent yet (%s): what differs is not "
                  "known before",
                  missing);
    free(missing);
    if (place_server_pid(cli) == 0) {
        err_hint(err, "the server sends them: start it with kappa up");
    } else {
        err_hint(err, "see what is in the way with: kappa status %s", name);
    }
    return -KE_REFUSED;
}

/* ---- */

int corrections_look(const struct cli *cli, const char *processor, struct corrections_known *known,
                     struct err *err)
{
    const char *data = place_data(cli);
    if (place_server(cli) != NULL) {
        int rc =
            err_set(err, KE_REFUSED, "corrections are made in the data directory, not by a server");
        err_hint(err, "run it where the server runs, with --data DIR");
        return rc;
    }
    char *dir = xasprintf("%s/catalog", data);
    int rc = catalog_open(dir, false, &known->catalog, err);
    free(dir);
    rc = rc == 0 ? objects_load(processor, known, err) : rc;
    rc = rc == 0 ? serving_find(known, processor, err) : rc;
    if (rc != 0 || known->none != NULL) {
        return rc;
    }
    known->dir = xasprintf("%s/versions/%s", data, processor);
    known->name = xasprintf("%s#%s", processor, json_text(known->processor, "mark", "0"));
    return sent_wait(cli, known, err);
}

void corrections_forget(struct corrections_known *known)
{
    catalog_close(known->catalog);
    json_decref(known->processor);
    json_decref(known->version);
    json_decref(known->receipt);
    json_decref(known->versions);
    json_decref(known->receipts);
    json_decref(known->sent);
    free(known->dir);
    free(known->name);
    *known = (struct corrections_known){.catalog = NULL};
}
