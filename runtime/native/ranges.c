/* Checks of labels and indices; see ranges.h.
 *
 * Compiled code clamps what is out of range, so without this a wrong label would train as another
 * one. An array is walked once, in its own order.
 */
#include <inttypes.h>
#include <stdio.h>

#include "ranges.h"

static int64_t element(const void *array, enum gradc_dtype dtype, int64_t at) {
    switch (dtype) {
    case GRADC_INT64:
        return ((const int64_t *)array)[at];
    case GRADC_INT32:
        return ((const int32_t *)array)[at];
    case GRADC_INT16:
        return ((const int16_t *)array)[at];
    case GRADC_INT8:
        return ((const int8_t *)array)[at];
    default:
        return ((const uint8_t *)array)[at];
    }
}

static bool is_allowed(const struct gradc_range *range, int64_t value) {
    bool allowed = value >= range->low && value < range->high;
    for (int n = 0; !allowed && n < range->ignored_count; n++) {
        allowed = value == gradc_numbers[range->ignored + (uint32_t)n];
    }
    return allowed;
}

static int fail_range(const struct gradc_range *range, const struct gradc_field *field,
                const int64_t *place, int64_t value, struct gradc_error *error) {
    char row[64] = "", at[GRADC_EXTENTS] = "", extents[GRADC_EXTENTS];
    if (field->rank) {
        gradc_format(row, sizeof row, "row %" PRId64 " of ", place[0]);
    }
    if (field->rank > 1) {
        gradc_format(at, sizeof at, " at [%s]", gradc_extents(extents, ", ", field->rank, place));
    }
    return gradc_fail(error,
                      "%sinput '%s' is %" PRId64 "%s, not in %" PRId64 " to %" PRId64 "; %s indexes "
                      "with it",
                      row, gradc_string(field->name), value, at, range->low, range->high - 1,
                      gradc_string(range->reader));
}

/* Walk the cut of one array, the last axis fastest. */
static int check_range(const struct gradc_range *range, const struct gradc_field *field,
                 const void *array, int64_t samples, struct gradc_error *error) {
    int64_t count[GRADC_MAX_RANK], stride[GRADC_MAX_RANK], done[GRADC_MAX_RANK] = {0};
    const int64_t *shape = gradc_numbers + field->shape, *cuts = gradc_numbers + range->cut;
    int64_t at = 0, width = 1;
    for (int axis = field->rank - 1; axis >= 0; axis--) {
        const int64_t *cut = range->cut ? cuts + 3 * axis : NULL;
        int64_t extent = shape[axis] == GRADC_BATCH ? samples : shape[axis];
        count[axis] = cut && cut[2] != GRADC_BATCH ? cut[2] : extent;
        stride[axis] = cut ? cut[1] * width : width;
        at += cut ? cut[0] * width : 0;
        width *= extent;
        if (!count[axis]) {
            return GRADC_OK;
        }
    }
    for (;;) {
        int64_t value = element(array, field->dtype, at);
        if (!is_allowed(range, value)) {
            for (int axis = 0; axis < field->rank && range->cut; axis++) {
                done[axis] = cuts[3 * axis] + done[axis] * cuts[3 * axis + 1];
            }
            return fail_range(range, field, done, value, error);
        }
        int axis = field->rank - 1;
        for (; axis >= 0 && ++done[axis] == count[axis]; axis--) {
            done[axis] = 0;
            at -= stride[axis] * (count[axis] - 1);
        }
        if (axis < 0) {
            return GRADC_OK;
        }
        at += stride[axis];
    }
}

int gradc_ranges_check(enum gradc_kind kind, int64_t input,
                       const void *array, int64_t samples, struct gradc_error *error) {
    int status = GRADC_OK;
    for (int64_t n = 0; !status && n < gradc_program.range_count; n++) {
        const struct gradc_range *range = &gradc_ranges[n];
        if (range->input == input && range->kinds & 1 << kind) {
            status = check_range(range, &gradc_inputs[input], array, samples, error);
        }
    }
    return status;
}
