/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_HTTP_ANSWER_H
#define FUZZ_HTTP_ANSWER_H

/* What a server may answer: right ones from a corpus, and those made wrong by chance. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How the connection goes on after an answer. */
enum answer_end {
    ANSWER_KEEP,
    ANSWER_CLOSE,
    ANSWER_SHUT,  /* nothing more is sent, but the connection stays */
    ANSWER_STALL, /* nothing happens any more */
    ANSWER_ENDS,
};

struct answer {
    char *bytes; /* allocated */
    size_t size;
    enum answer_end end;
    /* Of one that was left as it is, and leads nowhere: what a client must understand. */
    const char *body; /* NULL: of another */
    size_t body_size;
    long status;
};

uint64_t random_next(uint64_t *state);
/** Less than n. */
size_t random_below(uint64_t *state, size_t n);

/** The answer that a number stands for. */
void answer_make(struct answer *answer, uint64_t number);
void answer_free(struct answer *answer);

#endif
