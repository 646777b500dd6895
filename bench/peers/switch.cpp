/* SPDX-License-Identifier: MIT */

/*
 * What bench_switch measures, with boost.context: by its own jump_fcontext(), and by the class that
 * stands around it. The arguments are a row's name and how many round trips to measure; it prints
 * nanoseconds per switch, and fails when its counts do not add up.
 */

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fiber.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace context = boost::context;

namespace
{

constexpr std::size_t stack_bytes = 64 * 1024;

std::uint64_t handed_back; /* by B */

void
fcontext_partner(context::detail::transfer_t from)
{
    for (;;) {
        handed_back++;
        from = context::detail::jump_fcontext(from.fctx, nullptr);
    }
}

void
fcontext_run(std::size_t round_trips)
{
    alignas(64) static char stack[stack_bytes];
    context::detail::transfer_t partner = {
        context::detail::make_fcontext(stack + stack_bytes, stack_bytes, fcontext_partner),
        nullptr,
    };

    for (std::size_t i = 0; i < round_trips; i++)
        partner = context::detail::jump_fcontext(partner.fctx, nullptr);
}

void
fiber_run(std::size_t round_trips)
{
    context::fiber partner(std::allocator_arg, context::fixedsize_stack(stack_bytes),
                           [](context::fiber &&from) {
                               for (;;) {
                                   handed_back++;
                                   from = std::move(from).resume();
                               }
                               return std::move(from);
                           });

    for (std::size_t i = 0; i < round_trips; i++)
        partner = std::move(partner).resume();
}

struct row {
    const char *name;
    void (*run)(std::size_t round_trips);
};

const row rows[] = {{"fcontext", fcontext_run}, {"fiber", fiber_run}};

int
measure(const row &row, std::size_t round_trips)
{
    row.run(round_trips / 10 + 1);
    handed_back = 0;
    auto began = std::chrono::steady_clock::now();
    row.run(round_trips);
    std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;

    if (handed_back != round_trips) {
        std::fprintf(stderr, "%llu round trips instead of %zu\n",
                     static_cast<unsigned long long>(handed_back), round_trips);
        return 1;
    }
    std::printf("%f\n", took.count() / (2.0 * static_cast<double>(round_trips)));
    return 0;
}

} // namespace

int
main(int argc, char **argv)
{
    std::size_t round_trips = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;

    for (const row &row : rows) {
        if (round_trips > 0 && std::strcmp(row.name, argv[1]) == 0)
            return measure(row, round_trips);
    }
    std::fprintf(stderr, "usage: switch_boost ROW ROUND-TRIPS\n");
    return 2;
}
