/* The .npy format, versions 1.0 to 3.0 (NumPy enhancement proposal 1 and numpy.lib.format). */
#ifndef GRADC_NPY_H
#define GRADC_NPY_H

#include "text.h"

struct gradc_npy {
    enum gradc_dtype dtype;
    bool swapped;   /* the elements are big-endian */
    bool is_uint;   /* unsigned of the size of `dtype`, which then names the signed type; uint8 not */
    int rank;
    int64_t elements;
    size_t offset; /* of the first element */
    int64_t shape[GRADC_MAX_RANK];
};

/* Read the header of a file's contents and check that the data is there. Refused: Fortran order
 * (unless an axis makes it the same), objects, structures, strings, complex numbers, dimensions
 * whose product overflows, a file that is shorter or longer than its header says. Messages do not
 * name the file. */
int gradc_npy_parse(const unsigned char *data, size_t size, struct gradc_npy *npy,
                    struct gradc_error *error);

/* Append the header that numpy.save writes (version 1.0, little-endian, row-major); false if the
 * dtype has no name in the format. */
bool gradc_npy_header(struct gradc_text *text, enum gradc_dtype dtype, int rank,
                      const int64_t *shape);

#endif
