/* Modules: the kernels of a cubin with the sizes of their parameters, read from its own tables
 * (ELF64, sections .nv.info.<kernel>, attribute EIATTR_KPARAM_INFO); or a text that tests make up:
 *
 *     stand-in module
 *     architecture 90
 *     kernel NAME STATIC_SHARED_BYTES SIZE SIZE ...
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stand_in.h"

#define MACHINE_CUDA 190
#define FORMAT_SIZED 4
#define PARAMETER_INFO 0x17
#define DYNAMIC_SHARED_FREE 49152

static struct function *add(struct module *module, const char *name, size_t length) {
    size_t size = (size_t)(module->count + 1) * sizeof *module->functions;
    struct function *grown = realloc(module->functions, size);
    if (!grown || length >= NAME_BYTES) {
        return NULL;
    }
    module->functions = grown;
    struct function *function = &grown[module->count++];
    memset(function, 0, sizeof *function);
    memcpy(function->name, name, length);
    function->dynamic_shared = DYNAMIC_SHARED_FREE;
    return function;
}

static uint64_t number(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    memcpy(&value, at, (size_t)bytes);
    return value;
}

static void read_parameters(struct function *function, const unsigned char *at,
                            const unsigned char *end) {
    while (at + 4 <= end) {
        uint64_t size = number(at + 2, 2);
        if (at[0] != FORMAT_SIZED) {
            at += 4;
            continue;
        }
        if (at[1] == PARAMETER_INFO) {
            uint64_t ordinal = number(at + 8, 2);
            if (ordinal < PARAMETERS_MAXIMUM) {
                function->sizes[ordinal] = number(at + 12, 4) >> 18 & 0x3fff;
                if (function->count <= (int)ordinal) {
                    function->count = (int)ordinal + 1;
                }
            }
        }
        at += 4 + size;
    }
}

static int parse_cubin(struct module *module, const unsigned char *image) {
    static const char prefix[] = ".nv.info.";
    if (image[4] != 2 || number(image + 18, 2) != MACHINE_CUDA) {
        return INVALID_IMAGE;
    }
    const unsigned char *sections = image + number(image + 40, 8);
    uint64_t size = number(image + 58, 2), count = number(image + 60, 2);
    const unsigned char *names_section = sections + number(image + 62, 2) * size;
    const char *names = (const char *)image + number(names_section + 24, 8);
    for (uint64_t n = 0; n < count; n++) {
        const unsigned char *section = sections + n * size;
        const char *name = names + number(section, 4);
        if (strncmp(name, prefix, sizeof prefix - 1)) {
            continue;
        }
        name += sizeof prefix - 1;
        struct function *function = add(module, name, strlen(name));
        if (!function) {
            return OUT_OF_MEMORY;
        }
        const unsigned char *begin = image + number(section + 24, 8);
        read_parameters(function, begin, begin + number(section + 32, 8));
    }
    return module->count ? SUCCESS : INVALID_IMAGE;
}

static int parse_text(struct module *module, const char *text) {
    while ((text = strchr(text, '\n'))) {
        long long architecture;
        char name[NAME_BYTES];
        int shared, used;
        text++;
        if (sscanf(text, "architecture %lld", &architecture) == 1) {
            if (architecture != settings.architecture) {
                return NO_BINARY_FOR_GPU;
            }
        } else if (sscanf(text, "kernel %255s %d%n", name, &shared, &used) == 2) {
            struct function *function = add(module, name, strlen(name));
            if (!function) {
                return OUT_OF_MEMORY;
            }
            function->static_shared = shared;
            const char *at = text + used;
            char *end;
            while (*at == ' ' && function->count < PARAMETERS_MAXIMUM) {
                function->sizes[function->count++] = (uint32_t)strtoul(at, &end, 10);
                at = end;
            }
        }
    }
    return module->count ? SUCCESS : INVALID_IMAGE;
}

int module_parse(struct module *module, const unsigned char *image) {
    static const char text[] = "stand-in module\n";
    int status = INVALID_IMAGE;
    *module = (struct module){0};
    if (!memcmp(image, "\177ELF", 4)) {
        status = parse_cubin(module, image);
    } else if (!strncmp((const char *)image, text, sizeof text - 1)) {
        status = parse_text(module, (const char *)image);
    }
    if (status) {
        module_free(module);
    }
    return status;
}

void module_free(struct module *module) {
    free(module->functions);
    *module = (struct module){0};
}
