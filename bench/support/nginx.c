/* SPDX-License-Identifier: MIT */

/*
 * 1. The listening socket is made here and handed over, as an nginx hands it to its successor (the
 *    variable NGINX names it): so no port is lost to somebody else, and who connects before nginx
 *    is ready waits in the socket's backlog.
 * 2. Its two processes are a group of their own. Whatever happens to the benchmark, the master is
 *    told to end, and it ends its worker. (Without a master, nginx 1.22 crashes on a socket that
 *    was handed over.)
 * 3. All that nginx writes is in a directory of its own.
 */

#include "nginx.h"

#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* The build tells where one may be that is not installed. */
#ifndef NGINX_UNPACKED
#define NGINX_UNPACKED "/nonexistent"
#endif

enum { ANSWER_SECONDS = 20 };

/* What stands in its directory. */
static const char *const names[] = {"nginx.conf", "nginx.pid", "error.log",
                                    "small",      "large",     "temporary"};

/* tcp_nopush makes the head and the page leave together. Without it a page of 1 KiB comes in two
 * pieces, and a client is woken twice for it; with it the second page of 1 MiB on each of ten
 * connections came 40 ms late (nginx 1.22, Linux 6.18). */
static const char configuration[] = "daemon off;\n"
                                    "%s"
                                    "worker_processes 1;\n"
                                    "pid nginx.pid;\n"
                                    "error_log error.log error;\n"
                                    "events { worker_connections %d; }\n"
                                    "http {\n"
                                    "    access_log off;\n"
                                    "    sendfile on;\n"
                                    "    keepalive_requests 1000000000;\n"
                                    "    keepalive_timeout 1h;\n"
                                    "    open_file_cache max=16 inactive=1h;\n"
                                    "    open_file_cache_valid 1h;\n"
                                    "    client_body_temp_path temporary;\n"
                                    "    proxy_temp_path temporary;\n"
                                    "    fastcgi_temp_path temporary;\n"
                                    "    uwsgi_temp_path temporary;\n"
                                    "    scgi_temp_path temporary;\n"
                                    "    server {\n"
                                    "        listen 127.0.0.1:%u backlog=%d;\n"
                                    "        root .;\n"
                                    "        location = /small { tcp_nopush on; }\n"
                                    "        location = /status { stub_status; }\n"
                                    "    }\n"
                                    "}\n";

static struct nginx *running;
static pid_t owner; /* the process that started it: others that exit leave it alone */

/* --- what is where --- */

/* Debian's users have no sbin in their PATH. */
static const char *
nginx_path(void)
{
    static const char *const paths[] = {
        "/usr/sbin/nginx",      "/usr/local/sbin/nginx", "/usr/bin/nginx",
        "/usr/local/bin/nginx", NGINX_UNPACKED,
    };

    for (size_t i = 0; i < COUNT(paths); i++) {
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    }
    return NULL;
}

const char *
nginx_lacks(void)
{
    return nginx_path() == NULL ? "there is no nginx here: ./run.sh bench --peers brings one"
                                : NULL;
}

static char
page_byte(size_t position)
{
    return (char) ('a' + position % 23);
}

bool
nginx_page_check(size_t position, const char *text, size_t size)
{
    return size > 0 && text[0] == page_byte(position) &&
           text[size / 2] == page_byte(position + size / 2) &&
           text[size - 1] == page_byte(position + size - 1);
}

/* --- its directory --- */

static FILE *
file_make(const struct nginx *nginx, const char *name)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", nginx->directory, name);
    file = fopen(path, "we");
    if (file == NULL)
        bench_die("%s: %s", path, strerror(errno));
    return file;
}

static void
file_close(FILE *file)
{
    bool written = ferror(file) == 0;

    if (fclose(file) != 0 || !written)
        bench_die("nginx: writing its files: %s", strerror(errno));
}

static void
page_make(const struct nginx *nginx, const char *name, size_t size)
{
    FILE *file = file_make(nginx, name);

    for (size_t i = 0; i < size; i++)
        putc(page_byte(i), file);
    file_close(file);
}

static void
directory_make(struct nginx *nginx)
{
    const char *temporary = getenv("TMPDIR");
    FILE *file;

    if (temporary == NULL || strlen(temporary) > sizeof nginx->directory - 20)
        temporary = "/tmp";
    snprintf(nginx->directory, sizeof nginx->directory, "%s/bench-nginx-XXXXXX", temporary);
    if (mkdtemp(nginx->directory) == NULL)
        bench_die("%s: %s", nginx->directory, strerror(errno));
    running = nginx;
    page_make(nginx, "small", NGINX_SMALL);
    page_make(nginx, "large", NGINX_LARGE);
    file = file_make(nginx, "nginx.conf");
    /* Of root's worker: it may not see the directory otherwise. */
    fprintf(file, configuration, geteuid() == 0 ? "user root root;\n" : "", NGINX_CONNECTIONS_MAX,
            (unsigned) nginx->port, SOMAXCONN);
    file_close(file);
}

