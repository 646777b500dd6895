/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_TEXT_H
#define FUZZ_TEXT_H

/*
 * Bytes that come from outside, for each parser of uco's: whatever they are, a parser must agree
 * with a slow and obvious one, or keep what it promises.
 *
 * An input says the target, how the text is cut on its way, and the text: most bytes are one of the
 * target's pieces each, which bring it near to what the parser is for.
 */

#include "fuzz.h"

#define TEXT_MAX ((size_t) 16384)
#define TEXT_NOT_YET (-EINPROGRESS) /* the error of a body of which more will come */

struct text_piece {
    const char *bytes;
    size_t size;
};
#define PIECE(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

struct text_input {
    char bytes[TEXT_MAX + 1]; /* with a zero byte behind the text */
    size_t size;
    uint64_t random; /* for all else that has to be chosen; 0: the plainest */
};

struct text_target {
    struct fuzz_target target; /* first; its name only */
    const struct text_piece *pieces;
    size_t piece_count;
    void (*run)(struct text_input *input);
};

extern const struct text_target text_url, text_headers, text_range, text_frames, text_events,
    text_lines, text_stream, text_websocket;

_Noreturn void text_mismatch(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Less than n; 0 where the input chooses the plainest. */
size_t text_below(struct text_input *input, size_t n);

/* The size of the next piece of the text, of which `at` bytes have gone. */
size_t text_cut(struct text_input *input, size_t at);

/* Runs fn(input) on the virtual clock; it must return 0, and nothing may be reported. */
void text_run_loop(struct text_input *input, uco_fn *fn);

#endif
