/* SPDX-License-Identifier: MIT */

#include "bench.h"

#include "compare.h"
#include "json.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <uco/uco.h>

#define QUICK_DIVISOR 100

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

static struct {
    const char *name;
    bool quick;
    unsigned places;
    cpu_set_t allowed;
} bench;

void
bench_die(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "%s: ", bench.name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *
bench_allocate(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);

    if (memory == NULL)
        bench_die("no memory for %zu bytes", size);
    memset(memory, 0, size);
    return memory;
}

uint64_t
bench_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* --- processors --- */

unsigned
bench_places(void)
{
    return bench.places;
}

/* Counted from the highest number down: the lowest ones tend to have the machine's interrupts. */
void
bench_pin(unsigned place)
{
    unsigned skip = place % bench_places();
    cpu_set_t one;

    CPU_ZERO(&one);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (!CPU_ISSET(cpu, &bench.allowed) || skip-- > 0)
            continue;
        CPU_SET(cpu, &one);
        break;
    }
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        bench_die("pinning to a processor: %s", strerror(errno));
}

void
bench_relax(unsigned turn)
{
    if (turn % 64 == 63 || bench_places() == 1) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- beginning and end --- */

static void
processor_name(char *name, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(name, size, "unknown processor");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, size, "%s", value + 1 + strspn(value + 1, " "));
        break;
    }
    if (file != NULL)
        fclose(file);
}

static void
header_print(const struct setting *setting)
{
    printf("%s: %s\n", setting->benchmark, setting->title);
    printf("uco %s, %u x %s, %s, %s; %u round%s%s\n", uco_version(), setting->processors,
           setting->processor, setting->system, setting->compiler, setting->rounds,
           setting->rounds > 1 ? "s" : "",
           setting->quick ? ", quick: orders of magnitude only" : "");
    fflush(stdout);
}

static unsigned
rounds_parse(const char *text)
{
    char *end = NULL;
    unsigned long rounds = text != NULL ? strtoul(text, &end, 10) : 0;

    if (rounds == 0 || rounds > BENCH_ROUNDS_MAX || *end != '\0')
        bench_die("--rounds wants a number from 1 to %d", BENCH_ROUNDS_MAX);
    return (unsigned) rounds;
}

void
bench_begin(const char *name, const char *title, int argc, char **argv)
{
    char processor[128], system[160];
    const char *json = NULL;
    struct setting setting = {
        .benchmark = name,
        .title = title,
        .processor = processor,
        .system = system,
        .compiler = COMPILER,
    };
    struct utsname names;

    bench.name = name;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            bench.quick = true;
        else if (strcmp(argv[i], "--json") == 0 && argv[i + 1] != NULL)
            json = argv[++i];
        else if (strcmp(argv[i], "--rounds") == 0)
            setting.rounds = rounds_parse(argv[++i]);
        else
            bench_die("usage: %s [--quick] [--json FILE] [--rounds N]", name);
    }
    if (setting.rounds == 0)
        setting.rounds = bench.quick ? BENCH_ROUNDS_QUICK : BENCH_ROUNDS;
    if (sched_getaffinity(0, sizeof bench.allowed, &bench.allowed) < 0)
        bench_die("which processors may be used: %s", strerror(errno));
    bench.places = (unsigned) CPU_COUNT(&bench.allowed);
    bench_pin(0);

    uname(&names);
    snprintf(system, sizeof system, "%s %s", names.sysname, names.release);
    processor_name(processor, sizeof processor);
    setting.processors = bench.places;
    setting.quick = bench.quick;
    header_print(&setting);
    if (json != NULL)
        json_open(json, &setting);
    compare_begin(setting.rounds);
}

bool
bench_quick(void)
{
    return bench.quick;
}

size_t
bench_scaled(size_t full)
{
    size_t scaled = bench.quick ? full / QUICK_DIVISOR : full;

    return scaled > 0 ? scaled : 1;
}

int
bench_end(void)
{
    bool correct = compare_end(), written = json_close(correct);

    if (!written)
        fprintf(stderr, "%s: writing the figures: %s\n", bench.name, strerror(errno));
    return correct && written && fflush(stdout) == 0 ? 0 : 1;
}
