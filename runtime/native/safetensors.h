/* The safetensors format: a header in JSON, then the tensors' bytes.
 * Source: github.com/huggingface/safetensors, README, section "Format". */
#ifndef GRADC_SAFETENSORS_H
#define GRADC_SAFETENSORS_H

#include "text.h"

#define GRADC_HEADER_BYTES_MAXIMUM 100000000 /* the library's limit */
#define GRADC_NAME_TEXT 129                  /* bytes of a name in a message, with a zero */

struct gradc_tensor {
    char *name;
    size_t name_length;
    enum gradc_dtype dtype;
    int rank;
    const unsigned char *data; /* in the file's contents; not aligned */
    size_t bytes;
    int64_t shape[GRADC_MAX_RANK];
};

struct gradc_tensors {
    struct gradc_tensor *items; /* sorted by name, as bytes */
    size_t count;
    char *metadata; /* the value of `gradc` in __metadata__, null if there is none */
    size_t metadata_length;
};

/* Read and check a file's contents: header length and JSON, dtypes, shapes against bytes, offsets
 * that leave no hole and do not overlap, no name twice. Messages do not name the file. On failure
 * nothing is left to free. */
int gradc_safetensors_parse(const unsigned char *data, size_t size, struct gradc_tensors *tensors,
                            struct gradc_error *error);
void gradc_tensors_free(struct gradc_tensors *tensors);
/* Make text from a file fit for a message: cut to the size of `out`, but not inside a character of
 * UTF-8, and with question marks for what a terminal would obey. */
void gradc_readable(char *out, size_t size, const char *data, size_t length);
/* Whether a tensor's name begins so. */
bool gradc_begins(const struct gradc_tensor *tensor, const char *prefix);
/* The order of names as bytes, for qsort over tensors. */
int gradc_tensor_order(const void *a, const void *b);

/* Sort tensors (name, dtype, rank, shape) into the order in which the safetensors library lays them
 * out, and append the 8 bytes of length and the header, byte for byte what that library writes:
 * with {"gradc": metadata} unless metadata is null. The tensors' bytes follow in that order. */
void gradc_safetensors_header(struct gradc_text *text, struct gradc_tensor *tensors, size_t count,
                              const char *metadata, size_t metadata_length);

#endif
