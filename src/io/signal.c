/* SPDX-License-Identifier: MIT */

/*
 * Signals in a loop: tasks that wait for them, and callbacks.
 *
 * 1. An entry stands for a loop's interest in one signal. It lives while there is a callback, or
 *    once signals are remembered; core/signals.c wants the signal for just as long.
 * 2. An entry whose callback stands in the run queue is freed when its turn comes.
 */

#include "base/system.h"
#include "core/dump.h"
#include "core/loop.h"
#include "core/report.h"
#include "core/signals.h"
#include "task/task.h"

#include <uco/signal.h>

struct signal_entry {
    struct uco__list link; /* in the port's */
    struct uco_loop *loop;
    int signo;
    bool waited;            /* signals between two waits are remembered */
    bool remembered;        /* one came, and nobody waited */
    bool unseen;            /* one came, and neither a wait nor the callback has had it yet */
    bool retired;           /* waits for its turn in the run queue, to be freed */
    bool queued;            /* `ready` is */
    struct uco__list waits; /* struct signal_wait */
    uco_callback *callback; /* NULL: none */
    void *arg;
    struct uco__ready ready;
};

struct signal_wait {
    struct uco__list link;
    struct uco__wait wait;
    int signo;
};

/* --- what has come --- */

static void
entry_run(struct uco__ready *node)
{
    struct signal_entry *entry = UCO__CONTAINER(node, struct signal_entry, ready);

    entry->queued = false;
    if (entry->retired) {
        uco__free(entry);
    } else if (entry->callback != NULL && !entry->loop->dropping) {
        entry->unseen = false;
        entry->callback(entry->arg);
    }
}

static void
entry_arrived(struct signal_entry *entry)
{
    struct uco__list *link;

    entry->unseen = uco__list_empty(&entry->waits);
    entry->remembered |= entry->unseen && entry->waited;
    while ((link = uco__list_pop_front(&entry->waits)) != NULL)
        uco__wake(&UCO__CONTAINER(link, struct signal_wait, link)->wait, 0);
    if (entry->callback != NULL && !entry->queued) {
        entry->queued = true;
        uco__scheduler_call(entry->loop, &entry->ready);
    }
}

static void
signal_deliver(struct uco__signal_port *port, uint64_t arrived)
{
    UCO__LIST_EACH(link, &port->entries) {
        struct signal_entry *entry = UCO__CONTAINER(link, struct signal_entry, link);

        if ((arrived & uco__signal_bit(entry->signo)) != 0)
            entry_arrived(entry);
    }
}

/* --- interest --- */

/* Frees the entry, if neither a callback nor waits need it any more. */
static void
entry_drop(struct signal_entry *entry)
{
    if (entry->waited || entry->callback != NULL)
        return;
    uco__list_remove(&entry->link);
    uco__signals_unwant(entry->loop->signal_port, entry->signo, entry->unseen);
    entry->retired = true;
    if (!entry->queued)
        uco__free(entry);
}

static void
entry_end_callback(struct signal_entry *entry)
{
    entry->callback = NULL;
    entry->loop->sleepers--;
    entry_drop(entry);
}

static void
entry_end_waits(struct signal_entry *entry)
{
    entry->waited = false;
    entry->remembered = false;
    entry_drop(entry);
}

/* The loop closes: no task is left. */
static void
signal_close(struct uco__signal_port *port)
{
    UCO__LIST_EACH_SAFE(link, &port->entries) {
        struct signal_entry *entry = UCO__CONTAINER(link, struct signal_entry, link);

        entry->waited = false;
        entry->callback = NULL;
        entry_drop(entry);
    }
}

/* NULL when the loop has no interest in it. */
static struct signal_entry *
entry_find(const struct uco_loop *loop, int signo)
{
    if (loop->signal_port == NULL)
        return NULL;
    UCO__LIST_EACH(link, &loop->signal_port->entries) {
        struct signal_entry *entry = UCO__CONTAINER(link, struct signal_entry, link);

        if (entry->signo == signo)
            return entry;
    }
    return NULL;
}

/* With neither a callback nor waits yet. NULL, and the error in *error. */
static struct signal_entry *
entry_new(struct uco_loop *loop, int signo, int *error)
{
    struct uco__signal_port *port = uco__signals_port(loop);
    struct signal_entry *entry;

    *error = -ENOMEM;
    if (port == NULL)
        return NULL;
    port->deliver = signal_deliver;
    port->close = signal_close;
    entry = uco__allocate(sizeof *entry);
    if (entry == NULL)
        return NULL;
    *error = uco__signals_want(port, signo);
    if (*error < 0) {
        uco__free(entry);
        return NULL;
    }
    entry->loop = loop;
    entry->signo = signo;
    entry->ready.run = entry_run;
    uco__list_init(&entry->waits);
    uco__list_push_back(&port->entries, &entry->link);
    return entry;
}

