/* SPDX-License-Identifier: MIT */
/*
 * Stacks and their pools: sizes, reuse, guards of each kind, no memory.
 */
#include "../support/support.h"

#include "base/system.h"
#include "core/stack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE ((size_t) 64 * 1024)

static void
never_entered(void)
{
    abort();
}

static struct uco__stack_pool *
pool_of(struct uco__stacks *stacks, size_t size)
{
    struct uco__stack_pool *pool;

    uco__stacks_init(stacks, never_entered);
    pool = uco__stack_pool_get(stacks, size);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

static struct uco__stack *
take(struct uco__stack_pool *pool)
{
    struct uco__stack *stack = uco__stack_take(pool);

    if (stack == NULL)
        ck_abort_msg("no stack");
    return stack;
}

static size_t
page(void)
{
    return (size_t) sysconf(_SC_PAGESIZE);
}

static bool
is_mapped(char *address)
{
    char *start = address - (uintptr_t) address % page();
    unsigned char resident;

    return mincore(start, page(), &resident) == 0;
}

/* --- sizes --- */

START_TEST(sizes_are_rounded_up_to_pages_within_limits)
{
    const size_t factor = UCO__SANITIZER_STACK_FACTOR;

    ck_assert_uint_eq(uco__stack_size_round(0), 0);
    ck_assert_uint_eq(uco__stack_size_round(UCO__STACK_SIZE_MIN - 1), 0);
    ck_assert_uint_eq(uco__stack_size_round(UCO__STACK_SIZE_MIN), UCO__STACK_SIZE_MIN * factor);
    ck_assert_uint_eq(uco__stack_size_round(UCO__STACK_SIZE_MIN + 1),
                      UCO__STACK_SIZE_MIN * factor + page());
    ck_assert_uint_eq(uco__stack_size_round(100000),
                      (100000 * factor + page() - 1) / page() * page());
    ck_assert_uint_eq(uco__stack_size_round(UCO__STACK_SIZE_MAX), UCO__STACK_SIZE_MAX * factor);
    ck_assert_uint_eq(uco__stack_size_round(UCO__STACK_SIZE_MAX + 1), 0);
    ck_assert_uint_eq(uco__stack_size_round(SIZE_MAX), 0);
}
END_TEST

START_TEST(there_is_one_pool_a_size)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack_pool *other = uco__stack_pool_get(&stacks, 2 * SIZE);

    ck_assert_ptr_ne(pool, other);
    ck_assert_ptr_eq(uco__stack_pool_get(&stacks, SIZE), pool);
    ck_assert_ptr_eq(uco__stack_pool_get(&stacks, 2 * SIZE), other);
    ck_assert_ptr_eq(take(other)->slab->pool, other);
    ck_assert_ptr_eq(take(pool)->slab->pool, pool);
    ck_assert_ptr_null(uco__stack_take_pooled(pool));
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(every_byte_of_a_stack_can_be_used)
{
    enum { STACKS = 30 };
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *taken[STACKS];

    for (int i = 0; i < STACKS; i++) {
        taken[i] = take(pool);
        ck_assert_uint_eq((uintptr_t) uco__stack_base(taken[i]) % page(), 0);
        ck_assert_uint_le(uco__stack_size(taken[i]), SIZE);
        ck_assert_uint_ge(uco__stack_size(taken[i]), SIZE - 1024);
        for (size_t j = 0; j < uco__stack_size(taken[i]); j++)
            uco__stack_base(taken[i])[j] = (char) i;
    }
    for (int i = 0; i < STACKS; i++) {
        for (size_t j = 0; j < uco__stack_size(taken[i]); j++) {
            if (uco__stack_base(taken[i])[j] != (char) i)
                ck_abort_msg("stacks overlap");
        }
        uco__stack_give_back(taken[i]);
    }
    uco__stacks_done(&stacks);
}
END_TEST

/* As large as may be: the slab is that one stack alone. */
START_TEST(the_largest_stack_there_may_be_is_only_address_space)
{
    size_t size = under_sanitizer() ? (size_t) 32 * 1024 * 1024 : UCO__STACK_SIZE_MAX;
    struct uco__stacks stacks;
    struct uco__stack *stack = take(pool_of(&stacks, size));

    uco__stack_base(stack)[0] = 0;
    uco__stack_base(stack)[uco__stack_size(stack) - 1] = 1;
    ck_assert_uint_eq(stacks.bytes, size + page());
    uco__stack_give_back(stack);
    uco__stacks_done(&stacks);
}
END_TEST

static void
find_all(const struct uco__stacks *stacks, struct uco__stack *stack)
{
    uintptr_t base = (uintptr_t) uco__stack_base(stack);

    ck_assert_ptr_eq(uco__stacks_find(stacks, base), stack);
    ck_assert_ptr_eq(uco__stacks_find(stacks, base + uco__stack_size(stack) - 1), stack);
    ck_assert_ptr_eq(uco__stacks_find(stacks, base - 1), stack);
    ck_assert_ptr_eq(uco__stacks_find(stacks, base - page()), stack);
    ck_assert_ptr_ne(uco__stacks_find(stacks, base - page() - 1), stack);
}

START_TEST(an_address_belongs_to_the_stack_above_its_guard)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *small = pool_of(&stacks, SIZE);
    struct uco__stack_pool *large = uco__stack_pool_get(&stacks, 4 * SIZE);
    struct uco__stack *taken[40];

    ck_assert_ptr_null(uco__stacks_find(&stacks, (uintptr_t) &stacks));
    for (size_t i = 0; i < COUNT(taken); i++)
        taken[i] = take(i % 3 == 0 ? large : small);
    for (size_t i = 0; i < COUNT(taken); i++)
        find_all(&stacks, taken[i]);
    ck_assert_ptr_null(uco__stacks_find(&stacks, 0));
    ck_assert_ptr_null(uco__stacks_find(&stacks, UINTPTR_MAX));
    ck_assert_ptr_null(uco__stacks_find(&stacks, (uintptr_t) &stacks));
    ck_assert_ptr_null(uco__stacks_find(&stacks, (uintptr_t) taken[0]->slab));
    uco__stacks_done(&stacks);
}
END_TEST

