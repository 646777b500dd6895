/* SPDX-License-Identifier: MIT */

/*
 * Signals: from the process to its loops.
 *
 * 1. The handler takes no lock, allocates nothing and keeps errno. It finds the loops in a list
 *    that only grows.
 * 2. While a port's `handlers` is not zero its loop stays: who gives the port back clears `wanted`
 *    first and then waits for zero. A handler counts itself and then looks at `wanted` again. All
 *    of this is sequentially consistent, so at least one of the two sees the other.
 * 3. A signal's handler is installed only while a loop wants the signal: the bit is set before, and
 *    cleared after the old action is back. A handler that finds nobody has been overtaken by that,
 *    and hands the signal on to the old action.
 * 4. `kinds` and the ports' `loop` change under the mutex, which no handler takes.
 */

#include "core/signals.h"

#include "base/system.h"
#include "core/loop.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#define SIGNALS_MAX 64
#define SIGNALS_CLASSIC 31 /* above them are real-time signals, of which libc keeps the first */

/* Of one signal. */
struct kind {
    struct sigaction before; /* what was in place; meaningful while loops want it */
    unsigned loops;          /* that want it */
    /* For handlers that find nobody: `before`'s handler, and whether it came back since the last of
     * them did. */
    _Atomic(void (*)(int)) handler_before;
    atomic_bool restored;
};

static pthread_mutex_t signals_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct uco__signal_port *) signals_ports;
static struct kind kinds[SIGNALS_MAX + 1];

bool
uco__signals_can_want(int signo)
{
    switch (signo) {
    case SIGKILL:
    case SIGSTOP:
    case SIGILL:
    case SIGTRAP:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS:
        return false;
    default:
        return signo >= 1 && signo <= SIGNALS_MAX && signo <= SIGRTMAX &&
               (signo <= SIGNALS_CLASSIC || signo >= SIGRTMIN);
    }
}

/* --- the handler --- */

/* The old action came back while this handler was on its way. But a program may also call it from a
 * handler of its own, which has had the signal then, and would be called again for ever: so it is
 * sent once for each time that the old action comes back. For several that were on their way that
 * is enough, as signals merge. */
static void
signals_hand_on(int signo)
{
    struct sigaction now;

    if (atomic_exchange(&kinds[signo].restored, false) &&
        UCO__RESULT(sigaction(signo, NULL, &now)) == 0 &&
        now.sa_handler == atomic_load(&kinds[signo].handler_before))
        UCO__RESULT(kill(getpid(), signo));
}

static void
signals_handle(int signo)
{
    uint64_t bit = uco__signal_bit(signo);
    bool told = false;

    for (struct uco__signal_port *port = atomic_load(&signals_ports); port != NULL;
         port = port->next) {
        if ((atomic_load(&port->wanted) & bit) == 0)
            continue;
        atomic_fetch_add(&port->handlers, 1);
        if ((atomic_load(&port->wanted) & bit) != 0) {
            atomic_fetch_or(&port->arrived, bit);
            uco__loop_ring(port->loop);
            told = true;
        }
        atomic_fetch_sub(&port->handlers, 1);
    }
    if (!told)
        signals_hand_on(signo);
}

/* --- installing, with the mutex --- */

static int
kind_install(int signo)
{
    struct sigaction ours = {.sa_handler = signals_handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction before;
    long r;

    sigfillset(&ours.sa_mask);
    r = UCO__SYSTEM(sigaction, sigaction(signo, &ours, &before));
    if (r < 0)
        return (int) r;
    atomic_store(&kinds[signo].restored, false);
    if (before.sa_handler == signals_handle)
        return 0;
    kinds[signo].before = before;
    atomic_store(&kinds[signo].handler_before, before.sa_handler);
    return 0;
}

static void
kind_restore(int signo)
{
    struct sigaction now;

    if (UCO__RESULT(sigaction(signo, NULL, &now)) < 0 || now.sa_handler != signals_handle)
        return;
    UCO__RESULT(sigaction(signo, &kinds[signo].before, NULL));
    atomic_store(&kinds[signo].restored, true);
}

/* No handler looks at the port any more that has seen what was wanted before. */
static void
port_settle(struct uco__signal_port *port)
{
    while (atomic_load(&port->handlers) != 0)
        sched_yield();
}

/* --- fork: the child's signals are as they were before any loop wanted one --- */

static sigset_t fork_mask; /* of the forking thread; with the mutex */

/* What comes to the child before that is so waits there until it is. */
static void
fork_prepare(void)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&signals_mutex);
    fork_mask = before;
}

