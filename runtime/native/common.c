/* Errors, element types and checked sizes; see common.h.
 *
 * Nothing here reads files or allocates memory.
 */
#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names in .npy files: numpy.lib.format. Names in safetensors files: its README, "Format".
 *
 * The last column is the order of dtypes in a safetensors file: the library lays tensors out by its
 * enum of dtypes, from the last to the first. It was found by saving one tensor of each dtype with
 * safetensors 0.8 and reading the header; test_native_files.py compares it with the library. */
const struct gradc_dtype_facts gradc_dtypes[GRADC_DTYPES] = {
    [GRADC_FLOAT64] = {"float64", "F64", "f8", 'f', 8, 8},
    [GRADC_FLOAT32] = {"float32", "F32", "f4", 'f', 4, 7},
    [GRADC_FLOAT16] = {"float16", "F16", "f2", 'f', 2, 4},
    [GRADC_BFLOAT16] = {"bfloat16", "BF16", "", 'f', 2, 5},
    [GRADC_INT64] = {"int64", "I64", "i8", 'i', 8, 9},
    [GRADC_INT32] = {"int32", "I32", "i4", 'i', 4, 6},
    [GRADC_INT16] = {"int16", "I16", "i2", 'i', 2, 3},
    [GRADC_INT8] = {"int8", "I8", "i1", 'i', 1, 2},
    [GRADC_UINT8] = {"uint8", "U8", "u1", 'i', 1, 1},
    [GRADC_BOOL] = {"bool", "BOOL", "b1", 'b', 1, 0},
};

int gradc_fail(struct gradc_error *error, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->status = status;
    return status;
}

int gradc_fail_in(struct gradc_error *error, const char *prefix) {
    char text[sizeof error->text];
    memcpy(text, error->text, sizeof text);
    return gradc_fail(error, error->status, "%s: %s", prefix, text);
}

int gradc_fail_memory(struct gradc_error *error) {
    return gradc_fail(error, GRADC_BAD_FILE, "out of memory");
}

bool gradc_multiply(int64_t a, int64_t b, int64_t *product) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

bool gradc_elements(int rank, const int64_t *shape, int64_t *elements) {
    *elements = 1;
    for (int axis = 0; axis < rank; axis++)
        if (!gradc_multiply(*elements, shape[axis], elements))
            return false;
    return true;
}

char *gradc_shape_text(char *buffer, size_t size, int rank, const int64_t *shape) {
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int axis = 0; axis < rank && used < size; axis++)
        used += (size_t)snprintf(buffer + used, size - used, axis ? ", %lld" : "%lld",
                                 (long long)shape[axis]);
    if (used < size)
        snprintf(buffer + used, size - used, "]");
    return buffer;
}
