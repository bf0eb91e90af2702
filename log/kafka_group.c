/* Consumer groups of Kafka for those who look at lag from outside (Burrow, kminion,
 * kafka-consumer-groups.sh): offsets written into a group that has no members, and groups deleted.
 * Nothing is ever read from a group: positions are in the store. Own header: kafka_private.h.
 *
 * Offsets are committed by a client of the group's name, made by the first commit. The admin interface
 * could do it on the log's own client, but its requests to a group's coordinator may abort the process
 * when the broker goes away at that moment (an assertion, seen with 2.0.2, not mended in later releases
 * so far). Deleting has no other way: it is done once for each version, right after brokers have answered.
 *
 * Both wait for the group's coordinator, and are not for threads that have better to do. */
#include "log/kafka_private.h"

#include <stdlib.h>
#include <string.h>

/* The first error of a group's answer; *text: its words, or NULL. */
static rd_kafka_resp_err_t group_error(const rd_kafka_group_result_t *group, const char **text)
{
    const rd_kafka_error_t *error = rd_kafka_group_result_error(group);
    if (error != NULL) {
        *text = rd_kafka_error_string(error);
        return rd_kafka_error_code(error);
    }
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            *text = rd_kafka_err2str(list->elems[i].err);
            return list->elems[i].err;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What a request of this kind gets: its queue is polled once. Frees both. */
static rd_kafka_event_t *answer_await(rd_kafka_queue_t *queue, rd_kafka_AdminOptions_t *options)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * KAFKA_REQUEST_MS);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return event;
}

static rd_kafka_AdminOptions_t *options_new(rd_kafka_t *rk, rd_kafka_admin_op_t what)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, what);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_REQUEST_MS, NULL, 0);
    return options;
}

/* The client that commits for this group. */
static int group_client(struct kafka_log *kafka, const char *group, struct err *err)
{
    if (kafka->group_name != NULL && strcmp(kafka->group_name, group) == 0) {
        return 0;
    }
    kafka_group_close(kafka);
    int rc = kafka_client_init(&kafka->group, &kafka->settings, KAFKA_METADATA, group, err);
    kafka->group_name = rc == 0 ? xstrdup(group) : NULL;
    return rc;
}

void kafka_group_close(struct kafka_log *kafka)
{
    if (kafka->group_name != NULL) {
        kafka_client_close(&kafka->group);
        free(kafka->group_name);
        kafka->group_name = NULL;
    }
}

static rd_kafka_resp_err_t committed(rd_kafka_event_t *event, const char **text)
{
    *text = rd_kafka_event_error_string(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    for (int i = 0; list != NULL && i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
        *text = rd_kafka_err2str(code);
    }
    return code;
}

int kafka_group_commit(struct log *log, const char *group, const struct log_place *places,
                       uint32_t count, struct err *err)
{
    struct kafka_log *kafka = kafka_log_of(log);
    int rc = group_client(kafka, group, err);
    if (rc != 0) {
        return rc;
    }
    (void)rd_kafka_poll(kafka->group.rk, 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (uint32_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, places[i].topic, (int32_t)places[i].partition)
            ->offset = places[i].offset;
    }
    const char *text = NULL;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->group.rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(kafka->group.rk, list, queue, NULL, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_event_t *event = NULL;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        event = rd_kafka_queue_poll(queue, 2 * KAFKA_REQUEST_MS);
        code = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : committed(event, &text);
    }
    rc = code == RD_KAFKA_RESP_ERR_NO_ERROR
             ? 0
             : kafka_error(&kafka->group, code, text, err, "cannot commit the group %s", group);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return rc;
}

/* Of all groups the first error; one that is not there is none. */
static rd_kafka_resp_err_t deleted(rd_kafka_event_t *event, const char **group, const char **text)
{
    size_t count = 0;
    const rd_kafka_group_result_t **found =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = group_error(found[i], text);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            *group = rd_kafka_group_result_name(found[i]);
            return code;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Do brokers answer? */
static rd_kafka_resp_err_t brokers_ask(struct kafka_client *client)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, NULL, &metadata, KAFKA_REQUEST_MS);
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    return code;
}

int kafka_groups_delete(struct log *log, const char *const *groups, uint32_t count, struct err *err)
{
    struct kafka_client *client = &kafka_log_of(log)->metadata;
    (void)rd_kafka_poll(client->rk, 0);
    rd_kafka_resp_err_t code = brokers_ask(client);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(client, code, NULL, err, "cannot delete the group %s", groups[0]);
    }
    rd_kafka_DeleteGroup_t **wanted = xcalloc(count, sizeof *wanted);
    for (uint32_t i = 0; i < count; i++) {
        wanted[i] = rd_kafka_DeleteGroup_new(groups[i]);
    }
    rd_kafka_AdminOptions_t *options = options_new(client->rk, RD_KAFKA_ADMIN_OP_DELETEGROUPS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);
    rd_kafka_DeleteGroups(client->rk, wanted, count, options, queue);
    rd_kafka_event_t *event = answer_await(queue, options);
    rd_kafka_DeleteGroup_destroy_array(wanted, count);
    free(wanted);
    const char *group = groups[0];
    const char *text = event == NULL ? NULL : rd_kafka_event_error_string(event);
    code = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = deleted(event, &group, &text);
    }
    int rc = code == RD_KAFKA_RESP_ERR_NO_ERROR
                 ? 0
                 : kafka_error(client, code, text, err, "cannot delete the group %s", group);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    return rc;
}
