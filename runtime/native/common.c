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

/* The character that comes; its length in bytes, or 0 for what is no UTF-8 (RFC 3629, section 3). */
static size_t decode(const char *text, uint32_t *code) {
    const unsigned char *bytes = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *bytes < 0x80 ? 1 : *bytes < 0xc2 ? 0 : *bytes < 0xe0 ? 2 : *bytes < 0xf0 ? 3 : 4;
    *code = length < 2 ? *bytes : *bytes & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (bytes[i] & 0x3f);
    }
    bool valid = length && *bytes < 0xf5 && *code >= least[length] && *code <= 0x10ffff &&
                 *code >> 11 != 0xd800 >> 11;
    return valid ? length : 0;
}

/* Controls, formats and ends of lines (Unicode, section 4.5: Cc, Cf, Zl, Zp), where a terminal
 * obeys or hides them. */
static bool is_unseen(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd},
        {0x70f, 0x70f}, {0x890, 0x891}, {0x8e2, 0x8e2}, {0x180e, 0x180e}, {0x200b, 0x200f},
        {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0x110bd, 0x110bd},
        {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe007f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

void gradc_clean(char *text, bool lines) {
    char *out = text;
    while (*text) {
        uint32_t code;
        size_t length = decode(text, &code);
        if (!length || (is_unseen(code) && !(lines && code == '\n'))) {
            *out++ = '?';
            text += length ? length : 1;
        } else {
            memmove(out, text, length);
            out += length;
            text += length;
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

void gradc_fail_with(struct gradc_error *error, int status, const char *format, va_list arguments) {
    format_with(error->text, sizeof error->text, format, arguments);
    gradc_clean(error->text, true);
    error->status = status;
}

GRADC_UNGUARDED
int gradc_fail(struct gradc_error *error, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    gradc_fail_with(error, status, format, arguments);
    va_end(arguments);
    return status;
}

GRADC_UNGUARDED
int gradc_fail_at(struct gradc_error *error, const char *prefix, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    gradc_fail_with(error, GRADC_BAD_FILE, format, arguments);
    va_end(arguments);
    return gradc_fail_in(error, prefix);
}

int gradc_fail_in(struct gradc_error *error, const char *prefix) {
    char text[sizeof error->text], name[sizeof error->text];
    memcpy(text, error->text, sizeof text);
    gradc_format(name, sizeof name, "%s", prefix);
    gradc_clean(name, false);
    return gradc_fail(error, error->status, "%s: %s", name, text);
}

int gradc_fail_memory(struct gradc_error *error) {
    return gradc_fail(error, GRADC_BAD_FILE, "out of memory");
}

int gradc_fail_write(struct gradc_error *error, const char *path) {
    return gradc_fail_at(error, path, "cannot be written: %m");
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
