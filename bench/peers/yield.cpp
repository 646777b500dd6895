/* SPDX-License-Identifier: MIT */

/*
 * What bench_yield measures, with boost.fiber. Its arguments are how many fibers there are and how
 * many laps to measure; it prints nanoseconds per switch, and fails when its counts do not add up,
 * or the fibers do not end in the order in which they began.
 */

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace fibers = boost::fibers;

namespace
{

constexpr std::size_t warm_laps = 2;
/* No power of two, so that the stacks do not all begin at the same cache lines. */
constexpr std::size_t stack_bytes = 64 * 1024 + 4096 + 128;

struct course {
    std::size_t runners;
    std::size_t laps;
    std::chrono::steady_clock::time_point began;
    std::chrono::steady_clock::time_point ended;
    std::size_t finished;
    std::size_t yields;
    bool wrong;
};

void
run(course &course, std::size_t index)
{
    std::size_t yields = 0;

    for (; yields < warm_laps; yields++)
        boost::this_fiber::yield();
    if (index == 0)
        course.began = std::chrono::steady_clock::now();
    for (; yields < warm_laps + course.laps; yields++)
        boost::this_fiber::yield();
    if (index == 0)
        course.ended = std::chrono::steady_clock::now();
    course.yields += yields;
    if (course.finished++ != index)
        course.wrong = true;
}

int
measure(course &course)
{
    std::size_t expected = course.runners * (warm_laps + course.laps);
    std::vector<fibers::fiber> runners;

    runners.reserve(course.runners);
    for (std::size_t i = 0; i < course.runners; i++)
        runners.emplace_back(fibers::launch::post, std::allocator_arg,
                             fibers::fixedsize_stack(stack_bytes),
                             [&course, i] { run(course, i); });
    for (fibers::fiber &runner : runners)
        runner.join();
    if (course.wrong || course.finished != course.runners || course.yields != expected) {
        std::fprintf(stderr, "%zu yields instead of %zu, or another order\n", course.yields,
                     expected);
        return 1;
    }
    std::chrono::duration<double, std::nano> took = course.ended - course.began;
    std::printf("%f\n", took.count() / static_cast<double>(course.runners * course.laps));
    return 0;
}

} // namespace

int
main(int argc, char **argv)
{
    course course = {};

    if (argc == 3) {
        course.runners = std::strtoul(argv[1], nullptr, 10);
        course.laps = std::strtoul(argv[2], nullptr, 10);
    }
    if (course.runners == 0 || course.laps == 0) {
        std::fprintf(stderr, "usage: yield_boost FIBERS LAPS\n");
        return 2;
    }
    return measure(course);
}
