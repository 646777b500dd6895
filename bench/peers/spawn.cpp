/* SPDX-License-Identifier: MIT */

/*
 * What bench_spawn measures, with boost.fiber on pooled stacks. Its arguments are a row's name and
 * how many batches of fibers to measure; it prints nanoseconds per fiber, and fails when its counts
 * do not add up.
 */

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace fibers = boost::fibers;

namespace
{

constexpr long fiber_result = 3; /* of each */
/* No power of two, so that a thousand stacks do not begin at the same cache lines: that would more
 * than double a fiber's cost. */
constexpr std::size_t stack_bytes = 64 * 1024 + 4096 + 128;

struct row {
    const char *name;
    std::size_t batch;
};

const row rows[] = {{"one", 1}, {"batch", 1000}};

struct tally {
    std::size_t ran;
    long sum;
};

tally
run(std::size_t batch, std::size_t batches)
{
    static fibers::pooled_fixedsize_stack stacks(stack_bytes);
    std::vector<fibers::fiber> spawned;
    std::vector<long> results(batch);
    tally tally = {};

    spawned.reserve(batch);
    for (std::size_t i = 0; i < batches; i++) {
        for (long &result : results)
            spawned.emplace_back(fibers::launch::post, std::allocator_arg, stacks,
                                 [&tally, &result] {
                                     tally.ran++;
                                     result = fiber_result;
                                 });
        for (std::size_t k = 0; k < batch; k++) {
            spawned[k].join();
            tally.sum += results[k];
        }
        spawned.clear();
    }
    return tally;
}

int
measure(const row &row, std::size_t batches)
{
    std::size_t count = batches * row.batch;

    run(row.batch, batches / 10 + 1);
    auto began = std::chrono::steady_clock::now();
    tally tally = run(row.batch, batches);
    std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;

    if (tally.ran != count || tally.sum != static_cast<long>(count) * fiber_result) {
        std::fprintf(stderr, "%zu fibers instead of %zu, or other results\n", tally.ran, count);
        return 1;
    }
    std::printf("%f\n", took.count() / static_cast<double>(count));
    return 0;
}

} // namespace

int
main(int argc, char **argv)
{
    std::size_t batches = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;

    for (const row &row : rows) {
        if (batches > 0 && std::strcmp(row.name, argv[1]) == 0)
            return measure(row, batches);
    }
    std::fprintf(stderr, "usage: spawn_boost ROW BATCHES\n");
    return 2;
}
