/* SPDX-License-Identifier: MIT */

/* The tester's tools that belong to a loop. (uco_test_fail() is in base/fault.c.) */

#include "core/report.h"
#include "task/runtime.h"
#include "task/task.h"

#include <errno.h>
#include <math.h>
#include <uco/testing.h>

struct settler {
    struct uco__settler settler;
    struct uco__wait wait;
};

static enum uco__abort
settler_abort(struct uco__wait *wait)
{
    uco__list_remove(&UCO__CONTAINER(wait, struct settler, wait)->settler.link);
    return UCO__UNLINKED;
}

static UCO__WAIT_KIND(wait_settle, "the others to settle", NULL);

int
uco_test_settle(void)
{
    struct settler self;
    int r = uco__checkpoint();

    if (r < 0)
        return r;
    uco__wait_init(&self.wait, &wait_settle, settler_abort);
    self.settler.wait = &self.wait;
    uco__list_push_back(&uco__running->settlers, &self.settler.link);
    return uco__task_park(uco__task_of(uco_current_task()), &self.wait) == 0 ? 0 : -ECANCELED;
}

double
uco_test_advance(uco_loop *loop, double seconds)
{
    if (loop == NULL || uco__loop_check(loop) < 0 || loop->options.clock != UCO_CLOCK_MANUAL ||
        !(seconds >= 0) || isinf(seconds))
        return (double) NAN;
    loop->virtual_now = uco__clock_after(loop->virtual_now, seconds);
    if (loop->virtual_now == UCO__NEVER)
        loop->virtual_now--; /* the end of time: what is over at once still comes then */
    loop->moment = loop->virtual_now;
    if (uco__running == loop)
        uco__timers_expire(loop, loop->virtual_now);
    return uco__clock_to_seconds(loop->virtual_now);
}
