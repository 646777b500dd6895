/* SPDX-License-Identifier: MIT */

/*
 * What bench_memory measures, with boost.fiber and its default stacks, which have no guards. Its
 * arguments are "parked" and how many fibers to park; it prints the bytes that each takes, and the
 * microseconds of its creation and of its end, and fails when its counts do not add up.
 */

#include "../support/memory.h"

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

using steady = std::chrono::steady_clock;

double
microseconds(steady::duration time, std::size_t count)
{
    return std::chrono::duration<double, std::micro>(time).count() / static_cast<double>(count);
}

int
measure(std::size_t count)
{
    fibers::mutex mutex;
    fibers::condition_variable release;
    std::vector<fibers::fiber> crowd(count);
    std::size_t arrived = 0, ended = 0;
    bool released = false;
    double start = memory_taken();
    auto began = steady::now();

    for (fibers::fiber &fiber : crowd) {
        fiber = fibers::fiber([&] {
            std::unique_lock<fibers::mutex> held(mutex);

            arrived++;
            release.wait(held, [&] { return released; });
            ended++;
        });
    }
    while (arrived < count)
        boost::this_fiber::yield();
    auto created = steady::now() - began;
    double full = memory_taken();

    began = steady::now();
    mutex.lock();
    released = true;
    mutex.unlock();
    release.notify_all();
    for (fibers::fiber &fiber : crowd)
        fiber.join();
    auto torn = steady::now() - began;

    if (arrived != count || ended != count) {
        std::fprintf(stderr, "%zu came and %zu left of %zu\n", arrived, ended, count);
        return 1;
    }
    std::printf("%f %f %f\n", (full - start) / static_cast<double>(count),
                microseconds(created, count), microseconds(torn, count));
    return 0;
}

} // namespace

int
main(int argc, char **argv)
{
    std::size_t count = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;

    if (count > 0 && std::strcmp(argv[1], "parked") == 0)
        return measure(count);
    std::fprintf(stderr, "usage: memory_boost parked COUNT\n");
    return 2;
}
