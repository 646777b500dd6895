/* SPDX-License-Identifier: MIT */
#include "nginx.h"

#include "certificates.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_SKIPPED 77  /* as meson has it */
#define START_TIMEOUT 30 /* seconds */
#define PATHS 8
#define PORTS 4

struct nginx nginx;

static char folder[] = "/tmp/uco-nginx-XXXXXX";
static pid_t process;

const char *
nginx_path(const char *name)
{
    static char paths[PATHS][128];
    static unsigned next;
    char *path = paths[next++ % PATHS];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

const char *
nginx_url(const char *scheme, const char *host, uint16_t port, const char *path)
{
    static char urls[PATHS][256];
    static unsigned next;
    char *url = urls[next++ % PATHS];

    snprintf(url, sizeof urls[0], "%s://%s:%u%s", scheme, host, (unsigned) port, path);
    return url;
}

/* --- what it serves --- */

/* Paths are relative to the folder. */
static const char configuration_head[] =
    "daemon off;\n"
    "worker_processes 1;\n" /* so what was answered before was logged before */
    "pid nginx.pid;\n"
    "error_log error.log info;\n"
    "events { worker_connections 1024; }\n"
    "http {\n"
    "log_format line '$status $request_method $request_uri $server_protocol $connection';\n"
    "access_log access.log line;\n"
    "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
    "uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
    "types {} default_type text/plain;\n"
    "sendfile on; client_max_body_size 1m; client_body_buffer_size 64k;\n"
    "ssl_session_cache shared:sessions:1m;\n"
    "limit_req_zone $arg_key zone=limited:128k rate=1r/m;\n"
    "map $http_x_attempt $busy { default 0; 0 1; }\n"
    "add_header X-Connection $connection always;\n";

static const char pages[] =
    "root www;\n"
    "location = /hello { return 200 'hello\\n'; }\n"
    "location = /connection { return 200 '$connection $connection_requests\\n'; }\n"
    "location = /request { return 200 '$request_method $host $server_protocol"
    " $http_user_agent\\n'; }\n"
    "location = /server-name { return 200 '$ssl_server_name\\n'; }\n"
    "location = /echo { proxy_pass http://unix:socket:/hello; proxy_method GET;\n"
    "  add_header X-Body $request_body; add_header X-Type $content_type;\n"
    "  add_header X-Length $content_length; }\n"
    "location /zipped/ { alias www/; gzip on; gzip_min_length 1; gzip_types *; }\n"
    "location /slow/ { alias www/; limit_rate 20k; }\n"
    "location /private/ { alias www/; auth_basic uco; auth_basic_user_file passwords;\n"
    "  add_header X-User $remote_user always; }\n"
    "location /stored/ { alias stored/; dav_methods PUT DELETE; create_full_put_path on;\n"
    "  client_max_body_size 256m; }\n"
    "location = /upload { return 200 'uploaded\\n'; }\n"
    "location = /few { keepalive_requests 3; return 200 '$connection\\n'; }\n"
    "location = /brief { keepalive_timeout 50ms; return 200 '$connection\\n'; }\n"
    "location = /closing { keepalive_timeout 0; return 200 '$connection\\n'; }\n"
    "location = /nowhere { proxy_pass http://unix:nobody; }\n"
    "location = /limited { alias www/hello; limit_req zone=limited; limit_req_status 429; }\n"
    "location = /busy { add_header Retry-After 1 always; if ($busy) { return 503 'busy\\n'; }\n"
    "  return 200 'free\\n'; }\n"
    "location = /moved { return 302 /hello; }\n"
    "location = /moved/twice { return 301 /moved; }\n"
    "location /moved/stored/ { client_max_body_size 256m;\n"
    "  rewrite ^/moved(.*)$ $1; return 307 $uri; }\n"
    "location = /gone { return 444; }\n"
    "location = /proxied { proxy_pass http://unix:upstream; proxy_buffering off; }\n"
    "location = /status { stub_status; access_log off; }\n"
    "absolute_redirect off;\n";

static void
tls_write(FILE *file, uint16_t port, const char *more, const char *names, const char *certificate)
{
    fprintf(file,
            "server { listen 127.0.0.1:%u ssl%s; server_name %s;\n"
            "ssl_certificate %s.pem; ssl_certificate_key %s.key;\n",
            (unsigned) port, more, names, certificate, certificate);
}

static bool
configuration_write(void)
{
    FILE *file = fopen(nginx_path("nginx.conf"), "we");

    if (file == NULL)
        return false;
    /* Otherwise it would become somebody who may not look into the folder. */
    if (geteuid() == 0)
        fputs("user root root;\n", file);
    fputs(configuration_head, file);
    fprintf(file, "server { listen 127.0.0.1:%u; listen unix:socket; include pages;\n",
            (unsigned) nginx.plain);
    fprintf(file, "location = /moved/secure { return 301 https://localhost:%u/hello; } }\n",
            (unsigned) nginx.tls);
    tls_write(file, nginx.tls, " http2 default_server", "localhost", "local");
    fputs("include pages; }\n", file);
    tls_write(file, nginx.tls, " http2", "shop.test", "named");
    fputs("include pages; }\n", file);
    tls_write(file, nginx.tls, " http2", "few.test", "named");
    fputs("include pages; keepalive_requests 3; }\n", file);
    tls_write(file, nginx.mutual, "", "localhost", "local");
    fputs("ssl_client_certificate ca.pem; ssl_verify_client on;\n"
          "location / { return 200 '$ssl_client_s_dn\\n'; } }\n",
          file);
    tls_write(file, nginx.expired, "", "localhost", "expired");
    fputs("location / { return 200 'expired\\n'; } }\n}\n", file);
    return fclose(file) == 0;
}

static bool
file_write(const char *name, const char *text)
{
    FILE *file = fopen(nginx_path(name), "we");

    return file != NULL && fputs(text, file) >= 0 && fclose(file) == 0;
}

void
nginx_large(size_t position, char *step)
{
    char digits[17];

    memset(step, 0, NGINX_LARGE_STEP);
    snprintf(digits, sizeof digits, "%016zx", position);
    memcpy(step, digits, 16);
}

/* Mostly a hole. */
static bool
large_write(const char *name)
{
    int fd = open(nginx_path(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    char digits[17];
    bool good = fd >= 0 && ftruncate(fd, (off_t) NGINX_LARGE_SIZE) == 0;

    for (size_t at = 0; good && at < NGINX_LARGE_SIZE; at += NGINX_LARGE_STEP) {
        snprintf(digits, sizeof digits, "%016zx", at);
        good = pwrite(fd, digits, 16, (off_t) at) == 16;
    }
    if (fd >= 0)
        close(fd);
    return good;
}

static bool
files_write(void)
{
    char text[NGINX_TEXT_SIZE + 1] = "";

    for (size_t i = 0; i < NGINX_TEXT_SIZE; i++)
        text[i] = (char) ('0' + i % 10);
    return mkdir(nginx_path("www"), 0755) == 0 && mkdir(nginx_path("stored"), 0755) == 0 &&
           file_write("pages", pages) && file_write("passwords", "user:{PLAIN}secret\n") &&
           file_write("www/text", text) && file_write("www/hello", "hello\n") &&
           large_write("www/large") && configuration_write();
}

/* --- starting and ending it --- */

/* nginx gets its sockets as an older nginx hands them over to a newer one. So nobody can take a
 * port in between, and who connects before it runs waits. */
static int
socket_open(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *) &address, size) < 0 || listen(fd, 511) < 0 ||
        getsockname(fd, (struct sockaddr *) &address, &size) < 0)
        return -1;
    *port = ntohs(address.sin_port);
    return fd;
}

