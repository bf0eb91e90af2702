/* Records -> columns, for every format: reads the columns that a plan uses.
 *
 *     decoder_new                      by plan_input.format
 *     loop: decoder_reset              a new chunk of up to `capacity` rows: all values are null
 *           decoder_take ...           one record into one row: the next one, or the last again
 *           decoder_columns            vectors of rows taken since the reset
 *     decoder_free
 *
 * Rules of all formats (those of one format are in the head of its file, decode_FORMAT.c):
 *  1. A record is checked whole, also what is skipped; one that breaks a rule is refused whole, with
 *     a reason for people. Nothing that a record holds can do more than that.
 *  2. A column that is missing is null. What no column reads is ignored.
 *  3. Text is borrowed from the record, or lives until the next reset.
 *  4. A record with neither key nor value, and with the header kappa-mark, is a mark in every format.
 *  5. What a record gives depends on the record and the input alone (and, for formats with a
 *     registry of schemas, on the schema its number names, which never changes). */
#ifndef KAPPA_PROCESSOR_DECODE_H
#define KAPPA_PROCESSOR_DECODE_H

#include "include/kappa/record.h"
#include "processor/plan.h"

/* Times beyond year +-146,000 are refused, so that windows and bounds never overflow. */
#define DECODE_TIME_MAX (INT64_C(1) << 62)

struct decoder;

enum decode_taken {
    DECODE_REFUSED, /* the row is all null; decoder_reason says why, until the next call */
    DECODE_ROW,
    DECODE_DELETE, /* of an input with a primary key or tombstones: the row with these key columns is
                      gone; the other columns are null */
    DECODE_IGNORED, /* nothing happened; the row is all null */
    DECODE_MARK     /* the same, and a time has passed: decoder_mark */
};

/* The input is borrowed. */
struct decoder *decoder_new(const struct plan_input *input, uint32_t capacity);
void decoder_free(struct decoder *decoder);
/* One vector per column of the input; those of unused columns are all null. The vectors stay in
 * place for the life of the decoder. */
const struct expr_vec *decoder_columns(const struct decoder *decoder);
void decoder_reset(struct decoder *decoder);
/* The partition that the records taken from now on come from, and how many its topic has; 0 until told,
 * which inputs with a partitioner need. */
void decoder_partition(struct decoder *decoder, uint32_t partition, uint32_t partitions);
enum decode_taken decoder_take(struct decoder *decoder, const struct kappa_record *record,
                               uint32_t row);
/* Of the record taken last, in us since 1970. */
int64_t decoder_mark(const struct decoder *decoder);
/* Formats with a registry: true when the record needs a schema that is not known yet. It is handed in
 * by decoder_schema before the record is taken; text NULL: the registry does not have it. */
bool decoder_schema_wanted(struct decoder *decoder, const struct kappa_record *record,
                           uint32_t *id);
void decoder_schema(struct decoder *decoder, uint32_t id, const char *text, size_t len);
const char *decoder_reason(const struct decoder *decoder);
/* PostgreSQL's name of a type, for messages. */
const char *decoder_type_name(enum kappa_type type);

#endif
