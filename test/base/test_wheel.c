/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel, against a slow obvious model: an array that is searched from end to end.
 */
#include "../support/support.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/wheel.h"

#include <stdlib.h>
#include <string.h>

#define NODES 48 /* as many as the model can search a million times */

struct entry {
    struct uco__wheel_node node;
    uint64_t deadline;
    uint64_t inserted; /* the order of insertion; 0: not in the wheel */
};

struct pair {
    struct uco__wheel wheel;
    struct entry entries[NODES];
    uint64_t now;
    uint64_t insertions;
    uint64_t random;
    bool removed; /* a node was taken out since the wheel was last empty or moved on */
};

static struct pair *
pair_new(uint64_t now, uint64_t seed)
{
    struct pair *pair = calloc(1, sizeof *pair);

    ck_assert_ptr_nonnull(pair);
    uco__wheel_init(&pair->wheel, now);
    for (int i = 0; i < NODES; i++)
        uco__wheel_node_init(&pair->entries[i].node);
    pair->now = now;
    pair->random = seed;
    return pair;
}

static uint64_t
pair_random(struct pair *pair)
{
    uint64_t z = pair->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Distances of all magnitudes, each as likely. */
static uint64_t
pair_distance(struct pair *pair, unsigned bits_max)
{
    unsigned bits = (unsigned) (pair_random(pair) % bits_max);

    return pair_random(pair) >> (63 - bits);
}

/* Not ck_assert, which tells Check's parent each time: that would be most of a random test's time.
 * */
#define MUST(condition) ((condition) ? (void) 0 : ck_abort_msg("not so: %s", #condition))

static void
pair_insert(struct pair *pair, struct entry *entry, uint64_t deadline)
{
    entry->deadline = deadline;
    entry->inserted = ++pair->insertions;
    uco__wheel_insert(&pair->wheel, &entry->node, deadline);
    MUST(uco__wheel_node_pending(&entry->node));
}

static void
pair_remove(struct pair *pair, struct entry *entry)
{
    pair->removed |= entry->inserted != 0;
    entry->inserted = 0;
    uco__wheel_remove(&pair->wheel, &entry->node);
    MUST(!uco__wheel_node_pending(&entry->node));
}

static struct entry *
model_first(struct pair *pair)
{
    struct entry *first = NULL;

    for (int i = 0; i < NODES; i++) {
        struct entry *entry = &pair->entries[i];

        if (entry->inserted != 0 &&
            (first == NULL || entry->deadline < first->deadline ||
             (entry->deadline == first->deadline && entry->inserted < first->inserted)))
            first = entry;
    }
    return first;
}

static void
pair_check(struct pair *pair)
{
    const struct entry *first = model_first(pair);
    uint64_t next = uco__wheel_next(&pair->wheel);

    if (first == NULL) {
        MUST(next == UCO__NEVER);
        MUST(pair->wheel.count == 0);
        pair->removed = false;
    } else if (first->deadline <= pair->now) {
        MUST(next == pair->now);
    } else {
        MUST(next <= first->deadline);
        MUST(next > pair->now);
        if (!pair->removed)
            MUST(next == first->deadline);
    }
}

/* Moves on, and takes out all that is due: it must be what the model has, one by one. */
static void
pair_advance(struct pair *pair, uint64_t now)
{
    struct uco__wheel_node *node;

    uco__wheel_advance(&pair->wheel, now);
    pair->now = now;
    while ((node = uco__wheel_pop(&pair->wheel)) != NULL) {
        struct entry *first = model_first(pair);

        MUST(first != NULL);
        MUST(node == &first->node);
        MUST(node->deadline == first->deadline);
        MUST(first->deadline <= now);
        MUST(!uco__wheel_node_pending(node));
        first->inserted = 0;
    }
    if (model_first(pair) != NULL)
        MUST(model_first(pair)->deadline > now);
}

static uint64_t
pair_deadline(struct pair *pair, unsigned bits_max)
{
    uint64_t distance = pair_distance(pair, bits_max);

    switch (pair_random(pair) % 8) {
    case 0: /* the same as another's */
        return pair->entries[pair_random(pair) % NODES].deadline;
    case 1: /* it has passed */
        return distance < pair->now ? pair->now - distance : 0;
    default:
        return distance < UINT64_MAX - 1 - pair->now ? pair->now + distance : pair->now;
    }
}

static void
pair_step(struct pair *pair, unsigned bits_max)
{
    struct entry *entry = &pair->entries[pair_random(pair) % NODES];
    uint64_t next = uco__wheel_next(&pair->wheel);
    uint64_t distance = pair_distance(pair, bits_max - 4);

    switch (pair_random(pair) % 16) {
    case 0: /* somewhere, and by far not always to a deadline */
        if (distance < (UINT64_C(1) << 63) - pair->now)
            pair_advance(pair, pair->now + distance);
        break;
    case 1:
    case 2:
        if (next < UINT64_C(1) << 63)
            pair_advance(pair, next);
        break;
    case 3: /* right before it */
        if (next < UINT64_C(1) << 63 && next > pair->now)
            pair_advance(pair, next - 1);
        break;
    case 4:
    case 5:
    case 6:
        pair_remove(pair, entry);
        break;
    default:
        if (entry->inserted == 0)
            pair_insert(pair, entry, pair_deadline(pair, bits_max));
    }
    pair_check(pair);
}

static const struct {
    uint64_t begin;
    unsigned bits;
} ranges[] = {{0, 63},
              {1000000000000, 40},
              {(UINT64_C(1) << 62) - 1000, 12},
              {4095, 16},
              {(UINT64_C(1) << 30) - 5000, 24}};

/* A fresh pair now and then, since the far ranges come to the end of time. */
START_TEST(random_operations_agree_with_the_model)
{
    int steps = scaled(1000000) / (int) COUNT(ranges);
    struct pair *pair = NULL;

    for (int i = 0; i < steps; i++) {
        if (i % 5000 == 0) {
            free(pair);
            pair = pair_new(ranges[_i].begin, (uint64_t) i + (uint64_t) _i);
        }
        pair_step(pair, ranges[_i].bits);
    }
    pair_advance(pair, UINT64_MAX - 1);
    ck_assert_uint_eq(pair->wheel.count, 0);
    free(pair);
}
END_TEST

/* Nothing is ever removed, so that next() has to be exact all the time. */
START_TEST(the_next_moment_is_exact_where_nothing_was_removed)
{
    struct pair *pair = pair_new(12345, 1);
    int steps = scaled(200000);

    while (steps-- > 0) {
        struct entry *entry = &pair->entries[pair_random(pair) % NODES];

        if (entry->inserted == 0)
            pair_insert(pair, entry, pair->now + pair_distance(pair, 36));
        else if (steps % 4 == 0)
            pair_advance(pair, uco__wheel_next(&pair->wheel));
        pair_check(pair);
        ck_assert(!pair->removed);
    }
    free(pair);
}
END_TEST

/* Following next() alone comes to each deadline in a bounded number of looks, also where the
 * earliest was removed. */
START_TEST(following_the_next_moment_reaches_every_deadline)
{
    struct pair *pair = pair_new(1, 2);

    for (int round = 0; round < scaled(2000); round++) {
        int looks = 0;

        for (int i = 0; i < NODES; i++)
            pair_insert(pair, &pair->entries[i], pair->now + pair_distance(pair, 40));
        for (int i = 0; i < NODES; i += 2)
            pair_remove(pair, &pair->entries[i]);
        while (pair->wheel.count != 0) {
            pair_advance(pair, uco__wheel_next(&pair->wheel));
            ck_assert_int_lt(looks++, NODES * UCO__WHEEL_LEVELS);
        }
    }
    free(pair);
}
END_TEST

enum { SAME = 5000 };

/* Inserted from different distances, so that some have moved down the levels and others have not.
 * */
START_TEST(thousands_of_equal_deadlines_come_in_the_order_of_insertion)
{
    struct uco__wheel *wheel = malloc(sizeof *wheel);
    struct uco__wheel_node *nodes = calloc(SAME, sizeof *nodes);
    const uint64_t deadline = UINT64_C(123456789012345);
    uint64_t now = 0;

    ck_assert(wheel != NULL && nodes != NULL);
    uco__wheel_init(wheel, now);
    for (int i = 0; i < SAME; i++) {
        uco__wheel_insert(wheel, &nodes[i], deadline);
        if (i % 100 == 99) {
            now += (deadline - now) / 2;
            uco__wheel_advance(wheel, now);
            ck_assert_ptr_null(uco__wheel_pop(wheel));
        }
    }
    uco__wheel_advance(wheel, deadline - 1);
    ck_assert_ptr_null(uco__wheel_pop(wheel));
    uco__wheel_advance(wheel, deadline);
    for (int i = 0; i < SAME; i++)
        ck_assert_ptr_eq(uco__wheel_pop(wheel), &nodes[i]);
    ck_assert_ptr_null(uco__wheel_pop(wheel));
    free(nodes);
    free(wheel);
}
END_TEST

START_TEST(what_has_passed_is_due_at_once_in_the_order_of_deadlines)
{
    struct pair *pair = pair_new(1000, 3);
    static const uint64_t deadlines[] = {1000, 5, 0, 999, 5, 1000, 1001, 0};

    for (size_t i = 0; i < COUNT(deadlines); i++)
        pair_insert(pair, &pair->entries[i], deadlines[i]);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), 1000);
    pair_advance(pair, 1000);
    ck_assert_uint_eq(pair->wheel.count, 1);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), 1001);
    pair_advance(pair, 1001);
    free(pair);
}
END_TEST

