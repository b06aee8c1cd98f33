/* A growing string of bytes. After a failed allocation `failed` is set and appends do nothing. */
#ifndef GRADC_TEXT_H
#define GRADC_TEXT_H

#include "common.h"

struct gradc_text {
    char *data; /* null-terminated once anything was appended; may hold zeros inside */
    size_t length, capacity;
    bool failed;
};

void gradc_text_append(struct gradc_text *text, const char *data, size_t length);
void gradc_text_add(struct gradc_text *text, const char *string);
void gradc_text_print(struct gradc_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Spaces until the bytes from `begin` on are a multiple of so many. */
void gradc_text_pad(struct gradc_text *text, size_t begin, size_t multiple);
/* What JSON has a letter for, after a backslash, and these letters. */
extern const char gradc_escaped[], gradc_letters[];
/* The string as JSON with its quotes: `"` `\` and control characters escaped, UTF-8 kept, exactly
 * as the safetensors library (serde_json) writes it. */
void gradc_text_json(struct gradc_text *text, const char *data, size_t length);
void gradc_text_clear(struct gradc_text *text); /* keeps the memory */
void gradc_text_free(struct gradc_text *text);

#endif
