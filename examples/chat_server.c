/* SPDX-License-Identifier: MIT */

/*
 * chat_server [--host HOST] [PORT] - A room in which everybody reads what the others write.
 *
 *   chat_server 7777 &  nc 127.0.0.1 7777
 *
 * The first line is one's name. Then each line goes to all others, /names tells who is there, and
 * /quit leaves.
 *
 * Nobody waits for a slow reader: each member has a queue of his own and a task that sends from it,
 * and the others only put into the queue. When it is full the member is cut off. (To drop lines
 * instead would leave him with a talk that has holes, and no sign of them.) A line is stored once,
 * and counted, whatever the number of queues that it is in.
 *
 * Ctrl-C ends it; who is there is told.
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uco/uco.h>

enum {
    MAX_MEMBERS = 1000,
    MAX_NAME = 24,
    MAX_LINE = 1024, /* bytes */
    /* lines in a member's queue: all others may leave at once, and that makes nobody slow */
    MAX_WAITING = MAX_MEMBERS + 256,
};

#define NAME_TIMEOUT 30.0 /* seconds to say one's name */
#define GOODBYE 1.0       /* seconds for the last lines to be sent */

struct message {
    unsigned references;
    size_t size;
    char text[];
};

struct member {
    struct room *room;
    uco_stream *stream;
    uco_queue *waiting; /* of struct message * */
    uco_scope scope;    /* what cutting him off cancels */
    bool slow;
    char name[MAX_NAME + 1];
    TAILQ_ENTRY(member) link;
};

struct room {
    TAILQ_HEAD(members, member) members;
    const char *host;
    uint16_t port;
};

/* --- messages --- */

static void
message_unref(struct message *message)
{
    if (message != NULL && --message->references == 0)
        free(message);
}

UCO_PRINTF(1, 0)
static struct message *
message_new(const char *format, va_list arguments)
{
    va_list again;
    struct message *message;
    int size;

    va_copy(again, arguments);
    size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    message = size < 0 ? NULL : malloc(sizeof *message + (size_t) size + 1);
    if (message == NULL)
        return NULL;
    message->references = 1;
    message->size = (size_t) vsnprintf(message->text, (size_t) size + 1, format, arguments);
    return message;
}

static void
member_cut_off(struct member *member)
{
    member->slow = true;
    uco_scope_cancel(&member->scope);
}

static void
member_send(struct member *member, struct message *message)
{
    if (member->slow)
        return;
    message->references++;
    if (uco_queue_put_nowait(member->waiting, &message) < 0) {
        message_unref(message);
        member_cut_off(member);
    }
}

/* To one member. */
UCO_PRINTF(2, 3)
static void
member_tell(struct member *member, const char *format, ...)
{
    struct message *message;
    va_list arguments;

    va_start(arguments, format);
    message = message_new(format, arguments);
    va_end(arguments);
    if (message != NULL)
        member_send(member, message);
    message_unref(message);
}

/* To all members but one. */
UCO_PRINTF(3, 4)
static void
room_tell(struct room *room, const struct member *except, const char *format, ...)
{
    struct message *message;
    struct member *member;
    va_list arguments;

    va_start(arguments, format);
    message = message_new(format, arguments);
    va_end(arguments);
    TAILQ_FOREACH(member, &room->members, link)
    {
        if (message != NULL && member != except)
            member_send(member, message);
    }
    message_unref(message);
}

/* --- what a member says --- */

/* Returns the length of the next line without its end, or -ENODATA when there is none. The line
 * lies in the stream's buffer until the next read. */
static ssize_t
line_read(uco_stream *stream, const char **line)
{
    ssize_t n = uco_stream_read_line(stream, line);

    if (n <= 0)
        return n < 0 ? n : -ENODATA;
    while (n > 0 && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r'))
        n--;
    return n;
}

static bool
name_is_free(const struct room *room, const char *name)
{
    const struct member *member;

    TAILQ_FOREACH(member, &room->members, link)
    {
        if (strcmp(member->name, name) == 0)
            return false;
    }
    return true;
}

static bool
name_take(struct member *member, const char *name, size_t n)
{
    if (n == 0 || n > MAX_NAME)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char) name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    }
    memcpy(member->name, name, n);
    member->name[n] = '\0';
    return true;
}

static intptr_t
name_ask(void *arg)
{
    struct member *member = arg;
    intptr_t r = uco_stream_printf(member->stream, "* what is your name?\n");

    while (r >= 0) {
        const char *line;
        ssize_t n = line_read(member->stream, &line);

        if (n < 0)
            return n;
        if (!name_take(member, line, (size_t) n))
            r = uco_stream_printf(member->stream, "* up to %d letters and digits, please\n",
                                  MAX_NAME);
        else if (!name_is_free(member->room, member->name))
            r = uco_stream_printf(member->stream, "* there is a %s already\n", member->name);
        else
            return 0;
    }
    return r;
}

/* In one message: one for each name could fill the queue of whoever asks. */
static void
names_tell(struct member *member)
{
    const struct member *other;
    size_t size = 0;
    char *names;

    TAILQ_FOREACH(other, &member->room->members, link)
    size += strlen(other->name) + sizeof "* \n" - 1;
    names = malloc(size + 1);
    if (names == NULL)
        return;
    size = 0;
    TAILQ_FOREACH(other, &member->room->members, link)
    size += (size_t) sprintf(names + size, "* %s\n", other->name);
    member_tell(member, "%s", names);
    free(names);
}

