/* SPDX-License-Identifier: MIT */
/*
 * The intrusive list: each test reads the list forwards and backwards.
 */
#include "../support/support.h"

#include "base/compiler.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

struct letter {
    struct uco__list link;
    char name;
};

static struct letter letters[26];

static struct uco__list *
link_of(char name)
{
    struct letter *letter = &letters[name - 'a'];

    letter->name = name;
    return &letter->link;
}

static void
list_of(struct uco__list *list, const char *names)
{
    uco__list_init(list);
    for (; *names != '\0'; names++)
        uco__list_push_back(list, link_of(*names));
}

static char
name_of(const struct uco__list *link)
{
    return UCO__CONTAINER(link, struct letter, link)->name;
}

/* Not ck_assert, which tells Check's parent each time: that would be most of a random test's time.
 * */
#define MUST(condition) ((condition) ? (void) 0 : ck_abort_msg("not so: %s", #condition))

static void
list_is(const struct uco__list *list, const char *expected)
{
    size_t size = strlen(expected);
    size_t i = 0;

    UCO__LIST_EACH(link, list) {
        MUST(i < size && name_of(link) == expected[i]);
        i++;
    }
    MUST(i == size);
    for (const struct uco__list *link = list->prev; link != list; link = link->prev)
        MUST(name_of(link) == expected[--i]);
    MUST(i == 0);
    MUST(uco__list_empty(list) == (size == 0));
}

START_TEST(a_list_keeps_the_order_of_both_ends)
{
    struct uco__list list;

    uco__list_init(&list);
    list_is(&list, "");
    uco__list_push_back(&list, link_of('b'));
    uco__list_push_back(&list, link_of('c'));
    uco__list_push_front(&list, link_of('a'));
    list_is(&list, "abc");
    uco__list_insert_after(link_of('b'), link_of('x'));
    list_is(&list, "abxc");
}
END_TEST

START_TEST(a_node_can_be_removed_from_any_place_and_more_than_once)
{
    struct uco__list list;
    static const char *const order[] = {"c", "a", "e", "d", "b"};
    static const char *const left[] = {"abde", "bde", "bd", "b", ""};

    list_of(&list, "abcde");
    for (size_t i = 0; i < COUNT(order); i++) {
        uco__list_remove(link_of(order[i][0]));
        list_is(&list, left[i]);
        uco__list_remove(link_of(order[i][0]));
        list_is(&list, left[i]);
    }
}
END_TEST

START_TEST(pop_takes_the_oldest_and_null_from_an_empty_list)
{
    struct uco__list list;

    list_of(&list, "abc");
    for (char name = 'a'; name <= 'c'; name++) {
        struct uco__list *link = uco__list_pop_front(&list);

        ck_assert_int_eq(name_of(link), name);
        ck_assert(uco__list_empty(link));
    }
    ck_assert_ptr_null(uco__list_pop_front(&list));
    list_is(&list, "");
}
END_TEST

START_TEST(splice_moves_all_to_the_end_and_leaves_an_empty_list)
{
    static const char *const cases[][3] = {
        {"", "", ""},     {"ab", "", "ab"},         {"", "cd", "cd"},
        {"a", "b", "ab"}, {"abc", "def", "abcdef"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uco__list to, from;

        list_of(&to, cases[i][0]);
        list_of(&from, cases[i][1]);
        uco__list_splice(&to, &from);
        list_is(&to, cases[i][2]);
        list_is(&from, "");
        uco__list_push_back(&from, link_of('z'));
        list_is(&from, "z");
        list_is(&to, cases[i][2]);
    }
}
END_TEST

START_TEST(the_safe_loop_allows_its_node_to_go)
{
    struct uco__list list, others;

    list_of(&list, "abcdef");
    uco__list_init(&others);
    UCO__LIST_EACH_SAFE(link, &list) {
        if ((name_of(link) - 'a') % 2 == 0) {
            uco__list_remove(link);
            uco__list_push_back(&others, link);
        }
    }
    list_is(&list, "bdf");
    list_is(&others, "ace");
}
END_TEST

/* The model is a string. */
START_TEST(random_changes_agree_with_a_string)
{
    struct uco__list list;
    char model[32] = "";
    int rounds = scaled(100000);

    srand(1);
    uco__list_init(&list);
    while (rounds-- > 0) {
        char name = (char) ('a' + rand() % 26);
        char *place = strchr(model, name);

        if (place != NULL) {
            uco__list_remove(link_of(name));
            memmove(place, place + 1, strlen(place));
        } else if (rand() % 2 == 0) {
            uco__list_push_back(&list, link_of(name));
            memcpy(model + strlen(model), (char[2]){name}, 2);
        } else {
            uco__list_push_front(&list, link_of(name));
            memmove(model + 1, model, strlen(model) + 1);
            model[0] = name;
        }
        list_is(&list, model);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("list");
    TCase *tc = case_new(suite, "list");

    tcase_add_test(tc, a_list_keeps_the_order_of_both_ends);
    tcase_add_test(tc, a_node_can_be_removed_from_any_place_and_more_than_once);
    tcase_add_test(tc, pop_takes_the_oldest_and_null_from_an_empty_list);
    tcase_add_test(tc, splice_moves_all_to_the_end_and_leaves_an_empty_list);
    tcase_add_test(tc, the_safe_loop_allows_its_node_to_go);
    tcase_add_test(tc, random_changes_agree_with_a_string);
    return suite_end(suite);
}