START_TEST(a_node_that_is_due_can_still_be_removed)
{
    struct pair *pair = pair_new(0, 4);

    for (int i = 0; i < 5; i++)
        pair_insert(pair, &pair->entries[i], 10);
    uco__wheel_advance(&pair->wheel, 20);
    pair->now = 20;
    pair_remove(pair, &pair->entries[0]);
    pair_remove(pair, &pair->entries[2]);
    pair_remove(pair, &pair->entries[2]);
    ck_assert_uint_eq(pair->wheel.count, 3);
    pair_insert(pair, &pair->entries[2], 10);
    pair_advance(pair, 20);
    free(pair);
}
END_TEST

START_TEST(every_distance_of_one_bit_is_kept)
{
    for (int bit = 0; bit < 64; bit++) {
        struct pair *pair = pair_new(0, 5);
        uint64_t deadline = UINT64_C(1) << bit;

        pair_insert(pair, &pair->entries[0], deadline);
        ck_assert_uint_eq(uco__wheel_next(&pair->wheel), deadline);
        pair_advance(pair, deadline - 1);
        ck_assert_uint_eq(pair->wheel.count, 1);
        ck_assert_uint_eq(uco__wheel_next(&pair->wheel), deadline);
        pair_advance(pair, deadline);
        ck_assert_uint_eq(pair->wheel.count, 0);
        free(pair);
    }
}
END_TEST