/* Control characters could do things to the others' terminals; in UTF-8 there are some more, from
 * C2 80 to C2 9F. */
static void
line_clean(char *to, const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char) line[i];

        to[i] = iscntrl(c) ? ' ' : line[i];
        if (i > 0 && c >= 0x80 && c <= 0x9f && (unsigned char) line[i - 1] == 0xc2)
            to[i - 1] = to[i] = ' ';
    }
    to[n] = '\0';
}

static intptr_t
member_listen(struct member *member)
{
    const char *line;
    ssize_t n;

    while ((n = line_read(member->stream, &line)) >= 0) {
        char text[MAX_LINE + 1];

        line_clean(text, line, (size_t) n);
        if (strcmp(text, "/quit") == 0)
            return 0;
        if (strcmp(text, "/names") == 0)
            names_tell(member);
        else if (text[0] == '/')
            member_tell(member, "* there are /names and /quit\n");
        else
            room_tell(member->room, member, "<%s> %s\n", member->name, text);
    }
    if (n == -EMSGSIZE)
        member_tell(member, "* that line is too long\n");
    return n;
}

/* --- a member's life --- */

static intptr_t
member_write(void *arg)
{
    struct member *member = arg;
    struct message *message;
    ssize_t r;

    while ((r = uco_queue_get(member->waiting, &message)) == 0) {
        r = uco_stream_write(member->stream, message->text, message->size);
        message_unref(message);
        if (r < 0)
            return r;
    }
    return r == -ESHUTDOWN ? 0 : r; /* he has left, and everything is written */
}

/* Sends what is still queued, in a shield since the server's end cancels this task. When the time
 * of the shield is up, the close drops what is left: nobody waits for one who does not read. */
static void
member_end(struct member *member, uco_task *writer)
{
    struct message *message;
    uco_scope shield;
    bool shielded = uco_shield_open(&shield, GOODBYE) == 0;

    uco_queue_shutdown(member->waiting, false);
    if (member->slow)
        uco_cancel(writer);
    uco_join(writer);
    uco_stream_close(member->stream);
    if (shielded)
        uco_scope_close(&shield, 0);

    while (uco_queue_get_nowait(member->waiting, &message) == 0)
        message_unref(message);
    uco_queue_free(member->waiting);
}

static intptr_t
member_live(struct member *member)
{
    struct room *room = member->room;
    uco_task *writer = uco_create_task(member_write, member);
    intptr_t r = writer == NULL ? -ENOMEM : uco_scope_open(&member->scope, UCO_FOREVER);

    if (r == 0) {
        TAILQ_INSERT_TAIL(&room->members, member, link);
        member_tell(member, "* welcome, %s\n", member->name);
        room_tell(room, member, "* %s is here\n", member->name);
        r = uco_scope_close(&member->scope, member_listen(member));
        TAILQ_REMOVE(&room->members, member, link);
        if (r != -ECANCELED)
            room_tell(room, member, "* %s %s\n", member->name,
                      member->slow ? "was too slow" : "has left");
    }
    member_end(member, writer);
    return r == -ENODATA || r == -EMSGSIZE ? 0 : r;
}

static intptr_t
chat(uco_stream *stream, void *arg)
{
    struct member member = {.room = arg, .stream = stream};
    intptr_t r = uco_stream_set_limit(stream, MAX_LINE);

    if (r == 0)
        r = uco_with_timeout(NAME_TIMEOUT, name_ask, &member);
    if (r < 0)
        return r;
    member.waiting = uco_queue_new(sizeof(struct message *), MAX_WAITING);
    return member.waiting == NULL ? -errno : member_live(&member);
}

/* --- the server --- */

static intptr_t
serve(void *arg)
{
    struct room *room = arg;
    uco_server_options options = {
        .host = room->host, .port = room->port, .max_connections = MAX_MEMBERS};
    uco_server *server = uco_server_start_with(&options, chat, room);

    if (server == NULL)
        return -errno;
    printf("%s:%" PRIu16 "\n", room->host, uco_server_port(server));
    fflush(stdout);

    uco_sleep(UCO_FOREVER); /* until Ctrl-C cancels this task */
    room_tell(room, NULL, "* the room closes\n");
    return uco_server_close(server, 0);
}

static bool
port_parse(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t) number;
    return true;
}

int
main(int argc, char *argv[])
{
    struct room room = {.host = "127.0.0.1"};
    intptr_t r;

    if (argc > 2 && strcmp(argv[1], "--host") == 0) {
        room.host = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc > 2 || (argc == 2 && !port_parse(argv[1], &room.port))) {
        fprintf(stderr, "usage: chat_server [--host HOST] [PORT]\n");
        return 2;
    }
    TAILQ_INIT(&room.members);
    r = uco_run(serve, &room);
    if (r < 0 && r != -ECANCELED) {
        fprintf(stderr, "chat_server: %s\n", uco_strerror((int) r));
        return 1;
    }
    return 0;
}
