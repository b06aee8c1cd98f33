/* Device memory: blocks of the host's memory with guards on both sides, poisoned before they are
 * written, and pinned memory. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "stand_in.h"

#define ALIGNMENT 256 /* cuMemAlloc promises as much */
#define GUARD ALIGNMENT
#define GUARD_BYTE 0xA5
#define FRESH_BYTE 0xCD
#define FREED_BYTE 0xDD

struct block {
    unsigned char *begin; /* of what the program may use */
    size_t size;
    struct block *next;
};

static struct block *blocks, *pinned;

static bool in_list(const struct block *list, const unsigned char *address, size_t size) {
    for (; list; list = list->next) {
        if (address >= list->begin && size <= list->size
            && (size_t)(address - list->begin) <= list->size - size) {
            return true;
        }
    }
    return false;
}

static struct block *take_out(struct block **list, const void *begin) {
    for (; *list; list = &(*list)->next) {
        if ((*list)->begin == begin) {
            struct block *found = *list;
            *list = found->next;
            return found;
        }
    }
    return NULL;
}

static int add(struct block **list, size_t size, unsigned char **begin) {
    struct block *block = malloc(sizeof *block);
    void *raw;
    size_t whole = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + 2 * GUARD;
    if (!block || posix_memalign(&raw, ALIGNMENT, whole)) {
        free(block);
        return OUT_OF_MEMORY;
    }
    memset(raw, GUARD_BYTE, whole);
    *begin = (unsigned char *)raw + GUARD;
    memset(*begin, FRESH_BYTE, size);
    *block = (struct block){*begin, size, *list};
    *list = block;
    return SUCCESS;
}

static bool guards_stand(const struct block *block) {
    const unsigned char *before = block->begin - GUARD, *after = block->begin + block->size;
    for (int i = 0; i < GUARD; i++) {
        if (before[i] != GUARD_BYTE || after[i] != GUARD_BYTE) {
            return false;
        }
    }
    return true;
}

int memory_check_guards(void) {
    for (const struct block *block = blocks; block; block = block->next) {
        if (!guards_stand(block)) {
            fault("something was written beside a block of %zu bytes", block->size);
            return ILLEGAL_ADDRESS;
        }
    }
    return SUCCESS;
}

int memory_allocate(uint64_t *address, size_t size) {
    unsigned char *begin;
    if (!size) {
        return INVALID_VALUE;
    }
    if (counts.block_bytes + (long long)size > settings.memory_bytes || add(&blocks, size, &begin)) {
        return OUT_OF_MEMORY;
    }
    counts.blocks++;
    counts.block_bytes += (long long)size;
    *address = (uint64_t)(uintptr_t)begin;
    return SUCCESS;
}

static void end(struct block *block) {
    memset(block->begin, FREED_BYTE, block->size);
    free(block->begin - GUARD);
    free(block);
}

int memory_free(uint64_t address) {
    struct block *block = take_out(&blocks, (void *)(uintptr_t)address);
    if (!block) {
        fault("memory was freed that was not allocated, or twice");
        return INVALID_VALUE;
    }
    if (!guards_stand(block)) {
        fault("something was written beside a block of %zu bytes", block->size);
    }
    counts.blocks--;
    counts.block_bytes -= (long long)block->size;
    end(block);
    return SUCCESS;
}

bool memory_holds(uint64_t address, size_t size) {
    return in_list(blocks, (void *)(uintptr_t)address, size);
}

int memory_allocate_pinned(void **address, size_t size) {
    unsigned char *begin;
    if (!size || add(&pinned, size, &begin)) {
        return size ? OUT_OF_MEMORY : INVALID_VALUE;
    }
    counts.pinned++;
    *address = begin;
    return SUCCESS;
}

int memory_free_pinned(void *address) {
    struct block *block = take_out(&pinned, address);
    if (!block) {
        fault("pinned memory was freed that was not allocated, or twice");
        return INVALID_VALUE;
    }
    counts.pinned--;
    end(block);
    return SUCCESS;
}

bool memory_is_pinned(const void *address, size_t size) {
    return in_list(pinned, address, size);
}
