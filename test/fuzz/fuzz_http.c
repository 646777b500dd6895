/* SPDX-License-Identifier: MIT */

/*
 * usage: fuzz-http [--seed N] [--runs N] [--seconds S] [--verbose]
 *
 * A server that answers whatever chance says, and a client that must survive it: each call ends, in
 * time, with a result or an error that it may have, and nothing is left over. An answer that was
 * left as it is must be understood.
 *
 * A run is a world of its own, made from its seed: the one that goes wrong is told, and `--seed N
 * --runs 1 --verbose` shows it again. The clock is virtual, so that waiting takes no time, and all
 * connections go to a Unix socket, whatever host an answer leads to.
 *
 * Runs go on in a child process, which a mismatch ends, and so does a crash or a hang.
 */

#include "fuzz_http_answer.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <uco/http.h>
#include <uco/uco.h>
#include <unistd.h>

#define HANG 60 /* seconds, for a run */
#define MISMATCH 1
#define REQUESTS_MOST 4
#define CONNECTIONS_MOST 400    /* answers of a run: redirects, retries and logins have limits */
#define LINE_MAX_OF_CURL 100000 /* bytes of a header; a longer one "has no memory" */
#define WARM_UP 200             /* runs, until memory is what it will be */
#define GROWTH_MOST ((size_t) 4 * 1024 * 1024)

struct request {
    size_t answers; /* it has got */
    struct answer answer;
    bool fresh; /* the last one was its connection's first */
};

struct world {
    uint64_t seed;
    uint64_t random;
    uco_http_client *client;
    size_t max_body;
    bool packed; /* bodies stay as they come */
    struct request requests[REQUESTS_MOST];
    size_t answers;
    bool large; /* one had LINE_MAX_OF_CURL or more */
};

static bool verbose;