/* A moment before, at and after each border between two groups of bits, from a time that lies in
 * another place of all of them: inserted in both orders, and every second one twice. */
START_TEST(deadlines_around_the_borders_of_levels_come_in_order)
{
    static const unsigned borders[] = {10, 20, 30, 36, 42, 48, 54, 60};
    const uint64_t begin = _i < 2 ? 0 : UINT64_C(0x0155555555555555);
    struct pair *pair = pair_new(begin, 9);
    int count = 0;

    for (size_t i = 0; i < COUNT(borders); i++) {
        size_t border = borders[_i % 2 == 0 ? i : COUNT(borders) - 1 - i];
        uint64_t deadline = ((begin >> border) + 1) << border;

        pair_insert(pair, &pair->entries[count++], deadline);
        pair_insert(pair, &pair->entries[count++], deadline + 1);
        pair_insert(pair, &pair->entries[count++], deadline - 1);
        if (i % 2 == 0)
            pair_insert(pair, &pair->entries[count++], deadline);
        pair_check(pair);
    }
    while (pair->wheel.count > 0) {
        uint64_t next = uco__wheel_next(&pair->wheel);

        MUST(next == model_first(pair)->deadline);
        pair_advance(pair, next - 1);
        pair_advance(pair, next);
    }
    free(pair);
}
END_TEST

/* What is due is looked for only as far as it takes to have a first one, so the rest may still lie
 * anywhere: it can be removed, joined by others, and overtaken. */
START_TEST(what_is_far_behind_can_still_be_changed)
{
    struct pair *pair = pair_new(0, 10);

    for (int i = 0; i < 20; i++)
        pair_insert(pair, &pair->entries[i], UINT64_C(3000000) + (uint64_t) (i % 5) * 700000);
    pair->now = 10000000;
    uco__wheel_advance(&pair->wheel, pair->now);
    ck_assert(uco__wheel_is_due(&pair->wheel));
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), pair->now);
    for (int i = 0; i < 20; i += 5) /* all of the earliest ones */
        pair_remove(pair, &pair->entries[i]);
    ck_assert(uco__wheel_is_due(&pair->wheel));
    pair_insert(pair, &pair->entries[0], 5100000);
    pair_insert(pair, &pair->entries[5], 3000000);
    pair_insert(pair, &pair->entries[10], 3700000);
    pair_insert(pair, &pair->entries[20], 10000001);
    pair_advance(pair, pair->now);
    ck_assert_uint_eq(pair->wheel.count, 1);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), 10000001);
    pair_remove(pair, &pair->entries[20]);
    ck_assert(!uco__wheel_is_due(&pair->wheel));
    free(pair);
}
END_TEST

