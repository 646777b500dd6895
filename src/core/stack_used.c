/* SPDX-License-Identifier: MIT */

/*
 * How deep tasks go: the high-water mark of a stack, in debug mode.
 *
 * 1. A stack that nobody has used is zero. Where tasks are measured, one that is used again is zero
 *    too, but for the frames in which it waited for that, and what little ran after its last task
 *    was measured. So the lowest word that is not zero is as deep as the present task has been.
 * 2. What is read and written here lies below the stack pointer, where compilers, valgrind and
 *    sanitizers say that nothing is.
 */

#include "core/stack.h"

#include "base/system.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RESIDENT_PAGES ((size_t) 64) /* that the kernel is asked about at once */
#define WIPE_FRAME 512               /* bytes that the frame which wipes may take */

/* A subject that uco__stacks_note() was told of. */
struct uco__stack_note {
    struct uco__stack_note *next;
    const void *subject;
};

void
uco__stacks_measure(struct uco__stacks *stacks)
{
    stacks->measured = true;
    stacks->watched = true;
}

/* The first byte of a word that is not zero; `end`: there is none. */
static UCO__NO_SANITIZE char *
touched_find(char *start, char *end)
{
    const uint64_t *word = (const uint64_t *) (const void *) start;

    while ((const char *) word < end && *word == 0)
        word++;
    return (char *) (uintptr_t) word;
}

/* The lowest that was touched. Pages that were never there are not looked at, which would bring
 * them in. */
static UCO__NO_SANITIZE char *
stack_lowest(const struct uco__stack *stack)
{
    const size_t page_bytes = (size_t) sysconf(_SC_PAGESIZE);
    unsigned char resident[RESIDENT_PAGES];
    char *end = uco__stack_base(stack) + uco__stack_size(stack);
    char *at = uco__stack_base(stack);

    while (at < end) {
        size_t bytes = (size_t) (end - at);

        if (bytes > RESIDENT_PAGES * page_bytes)
            bytes = RESIDENT_PAGES * page_bytes;
        memset(resident, 1, sizeof resident); /* as good as true, where nobody tells */
        UCO__RESULT(mincore(at, bytes, resident));
        for (size_t page = 0; page * page_bytes < bytes; page++, at += page_bytes) {
            char *page_end = at + page_bytes < end ? at + page_bytes : end;
            char *touched;

            if ((resident[page] & 1) == 0)
                continue;
            touched = touched_find(at, page_end);
            if (touched < page_end)
                return touched;
        }
    }
    return end;
}

size_t
uco__stack_used(const struct uco__stack *stack)
{
    char *end = uco__stack_base(stack) + uco__stack_size(stack);
    size_t used;

    uco__sanitizer_quiet(true);
    used = (size_t) (end - stack_lowest(stack));
    uco__sanitizer_quiet(false);
    return used;
}

/* Not memset(), whose frame would be among what it writes. */
UCO__NO_SANITIZE UCO__NOINLINE void
uco__stack_wipe(const struct uco__stack *stack, size_t used)
{
    char *lowest = uco__stack_base(stack) + uco__stack_size(stack) - used;
    char *frame = (char *) __builtin_frame_address(0) - WIPE_FRAME;
    volatile uint64_t *end = (volatile uint64_t *) (void *) frame;
    volatile uint64_t *word;

    uco__sanitizer_quiet(true);
    for (word = (volatile uint64_t *) (void *) lowest; word < end; word++)
        *word = 0;
    uco__sanitizer_quiet(false);
}

bool
uco__stacks_note(struct uco__stacks *stacks, const void *subject)
{
    struct uco__stack_note *note;

    for (note = stacks->notes; note != NULL; note = note->next) {
        if (note->subject == subject)
            return false;
    }
    note = uco__allocate(sizeof *note);
    if (note == NULL)
        return true;
    note->subject = subject;
    note->next = stacks->notes;
    stacks->notes = note;
    return true;
}

void
uco__stacks_forget(struct uco__stacks *stacks)
{
    struct uco__stack_note *note;

    while ((note = stacks->notes) != NULL) {
        stacks->notes = note->next;
        uco__free(note);
    }
}
