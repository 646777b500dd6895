/* SPDX-License-Identifier: MIT */

/*
 * Trimming.
 *
 * The clock is the real one, also of a loop whose time is virtual: memory is real.
 */

#include "core/trim.h"

#include "base/clock.h"
#include "core/loop.h"

#define TRIM_PERIOD UCO__SECOND
#define TRIM_STACKS 512                   /* in a slice: about 200 us */
#define TRIM_PAUSE (2 * UCO__MILLISECOND) /* between two slices */

void
uco__trim_begin(struct uco_loop *loop)
{
    loop->trim_at = uco__clock_real() + TRIM_PERIOD;
}

void
uco__trim(struct uco_loop *loop)
{
    bool more = uco__stacks_trim(&loop->stacks, TRIM_STACKS);

    more |= loop->operations->trim(loop, TRIM_STACKS);
    if (!more)
        uco__stacks_age(&loop->stacks);
    loop->trim_at = uco__clock_real() + (more ? TRIM_PAUSE : TRIM_PERIOD);
}

bool
uco__trim_before(const struct uco_loop *loop, uint64_t *timeout)
{
    uint64_t now, left;

    if (!uco__stacks_have_spare(&loop->stacks) && !loop->operations->has_spare(loop))
        return false;
    now = uco__clock_real();
    left = loop->trim_at > now ? loop->trim_at - now : 0;
    if (left >= *timeout)
        return false;
    *timeout = left;
    return true;
}
