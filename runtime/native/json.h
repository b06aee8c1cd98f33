/* A strict JSON reader (RFC 8259) that walks a text once, without building a tree.
 *
 * Every function returns false at the first problem, which then stays in `problem`; all later calls
 * return false too. Nesting is limited, so that no input can exhaust the stack.
 */
#ifndef GRADC_JSON_H
#define GRADC_JSON_H

#include "text.h"

struct gradc_json {
    const char *begin, *at, *end;
    const char *problem; /* null while all is well */
    int depth;
    bool first; /* the next item or key is the first of its array or object */
};

void gradc_json_open(struct gradc_json *json, const char *data, size_t length);

/* The kind of the value that comes: '{' '[' '"' '0' (a number) 't' (true or false) 'n' (null), or 0
 * at a problem. */
char gradc_json_peek(struct gradc_json *json);

/* Enter an object; then gradc_json_key until it returns false: at the end, or at a problem. */
bool gradc_json_object(struct gradc_json *json);
bool gradc_json_key(struct gradc_json *json, struct gradc_text *key);
/* Enter an array; then gradc_json_item until it returns false. */
bool gradc_json_array(struct gradc_json *json);
bool gradc_json_item(struct gradc_json *json);

/* Decoded to UTF-8; what the text held before is replaced, for keys too. */
bool gradc_json_string(struct gradc_json *json, struct gradc_text *value);
bool gradc_json_integer(struct gradc_json *json, int64_t *value); /* no fraction, no exponent */
bool gradc_json_boolean(struct gradc_json *json, bool *value);
bool gradc_json_null(struct gradc_json *json);
/* Step over white space, and over these bytes if they come next; if not, that is no problem. */
bool gradc_json_word(struct gradc_json *json, const char *expected);
bool gradc_json_skip(struct gradc_json *json); /* any value */

/* Whether nothing but white space is left; a problem if not. */
bool gradc_json_close(struct gradc_json *json);

#endif
