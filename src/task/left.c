/* SPDX-License-Identifier: MIT */

/*
 * What a loop that was left contains.
 *
 * A task's memory is its loop's: so who loses a handle keeps a whole loop, and only the tasks that
 * are in use tell whose fault that is. Nobody else may use the loop meanwhile.
 */

#include "core/sanitizer.h"
#include "task/runtime.h"
#include "task/task.h"

#include <stdio.h>
#include <string.h>

/* What is written, as far as there is room. */
struct sheet {
    char *text;
    size_t size;
    size_t tasks_left; /* that may still be named */
};

#define TASKS_NAMED_MAX 8

static void
sheet_task(struct sheet *sheet, struct uco__task *task)
{
    unsigned references = atomic_load(&task->future.references);
    size_t used = strlen(sheet->text);

    if (sheet->tasks_left == 0)
        return;
    sheet->tasks_left--;
    snprintf(sheet->text + used, sheet->size - used,
             "task '%s', created at %s:%d: %s, %u %s left\n", uco__task_name(task),
             task->file != NULL ? task->file : "?", task->line,
             task->phase == UCO__TASK_ENDED ? "ended" : "not ended", references,
             references == 1 ? "reference" : "references");
}

static void
free_mark(const struct uco__task_segment *segment, struct uco__task *task,
          bool is_free[UCO__TASK_SEGMENT_TASKS])
{
    while (task != NULL) {
        /* A free block is hidden from the tools that look for wrong accesses. */
        uco__sanitizer_show(&task->next_free, sizeof task->next_free);
        if (uco__task_segment_of(task) == segment)
            is_free[task - segment->tasks] = true;
        task = task->next_free;
    }
}

static void
sheet_list(struct sheet *sheet, const struct uco__list *segments, struct uco__task *strayed)
{
    UCO__LIST_EACH(link, segments) {
        struct uco__task_segment *segment = UCO__CONTAINER(link, struct uco__task_segment, link);
        bool is_free[UCO__TASK_SEGMENT_TASKS] = {false};

        free_mark(segment, segment->free, is_free);
        free_mark(segment, strayed, is_free);
        for (unsigned i = 0; i < segment->made; i++) {
            if (!is_free[i])
                sheet_task(sheet, &segment->tasks[i]);
        }
    }
}

void
uco__runtime_describe(const void *block, char *text, size_t size)
{
    const struct uco__runtime *runtime = block;
    const struct uco__task_blocks *blocks = &runtime->blocks;
    struct uco__task *strayed = atomic_load(&blocks->strayed);
    struct sheet sheet = {.text = text, .size = size, .tasks_left = TASKS_NAMED_MAX};

    snprintf(text, size, "a loop: %s\n",
             atomic_load(&runtime->loop.closed) ? "closed" : "not closed");
    sheet_list(&sheet, &blocks->own.partial, strayed);
    sheet_list(&sheet, &blocks->own.full, strayed);
    sheet_list(&sheet, &blocks->foreign.partial, NULL);
    sheet_list(&sheet, &blocks->foreign.full, NULL);
}
