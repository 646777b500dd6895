/* SPDX-License-Identifier: MIT */

/*
 * testing_your_code - A unit test of code that is written with uco, with nothing but assert().
 *
 * docs/testing-your-code.md tells more about the tools that it uses.
 */

#undef NDEBUG

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <uco/testing.h>
#include <uco/uco.h>
#include <unistd.h>

/* --- the code under test --- */

/* Calls fn until it works, waiting twice as long each time; after so many tries, its last error. */
static intptr_t
retry(unsigned tries, uco_fn *fn, void *arg)
{
    double delay = 1.0; /* seconds */
    intptr_t r = fn(arg);

    while (r < 0 && r != -ECANCELED && --tries > 0) {
        int slept = uco_sleep(delay);

        if (slept < 0)
            return slept;
        delay *= 2.0;
        r = fn(arg);
    }
    return r;
}

/* What a program must know before it can begin. */
struct config {
    uco_event loaded;
    int port;
};

static intptr_t
config_load(void *arg)
{
    struct config *config = arg;

    config->port = 8080;
    uco_event_set(&config->loaded);
    return 0;
}

static intptr_t
config_port_wrong(void *arg)
{
    const struct config *config = arg;

    return config->port; /* config_load() was started first, so this is set. Is it? */
}

static intptr_t
config_port(void *arg)
{
    struct config *config = arg;
    int r = uco_event_wait(&config->loaded);

    return r < 0 ? r : config->port;
}

/* Reads a byte, and closes the file whatever happens. */
static intptr_t
read_answer(void *arg)
{
    int fd = *(int *) arg;
    char answer;
    ssize_t n = uco_read_exactly(fd, &answer, 1);

    uco_close(fd);
    return n < 0 ? n : answer;
}

/* --- time: the virtual clock jumps to the next deadline when all tasks are blocked --- */

static intptr_t
fail_some_times(void *arg)
{
    unsigned *left = arg;

    if (*left == 0)
        return 0;
    (*left)--;
    return -ECONNREFUSED;
}

static intptr_t
ten_tries(void *arg)
{
    return retry(10, fail_some_times, arg);
}

static intptr_t
retry_doubles_its_delay(void *arg)
{
    unsigned failures = 8;

    (void) arg;
    assert(ten_tries(&failures) == 0);
    assert(uco_time() == 255.0); /* 1 + 2 + 4 ... + 128 seconds; this clock begins at 0 */

    failures = 100;
    assert(ten_tries(&failures) == -ECONNREFUSED);
    assert(failures == 90);
    return 0;
}

static intptr_t
retry_can_be_cut_short(void *arg)
{
    unsigned failures = 100;

    (void) arg;
    assert(uco_with_timeout(60.0, ten_tries, &failures) == -ETIMEDOUT);
    assert(uco_time() == 60.0);
    return 0;
}

/* --- steps: uco_test_settle() returns when all other tasks are blocked --- */

static intptr_t
port_is_waited_for(void *arg)
{
    struct config config = {0};
    uco_task *port = uco_create_task(config_port, &config);

    (void) arg;
    uco_test_settle();
    assert(!uco_done(port));
    config_load(&config);
    uco_test_settle();
    assert(uco_done(port) && uco_result(port) == 8080);
    uco_unref(port);
    return 0;
}

/* --- order: each seed is another one --- */

static intptr_t
start_up(uco_fn *port_of)
{
    struct config config = {0};
    uco_task *tasks[] = {uco_create_task(config_load, &config), uco_create_task(port_of, &config)};
    intptr_t results[2];
    int r = uco_gather(tasks, 2, results);

    uco_unref_all(tasks, 2);
    return r < 0 ? r : results[1];
}

static intptr_t
start_up_wrong(void *arg)
{
    (void) arg;
    return start_up(config_port_wrong);
}

static intptr_t
start_up_right(void *arg)
{
    (void) arg;
    return start_up(config_port);
}

/* The first seed with another result than that, or 0. */
static uint64_t
bad_seed(uco_fn *test, intptr_t expected)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .seed = seed};

        if (uco_run_with(&options, test, NULL) != expected)
            return seed;
    }
    return 0;
}

/* --- faults: the system call or allocation that you choose fails --- */

static intptr_t
failed_read_closes_the_file(void *arg)
{
    int fds[2];

    (void) arg;
    assert(pipe(fds) == 0);
    assert(uco_test_fail("read", 1, false, EIO) == 0);
    assert(read_answer(&fds[0]) == -EIO);
    uco_test_fail_off();
    assert(fcntl(fds[0], F_GETFD) == -1); /* it is closed */
    close(fds[1]);
    return 0;
}

/* Each allocation fails once: every run ends in good order, and the last ones succeed. */
static void
start_up_survives_lack_of_memory(void)
{
    unsigned failed = 0;
    intptr_t r = 0;

    for (unsigned long nth = 1; nth <= 50; nth++) {
        uco_test_fail("malloc", nth, false, ENOMEM);
        r = uco_run(start_up_right, NULL);
        uco_test_fail_off();
        assert(r == 8080 || r == -ENOMEM);
        failed += r == -ENOMEM;
    }
    assert(failed > 0 && r == 8080);
}

int
main(void)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};

    assert(uco_run_with(&options, retry_doubles_its_delay, NULL) == 0);
    assert(uco_run_with(&options, retry_can_be_cut_short, NULL) == 0);
    assert(uco_run_with(&options, port_is_waited_for, NULL) == 0);
    assert(uco_run_with(&options, failed_read_closes_the_file, NULL) == 0);
    start_up_survives_lack_of_memory();

    assert(bad_seed(start_up_wrong, 8080) != 0); /* found */
    assert(bad_seed(start_up_right, 8080) == 0);
    printf("config_port_wrong() fails with seed %ju\n", (uintmax_t) bad_seed(start_up_wrong, 8080));
    return 0;
}
