/* SPDX-License-Identifier: MIT */

/*
 * A program that hangs, and a dump that says why.
 *
 * Two tasks take two locks crosswise, one waits for a peer that will never answer, and one puts
 * into a queue that nobody empties. After a moment the program looks at itself: uco_dump() shows
 * each of these. It checks that, and ends.
 *
 * With an argument it goes on hanging, for you to look at it: `UCO_DEBUG=1 hung stay`, and Ctrl-\
 * shows the same. Ctrl-C ends it.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <uco/uco.h>
#include <unistd.h>

#define START(task, fn, arg)                                                                       \
    uco_create_task_with((&(uco_task_options){.name = (task)}), (fn), (arg))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct shop {
    uco_lock till, stock;
    uco_queue *orders; /* of int */
    int bank;          /* a socket */
};

static intptr_t
take_both(uco_lock *first, uco_lock *second)
{
    int r = uco_lock_acquire(first);

    if (r < 0)
        return r;
    uco_sleep(0.1);
    r = uco_lock_acquire(second);
    if (r == 0)
        uco_lock_release(second);
    uco_lock_release(first);
    return r;
}

static intptr_t
sell(void *arg)
{
    struct shop *shop = arg;

    return take_both(&shop->till, &shop->stock);
}

static intptr_t
restock(void *arg)
{
    struct shop *shop = arg;

    return take_both(&shop->stock, &shop->till);
}

static intptr_t
ask_bank(void *arg)
{
    const struct shop *shop = arg;
    char answer[100];

    return uco_read(shop->bank, answer, sizeof answer);
}

static intptr_t
order(void *arg)
{
    struct shop *shop = arg;
    int r = 0;

    for (int number = 1; r == 0; number++)
        r = uco_queue_put(shop->orders, &number);
    return r;
}

/* The dump, also as a string. */
static const char *
look(void)
{
    static char text[8192];
    int fd = memfd_create("dump", MFD_CLOEXEC);
    ssize_t n = -1;

    if (fd >= 0 && uco_dump(uco_get_running_loop(), fd) == 0)
        n = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    fputs(text, stdout);
    return text;
}

static int
check(const char *text)
{
    static const char *const facts[] = {
        "task 'seller' (",         "task 'storekeeper' (", "waits for a lock (",
        "a circle, in which each", "to be readable",       "waits for room in a queue (",
        "full: 3 of 3)",
    };
    int missing = 0;

    for (size_t i = 0; i < COUNT(facts); i++) {
        if (strstr(text, facts[i]) == NULL) {
            fprintf(stderr, "the dump does not say: %s\n", facts[i]);
            missing++;
        }
    }
    return missing;
}

static intptr_t
open_shop(void *stay)
{
    struct shop shop = {.orders = uco_queue_new(sizeof(int), 3)};
    int line[2], missing;
    uco_task *tasks[4];

    if (shop.orders == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, line) < 0)
        return -EIO;
    shop.bank = line[0];
    tasks[0] = START("seller", sell, &shop);
    tasks[1] = START("storekeeper", restock, &shop);
    tasks[2] = START("accountant", ask_bank, &shop);
    tasks[3] = START("buyer", order, &shop);
    uco_sleep(0.5);
    missing = check(look());
    if (stay != NULL)
        uco_gather_all(tasks, COUNT(tasks), NULL);
    for (size_t i = 0; i < COUNT(tasks); i++)
        uco_cancel(tasks[i]);
    uco_gather_all(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    uco_queue_free(shop.orders);
    uco_close(line[0]);
    close(line[1]);
    return missing;
}

int
main(int argc, char *argv[])
{
    return uco_run(open_shop, argc > 1 ? argv[1] : NULL) == 0 ? 0 : 1;
}
