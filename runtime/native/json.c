/* A strict JSON reader (RFC 8259); see json.h.
 *
 * Stricter than the RFC where the safetensors library (serde_json) is: text must be valid UTF-8,
 * surrogates come in pairs, numbers and nesting are limited. The same key may come twice in an
 * object: readers for whom that matters look at it themselves.
 */
#include "json.h"

#include <string.h>

#define MAX_DEPTH 127
#define MAX_DIGITS 200
#define MAX_EXPONENT_DIGITS 2

static bool fail(struct gradc_json *json, const char *problem) {
    if (!json->problem)
        json->problem = problem;
    return false;
}

void gradc_json_open(struct gradc_json *json, const char *data, size_t length) {
    *json = (struct gradc_json){.begin = data, .at = data, .end = data + length};
}

/* The next byte, or 0 at the end (a zero byte is nowhere allowed). */
static char next(const struct gradc_json *json) {
    return json->at < json->end ? *json->at : 0;
}

/* Step over the byte c if it comes next. */
static bool accept(struct gradc_json *json, char c) {
    if (json->problem || next(json) != c || json->at == json->end)
        return false;
    json->at++;
    return true;
}

static void space(struct gradc_json *json) {
    while (accept(json, ' ') || accept(json, '\n') || accept(json, '\t') || accept(json, '\r'))
        ;
}

char gradc_json_peek(struct gradc_json *json) {
    space(json);
    if (json->problem)
        return 0;
    char c = next(json);
    if (c == '-' || (c >= '0' && c <= '9'))
        return '0';
    if (c == 'f')
        return 't';
    if (c && strchr("{[\"tn", c))
        return c;
    fail(json, "expected a value");
    return 0;
}

/* Step over a bracket. */
static bool enter(struct gradc_json *json, char open, const char *problem) {
    space(json);
    if (!accept(json, open))
        return fail(json, problem);
    if (++json->depth > MAX_DEPTH)
        return fail(json, "nested too deeply");
    json->first = true;
    return true;
}

/* Step over the comma before an item, or over the closing bracket: then false. */
static bool more(struct gradc_json *json, char close) {
    space(json);
    if (accept(json, close)) {
        json->depth--;
        json->first = false;
        return false;
    }
    if (!json->first && !accept(json, ','))
        return fail(json, "expected a comma or a closing bracket");
    json->first = false;
    return !json->problem;
}

bool gradc_json_object(struct gradc_json *json) {
    return enter(json, '{', "expected an object");
}

bool gradc_json_array(struct gradc_json *json) {
    return enter(json, '[', "expected an array");
}

bool gradc_json_item(struct gradc_json *json) {
    return more(json, ']');
}

bool gradc_json_key(struct gradc_json *json, struct gradc_text *key) {
    if (!more(json, '}') || !gradc_json_string(json, key))
        return false;
    space(json);
    return accept(json, ':') || fail(json, "expected a colon");
}

/* Encode a character in UTF-8 and return how many bytes it takes; 0 for what is no character: a
 * surrogate or a number out of range (RFC 3629, section 3). */
static size_t encode(uint32_t code, char bytes[4]) {
    if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
        return 0;
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    /* The first of n > 1 bytes begins with n ones. */
    bytes[0] = (char)(length == 1 ? code : (0xf00u >> length & 0xff) | code);
    return length;
}

/* The four hexadecimal digits after \u; 0xffffffff if there are none. */
static uint32_t hexadecimal(struct gradc_json *json) {
    const char *digits = "0123456789abcdef";
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = next(json);
        const char *digit = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
        if (!digit)
            return UINT32_MAX;
        value = value << 4 | (uint32_t)(digit - digits);
        json->at++;
    }
    return value;
}

/* The character that an escape sequence means, after its backslash. */
static size_t escaped(struct gradc_json *json, char bytes[4]) {
    char c = next(json);
    const char *letter = c ? strchr(gradc_letters, c) : NULL;
    if (letter) {
        json->at++;
        bytes[0] = gradc_escaped[letter - gradc_letters];
        return 1;
    }
    uint32_t code = accept(json, 'u') ? hexadecimal(json) : UINT32_MAX;
    if (code >> 10 == 0xd800 >> 10 && accept(json, '\\') && accept(json, 'u')) {
        uint32_t low = hexadecimal(json); /* the second half of a pair (RFC 8259, section 7) */
        code = low >> 10 == 0xdc00 >> 10 ? ((code - 0xd800) << 10) + low + 0x2400 : UINT32_MAX;
    }
    return encode(code, bytes);
}

