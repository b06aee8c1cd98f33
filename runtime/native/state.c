/* Reading and writing states in logical row-major order, whatever their physical order is.
 *
 * A state lies densely in the state block with its axes in the order `field->order`, maybe in strips:
 * all that belongs to the first points of the last axis, then to the next. Row-major ones are copied;
 * the others are walked element by element, which only files and tools ever do.
 */
#include <string.h>

#include "session.h"

int64_t gradc_state_elements(const struct gradc_state_field *field) {
    const int64_t *shape = gradc_numbers + field->shape;
    int64_t elements = 1;
    for (int axis = 0; axis < field->rank; axis++) {
        elements *= shape[axis];
    }
    return elements;
}

/* Elements from one index of each logical axis to the next, within a strip; the size of one. */
static int64_t physical_strides(const struct gradc_state_field *field, int64_t strides[]) {
    const int64_t *shape = gradc_numbers + field->shape, *order = gradc_numbers + field->order;
    int64_t stride = 1;
    for (int place = field->rank - 1; place >= 0; place--) {
        int64_t axis = order[place];
        strides[axis] = stride;
        bool in_strips = field->strip && place == field->rank - 1;
        stride *= in_strips ? field->strip : shape[axis];
    }
    return stride;
}

/* Copy elements between the block and a dense buffer: into the block where `into` is set. */
static void walk(const struct gradc_state_field *field, unsigned char *block, int64_t first,
                 int64_t count, unsigned char *dense, bool into) {
    size_t size = gradc_size(field->dtype);
    const int64_t *shape = gradc_numbers + field->shape;
    int64_t last = gradc_numbers[field->order + field->rank - 1]; /* the innermost axis */
    int64_t strides[GRADC_MAX_RANK];
    int64_t strip_size = physical_strides(field, strides);
    for (int64_t n = 0; n < count; n++) {
        int64_t rest = first + n, place = 0;
        for (int axis = field->rank - 1; axis >= 0; axis--) {
            int64_t point = rest % shape[axis];
            if (field->strip && axis == last) {
                place += point / field->strip * strip_size;
                point %= field->strip;
            }
            place += point * strides[axis];
            rest /= shape[axis];
        }
        unsigned char *element = block + field->offset_bytes + (size_t)place * size;
        unsigned char *other = dense + (size_t)n * size;
        memcpy(into ? element : other, into ? other : element, size);
    }
}

void gradc_state_get(const struct gradc_state_field *field, const unsigned char *block,
                     int64_t first, int64_t count, void *out) {
    size_t size = gradc_size(field->dtype);
    if (field->order) {
        walk(field, (unsigned char *)block, first, count, out, false);
    } else {
        memcpy(out, block + field->offset_bytes + (size_t)first * size, (size_t)count * size);
    }
}

void gradc_state_set(const struct gradc_state_field *field, unsigned char *block, int64_t first,
                     int64_t count, const void *in) {
    size_t size = gradc_size(field->dtype);
    if (field->order) {
        walk(field, block, first, count, (unsigned char *)in, true);
    } else {
        memcpy(block + field->offset_bytes + (size_t)first * size, in, (size_t)count * size);
    }
}
