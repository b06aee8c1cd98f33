/* What every part of the native runtime shares: errors, element types, checked sizes.
 *
 * Conventions. Functions that can fail return 0 or a status of `enum gradc_status` and leave a
 * message in their `struct gradc_error`. Nothing here is global state: a library may hold any number
 * of sessions. Sizes are int64_t or size_t; a product of sizes from a file is always checked.
 */
#ifndef GRADC_COMMON_H
#define GRADC_COMMON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "near.h"

#define GRADC_MAX_RANK 32

/* Used in other objects of a binary than the one that most of this runtime is (see
 * compiler/aot/runtime_objects.py). */
#if defined(__GNUC__) && !defined(__clang__)
#define GRADC_USED_OUTSIDE __attribute__((externally_visible))
#else
#define GRADC_USED_OUTSIDE
#endif

/* Of a function with any number of arguments none of which is a floating-point number: on x86-64 it
 * does not keep eight registers that nobody reads. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define GRADC_NO_FLOATS __attribute__((noinline, target("general-regs-only")))
#else
#define GRADC_NO_FLOATS
#endif

/* Of a function whose own variables are single ones: none of them is written by an index or a
 * length, so there is nothing to find out at its end. */
#if defined(__has_attribute) && __has_attribute(no_stack_protector)
#define GRADC_UNGUARDED __attribute__((no_stack_protector))
#else
#define GRADC_UNGUARDED
#endif

/* Of a function that is smaller as one of its own. */
#define GRADC_APART __attribute__((noinline))
#define GRADC_APART_IN_HEADER __attribute__((noinline, unused))

/* Exit status of an executable, result of a library call. */
enum gradc_status {
    GRADC_OK = 0,
    GRADC_BAD_FILE = 1,     /* a bad, damaged or missing file, a failed write, no memory */
    GRADC_BAD_ARGUMENT = 2, /* bad or missing arguments */
    GRADC_STOPPED = 3,      /* SIGINT or SIGTERM, after a checkpoint was written */
};

#define GRADC_SHOWN 512 /* bytes of a name in a message, with a zero */

struct gradc_error {
    int status;
    char text[1024];
    char shown[2][GRADC_SHOWN]; /* names that become part of the text */
};

/* snprintf for what holds no floating-point number. */
GRADC_NO_FLOATS int gradc_format(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A format begins with one of these where the failure is not GRADC_BAD_FILE: its status. */
#define GRADC_IN_ARGUMENTS "\2"
#define GRADC_ON_STOP "\3"

/* Leave a message (cut at the size of `text`, and cleaned) and return its status. */
GRADC_NO_FLOATS int gradc_fail(struct gradc_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same with `prefix: ` before the message; see gradc_fail_in. */
GRADC_NO_FLOATS int gradc_fail_at(struct gradc_error *error, const char *prefix,
                                  const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put `prefix: ` before the message that is there already, and return its status. The prefix may be
 * any text, the name of a file for example: ends of lines in it do not stay. */
int gradc_fail_in(struct gradc_error *error, const char *prefix);

int gradc_fail_memory(struct gradc_error *error);
/* Keep the error that errno tells of a file that was to be written. */
int gradc_fail_write(struct gradc_error *error, const char *path);

/* The character that comes in a text of UTF-8 of which so many bytes are there, and how many it
 * takes: 0 for what is no UTF-8 (RFC 3629, section 3). A zero ends a text of unknown length. */
size_t gradc_character(const char *text, size_t room, uint32_t *code);

/* Make a text fit for a terminal, in place: a question mark for what it would obey or not show, and
 * for what is no UTF-8. Ends of lines stay if `lines`. */
void gradc_clean(char *text, bool lines);

/* A name of a file, or any other text, for a message: cut and cleaned. One message has two at most,
 * number 0 and 1. */
const char *gradc_shown(struct gradc_error *error, int number, const char *name);

enum gradc_dtype {
    GRADC_FLOAT64,
    GRADC_FLOAT32,
    GRADC_FLOAT16,
    GRADC_BFLOAT16,
    GRADC_INT64,
    GRADC_INT32,
    GRADC_INT16,
    GRADC_INT8,
    GRADC_UINT8,
    GRADC_BOOL,
    GRADC_DTYPES,
};

struct gradc_dtype_facts {
    char name[9];          /* NumPy's: "float32". Not pointers: each would be a relocation */
    char file_name[5];     /* safetensors': "F32" */
    char npy_name[3];      /* type string of .npy without byte order: "f4"; "" if it has none */
    char kind;             /* 'f' floating point, 'i' integer, 'b' bool */
    uint8_t size;          /* bytes of one element */
    uint8_t rank;          /* place in the order of tensors in a safetensors file: high comes first */
};

GRADC_USED_OUTSIDE __attribute__((visibility("hidden")))
extern const struct gradc_dtype_facts gradc_dtypes[GRADC_DTYPES];

GRADC_APART_IN_HEADER
static const struct gradc_dtype_facts *gradc_facts(enum gradc_dtype dtype) {
    return &gradc_dtypes[dtype];
}

/* Bytes of one element. */
GRADC_APART_IN_HEADER
static unsigned gradc_size(enum gradc_dtype dtype) {
    return gradc_dtypes[dtype].size;
}

/* How many bytes two texts have in common from their beginning; and whether they are equal. */
size_t gradc_common(const char *one, const char *other);
bool gradc_equal(const char *one, const char *other);

/* Neither infinite nor not a number: by arithmetic alone, without tables of bits. */
static inline bool gradc_is_finite(double value) {
    return value - value == 0;
}

/* a * b, or false where the result does not fit int64_t or an operand is negative. */
bool gradc_multiply(int64_t a, int64_t b, int64_t *product);

/* Elements of a shape, or false where the product does not fit. */
bool gradc_elements(int rank, const int64_t *shape, int64_t *elements);

#define GRADC_BATCH (-1) /* the extent of the batch axis in a declared shape */
#define GRADC_EXTENTS 704 /* bytes of GRADC_MAX_RANK numbers with what is between them */

/* "batch, 3" with ", " between the extents. Returns `buffer`, of GRADC_EXTENTS bytes. */
char *gradc_extents(char *buffer, const char *between, int rank, const int64_t *shape);

#endif