bool gradc_json_string(struct gradc_json *json, struct gradc_text *value) {
    gradc_text_clear(value);
    space(json);
    if (!accept(json, '"'))
        return fail(json, "expected a string");
    while (!accept(json, '"')) {
        char bytes[4];
        if ((unsigned char)next(json) < ' ')
            return fail(json, "a control character or the end of the text in a string");
        const char *from = json->at;
        size_t length;
        if (accept(json, '\\')) {
            length = escaped(json, bytes);
            from = bytes;
        } else {
            uint32_t code;
            length = gradc_character(from, (size_t)(json->end - from), &code);
            json->at += length;
        }
        if (!length)
            return fail(json, "not a valid character");
        gradc_text_append(value, from, length);
    }
    gradc_text_append(value, "", 0); /* an empty string has memory too */
    return !value->failed || fail(json, "out of memory");
}

/* Step over digits and return how many there were. */
static int64_t digits(struct gradc_json *json) {
    const char *from = json->at;
    while (next(json) >= '0' && next(json) <= '9')
        json->at++;
    return json->at - from;
}

/* Step over a number. Its length is limited so that it surely is finite as binary64. */
static bool number(struct gradc_json *json) {
    space(json);
    accept(json, '-');
    bool zero = next(json) == '0'; /* nothing may follow a leading 0 */
    int64_t count = digits(json);
    bool valid = count > 0 && count <= (zero ? 1 : MAX_DIGITS);
    if (accept(json, '.'))
        valid &= digits(json) > 0;
    if (accept(json, 'e') || accept(json, 'E')) {
        if (!accept(json, '-'))
            accept(json, '+');
        count = digits(json);
        valid &= count > 0 && count <= MAX_EXPONENT_DIGITS;
    }
    return valid || fail(json, "expected a number, below 1e299");
}

bool gradc_json_integer(struct gradc_json *json, int64_t *value) {
    space(json);
    const char *from = json->at;
    if (!number(json))
        return false;
    bool negative = *from == '-', overflow = false;
    from += negative;
    if (negative && *from == '0') /* -0 is a floating-point number, as it is for serde_json */
        return fail(json, "expected an integer");
    for (*value = 0; from < json->at; from++) {
        int digit = *from - '0';
        if (digit < 0 || digit > 9)
            return fail(json, "expected an integer");
        overflow |= __builtin_mul_overflow(*value, 10, value);
        overflow |= __builtin_add_overflow(*value, negative ? -digit : digit, value);
    }
    return !overflow || fail(json, "an integer out of range");
}

bool gradc_json_word(struct gradc_json *json, const char *expected) {
    size_t length = strlen(expected);
    space(json);
    if (json->problem || (size_t)(json->end - json->at) < length ||
        memcmp(json->at, expected, length) != 0)
        return false;
    json->at += length;
    return true;
}

bool gradc_json_boolean(struct gradc_json *json, bool *value) {
    *value = gradc_json_word(json, "true");
    return *value || gradc_json_word(json, "false") || fail(json, "expected true or false");
}

bool gradc_json_null(struct gradc_json *json) {
    return gradc_json_word(json, "null") || fail(json, "expected null");
}

GRADC_UNGUARDED
bool gradc_json_skip(struct gradc_json *json) {
    struct gradc_text text = {0};
    bool ignored;
    switch (gradc_json_peek(json)) {
    case '{':
        for (gradc_json_object(json); gradc_json_key(json, &text);)
            gradc_json_skip(json);
        break;
    case '[':
        for (gradc_json_array(json); gradc_json_item(json);)
            gradc_json_skip(json);
        break;
    case '"':
        gradc_json_string(json, &text);
        break;
    case '0':
        number(json);
        break;
    case 't':
        gradc_json_boolean(json, &ignored);
        break;
    case 'n':
        gradc_json_null(json);
        break;
    }
    gradc_text_free(&text);
    return !json->problem;
}

bool gradc_json_close(struct gradc_json *json) {
    space(json);
    if (json->at != json->end)
        fail(json, "expected the end of the text");
    return !json->problem;
}
