/* SPDX-License-Identifier: MIT */

/* What needs stack: the C library, the dynamic linker, the unwinder, signals, names. */

#include "stack_needs.h"

#include "base/compiler.h"
#include "support/bench.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <float.h>
#include <iconv.h>
#include <netdb.h>
#include <pwd.h>
#include <regex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <uco/uco.h>
#include <unistd.h>
#include <unwind.h>

/* --- C's own --- */

static char text[32 * 1024]; /* for results */

static bool
prints_double(const char *places)
{
    return snprintf(text, sizeof text, "%.*f", atoi(places), 1.0 / 3) > 10;
}

static bool
prints_long_double(const char *arg)
{
    (void) arg;
    return snprintf(text, sizeof text, "%Lf", LDBL_MAX) > 300;
}

static bool
prints_unbuffered(const char *arg)
{
    (void) arg;
    return fprintf(stderr, "%.17g\n", 1.0 / 3) > 0;
}

static int
number_compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *) left, b = *(const uint64_t *) right;

    return (a > b) - (a < b);
}

static bool
sorts(const char *arg)
{
    static uint64_t numbers[10000];
    uint64_t number = 1;

    (void) arg;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        number = number * UINT64_C(6364136223846793005) + 1;
        numbers[i] = number;
    }
    qsort(numbers, COUNT(numbers), sizeof numbers[0], number_compare);
    return numbers[0] <= numbers[COUNT(numbers) - 1];
}

static bool
tells_time(const char *arg)
{
    time_t now = time(NULL);
    struct tm local;

    (void) arg;
    return localtime_r(&now, &local) != NULL &&
           strftime(text, sizeof text, "%A %d %B %Y %H:%M:%S %Z", &local) > 0;
}

static bool
converts(const char *arg)
{
    iconv_t converter = iconv_open("UTF-8", "ISO-8859-15");
    char in[] = "\xa4", *from = in, *to = text;
    size_t in_left = 1, left = sizeof text, r;

    (void) arg;
    if (converter == (iconv_t) -1)
        return skip(); /* a system without the modules */
    r = iconv(converter, &from, &in_left, &to, &left);
    iconv_close(converter);
    return r == 0 && sizeof text - left == 3;
}

static bool
matches(const char *arg)
{
    static const char pattern[] = "^(([a-z]+|[0-9]{1,20})[ ,;]*)*(x|xy)(.*)\\4$";
    static const char subject[] = "one 2 three, 4; five 6 seven, 8; xyabcdefghabcdefgh";
    regmatch_t matched[5];
    regex_t regex;
    int r;

    (void) arg;
    if (regcomp(&regex, pattern, REG_EXTENDED) != 0)
        return false;
    r = regexec(&regex, subject, COUNT(matched), matched, 0);
    regfree(&regex);
    return r == 0 && matched[4].rm_eo - matched[4].rm_so == 8;
}

