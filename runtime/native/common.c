/* Errors, element types and checked sizes; see common.h.
 *
 * Nothing here reads files or allocates memory.
 */
#include "common.h"

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

size_t gradc_character(const char *text, size_t room, uint32_t *code) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length = *bytes < 0x80 ? 1 : *bytes < 0xc2 ? 0 : *bytes < 0xe0 ? 2 : *bytes < 0xf0 ? 3 : 4;
    *code = length < 2 ? *bytes : *bytes & (0xffu >> length);
    for (size_t i = 1; i < length; i++) {
        if (i >= room || (bytes[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (bytes[i] & 0x3f);
    }
    /* What takes 3 or 4 bytes may need fewer, be a surrogate, or lie beyond the last character. */
    bool valid = (length < 3 || *code >> (5 * length - 4)) && *code <= 0x10ffff &&
                 *code >> 11 != 0xd800 >> 11;
    return valid ? length : 0;
}

/* Controls, formats and ends of lines (Unicode, section 4.5: Cc, Cf, Zl, Zp), where a terminal
 * obeys or hides them. */
static bool is_unseen(uint32_t code) {
#define RANGE(first, last) (first << 8 | (last - first))
    static const uint32_t ranges[] = {
        RANGE(0, 0x1f),         RANGE(0x7f, 0x9f),       RANGE(0xad, 0xad),
        RANGE(0x600, 0x605),    RANGE(0x61c, 0x61c),     RANGE(0x6dd, 0x6dd),
        RANGE(0x70f, 0x70f),    RANGE(0x890, 0x891),     RANGE(0x8e2, 0x8e2),
        RANGE(0x180e, 0x180e),  RANGE(0x200b, 0x200f),   RANGE(0x2028, 0x202e),
        RANGE(0x2060, 0x206f),  RANGE(0xfeff, 0xfeff),   RANGE(0xfff9, 0xfffb),
        RANGE(0x110bd, 0x110bd), RANGE(0x110cd, 0x110cd), RANGE(0x13430, 0x1343f),
        RANGE(0x1bca0, 0x1bca3), RANGE(0x1d173, 0x1d17a), RANGE(0xe0000, 0xe007f),
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code - (ranges[i] >> 8) <= (ranges[i] & 0xff))
            return true;
    return false;
}

GRADC_UNGUARDED
void gradc_clean(char *text, bool lines) {
    char *out = text;
    while (*text) {
        uint32_t code;
        size_t length = gradc_character(text, SIZE_MAX, &code);
        if (!length || (is_unseen(code) && !(lines && code == '\n'))) {
            *out++ = '?';
            text += length ? length : 1;
        } else {
            while (length--)
                *out++ = *text++;
        }
    }
    *out = 0;
}

static int format_with(char *buffer, size_t size, const char *format, va_list arguments) {
    return vsnprintf(buffer, size, format, arguments);
}

GRADC_UNGUARDED
int gradc_format(char *buffer, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = format_with(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

const char *gradc_shown(struct gradc_error *error, int number, const char *name) {
    char *shown = error->shown[number];
    gradc_format(shown, GRADC_SHOWN, "%s", name);
    gradc_clean(shown, false);
    return shown;
}

static int fail_with(struct gradc_error *error, const char *format, va_list arguments) {
    error->status = *format > *GRADC_ON_STOP ? GRADC_BAD_FILE : *format++;
    format_with(error->text, sizeof error->text, format, arguments);
    gradc_clean(error->text, true);
    return error->status;
}

GRADC_UNGUARDED
int gradc_fail(struct gradc_error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int status = fail_with(error, format, arguments);
    va_end(arguments);
    return status;
}

GRADC_UNGUARDED
int gradc_fail_at(struct gradc_error *error, const char *prefix, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail_with(error, format, arguments);
    va_end(arguments);
    return gradc_fail_in(error, prefix);
}

int gradc_fail_in(struct gradc_error *error, const char *prefix) {
    char text[sizeof error->text];
    int status = error->status;
    memcpy(text, error->text, sizeof text);
    gradc_fail(error, "%s: %s", gradc_shown(error, 0, prefix), text);
    return error->status = status;
}

int gradc_fail_memory(struct gradc_error *error) {
    return gradc_fail(error, "out of memory");
}

int gradc_fail_write(struct gradc_error *error, const char *path) {
    return gradc_fail_at(error, path, "cannot be written: %m");
}

size_t gradc_common(const char *one, const char *other) {
    size_t length = 0;
    while (one[length] && one[length] == other[length])
        length++;
    return length;
}

bool gradc_equal(const char *one, const char *other) {
    size_t length = gradc_common(one, other);
    return one[length] == other[length];
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

char *gradc_extents(char *buffer, const char *between, int rank, const int64_t *shape) {
    char *end = buffer;
    *end = 0;
    for (int axis = 0; axis < rank; axis++) {
        const char *before = axis ? between : "";
        size_t room = GRADC_EXTENTS - (size_t)(end - buffer);
        end += shape[axis] == GRADC_BATCH
                   ? gradc_format(end, room, "%sbatch", before)
                   : gradc_format(end, room, "%s%lld", before, (long long)shape[axis]);
    }
    return buffer;
}
