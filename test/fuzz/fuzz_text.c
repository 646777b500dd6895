/* SPDX-License-Identifier: MIT */

/* The inputs of fuzz-text, and streams. */

#include "fuzz_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LITERAL 224 /* from here on a byte says that the next one is meant as it is */

bool fuzz_verbose;
void (*fuzz_mismatched)(void) = abort;

const struct fuzz_target *const fuzz_targets[] = {
    &text_url.target,    &text_headers.target, &text_range.target,  &text_frames.target,
    &text_events.target, &text_lines.target,   &text_stream.target, &text_websocket.target,
};

size_t
fuzz_target_count(void)
{
    return sizeof fuzz_targets / sizeof fuzz_targets[0];
}

void
text_mismatch(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf("mismatch: ");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    fflush(stdout);
    fuzz_mismatched();
    abort();
}

size_t
text_below(struct text_input *input, size_t n)
{
    if (input->random == 0 || n == 0)
        return 0;
    input->random = input->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t) (input->random >> 33) % n;
}

size_t
text_cut(struct text_input *input, size_t at)
{
    size_t left = input->size - at;
    size_t most = (size_t) 1 << text_below(input, 12);

    if (input->random == 0 || left == 0)
        return left;
    return 1 + text_below(input, most < left ? most : left);
}

static void
text_decode(const struct text_target *target, const uint8_t *data, size_t size,
            struct text_input *input)
{
    for (size_t i = 0; i < size; i++) {
        struct text_piece piece = target->pieces[data[i] % target->piece_count];

        if (data[i] >= LITERAL) {
            if (++i == size)
                break;
            piece = (struct text_piece){(const char *) &data[i], 1};
        }
        if (piece.size > TEXT_MAX - input->size)
            break;
        memcpy(input->bytes + input->size, piece.bytes, piece.size);
        input->size += piece.size;
    }
    input->bytes[input->size] = '\0';
}

static void
text_show(const struct text_target *target, const struct text_input *input)
{
    printf("%s: \"", target->target.name);
    for (size_t i = 0; i < input->size; i++) {
        unsigned char c = (unsigned char) input->bytes[i];

        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    printf("\", %s\n", input->random == 0 ? "in one piece" : "in pieces");
}

void
fuzz_run(const uint8_t *data, size_t size)
{
    /* Not on the stack: what is read beyond its end is seen. */
    struct text_input *input = calloc(1, sizeof *input);
    const struct text_target *target;

    if (input == NULL)
        abort();
    target =
        (const struct text_target *) fuzz_targets[size > 0 ? data[0] % fuzz_target_count() : 0];
    if (size > 3) {
        input->random = (uint64_t) data[1] << 8 | data[2];
        text_decode(target, data + 3, size - 3, input);
    }
    if (fuzz_verbose)
        text_show(target, input);
    target->run(input);
    free(input);
}

/* --- loops --- */

static void
reported(const char *message, uco_task *task, void *arg)
{
    (void) task;
    (void) arg;
    text_mismatch("reported: %s", message);
}

void
text_run_loop(struct text_input *input, uco_fn *fn)
{
    uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .seed = input->random,
        .slow_callback = UCO_FOREVER,
        .exception_handler = reported,
    };
    intptr_t r = uco_run_with(&options, fn, input);

    if (r != 0)
        text_mismatch("uco_run_with: %jd", (intmax_t) r);
}

/* --- streams: what is read, however it is read, is what was sent --- */

struct talk {
    struct text_input *input;
    int ends[2];
    bool held; /* a limit was met: the rest stays */
};

static intptr_t
talk_send(void *arg)
{
    struct talk *talk = arg;
    struct text_input *input = talk->input;

    for (size_t at = 0; at < input->size;) {
        size_t piece = text_cut(input, at);
        ssize_t r = uco_write_all(talk->ends[1], input->bytes + at, piece, NULL);

        if (r < 0 && !talk->held)
            text_mismatch("uco_write_all: %zd", r);
        if (text_below(input, 2) == 0)
            (void) uco_sleep(0.001);
        at += piece;
    }
    return uco_close(talk->ends[1]);
}