/* A thousand in one slot of a millisecond, and in one of seconds: what is hinted at must be no more
 * than a hint where some of them have gone. */
START_TEST(crowded_slots_keep_the_order_when_every_third_is_removed)
{
    enum { CROWD = 3000 };
    struct pair *pair = pair_new(0, 11);
    struct entry *entries = calloc(CROWD, sizeof *entries);
    const uint64_t begin = _i == 0 ? UINT64_C(1) << 28 : UINT64_C(7) << 40;
    uint64_t before = 0;
    struct uco__wheel_node *node;
    int taken = 0;

    ck_assert_ptr_nonnull(entries);
    for (int i = 0; i < CROWD; i++) {
        uco__wheel_node_init(&entries[i].node);
        entries[i].inserted = (uint64_t) i;
        uco__wheel_insert(&pair->wheel, &entries[i].node,
                          begin + pair_random(pair) % (_i == 0 ? 1000 : UINT64_C(1) << 36));
    }
    for (int i = 0; i < CROWD; i += 3) {
        uco__wheel_remove(&pair->wheel, &entries[i].node);
        memset(&entries[i], 0xff, sizeof entries[i]);
    }
    uco__wheel_advance(&pair->wheel, begin << 1);
    for (uint64_t inserted = 0; (node = uco__wheel_pop(&pair->wheel)) != NULL; taken++) {
        const struct entry *entry = UCO__CONTAINER(node, struct entry, node);

        MUST(node->deadline > before || (node->deadline == before && entry->inserted > inserted) ||
             taken == 0);
        before = node->deadline;
        inserted = entry->inserted;
    }
    ck_assert_int_eq(taken, CROWD - CROWD / 3);
    free(entries);
    free(pair);
}
END_TEST

START_TEST(the_last_moment_there_is_can_be_reached)
{
    struct pair *pair = pair_new(UINT64_MAX - 5, 6);

    pair_insert(pair, &pair->entries[0], UINT64_MAX - 1);
    pair_insert(pair, &pair->entries[1], UINT64_MAX - 4);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), UINT64_MAX - 4);
    pair_advance(pair, UINT64_MAX - 2);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), UINT64_MAX - 1);
    pair_advance(pair, UINT64_MAX - 1);
    ck_assert_uint_eq(pair->wheel.count, 0);
    free(pair);
}
END_TEST

START_TEST(the_time_of_a_wheel_never_goes_back)
{
    struct pair *pair = pair_new(1000, 7);

    pair_insert(pair, &pair->entries[0], 2000);
    uco__wheel_advance(&pair->wheel, 500);
    ck_assert_uint_eq(pair->wheel.now, 1000);
    ck_assert_ptr_null(uco__wheel_pop(&pair->wheel));
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), 2000);
    pair_advance(pair, 2000);
    free(pair);
}
END_TEST

START_TEST(an_empty_wheel_has_no_next_moment)
{
    struct pair *pair = pair_new(77, 8);

    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), UCO__NEVER);
    ck_assert_ptr_null(uco__wheel_pop(&pair->wheel));
    pair_remove(pair, &pair->entries[0]);
    uco__wheel_advance(&pair->wheel, UINT64_MAX - 1);
    ck_assert_uint_eq(uco__wheel_next(&pair->wheel), UCO__NEVER);
    free(pair);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wheel");
    TCase *tc = case_new(suite, "order");

    tcase_add_test(tc, thousands_of_equal_deadlines_come_in_the_order_of_insertion);
    tcase_add_test(tc, what_has_passed_is_due_at_once_in_the_order_of_deadlines);
    tcase_add_test(tc, a_node_that_is_due_can_still_be_removed);
    tcase_add_test(tc, what_is_far_behind_can_still_be_changed);
    tcase_add_loop_test(tc, crowded_slots_keep_the_order_when_every_third_is_removed, 0, 2);

    tc = case_new(suite, "edges");
    tcase_add_test(tc, every_distance_of_one_bit_is_kept);
    tcase_add_loop_test(tc, deadlines_around_the_borders_of_levels_come_in_order, 0, 4);
    tcase_add_test(tc, the_last_moment_there_is_can_be_reached);
    tcase_add_test(tc, the_time_of_a_wheel_never_goes_back);
    tcase_add_test(tc, an_empty_wheel_has_no_next_moment);

    tc = case_new(suite, "model");
    tcase_add_loop_test(tc, random_operations_agree_with_the_model, 0, (int) COUNT(ranges));
    tcase_add_test(tc, the_next_moment_is_exact_where_nothing_was_removed);
    tcase_add_test(tc, following_the_next_moment_reaches_every_deadline);
    return suite_end(suite);
}