/* On the way of the programs; where those are that only administrators have on theirs; or where
 * run.sh puts it. */
static const char *
program_find(void)
{
    static char program[512];
    char *ways, *way, *rest;

    if (asprintf(&ways, "%s:/usr/sbin:/usr/local/sbin:" TEST_NGINX_FOLDER,
                 getenv("PATH") != NULL ? getenv("PATH") : "") < 0)
        return NULL;
    rest = ways;
    while ((way = strsep(&rest, ":")) != NULL) {
        snprintf(program, sizeof program, "%s/nginx", way);
        if (way[0] == '/' && access(program, X_OK) == 0)
            break;
    }
    free(ways);
    return way != NULL ? program : NULL;
}

/* In the child. */
static _Noreturn void
program_exec(const char *program, const int sockets[PORTS], pid_t parent)
{
    char inherited[16 * PORTS] = "";
    size_t used = 0;

    /* The program of the tests may end in any way, also between the fork and this. With SIGKILL
     * nginx could not end its worker. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || chdir(folder) != 0)
        _exit(1);
    for (int i = 0; i < PORTS; i++) {
        fcntl(sockets[i], F_SETFD, 0);
        used += (size_t) snprintf(inherited + used, sizeof inherited - used, "%d;", sockets[i]);
    }
    setenv("NGINX", inherited, 1);
    execl(program, program, "-p", folder, "-c", "nginx.conf", "-e", "error.log", (char *) NULL);
    _exit(1);
}

/* Asks for a page, which is answered when it runs. */
static bool
program_answers(void)
{
    static const char request[] = "GET /hello HTTP/1.0\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(nginx.plain)};
    struct timeval timeout = {.tv_sec = START_TIMEOUT};
    char answer[16];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = fd >= 0 &&
                   setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
                   connect(fd, (struct sockaddr *) &address, sizeof address) == 0 &&
                   send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1 &&
                   recv(fd, answer, sizeof answer, MSG_WAITALL) == sizeof answer &&
                   memcmp(answer, "HTTP/1.1 200 OK\r", sizeof answer) == 0;

    if (fd >= 0)
        close(fd);
    return answers;
}

static bool
nginx_start(const char *program)
{
    uint16_t *const ports[PORTS] = {&nginx.plain, &nginx.tls, &nginx.mutual, &nginx.expired};
    int sockets[PORTS];
    pid_t parent = getpid();
    bool good = true;

    for (int i = 0; i < PORTS; i++) {
        sockets[i] = socket_open(ports[i]);
        good = good && sockets[i] >= 0;
    }
    if (good && files_write()) {
        process = fork();
        if (process == 0)
            program_exec(program, sockets, parent);
    }
    for (int i = 0; i < PORTS; i++)
        close(sockets[i]);
    return process > 0 && program_answers();
}

static void
nginx_stop(void)
{
    const char *const remove[] = {"rm", "-rf", "--", folder, NULL};

    if (process > 0) {
        kill(process, SIGTERM);
        waitpid(process, NULL, 0);
    }
    program_run(remove);
}

static void
error_log_show(void)
{
    FILE *file = fopen(nginx_path("error.log"), "re");
    char line[512];

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        fputs(line, stderr);
    if (file != NULL)
        fclose(file);
}

static int
not_tested(const char *why)
{
    const char *ci = getenv("CI");

    if (ci != NULL && strcmp(ci, "true") == 0) {
        fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    test_skipped(why);
    return EXIT_SKIPPED;
}

int
nginx_tests(const char *name, void (*add)(Suite *suite))
{
    const char *program = program_find();
    Suite *suite;
    int result;

    if (program == NULL)
        return not_tested("there is no nginx");
    if (mkdtemp(folder) == NULL)
        return EXIT_FAILURE;
    if (!certificates_make(folder)) {
        result = not_tested("openssl makes no certificates");
    } else if (!nginx_start(program)) {
        fprintf(stderr, "%s does not start\n", program);
        error_log_show();
        result = EXIT_FAILURE;
    } else {
        suite = suite_create(name);
        add(suite);
        result = suite_end(suite);
    }
    nginx_stop();
    return result;
}

/* --- clients of it --- */

static void
client_open(struct fixture *f, const uco_http_client_options *options)
{
    f->options = *options;
    if (f->options.base_url == NULL)
        f->options.base_url = nginx_url("http", "127.0.0.1", nginx.plain, "");
    if (f->options.proxy == NULL)
        f->options.proxy = "";
    f->client = uco_http_client_new(&f->options);
    ck_assert_ptr_nonnull(f->client);
}

void
nginx_reopen(struct fixture *f, const uco_http_client_options *options)
{
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    client_open(f, options);
}

static intptr_t
fixture_run(void *arg)
{
    struct fixture *f = arg;
    uco_http_client_options options = f->options;

    client_open(f, &options);
    f->body(f);
    return uco_http_client_close(f->client);
}

void
with_nginx(const uco_http_client_options *options, void (*body)(struct fixture *f))
{
    struct fixture f = {.options = *options, .body = body};
    uco_loop_options loop_options = reporting(&f.reports);

    loop_options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&loop_options, fixture_run, &f), 0);
    ck_assert_msg(f.reports.count == 0, "reported: %s", f.reports.all);
}

