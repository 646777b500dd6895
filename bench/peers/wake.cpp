/* SPDX-License-Identifier: MIT */

/*
 * What bench_wake measures, with boost.fiber. Its arguments are a row's name and how many units of
 * work to measure; it prints nanoseconds per operation, and fails when its counts do not add up.
 */

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace fibers = boost::fibers;

namespace
{

constexpr std::size_t tasks = 1000; /* that are gathered */
/* No power of two, so that a thousand stacks do not begin at the same cache lines: that would more
 * than double a task's cost. */
constexpr std::size_t stack_bytes = 64 * 1024 + 4096 + 128;

/* There and back is two messages, here and in all that is made of it. */
template <typename Channel>
std::size_t
channels_run(Channel &there, Channel &back, std::size_t units)
{
    std::size_t right = 0;
    std::uint64_t item;
    fibers::fiber partner([&] {
        std::uint64_t received;

        for (std::size_t i = 0; i < units; i++) {
            there.pop(received);
            right += received == i;
            back.push(received);
        }
    });

    for (std::size_t i = 0; i < units; i++) {
        there.push(i);
        back.pop(item);
        right += item == i;
    }
    partner.join();
    return right;
}

std::size_t
unbuffered_run(std::size_t units)
{
    fibers::unbuffered_channel<std::uint64_t> there, back;

    return channels_run(there, back, units);
}

std::size_t
buffered_run(std::size_t units)
{
    fibers::buffered_channel<std::uint64_t> there(2), back(2); /* they hold one less */

    return channels_run(there, back, units);
}

std::size_t
condition_run(std::size_t units)
{
    fibers::mutex mutex;
    fibers::condition_variable turned;
    std::size_t messages = 0;
    unsigned turn = 0;
    auto play = [&](unsigned self) {
        std::unique_lock<fibers::mutex> held(mutex);

        for (std::size_t i = 0; i < units; i++) {
            while (turn != self)
                turned.wait(held);
            messages++;
            turn = 1 - self;
            turned.notify_one();
        }
    };
    fibers::fiber partner(play, 1);

    play(0);
    partner.join();
    return messages;
}

std::size_t
gather_run(std::size_t units)
{
    static fibers::pooled_fixedsize_stack stacks(stack_bytes);
    std::vector<fibers::fiber> all;
    std::size_t ran = 0;

    all.reserve(tasks);
    for (std::size_t i = 0; i < units; i++) {
        for (std::size_t k = 0; k < tasks; k++) {
            all.emplace_back(fibers::launch::post, std::allocator_arg, stacks, [&] {
                boost::this_fiber::yield();
                ran++;
            });
        }
        for (fibers::fiber &one : all)
            one.join();
        all.clear();
    }
    return ran;
}

struct row {
    const char *name;
    std::size_t (*run)(std::size_t units); /* how many operations it did */
    std::size_t each;                      /* operations in a unit */
};

const row rows[] = {
    {"unbuffered", unbuffered_run, 2},
    {"buffered", buffered_run, 2},
    {"condition", condition_run, 2},
    {"gather", gather_run, tasks},
};

int
measure(const row &row, std::size_t units)
{
    row.run(units / 10 + 1);
    auto began = std::chrono::steady_clock::now();
    std::size_t operations = row.run(units);
    std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;

    if (operations != units * row.each) {
        std::fprintf(stderr, "%zu operations instead of %zu\n", operations, units * row.each);
        return 1;
    }
    std::printf("%f\n", took.count() / static_cast<double>(operations));
    return 0;
}

} // namespace

int
main(int argc, char **argv)
{
    std::size_t units = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;

    for (const row &row : rows) {
        if (units > 0 && std::strcmp(row.name, argv[1]) == 0)
            return measure(row, units);
    }
    std::fprintf(stderr, "usage: wake_boost ROW UNITS\n");
    return 2;
}
