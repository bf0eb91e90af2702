/* Payload -> columns: reads the columns that a plan uses out of JSON objects.
 *
 *     decoder_new
 *     loop: decoder_reset              a new chunk of up to `capacity` rows: all values are null
 *           decoder_take ...           one record into one row: the next one, or the last again
 *           decoder_columns            vectors of rows taken since the reset
 *     decoder_free
 *
 * Rules:
 *  1. The value is one JSON object (RFC 8259, UTF-8), checked whole, also what is skipped. Nesting
 *     is at most LIMIT_JSON_DEPTH deep. Of duplicate names the last wins. A missing column is null.
 *  2. text takes a string; boolean true or false; integer and bigint a number written without
 *     fraction and exponent, in range; double precision any number in range; timestamptz a number
 *     times the input's unit, rounded to the microsecond, or an RFC 3339 string.
 *  3. A record that breaks a rule is refused whole, with a reason for people.
 *  4. Text is borrowed from the record, or, when it had escapes, lives until the next reset.
 */
#ifndef KAPPA_PROCESSOR_DECODE_JSON_H
#define KAPPA_PROCESSOR_DECODE_JSON_H

#include "include/kappa/record.h"
#include "processor/plan.h"

/* Times beyond year +-146,000 are refused, so that windows and bounds never overflow. */
#define DECODE_TIME_MAX (INT64_C(1) << 62)

struct decoder;

/* The input is borrowed. */
struct decoder *decoder_new(const struct plan_input *input, uint32_t capacity);
void decoder_free(struct decoder *decoder);
/* One vector per column of the input; those of unused columns are all null. The vectors stay in
 * place for the life of the decoder. */
const struct expr_vec *decoder_columns(const struct decoder *decoder);
void decoder_reset(struct decoder *decoder);
/* False: the record is refused and the row is all null; decoder_reason says why, until the next
 * call. */
bool decoder_take(struct decoder *decoder, const struct kappa_record *record, uint32_t row);
const char *decoder_reason(const struct decoder *decoder);
/* PostgreSQL's name of a type, for messages. */
const char *decoder_type_name(enum kappa_type type);

#endif
