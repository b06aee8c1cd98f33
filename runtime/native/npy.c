/* The .npy format; see npy.h. Source: numpy.lib.format, "Format Version 1.0" to "3.0".
 *
 * The header is a Python dictionary written as text. It is read by the few rules that numpy.save
 * follows, in any order of keys and with any spaces; nothing is evaluated.
 */
#include "npy.h"

#include "json.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC_BYTES 8        /* "\x93NUMPY", then the version */
#define HEADER_ALIGNMENT 64  /* numpy.lib.format.ARRAY_ALIGN */
#define GROWTH_CHARACTERS 21 /* numpy.lib.format.GROWTH_AXIS_MAX_DIGITS */

struct npy_reader {
    struct gradc_json json; /* what JSON and Python write alike is read as JSON */
    struct gradc_npy *npy;
    char type[32]; /* "<f4" */
    bool fortran;
};

/* The functions that read a part of the header return what is wrong, or null. */
static const char syntax[] = "its header is not one that NumPy writes";

/* There are no escapes: no type needs one. */
static const char *read_type(struct npy_reader *reader) {
    struct gradc_json *json = &reader->json;
    size_t length = 0;
    if (gradc_json_word(json, "["))
        return "its elements are structures";
    if (!gradc_json_word(json, "'"))
        return syntax;
    for (; json->at < json->end && *json->at != '\''; json->at++) {
        if (length + 1 == sizeof reader->type || *json->at < ' ' || *json->at > '~' ||
            *json->at == '\\')
            return syntax;
        reader->type[length++] = *json->at;
    }
    return gradc_json_word(json, "'") ? NULL : syntax;
}

static const char *read_order(struct npy_reader *reader) {
    reader->fortran = gradc_json_word(&reader->json, "True");
    return reader->fortran || gradc_json_word(&reader->json, "False") ? NULL : syntax;
}

/* A tuple: "()", "(3,)", "(3, 4)"; "(3)" is none. */
static const char *read_npy_shape(struct npy_reader *reader) {
    struct gradc_json *json = &reader->json;
    struct gradc_npy *npy = reader->npy;
    bool comma = true;
    if (!gradc_json_word(json, "("))
        return syntax;
    for (; !gradc_json_word(json, ")"); comma = gradc_json_word(json, ",")) {
        if (!comma)
            return syntax;
        if (npy->rank == GRADC_MAX_RANK)
            return "it has more than 32 axes";
        if (!gradc_json_integer(json, &npy->shape[npy->rank]))
            return "its shape holds what is no integer, or one out of range";
        if (npy->shape[npy->rank++] < 0)
            return "its shape has a negative extent";
    }
    return npy->rank == 1 && !comma ? syntax : NULL;
}

GRADC_APART
static const char *read_npy_header(struct npy_reader *reader) {
    static const char keys[][16] = {"'descr'", "'fortran_order'", "'shape'"};
    struct gradc_json *json = &reader->json;
    int seen = 0;
    bool comma = true;
    if (!gradc_json_word(json, "{"))
        return syntax;
    for (; !gradc_json_word(json, "}"); comma = gradc_json_word(json, ",")) {
        int i = 0;
        while (i < 3 && !gradc_json_word(json, keys[i]))
            i++;
        if (!comma || i == 3 || seen >> i & 1 || !gradc_json_word(json, ":"))
            return syntax;
        seen |= 1 << i;
        const char *problem = i == 0   ? read_type(reader)
                              : i == 1 ? read_order(reader)
                                       : read_npy_shape(reader);
        if (problem)
            return problem;
    }
    return seen == 7 && gradc_json_close(json) ? NULL : syntax;
}

/* "<f4": byte order, then the name of the type. False for types that gradc does not have. */
static bool find_type(struct gradc_npy *npy, const char *type) {
    if (strlen(type) != 3 || !strchr("<>|=", type[0]))
        return false;
    npy->is_uint = type[1] == 'u' && type[2] != '1';
    for (int i = 0; i < GRADC_DTYPES; i++) {
        const char *name = gradc_dtypes[i].npy_name;
        if (name[0] != (npy->is_uint ? 'i' : type[1]) || name[1] != type[2])
            continue;
        npy->dtype = (enum gradc_dtype)i;
        npy->swapped = type[0] == '>' && gradc_size(i) > 1;
        return true;
    }
    return false;
}

