/* SHA-256 (FIPS 180-4). */
#ifndef GRADC_SHA256_H
#define GRADC_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct gradc_sha256 {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
};

void gradc_sha256_begin(struct gradc_sha256 *hash);
void gradc_sha256_add(struct gradc_sha256 *hash, const void *data, size_t length);
/* 64 hexadecimal digits and a zero. */
void gradc_sha256_end(struct gradc_sha256 *hash, char digest[65]);

#endif