/* What no task has been given yet is nobody's. */
START_TEST(a_stack_that_does_not_exist_yet_is_not_found)
{
    struct uco__stacks stacks;
    struct uco__stack *stack = take(pool_of(&stacks, SIZE));

    ck_assert_ptr_null(
        uco__stacks_find(&stacks, (uintptr_t) uco__stack_base(stack) + SIZE + page()));
    uco__stacks_done(&stacks);
}
END_TEST

/* --- reuse --- */

START_TEST(the_stack_given_back_last_is_taken_first)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *taken[6];
    static const int order[] = {3, 0, 5, 1, 4, 2};

    for (size_t i = 0; i < COUNT(taken); i++)
        taken[i] = take(pool);
    for (size_t i = 0; i < COUNT(order); i++)
        uco__stack_give_back(taken[order[i]]);
    for (size_t i = COUNT(order); i-- > 0;)
        ck_assert_ptr_eq(i % 2 == 0 ? take(pool) : uco__stack_take_pooled(pool), taken[order[i]]);
    ck_assert_ptr_null(uco__stack_take_pooled(pool));
    ck_assert_uint_eq(stacks.count, COUNT(taken));
    for (size_t i = 0; i < COUNT(taken); i++)
        uco__stack_give_back(taken[i]);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(the_counts_follow_what_is_taken_and_given_back)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *one, *other;

    ck_assert_ptr_null(uco__stack_take_pooled(pool));
    ck_assert(stacks.count == 0 && uco__stacks_in_use(&stacks) == 0 && stacks.bytes == 0);
    one = take(pool);
    other = take(pool);
    ck_assert(stacks.count == 2 && uco__stacks_in_use(&stacks) == 2);
    ck_assert_uint_ge(stacks.bytes, 2 * (SIZE + page()));
    uco__stack_give_back(one);
    ck_assert(stacks.count == 2 && uco__stacks_in_use(&stacks) == 1);
    ck_assert_ptr_eq(take(pool), one);
    uco__stack_give_back(one);
    uco__stack_give_back(other);
    ck_assert(stacks.count == 2 && uco__stacks_in_use(&stacks) == 0 && stacks.unguarded == 0);
    uco__stacks_done(&stacks);
}
END_TEST

/* Many offsets, so that the hot ends of many stacks do not share a few sets of the cache. */
START_TEST(the_tops_of_stacks_have_different_colours)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    unsigned seen[64] = {0};
    int colours = 0;

    for (int i = 0; i < 64; i++) {
        struct uco__stack *stack = take(pool);
        size_t offset = (uintptr_t) (uco__stack_base(stack) + uco__stack_size(stack)) % 4096;

        ck_assert_uint_eq(offset % 64, 0);
        colours += seen[offset / 64]++ == 0;
    }
    ck_assert_int_ge(colours, 16);
    for (int i = 0; i < 64; i++)
        ck_assert_uint_le(seen[i], 64 / 8);
    uco__stacks_done(&stacks);
}
END_TEST

/* --- giving memory back --- */

