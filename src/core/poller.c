/* SPDX-License-Identifier: MIT */

/*
 * The table of file descriptors.
 *
 * 1. A direction of an fd has a wait, a watcher or neither.
 * 2. An fd is registered for exactly what its waits and watchers want: level-triggered if it has a
 *    watcher, else edge-triggered; and an edge that nobody waits for is nothing: the next call
 *    tries first.
 * 3. Each wait sets the registration again: that finds out when the fd was closed behind our back
 *    and its number given to something else. A wait for a known fd trusts the registration that is
 *    there, which then stays for all that was ever wanted. If it was wrong to, a later check finds
 *    that out: nobody closes uco's fds behind its back but by mistake, and a mistake must not hang.
 * 4. A known fd is `drained` only while it is registered for reading: from the read that left
 *    nothing over on, what arrives is an event.
 * 5. An event whose generation is not the fd's is from an earlier registration, and dropped. If
 *    such events go on coming (a closed fd lives on in a dup, and can no longer be taken out by its
 *    number), the whole set is made anew.
 */

#include "core/poller.h"

#include "base/system.h"

#include <fcntl.h>
#include <string.h>

#define FDS_FIRST 64
#define STRAY_MAX 16 /* stray events in a row after which the set is made anew */

#define READ_EVENTS (POLLIN | POLLPRI | POLLRDHUP)
/* From these on, a read may leave something over without there being another event. */
#define ENDED_EVENTS (POLLPRI | POLLRDHUP | POLLHUP | POLLERR)

int
uco__poller_init(struct uco__poller *poller, const struct uco__poller_backend *backend,
                 int doorbell, struct uco__ready_queue *ready)
{
    *poller = (struct uco__poller){.backend = backend, .handle = -1, .ready = ready};
    return backend->open(poller, doorbell);
}

void
uco__poller_done(struct uco__poller *poller)
{
    poller->backend->close(poller);
    uco__free(poller->fds);
    poller->fds = NULL;
    poller->capacity = 0;
}

static int
fds_grow(struct uco__poller *poller, int fd)
{
    size_t capacity = poller->capacity != 0 ? poller->capacity : FDS_FIRST;
    struct uco__fd *fds;

    if (fd < 0)
        return -EBADF;
    if ((size_t) fd < poller->capacity)
        return 0;
    if (UCO__RESULT(fcntl(fd, F_GETFD)) < 0)
        return -EBADF; /* before a table is made that is large enough for it */
    while (capacity <= (size_t) fd)
        capacity *= 2;
    fds = uco__reallocate(poller->fds, capacity * sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    memset(fds + poller->capacity, 0, (capacity - poller->capacity) * sizeof *fds);
    poller->fds = fds;
    poller->capacity = capacity;
    return 0;
}

static struct uco__fd *
fd_find(struct uco__poller *poller, int fd)
{
    return fd >= 0 && (size_t) fd < poller->capacity ? &poller->fds[fd] : NULL;
}

static bool
wants(short events, enum uco__direction direction)
{
    return (events & (direction == UCO__READER ? READ_EVENTS : POLLOUT)) != 0;
}

static void
watcher_notify(struct uco__poller *poller, struct uco__fd_watcher *watcher, short seen)
{
    watcher->seen |= seen;
    if (!watcher->queued)
        uco__ready_queue_push(poller->ready, &watcher->ready);
    watcher->queued = true;
}

/* A wait for neither direction (only errors and hang-ups) stands with the readers. */
static bool
wait_wants(const struct uco__fd_wait *wait, enum uco__direction direction)
{
    return wants(wait->events, direction) ||
           (direction == UCO__READER && !wants(wait->events, UCO__WRITER));
}

static bool
fd_has_watcher(const struct uco__fd *entry)
{
    return entry->watchers[UCO__READER] != NULL || entry->watchers[UCO__WRITER] != NULL;
}

static short
fd_interest(const struct uco__fd *entry)
{
    short interest = 0;

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->waits[i] != NULL)
            interest |= entry->waits[i]->events;
        if (entry->watchers[i] != NULL)
            interest |= (short) (i == UCO__READER ? POLLIN : POLLOUT);
    }
    return interest;
}