static int
entry_get(struct uco_loop *loop, int signo, struct signal_entry **entry)
{
    int error;

    *entry = entry_find(loop, signo);
    if (*entry != NULL)
        return 0;
    if (loop->ending)
        return -ESHUTDOWN;
    *entry = entry_new(loop, signo, &error);
    return *entry != NULL ? 0 : error;
}

/* --- waiting --- */

static enum uco__abort
signal_wait_abort(struct uco__wait *wait)
{
    uco__list_remove(&UCO__CONTAINER(wait, struct signal_wait, wait)->link);
    return UCO__UNLINKED;
}

static bool
signal_wait_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct signal_wait self;

    if (!UCO__DUMP_READ_AROUND(dump, &self, wait, struct signal_wait, wait))
        return false;
    uco__dump_text(dump, "signal ");
    uco__dump_number(dump, (uint64_t) self.signo);
    return true;
}

static UCO__WAIT_KIND(wait_signal, "a signal", signal_wait_describe);

static int
entry_wait(struct signal_entry *entry)
{
    struct uco_loop *loop = entry->loop;
    struct signal_wait self;
    intptr_t r;

    entry->waited = true;
    if (entry->remembered) {
        entry->remembered = false;
        entry->unseen = false;
        return 0;
    }
    self.signo = entry->signo;
    uco__wait_init(&self.wait, &wait_signal, signal_wait_abort);
    uco__list_push_back(&entry->waits, &self.link);
    loop->sleepers++;
    r = uco__task_park(uco__task_of_fiber(self.wait.fiber), &self.wait);
    loop->sleepers--;
    return r == UCO__INTERRUPTED ? -ECANCELED : 0;
}

int
uco_signal_wait(int signo)
{
    struct signal_entry *entry;
    int r = uco__checkpoint();

    if (r == -EPERM || r == -ESTALE)
        return r;
    if (!uco__signals_can_want(signo))
        return uco__misuse(-EINVAL, "uco_signal_wait: signal %d cannot be waited for", signo);
    if (r < 0)
        return r;
    r = entry_get(uco__running, signo, &entry);
    return r < 0 ? r : entry_wait(entry);
}

int
uco_signal_remember(int signo)
{
    struct signal_entry *entry;
    struct uco_loop *loop;
    int r;

    if (!uco__signals_can_want(signo))
        return uco__misuse(-EINVAL, "uco_signal_remember: signal %d cannot be waited for", signo);
    loop = uco__loop_current(&r);
    if (loop == NULL)
        return uco__misuse(r, "uco_signal_remember: outside a running loop");
    r = entry_get(loop, signo, &entry);
    if (r == 0)
        entry->waited = true;
    return r;
}

int
uco_signal_forget(int signo)
{
    struct signal_entry *entry;
    struct uco_loop *loop;
    int error;

    if (!uco__signals_can_want(signo))
        return uco__misuse(-EINVAL, "uco_signal_forget: signal %d cannot be waited for", signo);
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "uco_signal_forget: outside a running loop");
    entry = entry_find(loop, signo);
    if (entry == NULL || !entry->waited)
        return -ENOENT;
    if (!uco__list_empty(&entry->waits))
        return -EBUSY;
    entry_end_waits(entry);
    return 0;
}

/* --- callbacks --- */

int
uco_loop_add_signal_handler(uco_loop *loop, int signo, uco_callback *cb, void *arg)
{
    struct signal_entry *entry;
    int r;

    if (loop == NULL || cb == NULL)
        return uco__misuse(-EINVAL, "a signal handler needs a loop and a callback");
    if (!uco__signals_can_want(signo))
        return uco__misuse(-EINVAL, "uco_loop_add_signal_handler: signal %d cannot be handled",
                           signo);
    r = uco__loop_check(loop);
    if (r < 0)
        return r;
    r = entry_get(loop, signo, &entry);
    if (r < 0)
        return r;
    /* Whatever handler somebody may have put in place since the loop's first interest. */
    r = uco__signals_want(loop->signal_port, signo);
    if (r < 0) {
        entry_drop(entry);
        return r;
    }
    loop->sleepers += entry->callback == NULL;
    entry->callback = cb;
    entry->arg = arg;
    return 0;
}

int
uco_loop_remove_signal_handler(uco_loop *loop, int signo)
{
    struct signal_entry *entry;
    int r;

    if (loop == NULL || !uco__signals_can_want(signo))
        return uco__misuse(-EINVAL, "uco_loop_remove_signal_handler: no loop, or no such signal");
    r = uco__loop_check(loop);
    if (r < 0)
        return r;
    entry = entry_find(loop, signo);
    if (entry == NULL || entry->callback == NULL)
        return -ENOENT;
    entry_end_callback(entry);
    return 0;
}