/* Whether the two orders of elements differ: not if at most one axis is longer than 1. */
static bool order_matters(const struct gradc_npy *npy) {
    int longer = 0;
    for (int axis = 0; axis < npy->rank; axis++)
        longer += npy->shape[axis] > 1;
    return longer > 1 && npy->elements > 0;
}

/* Whether the type and the shape fit each other and the bytes that are there. */
static int check_data(struct npy_reader *reader, size_t available, struct gradc_error *error) {
    struct gradc_npy *npy = reader->npy;
    char shape[GRADC_EXTENTS];
    int64_t needed;
    if (!find_type(npy, reader->type))
        return gradc_fail(error, "its elements have the type '%s', which is not a "
                          "floating-point, integer or bool type", reader->type);
    const struct gradc_dtype_facts *facts = gradc_facts(npy->dtype);
    gradc_extents(shape, ", ", npy->rank, npy->shape);
    if (!gradc_elements(npy->rank, npy->shape, &npy->elements) ||
        !gradc_multiply(npy->elements, facts->size, &needed))
        return gradc_fail(error, "its shape [%s] is too large", shape);
    if ((uint64_t)needed != available)
        return gradc_fail(error,
                          "it %s its data: %zu bytes, shape [%s] of %s%s needs %" PRId64,
                          available < (uint64_t)needed ? "ends inside" : "goes on after",
                          available, shape, npy->is_uint ? "u" : "", facts->name, needed);
    if (reader->fortran && order_matters(npy))
        return gradc_fail(error,
                          "its data is in Fortran order; save it with numpy.ascontiguousarray");
    return GRADC_OK;
}

GRADC_APART
int gradc_npy_parse(const unsigned char *data, size_t size, struct gradc_npy *npy,
                    struct gradc_error *error) {
    *npy = (struct gradc_npy){0};
    if (size < MAGIC_BYTES + 4 || memcmp(data, "\x93NUMPY", 6) != 0)
        return gradc_fail(error, "not a .npy file");
    if (data[6] < 1 || data[6] > 3 || data[7] != 0)
        return gradc_fail(error, "its format version is %d.%d, not 1.0, 2.0 or 3.0",
                          data[6], data[7]);
    size_t begin = MAGIC_BYTES + (data[6] == 1 ? 2 : 4), length = 0;
    for (size_t i = begin; i-- > MAGIC_BYTES;)
        length = length << 8 | data[i];
    if (length > size - begin)
        return gradc_fail(error, "it ends inside its header");
    npy->offset = begin + length;
    struct npy_reader reader = {.npy = npy};
    gradc_json_open(&reader.json, (const char *)data + begin, length);
    const char *problem = read_npy_header(&reader);
    if (problem)
        return gradc_fail(error, "%s", problem);
    return check_data(&reader, size - npy->offset, error);
}

bool gradc_npy_header(struct gradc_text *text, enum gradc_dtype dtype, int rank,
                      const int64_t *shape) {
    const struct gradc_dtype_facts *facts = gradc_facts(dtype);
    const size_t first = text->length, begin = first + MAGIC_BYTES + 2;
    if (!facts->npy_name[0])
        return false;
    gradc_text_append(text, "\x93NUMPY\1\0\0\0", MAGIC_BYTES + 2);
    char extents[GRADC_EXTENTS];
    gradc_text_print(text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s%s), }",
                     facts->size > 1 ? '<' : '|', facts->npy_name,
                     gradc_extents(extents, ", ", rank, shape), rank == 1 ? "," : "");
    /* Spaces so that the first extent can grow in place, then up to the alignment and a newline. */
    if (rank > 0)
        gradc_text_print(text, "%*s",
                         GROWTH_CHARACTERS - (int)strlen(gradc_extents(extents, "", 1, shape)), "");
    gradc_text_pad(text, first - 1, HEADER_ALIGNMENT);
    gradc_text_add(text, "\n");
    if (!text->failed) {
        text->data[begin - 2] = (char)((text->length - begin) & 0xff);
        text->data[begin - 1] = (char)((text->length - begin) >> 8);
    }
    return true;
}