/* What it is to be registered for. Of a known fd it is also told when the other side has ended, and
 * interest stays: it will be there again. */
static short
fd_wish(const struct uco__fd *entry, bool level)
{
    short wish = fd_interest(entry);

    if (!entry->known || level)
        return wish;
    if (entry->registered && !entry->level)
        wish |= entry->interest;
    return wish | POLLPRI | POLLRDHUP;
}

static int
fd_apply(struct uco__poller *poller, int fd, short interest, bool level)
{
    struct uco__fd *entry = &poller->fds[fd];

    if (!entry->registered)
        entry->generation++;
    return poller->backend->set(poller, fd, entry->generation, interest, level);
}

/* Tells the kernel what the entry now wants. What we know of its registration may be wrong: the fd
 * was closed behind our back (ENOENT), or could not be taken out (EEXIST). */
static int
fd_register(struct uco__poller *poller, int fd)
{
    struct uco__fd *entry = &poller->fds[fd];
    bool level = fd_has_watcher(entry);
    short wish = fd_wish(entry, level);
    int r = fd_apply(poller, fd, wish, level);

    if (r == (entry->registered ? -ENOENT : -EEXIST)) {
        entry->registered = !entry->registered;
        entry->drained = false;
        r = fd_apply(poller, fd, wish, level);
    }
    if (r == 0) {
        entry->registered = true;
        entry->level = level;
        entry->interest = wish;
        entry->age = UCO__FD_CHECKED;
    }
    return r; /* on an error what was registered before still is */
}

static void
fd_unregister(struct uco__poller *poller, int fd)
{
    struct uco__fd *entry = &poller->fds[fd];

    if (entry->registered)
        poller->backend->remove(poller, fd);
    entry->registered = false;
    entry->level = false;
    entry->drained = false;
}

/* Whether the registration that is there will do for what is now wanted. */
static bool
fd_is_trusted(struct uco__poller *poller, struct uco__fd *entry)
{
    if (!entry->known || !entry->registered || entry->level || entry->interest == 0 ||
        (fd_interest(entry) & ~entry->interest) != 0)
        return false;
    entry->age = UCO__FD_FRESH;
    poller->trusting = true;
    return true;
}

/* After interest went away. An edge registration may stay, if the backend lets it. */
static void
fd_relax(struct uco__poller *poller, int fd)
{
    struct uco__fd *entry = &poller->fds[fd];
    bool wanted = fd_has_watcher(entry) || entry->waits[UCO__READER] != NULL ||
                  entry->waits[UCO__WRITER] != NULL;

    if (!entry->registered)
        return;
    if (!entry->level) {
        if (!wanted && poller->backend->relax != NULL)
            poller->backend->relax(poller, fd);
    } else if (wanted) {
        fd_register(poller, fd); /* at worst it stays registered for too much */
    } else {
        fd_unregister(poller, fd);
    }
}

static void wait_end(struct uco__poller *poller, struct uco__fd_wait *wait, int result);

/* The fd could not be registered, and is not: nobody will hear of it, so whoever waits is told now.
 * Watchers are called as for an error. */
static void
fd_lost(struct uco__poller *poller, int fd, int error)
{
    struct uco__fd *entry = &poller->fds[fd];

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->waits[i] != NULL)
            wait_end(poller, entry->waits[i], error);
        if (entry->watchers[i] != NULL)
            watcher_notify(poller, entry->watchers[i], POLLERR);
    }
}

int
uco__poller_wait(struct uco__poller *poller, struct uco__fd_wait *wait)
{
    struct uco__fd *entry;
    int r = fds_grow(poller, wait->fd);

    if (r < 0)
        return r;
    entry = &poller->fds[wait->fd];
    for (enum uco__direction i = 0; i < UCO__DIRECTIONS; i++) {
        if (wait_wants(wait, i) && (entry->waits[i] != NULL || entry->watchers[i] != NULL))
            return -EBUSY;
    }
    for (enum uco__direction i = 0; i < UCO__DIRECTIONS; i++) {
        if (wait_wants(wait, i))
            entry->waits[i] = wait;
    }
    wait->linked = true;
    poller->waiting++;
    if (UCO__LIKELY(fd_is_trusted(poller, entry)))
        return 0;
    r = fd_register(poller, wait->fd);
    if (r < 0) {
        uco__poller_unwait(poller, wait);
        if (!entry->registered)
            fd_lost(poller, wait->fd, r);
    }
    return r;
}

