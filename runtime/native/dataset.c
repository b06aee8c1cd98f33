/* Data sets from .npy files; see dataset.h. The checks are those of runtime/inputs.py.
 *
 * An array of the declared type stays in its mapped file, so data may be larger than memory. The
 * values are not looked at, but for integers that are converted or index something.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dataset.h"
#include "npy.h"
#include "ranges.h"
#include "signals.h"
#include "system.h"

#define SAMPLES_MAXIMUM ((int64_t)1 << 48) /* so that products with them do not overflow */

/* What holds one array: a mapped file, or fresh memory. */
struct gradc_array {
    struct gradc_mapping file;
    struct gradc_watched watched;
    void *copy;
};

static int check_shape(const struct gradc_field *field, const char *name,
                       const struct gradc_npy *npy, struct gradc_error *error) {
    const int64_t *shape = gradc_numbers + field->shape;
    bool fits = npy->rank == field->rank;
    for (int axis = 0; fits && axis < field->rank; axis++) {
        fits = shape[axis] == GRADC_BATCH || shape[axis] == npy->shape[axis];
    }
    char given[GRADC_EXTENTS], declared[GRADC_EXTENTS];
    return fits ? GRADC_OK
                : gradc_fail(error, "input '%s' has shape [%s], declared [%s]",
                             name,
                             gradc_extents(given, ", ", npy->rank, npy->shape),
                             gradc_extents(declared, ", ", field->rank, shape));
}

/* ---------------------------------------------------------------- conversion */

/* A floating-point number of 2, 4 or 8 bytes, given in bits. */
static double float_of(uint64_t bits, size_t size) {
    double wide;
    float narrow;
    if (size == sizeof wide) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (size == sizeof narrow) {
        memcpy(&narrow, &bits, sizeof narrow);
        return narrow;
    }
    /* Exponent and mantissa in their places of a float, then the difference of the biases. */
    uint32_t moved = (uint32_t)(bits & 0x7fff) << 13;
    memcpy(&narrow, &moved, sizeof narrow);
    wide = narrow * 0x1p112;
    if (wide >= 65536) { /* infinity, or not a number */
        wide = moved << 9 ? __builtin_nan("") : __builtin_inf();
    }
    return bits & 0x8000 ? -wide : wide;
}

/* The integer of so many bytes, given in bits; one of 2^63 or more comes out negative. */
static int64_t integer(uint64_t bits, size_t size, bool is_unsigned) {
    int shift = 64 - 8 * (int)size;
    return is_unsigned ? (int64_t)(bits << shift >> shift) : (int64_t)(bits << shift) >> shift;
}

/* Element i in the field's type, in bits; false if it does not fit. */
static bool convert_element(const struct gradc_npy *npy, const struct gradc_field *field,
                            uint64_t *bits) {
    size_t from = gradc_size(npy->dtype), to = gradc_size(field->dtype);
    if (gradc_facts(field->dtype)->kind == 'f') {
        double wide = float_of(*bits, from);
        float narrow = (float)wide;
        uint32_t narrow_bits;
        memcpy(&narrow_bits, &narrow, sizeof narrow);
        memcpy(bits, &wide, sizeof wide);
        *bits = to == sizeof wide ? *bits : narrow_bits;
        return to >= sizeof narrow; /* there are no programs with narrower inputs */
    }
    bool is_unsigned = npy->is_uint || npy->dtype == GRADC_UINT8;
    int64_t value = integer(*bits, from, is_unsigned);
    *bits = (uint64_t)value;
    return integer(*bits, to, field->dtype == GRADC_UINT8) == value && !(is_unsigned && value < 0);
}

/* The array in fresh memory; the file is closed. */
static int convert(struct gradc_array *array, const struct gradc_npy *npy,
                   const struct gradc_field *field, const char *name, struct gradc_error *error) {
    const unsigned char *data = array->file.data + npy->offset;
    size_t from = gradc_size(npy->dtype), to = gradc_size(field->dtype);
    char *copy = array->copy = calloc((size_t)npy->elements + 1, to);
    if (!copy) {
        return gradc_fail_memory(error);
    }
    for (int64_t i = 0; i < npy->elements; i++, data += from, copy += to) {
        uint64_t bits = 0;
        for (size_t byte = 0; byte < from; byte++) { /* the highest first */
            bits = bits << 8 | data[npy->swapped ? byte : from - 1 - byte];
        }
        if (!convert_element(npy, field, &bits)) {
            return gradc_fail(error,
                              npy->is_uint ? "input '%s' has values that do not fit %s: %" PRIu64
                                           : "input '%s' has values that do not fit %s: %" PRId64,
                              name, gradc_facts(field->dtype)->name, bits);
        }
        memcpy(copy, &bits, to);
    }
    gradc_signals_forget(&array->watched);
    gradc_unmap(&array->file);
    return GRADC_OK;
}

/* ---------------------------------------------------------------- opening */

