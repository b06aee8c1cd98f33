/* Names of files; see path.h. What file_names.py is in runtime/. */
#include "path.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "system.h"

#define LINKS_MAXIMUM 40 /* as Linux: path_resolution(7) */

/* Of all files that may be beside NAME. */
static const char suffixes[3][10] = {".partial", ".previous", ".lock"};

bool gradc_file_exists(const char *path) {
    struct stat facts;
    return system_stat(path, &facts) == 0;
}

GRADC_UNGUARDED
bool gradc_file_is(const char *path, dev_t device, ino_t number) {
    struct stat facts;
    return system_lstat(path, &facts) == 0 && facts.st_dev == device && facts.st_ino == number;
}

size_t gradc_path_folder(const char *path) {
    size_t length = strlen(path);
    while (length && path[length - 1] != '/')
        length--;
    return length;
}

char *gradc_path_with(const char *path, const char *suffix) {
    size_t length = strlen(path), more = strlen(suffix) + 1;
    char *joined = calloc(1, length + more);
    if (joined) {
        memcpy(joined, path, length);
        memcpy(joined + length, suffix, more);
    }
    return joined;
}

/* Where the link `path` points to, seen from here, in fresh memory; null and errno. */
static char *target_of(const char *path) {
    char target[PATH_MAX];
    ssize_t length = system_readlink(path, target, sizeof target - 1);
    if (length < 0)
        return NULL;
    target[length] = 0;
    char *folder = gradc_path_with(path, ""), *joined = NULL;
    if (folder) {
        folder[*target == '/' ? 0 : gradc_path_folder(path)] = 0;
        joined = gradc_path_with(folder, target);
    }
    free(folder);
    return joined;
}

char *gradc_path_follow(const char *path) {
    char *here = gradc_path_with(path, "");
    struct stat facts;
    for (int links = 0;
         here && system_lstat(here, &facts) == 0 && S_ISLNK(facts.st_mode);
         links++) {
        char *next = links < LINKS_MAXIMUM ? target_of(here) : NULL;
        int reason = links < LINKS_MAXIMUM ? errno : ELOOP;
        free(here);
        errno = reason;
        here = next;
    }
    return here;
}

char *gradc_path_previous(const char *path) {
    char *target = gradc_path_follow(path);
    char *previous = gradc_path_with(target ? target : path, ".previous");
    free(target);
    return previous;
}

const char *gradc_path_too_long(const char *path) {
    struct stat facts;
    for (int n = 0; n < 3; n++) {
        char *beside = gradc_path_with(path, suffixes[n]);
        bool too_long = beside && system_lstat(beside, &facts) < 0 && errno == ENAMETOOLONG;
        free(beside);
        if (too_long)
            return suffixes[n];
    }
    return NULL;
}

static void identify(struct gradc_identity *identity, const struct stat *facts) {
    *identity = (struct gradc_identity){true, facts->st_dev, facts->st_ino};
}

static bool is_same(const struct gradc_identity *one, const struct gradc_identity *other) {
    return one->there && memcmp(one, other, sizeof *one) == 0;
}

GRADC_UNGUARDED
GRADC_APART
void gradc_place_find(struct gradc_place *place, const char *path, const char *suffix) {
    struct stat facts;
    char *target = gradc_path_follow(path);
    char *whole = target ? gradc_path_with(target, suffix) : NULL;
    free(target);
    if (whole && system_stat(whole, &facts) == 0) {
        identify(&place->file, &facts);
    }
    if (whole && (!place->file.there || S_ISREG(facts.st_mode))) {
        size_t folder = gradc_path_folder(whole);
        place->name = gradc_path_with(whole + folder, "");
        whole[folder] = 0;
        if (system_stat(folder ? whole : ".", &facts) == 0)
            identify(&place->folder, &facts);
    }
    free(whole);
}

GRADC_UNGUARDED
GRADC_APART
void gradc_place_find_descriptor(struct gradc_place *place, int descriptor) {
    struct stat facts;
    if (system_fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode)) {
        identify(&place->file, &facts);
        place->name = gradc_path_with("", "");
    }
}

bool gradc_same_place(const struct gradc_place *one, const struct gradc_place *other) {
    if (!one->name || !other->name)
        return false;
    return is_same(&one->file, &other->file) ||
           (is_same(&one->folder, &other->folder) && gradc_equal(one->name, other->name));
}