static void
wait_unlink(struct uco__poller *poller, struct uco__fd_wait *wait)
{
    struct uco__fd *entry = &poller->fds[wait->fd];

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->waits[i] == wait)
            entry->waits[i] = NULL;
    }
    wait->linked = false;
    poller->waiting--;
}

void
uco__poller_unwait(struct uco__poller *poller, struct uco__fd_wait *wait)
{
    if (!wait->linked)
        return;
    wait_unlink(poller, wait);
    fd_relax(poller, wait->fd);
}

int
uco__poller_watch(struct uco__poller *poller, struct uco__fd_watcher *watcher)
{
    struct uco__fd *entry;
    int r = fds_grow(poller, watcher->fd);

    if (r < 0)
        return r;
    entry = &poller->fds[watcher->fd];
    for (enum uco__direction i = 0; i < UCO__DIRECTIONS; i++) {
        if (wants(watcher->events, i) && (entry->waits[i] != NULL || entry->watchers[i] != NULL))
            return -EBUSY;
    }
    for (enum uco__direction i = 0; i < UCO__DIRECTIONS; i++) {
        if (wants(watcher->events, i))
            entry->watchers[i] = watcher;
    }
    watcher->queued = false;
    watcher->seen = 0;
    poller->watching++;
    r = fd_register(poller, watcher->fd);
    if (r < 0) {
        uco__poller_unwatch(poller, watcher);
        if (!entry->registered)
            fd_lost(poller, watcher->fd, r);
    }
    return r;
}

void
uco__poller_unwatch(struct uco__poller *poller, struct uco__fd_watcher *watcher)
{
    struct uco__fd *entry = &poller->fds[watcher->fd]; /* it is watched */

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->watchers[i] == watcher)
            entry->watchers[i] = NULL;
    }
    poller->watching--;
    fd_relax(poller, watcher->fd);
}

int
uco__poller_replace(struct uco__poller *poller, struct uco__fd_watcher *old,
                    struct uco__fd_watcher *watcher)
{
    struct uco__fd *entry = &poller->fds[old->fd];
    int r;

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->watchers[i] == old)
            entry->watchers[i] = watcher;
    }
    r = fd_register(poller, old->fd);
    if (r == 0)
        return 0;
    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->watchers[i] == watcher)
            entry->watchers[i] = old;
    }
    if (!entry->registered)
        fd_lost(poller, old->fd, r);
    return r;
}

struct uco__fd_watcher *
uco__poller_watcher(struct uco__poller *poller, int fd, enum uco__direction direction)
{
    struct uco__fd *entry = fd_find(poller, fd);

    return entry != NULL ? entry->watchers[direction] : NULL;
}

static void
wait_end(struct uco__poller *poller, struct uco__fd_wait *wait, int result)
{
    wait_unlink(poller, wait);
    wait->notify(wait, result);
}

static void
fd_end_waits(struct uco__poller *poller, struct uco__fd *entry, int result)
{
    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->waits[i] != NULL)
            wait_end(poller, entry->waits[i], result);
    }
}

static void
fd_forget(struct uco__poller *poller, int fd, int error)
{
    struct uco__fd *entry = &poller->fds[fd];

    fd_end_waits(poller, entry, error);
    if (entry->known && poller->backend->close_removes)
        entry->registered = false; /* if the file lives on in a dup, its events are strays */
    fd_unregister(poller, fd);
    entry->known = false;
    entry->listens = false;
    entry->tcp = false;
}

void
uco__poller_forget(struct uco__poller *poller, int fd)
{
    if (fd_find(poller, fd) != NULL)
        fd_forget(poller, fd, -EBADF);
}

void
uco__poller_know(struct uco__poller *poller, int fd, bool tcp)
{
    struct uco__fd *entry;

    if (fds_grow(poller, fd) < 0)
        return; /* then it is like any other */
    entry = &poller->fds[fd];
    fd_end_waits(poller, entry, -EBADF);
    if (fd_has_watcher(entry))
        return;
    if (!poller->backend->close_removes)
        fd_unregister(poller, fd); /* closed behind our back, and not gone for that */
    entry->registered = false;
    entry->level = false;
    entry->drained = false;
    entry->ended = false;
    entry->known = true;
    entry->listens = false;
    entry->tcp = tcp;
}