/* One call; how much it took, 0 at the end, or -EMSGSIZE. */
static ssize_t
talk_read(struct talk *talk, uco_stream *s, size_t at, size_t limit)
{
    struct text_input *input = talk->input;
    char delimiter = "\n\0,:"[text_below(input, 4)];
    size_t left = input->size - at;
    size_t n = 1 + text_below(input, 100);
    const char *line = NULL;
    const void *seen;
    char copy[128];
    ssize_t r;

    switch (text_below(input, 4)) {
    case 0:
        r = uco_stream_read_until(s, delimiter, &line);
        if (r > 0 && ((size_t) r > limit || (line[r - 1] != delimiter && (size_t) r != left) ||
                      memchr(line, delimiter, (size_t) r - 1) != NULL))
            text_mismatch("a line of %zd bytes, of %zu, limit %zu", r, left, limit);
        if (r == -EMSGSIZE && left >= limit && memchr(input->bytes + at, delimiter, limit) == NULL)
            return r;
        break;
    case 1:
        r = uco_stream_read(s, copy, n);
        line = copy;
        break;
    case 2:
        r = uco_stream_read_exactly(s, copy, n);
        if (r == -ENODATA && left < n)
            return 0;
        if (r >= 0 && (size_t) r != n)
            text_mismatch("%zd bytes and not %zu", r, n);
        line = copy;
        break;
    default:
        r = uco_stream_peek(s, &seen);
        line = seen;
        if (r > 0)
            r = r < (ssize_t) n ? r : (ssize_t) n;
        if (r > 0 && memcmp(line, input->bytes + at, (size_t) r) != 0)
            text_mismatch("other bytes are shown than were sent, at %zu", at);
        if (r > 0 && uco_stream_consume(s, (size_t) r) != 0)
            text_mismatch("what was shown cannot be taken");
        return r;
    }
    if (r > (ssize_t) left || (r == 0) != (left == 0) || r < 0)
        text_mismatch("%zd, with %zu bytes left", r, left);
    if (r > 0 && memcmp(line, input->bytes + at, (size_t) r) != 0)
        text_mismatch("other bytes than were sent, at %zu", at);
    return r;
}

static intptr_t
talk_run(void *arg)
{
    struct talk talk = {.input = arg};
    size_t limit = 1 + text_below(talk.input, 300), at = 0;
    uco_stream *s;
    uco_task *sender;
    ssize_t r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk.ends) != 0)
        abort();
    s = uco_stream_new(talk.ends[0]);
    sender = uco_create_task(talk_send, &talk);
    if (s == NULL || sender == NULL || uco_stream_set_limit(s, limit) != 0)
        text_mismatch("no stream");
    while ((r = talk_read(&talk, s, at, limit)) != 0) {
        if (r == -EMSGSIZE) {
            talk.held = true;
            break;
        }
        at += (size_t) r;
    }
    if (uco_stream_close(s) != 0 || uco_join(sender) != 0)
        text_mismatch("the end of a stream");
    return 0;
}

static void
stream_run(struct text_input *input)
{
    text_run_loop(input, talk_run);
}

static const struct text_piece stream_pieces[] = {
    PIECE("a"),       PIECE("\n"),
    PIECE("\r\n"),    PIECE("\0"),
    PIECE(","),       PIECE(":"),
    PIECE("\n\n"),    PIECE("line"),
    PIECE(", and :"), PIECE("longer than the others"),
    PIECE("\0\0\0"),
};

const struct text_target text_stream = {
    .target.name = "stream",
    .pieces = stream_pieces,
    .piece_count = sizeof stream_pieces / sizeof stream_pieces[0],
    .run = stream_run,
};