static void
take_and_free(int n)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *small = pool_of(&stacks, SIZE);
    struct uco__stack_pool *large = uco__stack_pool_get(&stacks, 4 * SIZE);
    struct uco__stack *last = NULL;
    char *base;

    for (int i = 0; i < n; i++) {
        last = take(i % 3 == 0 ? large : small);
        uco__stack_base(last)[uco__stack_size(last) - 1] = 1;
    }
    base = uco__stack_base(last);
    ck_assert(is_mapped(base));
    uco__stacks_done(&stacks);
    ck_assert(!is_mapped(base));
    ck_assert_ptr_null(stacks.pools);
}

/* _i: with guards of the first choice, by mprotect, without. The first time is for malloc's own
 * growth. */
START_TEST(all_mappings_go_with_the_stacks)
{
    int before;

    if (_i >= 1)
        uco_test_fail("madvise", 1, true, EINVAL);
    if (_i >= 2)
        uco_test_fail("mprotect", 1, true, ENOMEM);
    take_and_free(100);
    before = count_maps();
    for (int i = 0; i < 3; i++)
        take_and_free(100);
    if (!under_sanitizer())
        ck_assert_int_eq(count_maps(), before);
}
END_TEST

/* --- guards --- */

static void
guard_faults(struct uco__stack_pool *pool, enum uco__stack_guard guard)
{
    for (int i = 0; i < 6; i++) {
        struct uco__stack *stack = take(pool);

        ck_assert_int_eq(uco__stack_guard(stack), guard);
        ck_assert_int_eq(write_in_child(uco__stack_base(stack) - 1), SIGSEGV);
        ck_assert_int_eq(write_in_child(uco__stack_base(stack) - page()), SIGSEGV);
        ck_assert_int_eq(write_in_child(uco__stack_base(stack)), 0);
        ck_assert(!uco__stack_overflowed(stack));
    }
    ck_assert_uint_eq(pool->stacks->unguarded, 0);
}

/* qemu-user takes every advice that it does not know for a hint, and says that it was followed. */
static bool
guard_install_is_a_lie(void)
{
    enum { GUARD_INSTALL = 102 }; /* MADV_GUARD_INSTALL, Linux 6.13 */
    char *p = mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool lie;

    ck_assert_ptr_ne(p, MAP_FAILED);
    lie = madvise(p, page(), GUARD_INSTALL) == 0 && write_in_child(p) == 0;
    munmap(p, page());
    return lie;
}

START_TEST(writing_below_a_stack_dies_by_sigsegv)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *stack = take(pool);

    ck_assert_int_ne(uco__stack_guard(stack), UCO__GUARD_NONE);
    if (guard_install_is_a_lie())
        test_skipped("MADV_GUARD_INSTALL succeeds here, and guards nothing");
    else
        guard_faults(pool, uco__stack_guard(stack));
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(a_kernel_without_guard_install_gets_mprotect)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);

    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    guard_faults(pool, UCO__GUARD_PROTECTED);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(without_any_guard_an_overflow_is_seen_afterwards)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *stack;

    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(uco_test_fail("mprotect", 1, true, ENOMEM), 0);
    for (size_t place = 0; place < 64; place += 8) {
        stack = take(pool);
        ck_assert_int_eq(uco__stack_guard(stack), UCO__GUARD_NONE);
        uco__stack_base(stack)[uco__stack_size(stack) - 1] = 1;
        uco__stack_base(stack)[64] = 1;
        ck_assert(!uco__stack_overflowed(stack));
        uco__stack_base(stack)[place] = 1;
        ck_assert(uco__stack_overflowed(stack));
    }
    ck_assert_uint_eq(stacks.unguarded, 8);
    uco_test_fail_off();
    ck_assert_int_ne(uco__stack_guard(take(pool)), UCO__GUARD_NONE);
    ck_assert_uint_eq(stacks.unguarded, 8);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(a_guarded_stack_is_never_called_overflowed)
{
    struct uco__stacks stacks;
    struct uco__stack *stack = take(pool_of(&stacks, SIZE));

    uco__stack_base(stack)[0] = 1;
    ck_assert(!uco__stack_overflowed(stack));
    uco__stack_give_back(stack);
    uco__stacks_done(&stacks);
}
END_TEST

static long
map_count_max(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    long count = 0;

    if (file == NULL || fscanf(file, "%ld", &count) != 1)
        count = 0;
    if (file != NULL)
        fclose(file);
    return count;
}

/* Two mappings each, so that a quarter of the limit is as many as may be made: the rest is for
 * others. */