/* Whether an error says nothing of the fd. */
static bool
error_passes(int error)
{
    return error == -ENOMEM || error == -ENOSPC || error == -EMFILE || error == -ENFILE;
}

static void
poller_check(struct uco__poller *poller, bool all)
{
    poller->trusting = false;
    for (size_t fd = 0; fd < poller->capacity; fd++) {
        struct uco__fd *entry = &poller->fds[fd];
        int r;

        if (!entry->known || entry->age == UCO__FD_CHECKED ||
            (entry->waits[UCO__READER] == NULL && entry->waits[UCO__WRITER] == NULL))
            continue;
        if (entry->age == UCO__FD_FRESH && !all) {
            entry->age = UCO__FD_AGED;
            poller->trusting = true;
            continue;
        }
        r = fd_register(poller, (int) fd);
        if (error_passes(r)) {
            entry->age = UCO__FD_AGED; /* another time */
            poller->trusting = true;
        } else if (r < 0 && fd_has_watcher(entry)) {
            fd_end_waits(poller, entry, r);
        } else if (r < 0) {
            fd_forget(poller, (int) fd, r); /* closed, or a file now that cannot be waited for */
        }
    }
}

void
uco__poller_check(struct uco__poller *poller)
{
    poller_check(poller, true);
}

void
uco__poller_check_some(struct uco__poller *poller, uint64_t now)
{
    if (poller->trusting)
        poller_check(poller, false);
    poller->check_at = now + UCO__POLLER_CHECK_PERIOD;
}

/* The kernel holds registrations that no number of ours leads to. Start over. */
static void
poller_rebuild(struct uco__poller *poller)
{
    poller->stray = 0;
    if (poller->backend->open(poller, -1) < 0)
        return; /* no fd or memory for it now: the old set goes on, and the next strays try again */
    for (size_t fd = 0; fd < poller->capacity; fd++) {
        struct uco__fd *entry = &poller->fds[fd];

        if (!entry->registered)
            continue;
        entry->registered = false;
        entry->drained = false;
        if (fd_has_watcher(entry) || entry->waits[UCO__READER] != NULL ||
            entry->waits[UCO__WRITER] != NULL) {
            int r = fd_register(poller, (int) fd);

            if (r < 0)
                fd_lost(poller, (int) fd, r);
        }
    }
}

/* What an event means for a direction. Errors and hang-ups concern both: the call will tell. */
static short
event_for(short events, enum uco__direction direction)
{
    return events &
           (short) (POLLERR | POLLHUP | (direction == UCO__READER ? READ_EVENTS : POLLOUT));
}

void
uco__poller_event(struct uco__poller *poller, int fd, uint32_t generation, short events)
{
    struct uco__fd *entry = fd_find(poller, fd);
    bool ended = false;

    if (entry == NULL || !entry->registered || entry->generation != generation) {
        poller->stray++;
        return;
    }
    poller->stray = 0;
    poller->handled++;
    if ((events & ~POLLOUT) != 0)
        entry->drained = false;
    if ((events & ENDED_EVENTS) != 0)
        entry->ended = true;
    for (enum uco__direction i = 0; i < UCO__DIRECTIONS; i++) {
        struct uco__fd_watcher *watcher = entry->watchers[i];

        if (event_for(events, i) == 0)
            continue;
        if (entry->waits[i] != NULL &&
            (events & (entry->waits[i]->events | POLLERR | POLLHUP)) != 0) {
            wait_end(poller, entry->waits[i], 0);
            ended = true;
        }
        if (watcher != NULL)
            watcher_notify(poller, watcher, event_for(events, i));
    }
    if (ended)
        fd_relax(poller, fd);
}

int
uco__poller_poll(struct uco__poller *poller, uint64_t timeout)
{
    int r = poller->backend->wait(poller, timeout);

    if (poller->stray >= STRAY_MAX)
        poller_rebuild(poller);
    return r;
}
