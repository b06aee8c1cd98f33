/* The safetensors format; see safetensors.h.
 *
 * Of what the library accepts this reader refuses: a name that comes twice, more than 32 axes,
 * extents of 2^63 and more, dtypes that gradc does not have, and descriptions in forms that the
 * format does not mention (an array for an object). What the library refuses is refused.
 */
#include "safetensors.h"

#include "json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8 /* before the header */
#define DTYPE_TEXT 17  /* bytes of a dtype in a message, with a zero */

struct reader {
    struct gradc_json json;
    struct gradc_tensors *tensors;
    size_t capacity;
    const unsigned char *data; /* of all tensors */
    size_t data_bytes;
    struct gradc_error *error;
};

/* What the header says of one tensor, beside its name and shape. */
struct description {
    struct gradc_text dtype;
    int64_t begin, end;
};

static bool is(const struct gradc_text *text, const char *string) {
    return text->length == strlen(string) && memcmp(text->data, string, text->length) == 0;
}

/* As bytes, and the shorter first where one begins with the other. */
int gradc_tensor_order(const void *a, const void *b) {
    const struct gradc_tensor *x = a, *y = b;
    size_t m = x->name_length, n = y->name_length;
    int order = memcmp(x->name, y->name, m < n ? m : n);
    return order ? order : (m > n) - (m < n);
}

bool gradc_begins(const struct gradc_tensor *tensor, const char *prefix) {
    size_t length = strlen(prefix);
    return tensor->name_length >= length && memcmp(tensor->name, prefix, length) == 0;
}