void
with_nginx_tls(const uco_http_client_options *options, void (*body)(struct fixture *f))
{
    uco_http_client_options complete = *options;

    if (complete.base_url == NULL)
        complete.base_url = nginx_url("https", "localhost", nginx.tls, "");
    if (complete.ca_file == NULL)
        complete.ca_file = nginx_path("ca.pem");
    with_nginx(&complete, body);
}

void
expect_words(struct fixture *f, const char *words)
{
    const char *error = uco_http_error(f->client);

    ck_assert_msg(strstr(error, words) != NULL, "'%s' does not say '%s'", error, words);
}

unsigned long
connection_of(const uco_http_response *response)
{
    const char *number = uco_http_header(response, "X-Connection");

    ck_assert_ptr_nonnull(number);
    return strtoul(number, NULL, 10);
}

unsigned long
connection_for(struct fixture *f, const char *url)
{
    uco_http_response *response = fetch(f, url);
    unsigned long number = connection_of(response);

    ck_assert_int_eq(response->status, 200);
    uco_http_response_free(response);
    return number;
}

/* --- what it tells --- */

/* stub_status, by a connection of its own. */
static int
connections_active(void)
{
    const uco_http_client_options options = {
        .base_url = "http://nginx", .proxy = "", .unix_socket = nginx_path("socket")};
    uco_http_client *client = uco_http_client_new(&options);
    uco_http_response *response;
    int active;

    ck_assert_int_eq(uco_http_get(client, "/status", &response), 0);
    ck_assert_int_eq(sscanf(response->text, "Active connections: %d", &active), 1);
    uco_http_response_free(response);
    ck_assert_int_eq(uco_http_client_close(client), 0);
    return active - 1;
}

int
nginx_logged(const char *text)
{
    FILE *file;
    char line[1024];
    int lines = 0;

    /* A single worker that answers has logged all that it has answered before. */
    connections_active();
    file = fopen(nginx_path("access.log"), "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) != NULL)
        lines += strstr(line, text) != NULL;
    fclose(file);
    return lines;
}

void
nginx_wait_idle(void)
{
    while (connections_active() > 0)
        ck_assert_int_eq(uco_sleep(0.01), 0);
}
