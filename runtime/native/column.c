/* Columns of a history; see column.h. */
#include "column.h"

#include <stdlib.h>

/* The distance between the epochs that are kept of so many. */
static int64_t stride(int64_t epochs) {
    int64_t distance = 1;
    while (epochs / distance + (epochs % distance > 0) > GRADC_COLUMN_ROWS)
        distance *= 2;
    return distance;
}

int64_t gradc_column_kept(int64_t epochs) {
    if (epochs < 1)
        return 0;
    int64_t distance = stride(epochs), last = epochs - 1;
    return last / distance + 1 + (last % distance > 0);
}

bool gradc_column_reserve(struct gradc_column *column, int64_t count) {
    int64_t needed = column->count + count;
    if (needed > column->capacity) {
        int64_t capacity = needed + needed / 2;
        double *values = realloc(column->values, (size_t)capacity * sizeof *values);
        if (!values)
            return false;
        column->values = values;
        column->capacity = capacity;
    }
    return true;
}

void gradc_column_add(struct gradc_column *column, double value) {
    column->values[column->count++] = value;
    column->length++;
}

/* The epoch of value i, of which `kept` are of the thinned epochs, `distance` apart. */
static int64_t epoch_of(const struct gradc_column *column, int64_t i, int64_t kept,
                        int64_t distance) {
    if (i >= kept)
        return column->thinned + i - kept;
    return i * distance < column->thinned ? i * distance : column->thinned - 1;
}

void gradc_column_thin(struct gradc_column *column) {
    int64_t before = stride(column->thinned), distance = stride(column->length);
    int64_t kept = gradc_column_kept(column->thinned), last = column->length - 1;
    /* With the same distance, of the values that were kept only the last may go. */
    int64_t out = before == distance && kept ? kept - 1 : 0;
    for (int64_t i = out; i < column->count; i++) {
        int64_t epoch = epoch_of(column, i, kept, before);
        if (epoch % distance == 0 || epoch == last)
            column->values[out++] = column->values[i];
    }
    column->count = out;
    column->thinned = column->length;
}

const double *gradc_column_find(const struct gradc_column *column, int64_t epoch) {
    if (epoch < 0 || epoch >= column->length)
        return NULL;
    int64_t kept = gradc_column_kept(column->thinned), distance = stride(column->thinned);
    if (epoch >= column->thinned)
        return &column->values[kept + epoch - column->thinned];
    if (epoch == column->thinned - 1)
        return &column->values[kept - 1];
    return epoch % distance ? NULL : &column->values[epoch / distance];
}

int64_t gradc_column_next(const struct gradc_column *column, int64_t epoch) {
    int64_t distance = stride(column->thinned), first = epoch < 0 ? 0 : epoch;
    if (first < column->thinned - 1 && first % distance) {
        first += distance - first % distance;
        first = first < column->thinned ? first : column->thinned - 1;
    }
    return first < column->length ? first : INT64_MAX / 2;
}
