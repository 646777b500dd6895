/* SPDX-License-Identifier: MIT */

/* Waiting for several queues at once. */

#include "fuzz_queue.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct selection {
    int n;
    double timeout;
    struct queue *queues[CASES_MAX];
    size_t sizes[CASES_MAX];
    unsigned items[CASES_MAX];
    unsigned char bytes[CASES_MAX][ITEM_SIZE_MAX];
    uco_select_case cases[CASES_MAX];
};

static void
selection_make(struct fuzz_world *world, int who, struct selection *s,
               const struct fuzz_operation *operation)
{
    struct queues *state = fuzz_state(world);
    int time = operation->c / 64;

    s->n = 1 + operation->c / 16 % CASES_MAX;
    s->timeout = time == 0 ? 0 : UCO_FOREVER;
    for (int i = 0; i < s->n; i++) {
        int index = (operation->a + (operation->b >> i * 2)) % 4 % state->count;
        bool put = (operation->c >> i & 1) != 0;

        s->queues[i] = &state->queues[index];
        s->sizes[i] = s->queues[i]->item_size;
        s->items[i] = fuzz_item_new(state, operation->b + i);
        memset(s->bytes[i], UNTOUCHED, sizeof s->bytes[i]);
        if (put)
            fuzz_item_write(s->bytes[i], s->queues[i]->item_size, s->items[i]);
        s->cases[i] = (uco_select_case){
            .queue = s->queues[i]->real,
            .op = put ? UCO_SELECT_PUT : UCO_SELECT_GET,
            .item = s->bytes[i],
            .result = 1,
        };
        fuzz_log(world, who, "  case %d: %s queue %d", i, put ? "put into" : "get from", index);
    }
    if (time == 2)
        s->timeout = fuzz_moment(world, 1 + operation->b % 4) - uco_time();
}

static bool
selection_case_ready(const struct selection *s, int i)
{
    const struct queue *queue = s->queues[i];

    if (s->cases[i].op == UCO_SELECT_PUT)
        return queue->shut || !fuzz_queue_full(queue);
    return queue->shut || queue->count > 0;
}

static bool
selection_ready(const struct selection *s)
{
    for (int i = 0; i < s->n; i++) {
        if (selection_case_ready(s, i))
            return true;
    }
    return false;
}

/* The library chose among what was ready: any will do, but nothing else may have happened since. */
static void
selection_chose(struct fuzz_world *world, int who, const struct selection *s, ssize_t chosen,
                uint64_t operations)
{
    struct queues *state = fuzz_state(world);
    struct outcome *outcome = &state->outcomes[who];

    if (fuzz_operations(world) != operations)
        fuzz_mismatch(world, "w%d's select has suspended, though a case was ready", who);
    if (chosen < 0 || chosen >= s->n || !selection_case_ready(s, (int) chosen))
        fuzz_mismatch(world, "w%d's select gave %zd, which was not ready", who, chosen);
    if (s->cases[chosen].op == UCO_SELECT_PUT)
        outcome->result = fuzz_queue_put_now(world, s->queues[chosen], s->items[chosen]);
    else
        outcome->result = fuzz_queue_get_now(world, s->queues[chosen], &outcome->item);
    fuzz_decide(world, who, chosen);
}

static void
selection_check(struct fuzz_world *world, const struct selection *s, ssize_t chosen,
                const struct outcome *outcome)
{
    for (int i = 0; i < s->n; i++) {
        if (i == chosen)
            fuzz_same(world, "the result of a select's case", s->cases[i].result, outcome->result);
        if (s->cases[i].op == UCO_SELECT_GET)
            fuzz_item_check(world, s->sizes[i], s->bytes[i], i == chosen && outcome->result == 0,
                            outcome->item);
    }
}

void
fuzz_select_perform(struct fuzz_world *world, int who, const struct fuzz_operation *operation)
{
    struct queues *state = fuzz_state(world);
    struct selection s;
    uint64_t operations;
    bool choose = false;
    ssize_t r;

    selection_make(world, who, &s, operation);
    fuzz_log(world, who, "selects among %d, for %.2f s", s.n, s.timeout);
    state->outcomes[who] = (struct outcome){.selection = true};
    if (fuzz_enter(world, who)) {
        if (selection_ready(&s)) {
            choose = true;
        } else if (s.timeout == 0) {
            fuzz_decide(world, who, -ETIMEDOUT);
        } else {
            for (int i = 0; i < s.n; i++)
                fuzz_entries_push(s.cases[i].op == UCO_SELECT_PUT ? &s.queues[i]->putters
                                                                  : &s.queues[i]->getters,
                                  who, i, s.items[i]);
            fuzz_wait(world, who);
            if (!isinf(s.timeout))
                fuzz_deadline(world, who, uco_time() + s.timeout, -ETIMEDOUT);
        }
    }
    operations = fuzz_operations(world);
    r = uco_select(s.cases, (size_t) s.n, s.timeout);
    if (choose)
        selection_chose(world, who, &s, r, operations);
    fuzz_return(world, who, r);
    selection_check(world, &s, r, &state->outcomes[who]);
}
