/* A growing string of bytes; see text.h. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `length` more bytes and a zero after them. */
static bool reserve(struct gradc_text *text, size_t length) {
    if (text->failed || length > PTRDIFF_MAX / 4 - text->length) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length + length + 1;
    if (needed <= text->capacity)
        return true;
    size_t capacity = needed < 32 ? 32 : needed + needed / 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void gradc_text_append(struct gradc_text *text, const char *data, size_t length) {
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = 0;
}

void gradc_text_add(struct gradc_text *text, const char *string) {
    gradc_text_append(text, string, strlen(string));
}

void gradc_text_pad(struct gradc_text *text, size_t begin, size_t multiple) {
    while (!text->failed && (text->length - begin) % multiple)
        gradc_text_add(text, " ");
}

GRADC_UNGUARDED
void gradc_text_print(struct gradc_text *text, const char *format, ...) {
    size_t room = 64;
    while (reserve(text, room)) {
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(text->data + text->length, room + 1, format, arguments);
        va_end(arguments);
        if (length < 0)
            text->failed = true;
        else if ((size_t)length > room)
            room = (size_t)length;
        else {
            text->length += (size_t)length;
            return;
        }
    }
}

const char gradc_escaped[] = "\"\\/\b\f\n\r\t", gradc_letters[] = "\"\\/bfnrt";

void gradc_text_json(struct gradc_text *text, const char *data, size_t length) {
    gradc_text_add(text, "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\') { /* written as it is, also beyond ASCII */
            gradc_text_append(text, data + i, 1);
            continue;
        }
        const char *found = c ? strchr(gradc_escaped, c) : NULL;
        if (found)
            gradc_text_print(text, "\\%c", gradc_letters[found - gradc_escaped]);
        else
            gradc_text_print(text, "\\u%04x", c);
    }
    gradc_text_add(text, "\"");
}

void gradc_text_clear(struct gradc_text *text) {
    text->length = 0;
    if (text->data)
        text->data[0] = 0;
}

void gradc_text_free(struct gradc_text *text) {
    free(text->data);
    *text = (struct gradc_text){0};
}