static _Noreturn void mismatch(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
mismatch(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf("mismatch: ");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    fflush(stdout);
    _exit(MISMATCH);
}

static void show(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
show(const char *format, ...)
{
    va_list arguments;

    if (!verbose)
        return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

static void
show_bytes(const char *bytes, size_t size)
{
    for (size_t i = 0; verbose && i < size && i < 4000; i++) {
        if (bytes[i] == '\n')
            printf("\\n\n    ");
        else if (bytes[i] >= ' ' && bytes[i] < 0x7f)
            putchar(bytes[i]);
        else
            printf("\\x%02x", (unsigned char) bytes[i]);
    }
    show("%s\n", size > 4000 ? "..." : "");
}

/* --- the server --- */

static int
request_receive(uco_stream *s, char *first, size_t size)
{
    const char *line;
    ssize_t r;

    first[0] = '\0';
    while ((r = uco_stream_read_line(s, &line)) > 0) {
        if (first[0] == '\0')
            snprintf(first, size, "%.*s", (int) r, line);
        if (r == 2 && line[0] == '\r')
            return 1;
    }
    return (int) r;
}

/* In pieces, with and without a pause between them. */
static int
answer_send(uco_stream *s, const struct answer *answer, uint64_t random)
{
    size_t most = (size_t) 1 << random_below(&random, 18);
    size_t pause = random_below(&random, 3);
    int r = 0;

    for (size_t sent = 0; r >= 0 && sent < answer->size;) {
        size_t left = answer->size - sent;
        size_t piece = 1 + random_below(&random, most < left ? most : left);

        /* Not too many of them. */
        if (sent > 2000 && piece < 2000)
            piece = left < 2000 ? left : 2000;
        r = (int) uco_stream_write(s, answer->bytes + sent, piece);
        if (r >= 0)
            r = uco_stream_drain(s);
        if (r >= 0 && pause > 0)
            r = pause == 1 ? uco_yield() : uco_sleep(0.001);
        sent += piece;
    }
    return r;
}

/* False: the connection ends. */
static bool
connection_answer(struct world *world, uco_stream *s, const char *line, bool fresh)
{
    struct answer answer;
    const char *slash = strchr(line, '/');
    size_t number = slash != NULL ? strtoul(slash + 1, NULL, 10) : 0;
    uint64_t random = world->seed * UINT64_C(0xd1342543de82ef95) + ++world->answers;
    enum answer_end end;
    char byte;
    int r;

    if (world->answers > CONNECTIONS_MOST)
        mismatch("the client does not stop asking");
    answer_make(&answer, random_next(&random));
    world->large |= answer.size >= LINE_MAX_OF_CURL;
    show("answer %zu to %.*s, end %d:\n    ", world->answers, (int) strcspn(line, "\r\n"), line,
         answer.end);
    show_bytes(answer.bytes, answer.size);
    if (number >= 1 && number <= REQUESTS_MOST) {
        struct request *request = &world->requests[number - 1];

        request->answers++;
        request->fresh = fresh;
        request->answer = answer;
        request->answer.bytes = NULL;
    }
    end = answer.end;
    r = answer_send(s, &answer, random_next(&random));
    answer_free(&answer);
    if (r < 0 || end == ANSWER_CLOSE)
        return false;
    if (end == ANSWER_SHUT)
        (void) uco_stream_shutdown(s);
    if (end == ANSWER_KEEP)
        return true;
    while (uco_stream_read(s, &byte, 1) > 0)
        ;
    return false;
}

static intptr_t
connection_run(uco_stream *s, void *arg)
{
    struct world *world = arg;
    bool fresh = true;
    char line[256];

    while (request_receive(s, line, sizeof line) > 0 && connection_answer(world, s, line, fresh))
        fresh = false;
    return 0;
}

/* --- the client --- */

static void
check_error(const struct world *world, const char *what, intptr_t r)
{
    static const int errors[] = {ECONNREFUSED, ECONNRESET, EPIPE,  ETIMEDOUT, EPROTO,
                                 EMSGSIZE,     ELOOP,      EINVAL, ECANCELED};

    show("%s: %jd, %s\n", what, (intmax_t) r, uco_http_error(world->client));
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (r == -errors[i])
            return;
    }
    if (r == -ENOMEM && world->large)
        return;
    mismatch("%s: %jd, %s", what, (intmax_t) r, uco_http_error(world->client));
}

static void
check_string(const char *what, const char *text)
{
    if (text == NULL)
        mismatch("%s is NULL", what);
    /* A sanitizer sees whether there is an end. */
    if (strlen(text) > 2 * 1024 * 1024)
        mismatch("%s is very long", what);
}

static void
check_head(const uco_http_response *response)
{
    const char *name, *value, *found;
    size_t position = 0, count = 0;

    if (response->status < 100 || response->status > 999)
        mismatch("the status is %ld", response->status);
    check_string("the URL", response->url);
    for (size_t i = 0; i < response->history_size; i++)
        check_string("a URL of the history", response->history[i].url);
    while (uco_http_header_at(response, &position, &name, &value)) {
        check_string("a name", name);
        check_string("a value", value);
        found = uco_http_header(response, name);
        if (name[0] == '\0' || found == NULL || value[strcspn(value, "\r\n")] != '\0')
            mismatch("a header '%s': '%s'", name, value);
        if (++count > 5000)
            mismatch("too many headers");
    }
}

/* An answer that nobody has spoilt, the only one of its request and its connection. */
static bool
is_right(const struct world *world, const struct request *request)
{
    return request->answers == 1 && request->fresh && request->answer.body != NULL &&
           !world->packed;
}

static void
check_body(const struct world *world, const struct request *request, long status, const char *body,
           size_t size)
{
    if (size > world->max_body)
        mismatch("a body of %zu bytes, more than max_body", size);
    if (!is_right(world, request))
        return;
    if (status != request->answer.status)
        mismatch("the status is %ld and not %ld", status, request->answer.status);
    if (size != request->answer.body_size || memcmp(body, request->answer.body, size) != 0)
        mismatch("the body is '%.*s' and not '%s'", (int) size, body, request->answer.body);
}

static void
read_pieces(struct world *world, struct request *request, uco_http_response *response,
            uint64_t *random)
{
    size_t size = 0, most = (size_t) 1 << random_below(random, 16);
    char *body = malloc(world->max_body + most + 1);
    ssize_t r, again;

    if (body == NULL)
        abort();
    do {
        size_t n = 1 + random_below(random, most);

        r = uco_http_read(response, body + size, n);
        if (r > (ssize_t) n || (r > 0 && (size_t) r > world->max_body - size))
            mismatch("a read of %zu gave %zd, after %zu", n, r, size);
        size += r > 0 ? (size_t) r : 0;
        if (random_below(random, 20) == 0)
            (void) uco_sleep(0.01);
    } while (r > 0);
    if (r < 0)
        check_error(world, "uco_http_read", r);
    else
        check_body(world, request, response->status, body, size);
    again = uco_http_read(response, body, 1);
    if (again != r && again != -ECANCELED)
        mismatch("the end is not the end: %zd and then %zd", r, again);
    free(body);
}

static void
read_chunks(struct world *world, struct request *request, uco_http_response *response)
{
    char *body = malloc(world->max_body + 1);
    const void *data;
    size_t size = 0;
    ssize_t r;

    if (body == NULL)
        abort();
    while ((r = uco_http_read_chunk(response, &data)) > 0) {
        if ((size_t) r > world->max_body - size)
            mismatch("a chunk of %zd, after %zu", r, size);
        /* It stays while others run. */
        (void) uco_sleep(0.001);
        memcpy(body + size, data, (size_t) r);
        size += (size_t) r;
    }
    if (data != NULL)
        mismatch("a chunk after the end");
    if (r < 0)
        check_error(world, "uco_http_read_chunk", r);
    else
        check_body(world, request, response->status, body, size);
    free(body);
}

/* Puts lines together again, as far as that can be. */
static void
read_lines(struct world *world, struct request *request, uco_http_response *response,
           uint64_t *random)
{
    size_t max = 1 + random_below(random, 20), total = 0;
    const char *right = request->answer.body;
    const char *line;
    ssize_t r;

    for (;;) {
        r = uco_http_read_line(response, &line, max);
        if (r == -EMSGSIZE && max <= world->max_body) {
            ssize_t again = uco_http_read_line(response, &line, max);

            if (line != NULL || (again != -EMSGSIZE && again != -ECANCELED))
                mismatch("a line that is too long is not");
            max *= 4;
            continue;
        }
        if (line == NULL)
            break;
        if (r < 0 || (size_t) r > max || line[r] != '\0')
            mismatch("a line of %zd", r);
        if (is_right(world, request)) {
            if (strncmp(right, line, (size_t) r) != 0)
                mismatch("'%s' is not the next line of '%s'", line, right);
            right += r;
            right += right[0] == '\r' && right[1] == '\n' ? 2 : right[0] == '\n' ? 1 : 0;
        }
        total += (size_t) r;
    }
    if (total > world->max_body)
        mismatch("lines of %zu bytes, more than max_body", total);
    if (r < 0)
        check_error(world, "uco_http_read_line", r);
    else if (is_right(world, request) && *right != '\0')
        mismatch("'%s' was not read", right);
}

static void
read_events(struct world *world, uco_http_response *response)
{
    uco_http_event event;
    size_t total = 0;
    int r;

    while ((r = uco_http_read_event(response, &event)) == 1) {
        check_string("a type", event.type);
        check_string("an id", event.id);
        if (event.data == NULL || event.data[event.data_size] != '\0' || event.retry < -1)
            mismatch("an event without an end");
        total += event.data_size;
        /* A byte that is not UTF-8 becomes three. */
        if (total > 3 * world->max_body)
            mismatch("events of %zu bytes", total);
    }
    if (r != 0)
        check_error(world, "uco_http_read_event", r);
}

static void
read_somehow(struct world *world, struct request *request, uco_http_response *response,
             uint64_t *random)
{
    switch (random_below(random, 6)) {
    case 0:
        read_chunks(world, request, response);
        return;
    case 1:
        read_lines(world, request, response, random);
        return;
    case 2:
        read_events(world, response);
        return;
    case 3:
        return; /* it is given up */
    case 4:
        (void) uco_sleep((double) random_below(random, 10) / 2);
        break;
    default:
        break;
    }
    read_pieces(world, request, response, random);
}

static void
request_memory(struct world *world, struct request *request,
               const uco_http_request_options *options, uint64_t *random)
{
    uco_http_response *response = (uco_http_response *) (void *) world;
    int r = uco_http_request(world->client, options, &response);

    if ((r < 0) != (response == NULL))
        mismatch("uco_http_request: %d, and %p", r, (void *) response);
    if (r < 0) {
        check_error(world, "uco_http_request", r);
        return;
    }
    show("%s: %ld, %zu bytes\n", options->url, response->status, response->size);
    check_head(response);
    if (response->text == NULL || response->text[response->size] != '\0')
        mismatch("a text without an end");
    if (strcmp(options->method, "HEAD") != 0) {
        check_body(world, request, response->status, response->text, response->size);
        if (random_below(random, 2) == 0)
            read_somehow(world, request, response, random);
    }
    uco_http_response_free(response);
}

static void
request_stream(struct world *world, struct request *request,
               const uco_http_request_options *options, uint64_t *random)
{
    uco_http_response *response = (uco_http_response *) (void *) world;
    int r = uco_http_stream(world->client, options, &response);

    if ((r < 0) != (response == NULL))
        mismatch("uco_http_stream: %d, and %p", r, (void *) response);
    if (r < 0) {
        check_error(world, "uco_http_stream", r);
        return;
    }
    show("%s: %ld\n", options->url, response->status);
    check_head(response);
    if (strcmp(options->method, "HEAD") != 0)
        read_somehow(world, request, response, random);
    check_head(response);
    uco_http_response_free(response);
}

struct asking {
    struct world *world;
    size_t number;
    uint64_t random;
};

static intptr_t
ask(void *arg)
{
    static const char *const methods[] = {"GET", "GET", "GET", "HEAD", "POST", "DELETE"};
    struct asking *asking = arg;
    uint64_t *random = &asking->random;
    char url[32];
    uco_http_request_options options = {
        .method = methods[random_below(random, 6)],
        .url = url,
        .timeout = 1 + (double) random_below(random, 30),
        .retries = (int) random_below(random, 3),
    };
    struct request *request = &asking->world->requests[asking->number - 1];

    snprintf(url, sizeof url, "/%zu", asking->number);
    if (strcmp(options.method, "POST") == 0) {
        options.body = "0123456789";
        options.body_size = 10;
    }
    if (random_below(random, 2) == 0)
        request_memory(asking->world, request, &options, random);
    else
        request_stream(asking->world, request, &options, random);
    return 0;
}

/* Some one after the other, some at once, some cut short. */
static void
ask_all(struct world *world)
{
    struct asking asking[REQUESTS_MOST];
    size_t count = 1 + random_below(&world->random, REQUESTS_MOST);
    uco_future *tasks[REQUESTS_MOST] = {NULL};

    for (size_t i = 0; i < count; i++) {
        asking[i] = (struct asking){world, i + 1, random_next(&world->random)};
        if (random_below(&world->random, 2) == 0)
            (void) ask(&asking[i]);
        else
            tasks[i] = uco_create_task(ask, &asking[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (tasks[i] == NULL)
            continue;
        if (random_below(&world->random, 4) == 0) {
            (void) uco_sleep((double) random_below(&world->random, 100) / 1000);
            uco_cancel(tasks[i]);
        }
        (void) uco_join(tasks[i]);
    }
}

static intptr_t
world_run(void *arg)
{
    struct world *world = arg;
    uint64_t *random = &world->random;
    char address[64], host[80];
    uco_http_client_options options = {
        .base_url = "http://fuzz.invalid",
        .unix_socket = address,
        .timeout = 60,
        .read_timeout = 0.5 + (double) random_below(random, 4),
        .max_connections = 1 + random_below(random, 4),
        .max_redirects = (int) random_below(random, 6) - 1,
        .user = random_below(random, 2) == 0 ? "user" : NULL,
        .password = "password",
        .auth = random_below(random, 2) == 0 ? UCO_HTTP_BASIC : UCO_HTTP_DIGEST,
        .no_decompression = random_below(random, 8) == 0,
        .no_cookies = random_below(random, 4) == 0,
    };
    uco_server *server;

    world->max_body = random_below(random, 2) == 0 ? 1024 * 1024 : 1 + random_below(random, 300);
    options.max_body = world->max_body;
    world->packed = options.no_decompression;
    if (options.user == NULL)
        options.password = NULL;
    snprintf(address, sizeof address, "@uco-fuzz-http-%d", (int) getpid());
    snprintf(host, sizeof host, "unix:%s", address);
    server = uco_server_start(host, 0, connection_run, world);
    if (server == NULL)
        mismatch("no server: %s", strerror(errno));
    world->client = uco_http_client_new(&options);
    if (world->client == NULL)
        mismatch("no client: %s", strerror(errno));
    ask_all(world);
    if (uco_http_client_close(world->client) != 0)
        mismatch("the client does not close");
    if (uco_server_close(server, 0) != 0)
        mismatch("the server does not close");
    return 0;
}

static void
reported(const char *message, uco_task *task, void *arg)
{
    (void) task;
    (void) arg;
    mismatch("reported: %s", message);
}

static void
run(uint64_t seed)
{
    struct world world = {.seed = seed, .random = seed * UINT64_C(0x2545f4914f6cdd1d)};
    uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .seed = seed,
        .slow_callback = UCO_FOREVER,
        .exception_handler = reported,
    };
    intptr_t r = uco_run_with(&options, world_run, &world);

    if (r != 0)
        mismatch("uco_run: %jd", (intmax_t) r);
}

/* --- many runs --- */

/* Of the child, for the parent. */
struct progress {
    uint64_t seed;
    uint64_t runs;
};

struct options {
    uint64_t seed;
    uint64_t runs;
    double seconds; /* 0: runs decides */
};

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static size_t
descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void
run_all(const struct options *options, struct progress *progress)
{
    double until = now() + options->seconds;
    size_t open = 0, used = 0;

    for (uint64_t i = 0; options->seconds > 0 ? now() < until : i < options->runs; i++) {
        progress->seed = options->seed + i;
        alarm(HANG);
        run(progress->seed);
        progress->runs++;
        if (i == WARM_UP) {
            open = descriptors();
            used = mallinfo2().uordblks;
        }
        if (i > WARM_UP && i % WARM_UP == 0 && descriptors() > open)
            mismatch("descriptors are left over");
    }
    if (progress->runs > WARM_UP && mallinfo2().uordblks > used + GROWTH_MOST)
        mismatch("memory is left over: %zu bytes", mallinfo2().uordblks - used);
}

static int
fuzz(const struct options *options)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begin = now();
    int status;
    pid_t child;

    if (progress == MAP_FAILED || (child = fork()) < 0)
        abort();
    if (child == 0) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        run_all(options, progress);
        exit(EXIT_SUCCESS);
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            abort();
    }
    if (status == 0) {
        printf("http %8ju runs, %.1f s\n", (uintmax_t) progress->runs, now() - begin);
        return EXIT_SUCCESS;
    }
    printf("http: %s; to see this again: --seed %ju --runs 1 --verbose\n",
           !WIFSIGNALED(status)          ? "ended"
           : WTERMSIG(status) == SIGALRM ? "hangs"
                                         : strsignal(WTERMSIG(status)),
           (uintmax_t) progress->seed);
    return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    struct options options = {.seed = 1, .runs = 1000};

    unsetenv("UCO_SEED");
    unsetenv("UCO_DEBUG"); /* with it misuse, which is part of it, aborts */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--runs") == 0)
            options.runs = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            options.seconds = strtod(argv[++i], NULL);
        else
            argc = 0;
    }
    if (argc > 0)
        return fuzz(&options);
    fputs("usage: fuzz-http [--seed N] [--runs N] [--seconds S] [--verbose]\n", stderr);
    return 2;
}