static void
fork_end(void)
{
    sigset_t before = fork_mask;

    pthread_mutex_unlock(&signals_mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
fork_child(void)
{
    for (int signo = 1; signo <= SIGNALS_MAX; signo++) {
        if (kinds[signo].loops == 0)
            continue;
        kind_restore(signo);
        kinds[signo].loops = 0;
    }
    for (struct uco__signal_port *port = atomic_load(&signals_ports); port != NULL;
         port = port->next) {
        atomic_store(&port->wanted, 0);
        atomic_store(&port->arrived, 0);
        atomic_store(&port->handlers, 0); /* those that were looking are in the parent */
        port->loop = NULL;
    }
    fork_end();
}

static void
process_setup(void)
{
    pthread_atfork(fork_prepare, fork_end, fork_child);
}

/* --- what loops want --- */

static struct uco__signal_port *
port_find_free(void)
{
    struct uco__signal_port *port = atomic_load(&signals_ports);

    while (port != NULL && port->loop != NULL)
        port = port->next;
    return port;
}

struct uco__signal_port *
uco__signals_port(struct uco_loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct uco__signal_port *port;

    if (loop->signal_port != NULL)
        return loop->signal_port;
    pthread_once(&once, process_setup);
    pthread_mutex_lock(&signals_mutex);
    port = port_find_free();
    if (port == NULL) {
        port = uco__allocate(sizeof *port);
        if (port != NULL) {
            uco__ledger_keep(port); /* a handler may run at any time: the next loop gets it */
            port->next = atomic_load(&signals_ports);
            atomic_store(&signals_ports, port);
        }
    }
    if (port != NULL) {
        port->loop = loop;
        port->deliver = NULL;
        port->close = NULL;
        uco__list_init(&port->entries);
        loop->signal_port = port;
    }
    pthread_mutex_unlock(&signals_mutex);
    return port;
}

int
uco__signals_want(struct uco__signal_port *port, int signo)
{
    uint64_t bit = uco__signal_bit(signo);
    bool had;
    int r;

    pthread_mutex_lock(&signals_mutex);
    had = (atomic_fetch_or(&port->wanted, bit) & bit) != 0;
    /* Also when loops want it already: somebody may have put a handler of his own in place. */
    r = kind_install(signo);
    if (r < 0 && !had) {
        atomic_fetch_and(&port->wanted, ~bit);
        port_settle(port);
        atomic_fetch_and(&port->arrived, ~bit);
    }
    kinds[signo].loops += r == 0 && !had;
    pthread_mutex_unlock(&signals_mutex);
    return r;
}

void
uco__signals_unwant(struct uco__signal_port *port, int signo, bool unseen)
{
    uint64_t bit = uco__signal_bit(signo);
    bool last;

    pthread_mutex_lock(&signals_mutex);
    last = kinds[signo].loops-- == 1;
    if (last)
        kind_restore(signo);
    atomic_fetch_and(&port->wanted, ~bit);
    port_settle(port);
    unseen |= (atomic_fetch_and(&port->arrived, ~bit) & bit) != 0;
    pthread_mutex_unlock(&signals_mutex);
    if (last && unseen)
        UCO__RESULT(kill(getpid(), signo));
}

void
uco__signals_deliver(struct uco_loop *loop)
{
    struct uco__signal_port *port = loop->signal_port;
    uint64_t arrived;

    if (port == NULL)
        return;
    arrived = atomic_exchange(&port->arrived, 0);
    if (arrived != 0)
        port->deliver(port, arrived);
}

void
uco__signals_close(struct uco_loop *loop)
{
    struct uco__signal_port *port = loop->signal_port;

    if (port == NULL)
        return;
    if (port->close != NULL)
        port->close(port);
    loop->signal_port = NULL;
    pthread_mutex_lock(&signals_mutex);
    port->loop = NULL;
    pthread_mutex_unlock(&signals_mutex);
}

/* --- for uco_run() --- */

bool
uco__signals_take_default(int signo, void (*handler)(int))
{
    struct kind *kind = &kinds[signo];
    bool taken;

    pthread_mutex_lock(&signals_mutex);
    taken = uco__signal_take(signo, handler);
    if (!taken && kind->loops > 0 && kind->before.sa_handler == SIG_DFL) {
        /* As it would be had the loop come second: it is there when the loop's interest ends. */
        kind->before = (struct sigaction){
            .sa_handler = handler, .sa_flags = (int) (SA_RESTART | SA_RESETHAND | SA_ONSTACK)};
        atomic_store(&kind->handler_before, handler);
        taken = true;
    }
    pthread_mutex_unlock(&signals_mutex);
    return taken;
}

void
uco__signals_give_default(int signo, void (*handler)(int))
{
    struct kind *kind = &kinds[signo];

    pthread_mutex_lock(&signals_mutex);
    uco__signal_default(signo, handler);
    if (kind->loops > 0 && kind->before.sa_handler == handler) {
        kind->before = (struct sigaction){.sa_handler = SIG_DFL};
        atomic_store(&kind->handler_before, SIG_DFL);
    }
    pthread_mutex_unlock(&signals_mutex);
}
