/* Any bytes as a safetensors file: the reader refuses them, or what it gives is consistent and
 * survives being written and read again. */
#include "fuzz_driver.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

const char *const fuzz_words[] = {
    "\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"__metadata__\":", "\"gradc\":", "\"F32\"",
    "\"BF16\"", "\"I64\"", "\"U8\"", "\"BOOL\"", "[", "]", "{", "}", ",", ":", "\"\"", "\\ud83d",
    "\\ude00", "\\u0000", "9223372036854775807", "18446744073709551616", "[0,0]", "[]", "null",
    "true", "-0", "1e99", NULL,
};

static int compare_names(const struct gradc_tensor *a, const struct gradc_tensor *b) {
    size_t shorter = a->name_length < b->name_length ? a->name_length : b->name_length;
    int order = memcmp(a->name, b->name, shorter);
    return order ? order : (a->name_length > b->name_length) - (a->name_length < b->name_length);
}

static void compare(const struct gradc_tensors *first, const struct gradc_tensors *second) {
    fuzz_check(first->count == second->count);
    for (size_t i = 0; i < first->count; i++) {
        const struct gradc_tensor *a = &first->items[i], *b = &second->items[i];
        fuzz_check(a->name_length == b->name_length);
        fuzz_check(memcmp(a->name, b->name, a->name_length) == 0);
        fuzz_check(a->dtype == b->dtype && a->rank == b->rank && a->bytes == b->bytes);
        fuzz_check(memcmp(a->shape, b->shape, sizeof a->shape) == 0);
        fuzz_check(memcmp(a->data, b->data, a->bytes) == 0);
    }
    fuzz_check(!first->metadata == !second->metadata);
    fuzz_check(first->metadata_length == second->metadata_length);
    if (first->metadata)
        fuzz_check(memcmp(first->metadata, second->metadata, first->metadata_length) == 0);
}

static void write_and_read(const struct gradc_tensors *tensors) {
    struct gradc_error error = {0};
    struct gradc_text file = {0};
    struct gradc_tensors again;
    size_t bytes = tensors->count * sizeof *tensors->items;
    struct gradc_tensor *items = malloc(bytes + 1);
    if (bytes)
        memcpy(items, tensors->items, bytes);
    gradc_safetensors_header(&file, items, tensors->count, tensors->metadata,
                             tensors->metadata_length);
    for (size_t i = 0; i < tensors->count; i++)
        gradc_text_append(&file, (const char *)items[i].data, items[i].bytes);
    fuzz_check(!file.failed);
    fuzz_check(gradc_safetensors_parse((uint8_t *)file.data, file.length, &again, &error) == 0);
    compare(tensors, &again);
    gradc_tensors_free(&again);
    gradc_text_free(&file);
    free(items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct gradc_error error = {0};
    struct gradc_tensors tensors;
    int status = gradc_safetensors_parse(data, size, &tensors, &error);
    fuzz_check(status == error.status);
    fuzz_check(status ? status == GRADC_BAD_FILE && error.text[0] : !error.text[0]);
    if (status) {
        fuzz_check(!tensors.items && !tensors.count && !tensors.metadata);
        return 0;
    }
    size_t covered = 0;
    for (size_t i = 0; i < tensors.count; i++) {
        const struct gradc_tensor *tensor = &tensors.items[i];
        fuzz_check(tensor->data >= data && tensor->data + tensor->bytes <= data + size);
        fuzz_check(strlen(tensor->name) <= tensor->name_length);
        fuzz_check(i == 0 || compare_names(tensor - 1, tensor) < 0);
        covered += tensor->bytes;
    }
    uint64_t header = 0;
    memcpy(&header, data, 8);
    fuzz_check(covered + header + 8 == size);
    write_and_read(&tensors);
    gradc_tensors_free(&tensors);
    return 0;
}