/* Patterns are parsed by recursion. */
static bool
nests(const char *arg)
{
    enum { DEPTH = 100 };
    regex_t regex;

    (void) arg;
    memset(text, '(', DEPTH);
    text[DEPTH] = 'a';
    memset(text + DEPTH + 1, ')', DEPTH);
    text[2 * DEPTH + 1] = '\0';
    if (regcomp(&regex, text, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    regfree(&regex);
    return true;
}

static bool
keeps_10_kilobytes(const char *arg)
{
    volatile char locals[10 * 1024];

    (void) arg;
    for (size_t i = 0; i < sizeof locals; i++)
        locals[i] = (char) i;
    return locals[1] == 1 && uco_yield() == 0;
}

/* A parser by recursive descent as people write them: a function for each rule, and buffers in
 * their frames. Returns the depth, or -1. */
static int parse_value(const char **at);

static UCO__NOINLINE int
parse_number(const char **at)
{
    char digits[64];
    size_t length = strspn(*at, "-+.0123456789eE");

    snprintf(digits, sizeof digits, "%.*s", (int) length, *at);
    *at += length;
    return length > 0 && strtod(digits, NULL) >= 0 ? 0 : -1;
}

static UCO__NOINLINE int
parse_object(const char **at)
{
    char name[64];
    int read = 0, depth;

    if (sscanf(*at, "{\"%63[a-z]\":%n", name, &read) != 1 || read == 0)
        return -1;
    *at += read;
    depth = parse_value(at);
    return depth >= 0 && strcmp(name, "name") == 0 && *(*at)++ == '}' ? depth + 1 : -1;
}

static UCO__NOINLINE int
parse_value(const char **at)
{
    return **at == '{' ? parse_object(at) : parse_number(at);
}

static bool
parses(const char *arg)
{
    enum { DEPTH = 100 };
    const char *at = text;
    char *to = text;

    (void) arg;
    for (int i = 0; i < DEPTH; i++)
        to = stpcpy(to, "{\"name\":");
    to = stpcpy(to, "1.5");
    memset(to, '}', DEPTH);
    to[DEPTH] = '\0';
    return parse_value(&at) == DEPTH && *at == '\0';
}

/* --- the linker, the unwinder, the kernel --- */

/* It is called here only, so the first call binds it. */
static bool
binds(const char *arg)
{
    (void) arg;
    return getppid() > 0;
}

static bool
loads(const char *name)
{
    void *library = dlopen(name, RTLD_NOW);

    if (library == NULL)
        return skip();
    return dlclose(library) == 0;
}

static bool
traces_back(const char *arg)
{
    void *frames[64];

    (void) arg;
    return backtrace(frames, COUNT(frames)) > 2;
}

static _Unwind_Reason_Code
stops(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
      struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *frames)
{
    (void) version;
    (void) actions;
    (void) class;
    (void) exception;
    (void) context;
    return --*(int *) frames > 0 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

/* What a throw in C++ does, but that no frame of C catches it: so it is told to stop. */
static bool
throws(const char *arg)
{
    struct _Unwind_Exception exception = {.exception_class = 1};
    int frames = 2;

    (void) arg;
    return _Unwind_ForcedUnwind(&exception, stops, &frames) == _URC_FATAL_PHASE2_ERROR;
}

static volatile sig_atomic_t handled;

static void
handle(int signal)
{
    handled = signal;
}

static void
handle_printing(int signal)
{
    prints_double("17");
    handled = signal;
}

/* Without SA_ONSTACK: on the task's stack. */
static bool
handler_set(const char *printing)
{
    return signal(SIGUSR1, printing != NULL ? handle_printing : handle) != SIG_ERR;
}

static bool
takes_signal(const char *arg)
{
    (void) arg;
    return raise(SIGUSR1) == 0 && handled == SIGUSR1;
}

#ifdef __x86_64__
/* With AMX in use, 8 KiB more of registers are saved. */
static bool
takes_signal_with_tiles(const char *arg)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    _Alignas(64) unsigned char configuration[64] = {[0] = 1, [16] = 64, [48] = 16};
    bool works;

    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) != 0)
        return skip();
    __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm0" : : "m"(configuration));
    works = takes_signal(arg);
    __asm__ volatile("tilerelease");
    return works;
}
#else
#define takes_signal_with_tiles NULL
#endif

/* --- names --- */

/* Impatient: without a network the way there is what is measured. */
static bool
resolver_hurry(const char *arg)
{
    (void) arg;
    return setenv("RES_OPTIONS", "timeout:1 attempts:1", 1) == 0;
}

static bool
resolves(const char *name)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int r = getaddrinfo(name, "80", &hints, &found);

    if (r == 0)
        freeaddrinfo(found);
    return r == 0 || strpbrk(name, "abcdefghijklmnopqrstuvwxyz") != NULL;
}

static bool
finds_user(const char *arg)
{
    struct passwd user, *found;

    (void) arg;
    getpwnam_r("nobody-of-that-name", &user, text, sizeof text, &found);
    return getpwuid_r(0, &user, text, sizeof text, &found) == 0;
}

static const struct use uses[] = {
    {"snprintf of a double", prints_double, NULL, "17"},
    {"snprintf of a double to 16,000 places", prints_double, NULL, "16000"},
    {"snprintf of LDBL_MAX by %Lf", prints_long_double, NULL, NULL},
    {"fprintf of a double, unbuffered (stderr)", prints_unbuffered, stderr_drop, NULL},
    {"qsort of 10,000 numbers", sorts, NULL, NULL},
    {"localtime_r, strftime", tells_time, NULL, NULL},
    {"iconv_open, iconv", converts, NULL, NULL},
    {"regcomp, regexec with a back-reference", matches, NULL, NULL},
    {"regcomp of 100 parentheses in each other", nests, NULL, NULL},
    {"10 KiB of locals", keeps_10_kilobytes, NULL, NULL},
    {"a recursive parser, 100 deep", parses, NULL, NULL},
    {"the first call of a function", binds, NULL, NULL},
    {"dlopen of libstdc++", loads, NULL, "libstdc++.so.6"},
    {"backtrace", traces_back, NULL, NULL},
    {"raising an exception", throws, NULL, NULL},
    {"a signal", takes_signal, handler_set, NULL},
    {"a signal whose handler prints a double", takes_signal, handler_set, "prints"},
    {"a signal in a process with AMX", takes_signal_with_tiles, handler_set, NULL},
    {"getaddrinfo of 127.0.0.1", resolves, NULL, "127.0.0.1"},
    {"getaddrinfo of localhost", resolves, NULL, "localhost"},
    {"getaddrinfo of a name in DNS", resolves, resolver_hurry, "www.example.org."},
    {"getpwnam_r, getpwuid_r", finds_user, NULL, NULL},
};

const struct use_group uses_of_c = {uses, COUNT(uses)};
