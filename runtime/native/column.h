/* One column of a history: a number per epoch, of which a bounded share is kept.
 *
 * Kept are those of the epochs 0, s, 2s, 3s... and of the last, where s is the smallest power of two
 * with which there are at most GRADC_COLUMN_ROWS of them, not counting the last; runtime/column.py
 * does the same. Epochs since the last call of gradc_column_thin are all there, so that they can be
 * logged. What is kept follows from the number of epochs alone.
 */
#ifndef GRADC_COLUMN_H
#define GRADC_COLUMN_H

#include "common.h"

#define GRADC_COLUMN_ROWS 4096 /* 32 KiB */

/* Absent columns are not written. */
struct gradc_column {
    double *values;
    int64_t count, capacity; /* of the values */
    int64_t length;          /* epochs */
    int64_t thinned;         /* epochs, from the first, of which only the kept ones are there */
    bool present;
};

/* The number of values that are kept of so many epochs; at most GRADC_COLUMN_ROWS + 1. */
int64_t gradc_column_kept(int64_t epochs);

/* Room for `count` more values, or false without memory. */
bool gradc_column_reserve(struct gradc_column *column, int64_t count);
/* The value of one more epoch; there must be room. */
void gradc_column_add(struct gradc_column *column, double value);
/* Drop what is not kept. */
void gradc_column_thin(struct gradc_column *column);
/* The number of an epoch, counted from 0; null where it was not kept. */
const double *gradc_column_find(const struct gradc_column *column, int64_t epoch);
/* The first epoch whose number is there, from `epoch` on; INT64_MAX / 2 where there is none. */
int64_t gradc_column_next(const struct gradc_column *column, int64_t epoch);

#endif
