/* The archives: is what is archived whole, and does it go on? Own header: doctor.h. */
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_report.h"
#include "log/archive_topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define CHECK_LEN 300

/* A topic's partitions together. */
struct archive_sum {
    int64_t partitions, records, bytes, damaged;
    int64_t gaps, lost;                      /* offsets; lost: the archive had them once */
    int64_t gap_partition, gap_from, gap_to; /* the first */
};

static void add_gaps(const json_t *partition, struct archive_sum *sum)
{
    size_t i;
    const json_t *gap;
    json_array_foreach (json_object_get(partition, "gaps"), i, gap) {
        int64_t from = json_int(gap, "from", 0);
        int64_t to = json_int(gap, "to", 0);
        if (sum->gaps == 0) {
            sum->gap_partition = json_int(partition, "partition", 0);
            sum->gap_from = from;
            sum->gap_to = to;
        }
        sum->gaps += to - from;
        sum->lost += json_bool(gap, "lost", false) ? to - from : 0;
    }
}

static void sum_up(const json_t *topic, struct archive_sum *sum)
{
    size_t i;
    const json_t *partition;
    *sum = (struct archive_sum){0};
    json_array_foreach (json_object_get(topic, "partitions"), i, partition) {
        sum->partitions++;
        sum->records += json_int(partition, "records", 0);
        sum->bytes += json_int(partition, "bytes", 0);
        sum->damaged += json_int(partition, "damaged", 0);
        add_gaps(partition, sum);
    }
}

/* True: a line was said about something wrong. */
static bool holes_say(struct doctor *doctor, const char *check, const struct archive_sum *sum)
{
    if (sum->damaged > 0 || sum->lost > 0) {
        doctor_say(doctor, DOCTOR_FAIL, check,
                   "`kappa archive verify --repair` fetches from the log what it still has",
                   "%" PRId64 " files are damaged, %" PRId64 " offsets that it held are lost",
                   sum->damaged, sum->lost);
        return true;
    }
    if (sum->gaps > 0) {
        doctor_say(
            doctor, DOCTOR_WARN, check,
            "they cannot be replayed; keep records in the log for longer than the server may "
            "be down",
            "%" PRId64 " offsets are missing, removed by the log before they were archived; "
            "the first: %" PRId64 " to %" PRId64 " of partition %" PRId64,
            sum->gaps, sum->gap_from, sum->gap_to, sum->gap_partition);
        return true;
    }
    return false;
}

/* It has no bound, and is larger than what is left on its disk. */
static bool grows_out(const char *dir, const json_t *topic, const struct archive_sum *sum,
                      int64_t *room)
{
    struct statvfs disk;
    bool bound = json_int(topic, "retain_ms", -1) >= 0 || json_int(topic, "retain_bytes", -1) >= 0;
    *room = statvfs(dir, &disk) == 0 ? (int64_t)disk.f_bavail * (int64_t)disk.f_frsize : INT64_MAX;
    return !bound && sum->bytes > *room;
}

static void archive_say(struct doctor *doctor, const char *dir, const json_t *topic)
{
    char check[CHECK_LEN];
    char records[OUT_NUMBER_LEN];
    char bytes[OUT_NUMBER_LEN];
    char left[OUT_NUMBER_LEN];
    struct err trouble;
    struct archive_sum sum;
    int64_t room = 0;
    bool on = strcmp(json_text(topic, "archive", ""), "on") == 0;
    (void)snprintf(check, sizeof check, "archive of %s", json_text(topic, "name", ""));
    sum_up(topic, &sum);
    if (json_to_err(topic, &trouble)) {
        err_prefix(&trouble, "it does not go on");
        doctor_say(doctor, DOCTOR_FAIL, check,
                   trouble.hint[0] != '\0' ? trouble.hint : "`kappa archive ls` says how far it is",
                   "%s", trouble.text);
    } else if (holes_say(doctor, check, &sum)) {
        return;
    } else if (on && grows_out(dir, topic, &sum, &room)) {
        doctor_say(doctor, DOCTOR_WARN, check,
                   "`kappa topic set TOPIC retain=365d`, or a larger disk",
                   "it takes %s and is kept for ever, %s are left on its disk",
                   out_bytes((double)sum.bytes, bytes), out_bytes((double)room, left));
    } else if (on && doctor->server_pid == 0) {
        doctor_say(doctor, DOCTOR_WARN, check, "start kappa up before the log lets go of records",
                   "no server runs here: nothing is archived meanwhile");
    } else {
        doctor_say(doctor, DOCTOR_OK, check, NULL,
                   "%s, %" PRId64 " partition%s, %s records, %s, nothing is missing",
                   on ? "on" : "off", sum.partitions, sum.partitions == 1 ? "" : "s",
                   out_short((double)sum.records, records), out_bytes((double)sum.bytes, bytes));
    }
}

void doctor_archive(struct doctor *doctor)
{
    struct err err = {0};
    json_t *names = NULL;
    if (doctor->remote) {
        return;
    }
    char *dir = place_archive(doctor->cli);
    int rc = archive_topic_list(dir, &names, &err);
    if (rc < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, "archives", &err);
    }
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        json_t *topic = NULL;
        rc = archive_report(dir, json_string_value(name), &topic, &err);
        if (rc < 0) {
            doctor_say_err(doctor, DOCTOR_FAIL, "archives", &err);
        } else {
            archive_say(doctor, dir, topic);
            json_decref(topic);
        }
    }
    json_decref(names);
    free(dir);
}
