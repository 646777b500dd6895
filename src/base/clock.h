/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_CLOCK_H
#define UCO_BASE_CLOCK_H

/*
 * Time inside uco is uint64_t nanoseconds of CLOCK_MONOTONIC (or of a virtual clock that begins at
 * 0); seconds as a double exist only at the public border. UCO__NEVER is a deadline that never
 * comes.
 */

#include <stdint.h>
#include <time.h>

#define UCO__NEVER UINT64_MAX
#define UCO__SECOND UINT64_C(1000000000)
#define UCO__MILLISECOND UINT64_C(1000000)
#define UCO__MICROSECOND UINT64_C(1000)

static inline uint64_t
uco__clock_real(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * UCO__SECOND + (uint64_t) now.tv_nsec;
}

/* Steps of some milliseconds, but a quarter of the price. */
static inline uint64_t
uco__clock_coarse(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t) now.tv_sec * UCO__SECOND + (uint64_t) now.tv_nsec;
}

/* Rounded up, so that nothing wakes early; zero for zero and less, UCO__NEVER for what does not
 * fit. Not for NaN. */
static inline uint64_t
uco__clock_from_seconds(double seconds)
{
    double exact = seconds * 1e9;
    uint64_t ns;

    if (seconds <= 0)
        return 0;
    if (exact >= 18446744073709549568.0)
        return UCO__NEVER;
    /* Not ceil(exact): the product is rounded, and 0.067 would get a nanosecond too many. */
    ns = (uint64_t) exact;
    while ((double) ns / 1e9 < seconds)
        ns++;
    return ns;
}

/* A division, not a multiplication by 1e-9: it is rounded right, so that 300,000,000 ns are exactly
 * 0.3. */
static inline double
uco__clock_to_seconds(uint64_t ns)
{
    return (double) ns / 1e9;
}

/* `seconds` after `now`; saturates at UCO__NEVER. */
static inline uint64_t
uco__clock_after(uint64_t now, double seconds)
{
    uint64_t ns = uco__clock_from_seconds(seconds);

    return ns < UCO__NEVER - now ? now + ns : UCO__NEVER;
}

#endif