START_TEST(guards_by_mprotect_leave_half_of_all_mappings)
{
    long most = map_count_max() / 4;
    struct uco__stacks stacks;
    struct uco__stack_pool *pool;

    if (under_sanitizer() || most == 0 || most > 20000)
        return;
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    for (int round = 0; round < 2; round++) {
        pool = pool_of(&stacks, UCO__STACK_SIZE_MIN);
        for (long i = 0; i < most; i++) {
            if (uco__stack_guard(take(pool)) != UCO__GUARD_PROTECTED)
                ck_abort_msg("stack %ld of %ld has no guard", i, most);
        }
        ck_assert_int_eq(uco__stack_guard(take(pool)), UCO__GUARD_NONE);
        ck_assert_int_le(count_maps(), map_count_max() / 2 + 1000);
        uco__stacks_done(&stacks);
    }
}
END_TEST

/* --- no memory --- */

START_TEST(where_there_is_no_room_for_many_stacks_one_will_do)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *stack;

    ck_assert_int_eq(uco_test_fail("mmap", 1, false, ENOMEM), 0);
    stack = take(pool);
    ck_assert_uint_eq(stacks.bytes, SIZE + page());
    ck_assert(stacks.count == 1 && uco__stacks_in_use(&stacks) == 1);
    uco__stack_base(stack)[uco__stack_size(stack) - 1] = 1;
    ck_assert_ptr_ne(take(pool), stack);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(without_memory_there_is_no_stack_and_nothing_is_lost)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);

    /* The first slab fails; then, with all of its stacks in use, the second. */
    for (int round = 0; round < 2; round++) {
        uint64_t before;

        while (stacks.bytes > stacks.count * (SIZE + page()))
            take(pool);
        before = stacks.count;
        ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
        ck_assert_ptr_null(uco__stack_take(pool));
        ck_assert_ptr_null(uco__stack_take(pool));
        ck_assert(stacks.count == before && uco__stacks_in_use(&stacks) == before);
        ck_assert_uint_eq(stacks.bytes, before * (SIZE + page()));
        uco_test_fail_off();
        take(pool);
    }
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(a_pool_needs_memory_and_pooled_stacks_none)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *stack = take(pool);

    uco__stack_give_back(stack);
    ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(uco_test_fail("mprotect", 1, true, ENOMEM), 0);
    ck_assert_ptr_null(uco__stack_pool_get(&stacks, 2 * SIZE));
    ck_assert_ptr_eq(uco__stack_pool_get(&stacks, SIZE), pool);
    ck_assert_ptr_eq(take(pool), stack);
    uco__stack_give_back(stack);
    uco_test_fail_off();
    ck_assert_ptr_nonnull(uco__stack_pool_get(&stacks, 2 * SIZE));
    uco__stacks_done(&stacks);
}
END_TEST

/* The advice against huge pages is only advice. */
START_TEST(a_slab_without_its_advice_is_a_slab)
{
    struct uco__stacks stacks;
    struct uco__stack_pool *pool = pool_of(&stacks, SIZE);
    struct uco__stack *stack;

    ck_assert_int_eq(uco_test_fail("madvise", 1, false, EINVAL), 0);
    stack = take(pool);
    ck_assert_int_ne(uco__stack_guard(stack), UCO__GUARD_NONE);
    uco__stack_give_back(stack);
    uco__stacks_done(&stacks);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stack");
    TCase *tc = case_new(suite, "pools");

    tcase_add_test(tc, sizes_are_rounded_up_to_pages_within_limits);
    tcase_add_test(tc, there_is_one_pool_a_size);
    tcase_add_test(tc, every_byte_of_a_stack_can_be_used);
    tcase_add_test(tc, the_largest_stack_there_may_be_is_only_address_space);
    tcase_add_test(tc, an_address_belongs_to_the_stack_above_its_guard);
    tcase_add_test(tc, a_stack_that_does_not_exist_yet_is_not_found);
    tcase_add_test(tc, the_stack_given_back_last_is_taken_first);
    tcase_add_test(tc, the_counts_follow_what_is_taken_and_given_back);
    tcase_add_test(tc, the_tops_of_stacks_have_different_colours);
    tcase_add_loop_test(tc, all_mappings_go_with_the_stacks, 0, 3);

    tc = case_new(suite, "guards");
    tcase_add_test(tc, writing_below_a_stack_dies_by_sigsegv);
    tcase_add_test(tc, a_kernel_without_guard_install_gets_mprotect);
    tcase_add_test(tc, without_any_guard_an_overflow_is_seen_afterwards);
    tcase_add_test(tc, a_guarded_stack_is_never_called_overflowed);
    tcase_add_test(tc, guards_by_mprotect_leave_half_of_all_mappings);

    tc = case_new(suite, "no memory");
    tcase_add_test(tc, where_there_is_no_room_for_many_stacks_one_will_do);
    tcase_add_test(tc, without_memory_there_is_no_stack_and_nothing_is_lost);
    tcase_add_test(tc, a_pool_needs_memory_and_pooled_stacks_none);
    tcase_add_test(tc, a_slab_without_its_advice_is_a_slab);
    return suite_end(suite);
}