static void
directory_remove(const struct nginx *nginx)
{
    char path[128];

    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", nginx->directory, names[i]);
        remove(path);
    }
    rmdir(nginx->directory);
}

/* --- its process --- */

static int
listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) < 0 ||
        listen(fd, SOMAXCONN) < 0 || getsockname(fd, (struct sockaddr *) &address, &length) < 0)
        bench_die("nginx: listening: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

static _Noreturn void
nginx_run(const struct nginx *nginx, int listener, unsigned place, pid_t parent)
{
    const char *path = nginx_path();
    /* Another number is no longer closed by exec. */
    int inherited = dup(listener);
    char variable[16];

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || inherited < 0 || setpgid(0, 0) < 0)
        _exit(1);
    bench_pin(place);
    snprintf(variable, sizeof variable, "%d;", inherited);
    setenv("NGINX", variable, 1);
    execl(path, path, "-p", nginx->directory, "-c", "nginx.conf", "-e", "error.log", (char *) NULL);
    fprintf(stderr, "starting %s: %s\n", path, strerror(errno));
    _exit(1);
}

/* What it answers to a GET, or as much as there is space for; false when it does not. */
static bool
nginx_ask(const struct nginx *nginx, const char *path, char *answer, size_t size)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(nginx->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char request[128];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    size_t had = 0;
    ssize_t n = -1;

    if (fd < 0)
        bench_die("nginx: a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *) &address, sizeof address) == 0 &&
        send(fd, request, (size_t) length, MSG_NOSIGNAL) == length) {
        while ((n = recv(fd, answer + had, size - 1 - had, 0)) > 0)
            had += (size_t) n;
    }
    close(fd);
    answer[had] = '\0';
    return n == 0 && strstr(answer, " 200 OK\r\n") != NULL;
}

void
nginx_hold(const struct nginx *nginx, bool hold)
{
    kill(-nginx->pid, hold ? SIGSTOP : SIGCONT);
}

static _Noreturn void
nginx_die(const struct nginx *nginx, const char *what)
{
    char path[128], line[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/error.log", nginx->directory);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        fputs(line, stderr);
    if (file != NULL)
        fclose(file);
    bench_die("%s", what);
}

static void
nginx_at_exit(void)
{
    if (running != NULL && getpid() == owner)
        nginx_stop(running);
}

void
nginx_start(struct nginx *nginx, unsigned place)
{
    static bool registered;
    pid_t parent = getpid();
    char answer[2 * NGINX_SMALL];
    int listener;

    *nginx = (struct nginx){0};
    owner = parent;
    if (!registered)
        atexit(nginx_at_exit);
    registered = true;
    listener = listen_anywhere(&nginx->port);
    directory_make(nginx);
    fflush(NULL);
    nginx->pid = fork();
    if (nginx->pid < 0)
        bench_die("nginx: fork: %s", strerror(errno));
    if (nginx->pid == 0)
        nginx_run(nginx, listener, place, parent);
    close(listener);
    setpgid(nginx->pid, nginx->pid); /* who comes first */
    if (!nginx_ask(nginx, "/small", answer, sizeof answer))
        nginx_die(nginx, "nginx does not answer");
    nginx->asked = 1;
}

void
nginx_stop(struct nginx *nginx)
{
    running = NULL;
    if (nginx->pid > 0) {
        /* The master waits for its worker, or kills it: nobody else may be there to reap it. */
        nginx_hold(nginx, false);
        kill(nginx->pid, SIGTERM);
        while (waitpid(nginx->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    directory_remove(nginx);
}

uint64_t
nginx_answers(struct nginx *nginx)
{
    static const char heading[] = "server accepts handled requests\n";
    unsigned long long accepted, handled, requests;
    char answer[1024];
    const char *found;

    if (!nginx_ask(nginx, "/status", answer, sizeof answer))
        nginx_die(nginx, "nginx no longer answers");
    found = strstr(answer, heading);
    if (found == NULL ||
        sscanf(found + strlen(heading), "%llu %llu %llu", &accepted, &handled, &requests) != 3)
        bench_die("nginx does not tell how many requests it has had");
    return requests - ++nginx->asked;
}
