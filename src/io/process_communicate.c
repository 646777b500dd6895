/* SPDX-License-Identifier: MIT */

/*
 * A whole conversation with a process.
 *
 * 1. Each pipe has a task of its own, so a process that stops reading until it is read, or the
 *    other way round, holds up nobody.
 * 2. What was written and what was read is kept with the process until all is done: a call that was
 *    cut short can be made again.
 */

#include "base/system.h"
#include "core/report.h"
#include "io/process.h"
#include "task/task.h"

#include <uco/io.h>
#include <uco/wait.h>

#define WRITE_MOST ((size_t) 64 * 1024) /* bytes at once, between two looks at what is done */
#define READ_LEAST ((size_t) 4 * 1024)  /* room for a read */

struct conversation {
    struct uco_process *process;
    const char *input;
    size_t size;
    bool wanted[UCO__STANDARD_FDS]; /* output, not only to be dropped */
};

/* Not by the stream, which would not tell how much of a write that is cut short was done. */
static int
input_write(struct uco_process *p, const struct conversation *conversation)
{
    ssize_t r = 0;

    if (p->input_done < conversation->size) {
        if (uco__process_stream(p, UCO__STDIN) == NULL) /* others may have run in between */
            return -EBADF;
        r = uco_stream_drain(p->streams[UCO__STDIN]); /* what others have written comes first */
    }
    while (r >= 0 && p->input_done < conversation->size) {
        size_t left = conversation->size - p->input_done;

        if (uco__process_stream(p, UCO__STDIN) == NULL)
            return -EBADF;
        r = uco_write(uco_stream_fd(p->streams[UCO__STDIN]), conversation->input + p->input_done,
                      left < WRITE_MOST ? left : WRITE_MOST);
        if (r > 0)
            p->input_done += (size_t) r;
    }
    return r < 0 ? (int) r : 0;
}

static intptr_t
converse_input(void *arg)
{
    const struct conversation *conversation = arg;
    struct uco_process *p = conversation->process;
    int r = input_write(p, conversation);

    if (r < 0 && r != -EPIPE)
        return r;
    p->input_done = conversation->size; /* also what nobody wants to read */
    r = uco_process_close_stdin(p);
    return r == -EPIPE ? 0 : r;
}

/* Room for some more, and a zero byte. */
static int
output_reserve(struct uco__process_output *output)
{
    size_t capacity;
    char *data;

    if (output->capacity - output->size > READ_LEAST)
        return 0;
    capacity = output->capacity < READ_LEAST ? 2 * READ_LEAST : 2 * output->capacity;
    data = uco__reallocate(output->data, capacity);
    if (data == NULL)
        return -ENOMEM;
    output->data = data;
    output->capacity = capacity;
    return 0;
}

static int
output_read(const struct conversation *conversation, int which)
{
    struct uco_process *p = conversation->process;
    struct uco__process_output *output = &p->outputs[which];
    ssize_t r = 0;

    while (r >= 0 && !output->ended) {
        if (!conversation->wanted[which])
            output->size = 0;
        r = output_reserve(output);
        if (r < 0)
            return (int) r;
        if (uco__process_stream(p, which) == NULL)
            return -EBADF;
        r = uco_stream_read(p->streams[which], output->data + output->size,
                            output->capacity - output->size - 1);
        if (r > 0)
            output->size += (size_t) r;
        output->ended = r == 0;
    }
    return r < 0 ? (int) r : 0;
}

static intptr_t
converse_stdout(void *arg)
{
    return output_read(arg, UCO__STDOUT);
}

static intptr_t
converse_stderr(void *arg)
{
    return output_read(arg, UCO__STDERR);
}

/* All pipes at once: 0, or the first error; the others are cancelled then. */
static int
converse(struct conversation *conversation)
{
    static uco_fn *const bodies[UCO__STANDARD_FDS] = {converse_input, converse_stdout,
                                                      converse_stderr};
    uco_task *tasks[UCO__STANDARD_FDS];
    size_t count = 0;
    int r;

    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (uco__process_stream(conversation->process, i) != NULL)
            tasks[count++] = uco_create_task(bodies[i], conversation);
    }
    r = uco_gather(tasks, count, NULL);
    uco_unref_all(tasks, count);
    return r;
}

static void
output_give(struct uco_process *p, int which, char **data, size_t *size)
{
    struct uco__process_output *output = &p->outputs[which];

    if (data != NULL)
        *data = output->data;
    if (size != NULL)
        *size = output->size;
    if (output->data != NULL)
        output->data[output->size] = '\0';
    if (data != NULL)
        uco__ledger_hand_over(output->data);
    else
        uco__free(output->data);
    *output = (struct uco__process_output){.ended = true};
}

intptr_t
uco_process_communicate(uco_process *p, const void *input, size_t n, char **out, size_t *out_size,
                        char **err, size_t *err_size)
{
    struct conversation conversation = {
        .process = p,
        .input = input,
        .size = n,
        .wanted = {[UCO__STDOUT] = out != NULL, [UCO__STDERR] = err != NULL},
    };
    int r = uco__process_enter(p, "uco_process_communicate");

    if (r < 0 && r != -ECANCELED)
        return r;
    if ((input == NULL && n > 0) ||
        (uco__process_stream(p, UCO__STDIN) == NULL && n > p->input_done))
        return uco__misuse(-EINVAL, "uco_process_communicate: no input, or no pipe for it");
    if (r < 0)
        return r;
    if (p->communicating)
        return uco__misuse(-EBUSY, "uco_process_communicate: another task does so already");
    p->communicating = true;
    r = converse(&conversation);
    if (r == 0)
        r = uco__process_await(p, false);
    if (r >= 0 || r == -ECHILD) {
        output_give(p, UCO__STDOUT, out, out_size);
        output_give(p, UCO__STDERR, err, err_size);
    }
    p->communicating = false;
    if (p->freer != NULL)
        uco__wake(p->freer, 0);
    return r;
}
