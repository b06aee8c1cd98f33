/* Names of files: where they lead, what lies beside them, which of them are one file. */
#ifndef GRADC_PATH_H
#define GRADC_PATH_H

#include "common.h"

#include <sys/types.h>

bool gradc_file_exists(const char *path);

/* Whether the file of this name, and not one that it leads to, is the one with this number. */
bool gradc_file_is(const char *path, dev_t device, ino_t number);

/* Bytes of the name's folder, with the slash after it; 0 if it names none. */
size_t gradc_path_folder(const char *path);

/* path + suffix in fresh memory, or null. */
char *gradc_path_with(const char *path, const char *suffix);

/* The file that a name leads to, at the end of symbolic links, whether it is there or not; in fresh
 * memory. Null and errno where links lead nowhere but to each other, or without memory. */
char *gradc_path_follow(const char *path);

/* Of a symbolic link, that is beside the file that it leads to: NAME.previous in fresh memory. */
char *gradc_path_previous(const char *path);

/* The first suffix with which NAME is too long for its file system; null if there is none. */
const char *gradc_path_too_long(const char *path);

struct gradc_identity {
    int64_t there; /* 0 or 1 */
    dev_t device;
    ino_t number;
};

/* What says that two names are one file: the same file, or the same place in the same folder. */
struct gradc_place {
    char *name; /* in fresh memory; null: it is no regular file, and equal to none */
    struct gradc_identity file, folder;
};

/* Fill in an empty place: that of `path` and the suffix, at the end of symbolic links. */
void gradc_place_find(struct gradc_place *place, const char *path, const char *suffix);
/* The same for the file behind an open descriptor. */
void gradc_place_find_descriptor(struct gradc_place *place, int descriptor);
bool gradc_same_place(const struct gradc_place *one, const struct gradc_place *other);

#endif
