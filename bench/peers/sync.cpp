/* SPDX-License-Identifier: MIT */

/*
 * What bench_sync measures, with boost.fiber. Its arguments are a row's name and how many units of
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

constexpr std::size_t members = 1000; /* of a group */
constexpr std::size_t capacity = 64;  /* of a queue that never blocks */
/* No power of two, so that a thousand stacks do not begin at the same cache lines: that would more
 * than double a member's cost. */
constexpr std::size_t stack_bytes = 64 * 1024 + 4096 + 128;

std::size_t
lock_run(std::size_t units)
{
    fibers::mutex mutex;
    std::size_t counter = 0;

    for (std::size_t i = 0; i < units; i++) {
        std::unique_lock<fibers::mutex> held(mutex);
        counter++;
    }
    return counter;
}

/* There and back is two messages. */
std::size_t
event_run(std::size_t units)
{
    fibers::unbuffered_channel<char> there, back;
    std::size_t messages = 0;
    char message = 0;
    fibers::fiber partner([&] {
        char received;

        for (std::size_t i = 0; i < units; i++) {
            there.pop(received);
            messages++;
            back.push(received);
        }
    });

    for (std::size_t i = 0; i < units; i++) {
        there.push(message);
        back.pop(message);
        messages++;
    }
    partner.join();
    return messages;
}

std::size_t
queue_run(std::size_t units)
{
    fibers::buffered_channel<std::uint64_t> items(capacity);
    std::size_t right = 0;
    std::uint64_t item;

    for (std::size_t i = 0; i < units; i++) {
        items.push(i);
        items.pop(item);
        right += item == i;
    }
    return right;
}

std::size_t
handover_run(std::size_t units)
{
    fibers::buffered_channel<std::uint64_t> items(2); /* one place stays free: it holds one */
    std::size_t right = 0;
    std::uint64_t item;
    fibers::fiber putter([&] {
        for (std::size_t i = 0; i < units; i++)
            items.push(i);
    });

    for (std::size_t i = 0; i < units; i++) {
        items.pop(item);
        right += item == i;
    }
    putter.join();
    return right;
}

std::size_t
group_run(std::size_t units)
{
    static fibers::pooled_fixedsize_stack stacks(stack_bytes);
    std::vector<fibers::fiber> group;
    std::size_t ran = 0;

    group.reserve(members);
    for (std::size_t i = 0; i < units; i++) {
        for (std::size_t k = 0; k < members; k++)
            group.emplace_back(fibers::launch::post, std::allocator_arg, stacks, [&] { ran++; });
        for (fibers::fiber &member : group)
            member.join();
        group.clear();
    }
    return ran;
}

struct row {
    const char *name;
    std::size_t (*run)(std::size_t units); /* how many operations it did */
    std::size_t each;                      /* operations in a unit */
};

const row rows[] = {
    {"lock", lock_run, 1},         {"event", event_run, 2},       {"queue", queue_run, 1},
    {"handover", handover_run, 1}, {"group", group_run, members},
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
    std::fprintf(stderr, "usage: sync_boost ROW UNITS\n");
    return 2;
}
