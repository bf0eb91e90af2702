/* Between topics_produce.c and topics_envelope.c. */
#ifndef KAPPA_SERVE_TOPICS_PRIVATE_H
#define KAPPA_SERVE_TOPICS_PRIVATE_H

#include "serve/topics.h"

/* The record of a line {"key","value","time","headers"}; only "value" must be there. Its bytes lie
 * in the line and in the sink's buffers. record: no key, value, headers or time yet. */
int topic_envelope_fill(struct topic_sink *sink, const char *text, size_t len,
                        struct kappa_record *record, struct err *err) must_check;

#endif