/* Empty tensors first among those that begin at one place. */
static int by_place(const void *a, const void *b) {
    const struct gradc_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_rank_in_file(const void *a, const void *b) {
    const struct gradc_tensor *x = a, *y = b;
    int difference = gradc_dtypes[y->dtype].rank - gradc_dtypes[x->dtype].rank;
    return difference ? difference : gradc_tensor_order(a, b);
}

static void sort(struct gradc_tensor *items, size_t count,
                 int (*compare)(const void *, const void *)) {
    if (count)
        qsort(items, count, sizeof *items, compare);
}

/* A problem that is no error of syntax. */
static bool wrong(struct gradc_json *json, const char *problem) {
    if (!json->problem)
        json->problem = problem;
    return false;
}

static bool read_size(struct gradc_json *json, int64_t *value) {
    return gradc_json_integer(json, value) && (*value >= 0 || wrong(json, "a negative number"));
}

static void read_shape(struct gradc_json *json, struct gradc_tensor *tensor) {
    for (gradc_json_array(json); gradc_json_item(json);)
        if (tensor->rank == GRADC_MAX_RANK)
            wrong(json, "more than 32 axes");
        else
            read_size(json, &tensor->shape[tensor->rank++]);
}

static void read_offsets(struct gradc_json *json, struct description *described) {
    if (!gradc_json_array(json) || !gradc_json_item(json) || !read_size(json, &described->begin) ||
        !gradc_json_item(json) || !read_size(json, &described->end) || gradc_json_item(json))
        wrong(json, "expected two offsets");
}

/* The object of one tensor; what is wrong with it stays in the reader of JSON. */
static void read_description(struct gradc_json *json, struct gradc_tensor *tensor,
                             struct description *described) {
    struct gradc_text key = {0};
    int seen = 0;
    for (gradc_json_object(json); gradc_json_key(json, &key);) {
        int bit = is(&key, "dtype") ? 1 : is(&key, "shape") ? 2 : is(&key, "data_offsets") ? 4 : 0;
        if (seen & bit)
            wrong(json, "a key that was there before");
        seen |= bit;
        if (bit == 1)
            gradc_json_string(json, &described->dtype);
        else if (bit == 2)
            read_shape(json, tensor);
        else if (bit == 4)
            read_offsets(json, described);
        else
            gradc_json_skip(json);
    }
    gradc_text_free(&key);
    if (seen != 7)
        wrong(json, "a tensor without dtype, shape or data_offsets");
}

void gradc_readable(char *out, size_t size, const char *data, size_t length) {
    if (length > size - 1)
        for (length = size - 1; length && (data[length] & 0xc0) == 0x80;)
            length--;
    for (size_t i = 0; i < length; i++)
        out[i] = data[i] ? data[i] : '?';
    out[length] = 0;
    gradc_clean(out, false);
}

/* A message that tells all that the header says of a tensor. */
static int fail_tensor(struct reader *reader, const struct gradc_tensor *tensor,
                       const char *dtype, int64_t begin, int64_t end, const char *problem) {
    char *name = reader->error->shown[0], *type = reader->error->shown[1], shape[GRADC_EXTENTS];
    gradc_readable(name, GRADC_NAME_TEXT, tensor->name, tensor->name_length);
    gradc_readable(type, DTYPE_TEXT, dtype, strlen(dtype));
    gradc_extents(shape, ", ", tensor->rank, tensor->shape);
    return gradc_fail(reader->error,
                      "tensor '%s', %s [%s] at %" PRId64 " to %" PRId64 ": %s", name, type, shape,
                      begin, end, problem);
}

/* What is wrong with a description, or null; then the tensor is complete. */
static const char *check_tensor(const struct reader *reader, struct gradc_tensor *tensor,
                                const struct description *described) {
    int64_t bytes;
    int i = 0;
    while (!is(&described->dtype, gradc_dtypes[i].file_name))
        if (++i == GRADC_DTYPES)
            return "this dtype is not supported";
    if (!gradc_elements(tensor->rank, tensor->shape, &bytes) ||
        !gradc_multiply(bytes, gradc_size(i), &bytes))
        return "its shape is too large";
    if (described->end - described->begin != bytes)
        return "its shape does not fit its place";
    if ((uint64_t)described->end > reader->data_bytes)
        return "it ends after the end of the file";
    tensor->dtype = (enum gradc_dtype)i;
    tensor->data = reader->data + described->begin;
    tensor->bytes = (size_t)bytes;
    return NULL;
}

/* Read the description of the tensor that is called `name`, and keep that text's memory. */
static int read_tensor(struct reader *reader, struct gradc_text *name) {
    struct gradc_tensors *tensors = reader->tensors;
    if (tensors->count == reader->capacity) { /* the limit of the header's size limits it */
        size_t capacity = reader->capacity ? 2 * reader->capacity : 16;
        struct gradc_tensor *items = realloc(tensors->items, capacity * sizeof *items);
        if (!items)
            return gradc_fail_memory(reader->error);
        tensors->items = items;
        reader->capacity = capacity;
    }
    struct gradc_tensor *tensor = &tensors->items[tensors->count++];
    *tensor = (struct gradc_tensor){.name = name->data, .name_length = name->length};
    *name = (struct gradc_text){0};

    struct description described = {0};
    const char *problem = NULL;
    int status = GRADC_OK;
    read_description(&reader->json, tensor, &described);
    if (!reader->json.problem)
        problem = check_tensor(reader, tensor, &described);
    if (problem)
        status = fail_tensor(reader, tensor, described.dtype.data, described.begin, described.end,
                             problem);
    gradc_text_free(&described.dtype);
    return status;
}

static void read_metadata(struct gradc_json *json, struct gradc_tensors *tensors) {
    struct gradc_text key = {0}, value = {0};
    if (gradc_json_peek(json) == 'n') {
        gradc_json_null(json);
        return;
    }
    for (gradc_json_object(json); gradc_json_key(json, &key) && gradc_json_string(json, &value);) {
        if (!is(&key, "gradc"))
            continue;
        free(tensors->metadata);
        tensors->metadata = value.data;
        tensors->metadata_length = value.length;
        value = (struct gradc_text){0};
    }
    gradc_text_free(&key);
    gradc_text_free(&value);
}

GRADC_APART GRADC_UNGUARDED
static int read_header(struct reader *reader) {
    struct gradc_json *json = &reader->json;
    struct gradc_text name = {0};
    bool seen = false;
    int status = GRADC_OK;
    for (gradc_json_object(json); !status && gradc_json_key(json, &name);) {
        if (!is(&name, "__metadata__"))
            status = read_tensor(reader, &name);
        else if (seen)
            wrong(json, "a second __metadata__");
        else {
            seen = true;
            read_metadata(json, reader->tensors);
        }
    }
    gradc_text_free(&name);
    if (status)
        return status;
    if (!gradc_json_close(json))
        return gradc_fail(reader->error, "its header is wrong at byte %td: %s",
                          json->at - json->begin, json->problem);
    return GRADC_OK;
}

static int fail_layout(struct reader *reader, const struct gradc_tensor *tensor,
                       const char *problem) {
    int64_t begin = tensor->data - reader->data, end = begin + (int64_t)tensor->bytes;
    return fail_tensor(reader, tensor, gradc_facts(tensor->dtype)->file_name, begin, end, problem);
}

/* Every byte of the data belongs to one tensor, and every name to one. */
static int check_layout(struct reader *reader) {
    size_t count = reader->tensors->count, used = 0;
    struct gradc_tensor *items = reader->tensors->items;
    sort(items, count, by_place);
    for (size_t i = 0; i < count; used += items[i++].bytes)
        if (items[i].data != reader->data + used)
            return fail_layout(reader, &items[i], "it overlaps another or leaves a hole");
    if (used != reader->data_bytes)
        return gradc_fail(reader->error,
                          "its tensors end at byte %zu, its data after %zu", used,
                          reader->data_bytes);
    sort(items, count, gradc_tensor_order);
    for (size_t i = 1; i < count; i++)
        if (gradc_tensor_order(&items[i - 1], &items[i]) == 0)
            return fail_layout(reader, &items[i], "its name is there twice");
    return GRADC_OK;
}

int gradc_safetensors_parse(const unsigned char *data, size_t size, struct gradc_tensors *tensors,
                            struct gradc_error *error) {
    uint64_t length = 0;
    *tensors = (struct gradc_tensors){0};
    for (size_t i = LENGTH_BYTES; size >= LENGTH_BYTES && i-- > 0;)
        length = length << 8 | data[i];
    if (size < LENGTH_BYTES || length > GRADC_HEADER_BYTES_MAXIMUM || length > size - LENGTH_BYTES)
        return gradc_fail(error,
                          "not a safetensors file, or cut: %zu bytes, with a header of %" PRIu64,
                          size, length);
    struct reader reader = {
        .tensors = tensors,
        .data = data + LENGTH_BYTES + length,
        .data_bytes = size - LENGTH_BYTES - (size_t)length,
        .error = error,
    };
    gradc_json_open(&reader.json, (const char *)data + LENGTH_BYTES, (size_t)length);
    int status = read_header(&reader);
    if (!status)
        status = check_layout(&reader);
    if (status)
        gradc_tensors_free(tensors);
    return status;
}

void gradc_tensors_free(struct gradc_tensors *tensors) {
    for (size_t i = 0; i < tensors->count; i++)
        free(tensors->items[i].name);
    free(tensors->items);
    free(tensors->metadata);
    *tensors = (struct gradc_tensors){0};
}

static void add_tensor(struct gradc_text *text, const struct gradc_tensor *tensor,
                       int64_t *offset) {
    const struct gradc_dtype_facts *facts = &gradc_dtypes[tensor->dtype];
    int64_t bytes, begin = *offset;
    if (!gradc_elements(tensor->rank, tensor->shape, &bytes) ||
        !gradc_multiply(bytes, facts->size, &bytes) ||
        __builtin_add_overflow(begin, bytes, offset)) {
        text->failed = true;
        return;
    }
    gradc_text_json(text, tensor->name, tensor->name_length);
    char extents[GRADC_EXTENTS];
    gradc_text_print(text,
                     ":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}",
                     facts->file_name, gradc_extents(extents, ",", tensor->rank, tensor->shape), begin,
                     *offset);
}

void gradc_safetensors_header(struct gradc_text *text, struct gradc_tensor *tensors, size_t count,
                              const char *metadata, size_t metadata_length) {
    size_t begin = text->length + LENGTH_BYTES;
    int64_t offset = 0;
    sort(tensors, count, by_rank_in_file);
    gradc_text_append(text, "\0\0\0\0\0\0\0\0{", LENGTH_BYTES + 1);
    if (metadata) {
        gradc_text_add(text, "\"__metadata__\":{\"gradc\":");
        gradc_text_json(text, metadata, metadata_length);
        gradc_text_add(text, "}");
    }
    for (size_t i = 0; i < count; i++) {
        if (i || metadata)
            gradc_text_add(text, ",");
        add_tensor(text, &tensors[i], &offset);
    }
    gradc_text_add(text, "}");
    gradc_text_pad(text, begin, 8);
    if (text->failed)
        return;
    uint64_t length = text->length - begin;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        text->data[begin - LENGTH_BYTES + i] = (char)(length >> 8 * i);
}
