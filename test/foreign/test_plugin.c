/* SPDX-License-Identifier: MIT */
/* A C program that loads C++ code after its first loop has run: exceptions are kept apart there,
 * too. */
#include "death.h"

#include <dlfcn.h>
#include <string.h>

static int (*plugin_rethrows)(int (*between)(void), const char *text, char *caught, size_t size);

static int
sleeps_a_little(void)
{
    return uco_sleep(0.001);
}

static intptr_t
rethrows(void *arg)
{
    char caught[32];

    ck_assert_int_eq(plugin_rethrows(uco_yield, arg, caught, sizeof caught), 0);
    ck_assert_str_eq(caught, arg);
    ck_assert_int_eq(plugin_rethrows(sleeps_a_little, arg, caught, sizeof caught), 0);
    ck_assert_str_eq(caught, arg);
    return 0;
}

static intptr_t
several_rethrow(void *arg)
{
    static char texts[][8] = {"one", "two", "three"};
    uco_task *tasks[COUNT(texts)];

    (void) arg;
    for (size_t i = 0; i < COUNT(texts); i++)
        tasks[i] = uco_create_task(rethrows, texts[i]);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(exceptions_of_code_that_was_loaded_later_are_kept_apart)
{
    void *plugin;

    ck_assert_int_eq(run_virtual(body_return, NULL), 0);
    plugin = dlopen(TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    *(void **) &plugin_rethrows = dlsym(plugin, "plugin_rethrows");
    ck_assert(plugin_rethrows != NULL);
    run_in_all_orders(several_rethrow, NULL);
    ck_assert_int_eq(dlclose(plugin), 0);
    ck_assert_int_eq(run_virtual(body_return, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("plugin");
    TCase *tcase = case_new(suite, "plugin");

    tcase_add_test(tcase, exceptions_of_code_that_was_loaded_later_are_kept_apart);
    return suite_end(suite);
}
