/* The training position: all that a run needs, beside its state, to go on where it stopped.
 *
 * The fields and their form as JSON are those of runtime/record.py.
 */
#ifndef GRADC_RECORD_H
#define GRADC_RECORD_H

#include "column.h"
#include "program.h"
#include "safetensors.h"
#include "text.h"

/* Columns of validation are named "validation_" and the result's name. */
#define GRADC_VALIDATION "validation_"

/* What the position within an epoch depends on. */
struct gradc_batches {
    int64_t samples, batch_size, shuffle, drop_last; /* the last two are 0 or 1 */
};

struct gradc_record {
    int64_t seed, epoch, position, rows, step, best_epoch, waited;
    int64_t has_best, finished; /* 0 or 1 */
    double best;
    struct gradc_batches batches;
    double *sums;                 /* one per scalar */
    struct gradc_column *columns; /* one per result, then the same for validation */
};

#define GRADC_FORMAT 2 /* of the description that is written */
#define GRADC_OLD_FORMAT 1 /* is still read */

/* A run that has not begun. */
int gradc_record_open(struct gradc_record *record, struct gradc_error *error);
void gradc_record_free(struct gradc_record *record);

/* Append the canonical JSON, with the key `checksum` unless it is null. */
void gradc_record_write(struct gradc_text *text, const struct gradc_record *record,
                        const char *checksum);

/* Whether a run could have come to this position. Returns the name of a field that does not fit the
 * rest, or null. The rules are those of runtime/record.py. */
const char *gradc_record_check(const struct gradc_record *record);

/* What a record in a file says of that file. The checksum covers all of the record's text but the
 * bytes from `begin` to `end`, which are its own. */
struct gradc_seal {
    int64_t format;
    struct gradc_text fingerprint, checksum;
    size_t begin, end;
    int64_t longest;     /* of the columns, known ones and others, in epochs */
    bool lists, lengths; /* whether columns are there as lists (format 1), as lengths */
    size_t columns;      /* that have tensors */
    const char *wrong;   /* a field that is no such value at all, or null */
    const char *unfit;   /* a field that does not fit the program, or null */
};

/* Fill an open record from a file's metadata and, with the columns of format 2, from its tensors;
 * and the seal, whose texts are the caller's to free. Fails where the metadata is no record; fields
 * that are wrong or do not fit are left alone. */
int gradc_record_read(struct gradc_record *record, struct gradc_seal *seal,
                      const struct gradc_tensors *tensors, struct gradc_error *error);

/* Say that a field does not fit. */
int gradc_fail_position(const char *field, struct gradc_error *error);

/* The name of the result that column k is of. */
const char *gradc_record_result(int64_t k);

/* The column of this name, or null. */
struct gradc_column *gradc_record_column(const struct gradc_record *record, const char *name,
                                         size_t length);
#endif
