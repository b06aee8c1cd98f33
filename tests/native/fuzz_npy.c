/* Any bytes as a .npy file: the reader refuses them, or what it says of them is consistent. */
#include "fuzz_driver.h"
#include "npy.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\x93NUMPY\x01", "\x93NUMPY\x03", "'descr': ", "'fortran_order': ", "'shape': ", "True",
    "False", "'<f4'", "'>i8'", "'|b1'", "'=u2'", "(3,)", "(2, 3)", "()", "9223372036854775807",
    "-1", "{", "}", ", ", "\"", NULL,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct gradc_error error = {0};
    struct gradc_npy npy, again;
    struct gradc_text header = {0};
    int status = gradc_npy_parse(data, size, &npy, &error);
    fuzz_check(status == error.status);
    fuzz_check(status ? status == GRADC_BAD_FILE && error.text[0] : !error.text[0]);
    if (status)
        return 0;
    int64_t elements;
    size_t bytes = gradc_dtypes[npy.dtype].size;
    fuzz_check(npy.rank >= 0 && npy.rank <= GRADC_MAX_RANK);
    fuzz_check(gradc_elements(npy.rank, npy.shape, &elements) && elements == npy.elements);
    fuzz_check(npy.offset + (size_t)elements * bytes == size);

    /* The header that gradc writes for the same array says the same. */
    fuzz_check(gradc_npy_header(&header, npy.dtype, npy.rank, npy.shape) && !header.failed);
    fuzz_check(header.length > 0 && header.length % 64 == 0);
    if (elements == 0) {
        fuzz_check(gradc_npy_parse((uint8_t *)header.data, header.length, &again, &error) ==
                   GRADC_OK);
        fuzz_check(again.dtype == npy.dtype && again.rank == npy.rank);
        fuzz_check(again.offset == header.length);
        fuzz_check(memcmp(again.shape, npy.shape, sizeof npy.shape) == 0);
    }
    gradc_text_free(&header);
    return 0;
}