/* Open the array of one input. Messages do not name the file. */
static int open_array(struct gradc_dataset *data, int64_t n, const char *name,
                      struct gradc_error *error) {
    const struct gradc_field *field = &gradc_inputs[n];
    const struct gradc_dtype_facts *declared = gradc_facts(field->dtype);
    struct gradc_array *array = &data->owned[n];
    struct gradc_npy npy;
    int status = gradc_npy_parse(array->file.data, array->file.size, &npy, error);
    if (status) {
        return status;
    }
    if (gradc_facts(npy.dtype)->kind != declared->kind) {
        return gradc_fail(error,
                          "input '%s' is %s, the file holds %s%s; arrays are converted within a "
                          "kind only: float, integer, bool",
                          name, declared->name, npy.is_uint ? "u" : "",
                          gradc_facts(npy.dtype)->name);
    }
    status = check_shape(field, name, &npy, error);
    if (status) {
        return status;
    }
    if (field->batch_axis >= 0) {
        int64_t samples = npy.shape[field->batch_axis];
        if (samples < 1 || samples > SAMPLES_MAXIMUM) {
            return gradc_fail(error, "input '%s' has %s samples",
                              name, samples < 1 ? "no" : "too many");
        }
        if (data->samples && samples != data->samples) {
            return gradc_fail(error,
                              "input '%s' has %" PRId64 " samples, the inputs before it %" PRId64,
                              name, samples, data->samples);
        }
        data->samples = samples;
    }
    bool exact = npy.dtype == field->dtype && !npy.swapped && !npy.is_uint &&
                 npy.offset % declared->size == 0;
    if (!exact) {
        status = convert(array, &npy, field, name, error);
    }
    data->arrays[n] = exact ? array->file.data + npy.offset : array->copy;
    return status;
}

/* Whether the input must be given: what outputs alone read is not needed in training. */
static bool is_needed(enum gradc_kind kind, int64_t input) {
    const struct gradc_reads *reads = &gradc_program.reads[kind];
    bool found = false;
    for (uint32_t n = 0; n < reads->count; n++) {
        found |= gradc_numbers[reads->inputs + n] == input;
    }
    return found;
}

static int map_array(struct gradc_array *array, const char *path, struct gradc_error *error) {
    int status = gradc_map(&array->file, path, error);
    if (!status) {
        array->watched = (struct gradc_watched){
            .path = path,
            .data = array->file.data,
            .size = array->file.size,
        };
        gradc_signals_watch(&array->watched);
    }
    return status;
}

int gradc_dataset_open(struct gradc_dataset *data, const char *const *paths, const char *option,
                       enum gradc_kind kind, struct gradc_error *error) {
    size_t inputs = (size_t)gradc_program.input_count;
    *data = (struct gradc_dataset){.inputs = gradc_program.input_count};
    data->arrays = calloc(inputs + 1, sizeof *data->arrays);
    data->owned = calloc(inputs + 1, sizeof *data->owned);
    int status = data->arrays && data->owned ? GRADC_OK : gradc_fail_memory(error);
    for (int64_t n = 0; !status && n < gradc_program.input_count; n++) {
        const char *name = gradc_string(gradc_inputs[n].name);
        if (paths[n]) {
            status = map_array(&data->owned[n], paths[n], error);
            if (!status && open_array(data, n, name, error)) {
                status = gradc_fail_in(error, paths[n]);
            }
        } else if (is_needed(kind, n)) {
            status = gradc_fail(error, GRADC_IN_ARGUMENTS
                                "missing input '%s': give %s %s=FILE.npy", name, option, name);
        }
    }
    if (!status && gradc_program.batch && !data->samples) {
        status = gradc_fail(error, GRADC_IN_ARGUMENTS "%s: no input gives the number of samples",
                            option);
    }
    for (int64_t n = 0; !status && n < gradc_program.input_count; n++) {
        if (paths[n] &&
            gradc_ranges_check(kind, n, data->arrays[n], data->samples, error)) {
            status = gradc_fail_in(error, paths[n]);
        }
    }
    if (status) {
        gradc_dataset_close(data);
    }
    return status;
}

/* Files that fit into memory are read sooner by the kernel's reading ahead. */
void gradc_dataset_shuffled(const struct gradc_dataset *data) {
    size_t memory = system_memory(), all = 0;
    for (int64_t n = 0; n < data->inputs; n++) {
        all += data->owned[n].file.size;
    }
    for (int64_t n = 0; all > memory && n < data->inputs; n++) {
        const struct gradc_mapping *file = &data->owned[n].file;
        if (file->data) {
            system_advise((void *)(uintptr_t)file->data, file->size, MADV_RANDOM);
        }
    }
}

void gradc_dataset_close(struct gradc_dataset *data) {
    for (int64_t n = 0; data->owned && n < data->inputs; n++) {
        gradc_signals_forget(&data->owned[n].watched);
        gradc_unmap(&data->owned[n].file);
        free(data->owned[n].copy);
    }
    free(data->owned);
    free(data->arrays);
    data->owned = NULL;
    data->arrays = NULL;
}
