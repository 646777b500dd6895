/* SPDX-License-Identifier: MIT */

/*
 * What bench_timers measures, with boost.fiber. Its arguments are a row's name and how many
 * sleeps. It prints the row's numbers, and fails when its counts do not add up.
 */

#include "timers.h"

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace fibers = boost::fibers;

namespace
{

/* What is counted is returned: how many have slept. */
std::size_t
crowd_run(std::size_t count, std::uint64_t max)
{
    fibers::mutex mutex;
    fibers::condition_variable release;
    std::vector<double> lateness(count);
    std::vector<fibers::fiber> sleepers(count);
    std::size_t started = 0, ended = 0;
    bool released = false;
    double values[5];

    for (std::size_t i = 0; i < count; i++) {
        sleepers[i] = fibers::fiber([&, i] {
            std::uint64_t length = timers_length(i, max);
            {
                std::unique_lock<fibers::mutex> held(mutex);

                started++;
                release.wait(held, [&] { return released; });
            }
            std::uint64_t began = timers_now();
            boost::this_fiber::sleep_for(std::chrono::microseconds(length));
            lateness[i] = timers_lateness(began, length);
            ended++;
        });
    }
    while (started < count)
        boost::this_fiber::yield();

    std::uint64_t processor = timers_processor();
    mutex.lock();
    released = true;
    mutex.unlock();
    release.notify_all();
    for (fibers::fiber &sleeper : sleepers)
        sleeper.join();
    timers_summary(values, timers_processor() - processor, lateness.data(), count);
    std::printf("%f %f %f %f %f\n", values[0], values[1], values[2], values[3], values[4]);
    return ended;
}

std::size_t
short_run(std::size_t count, std::uint64_t)
{
    std::size_t ended = 0;
    double sum = 0;

    for (; ended < count; ended++) {
        std::uint64_t began = timers_now();

        boost::this_fiber::sleep_for(std::chrono::microseconds(TIMERS_SHORT_LENGTH));
        sum += timers_lateness(began, TIMERS_SHORT_LENGTH);
    }
    std::printf("%f\n", sum / static_cast<double>(count));
    return ended;
}

struct row {
    const char *name;
    std::size_t (*run)(std::size_t count, std::uint64_t max);
    std::uint64_t max;
};

const row rows[] = {
    {"crowd", crowd_run, TIMERS_SLEEP_MAX},
    {"crowd-quick", crowd_run, TIMERS_SLEEP_MAX_QUICK},
    {"short", short_run, 0},
};

} // namespace

int
main(int argc, char **argv)
{
    std::size_t count = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;

    for (const row &row : rows) {
        if (count > 0 && std::strcmp(row.name, argv[1]) == 0)
            return row.run(count, row.max) == count ? 0 : 1;
    }
    std::fprintf(stderr, "usage: timers_boost ROW COUNT\n");
    return 2;
}
