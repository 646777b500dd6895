/* SPDX-License-Identifier: MIT */

/*
 * Server-sent events, as the HTML standard has them (9.2.5 and 9.2.6).
 *
 * 1. Each byte is looked at once, in the order of its coming, and taken when what it means is kept:
 *    a call that is cut short, or has no memory, goes on from there.
 * 2. An event is delivered at its empty line. Whether the LF of a CR follows is seen later.
 * 3. What is delivered is UTF-8: bytes that are not become U+FFFD, as in a browser. So does a NUL
 *    in a type, which would end the string.
 * 4. Of lines that mean nothing, as comments, nothing is kept. What is kept of an event that is not
 *    whole has EVENT_MAX bytes at most.
 * 5. An event of more than that is told as an error, once, and dropped up to its end; but its id
 *    and retry count, so that who connects again is not sent it again.
 */

#include "core/report.h"
#include "http/block.h"
#include "http/read.h"
#include "task/task.h"

#include <limits.h>
#include <string.h>

#define EVENT_MAX ((size_t) 16 * 1024 * 1024) /* bytes of data, type and id */
#define KEPT_MAX ((size_t) 64 * 1024)         /* bytes of each that stay for the next event */
#define PIECE_MAX ((size_t) 64 * 1024)        /* bytes that are looked at before others may run */

/* Instead of a number. */
#define RETRY_EMPTY (-1L)
#define RETRY_BAD (-2L)

struct text {
    char *bytes;
    size_t size;
    size_t capacity;
};

enum state {
    AT_BEGINNING, /* of the stream, where a byte order mark may be */
    IN_NAME,
    AT_VALUE, /* where a space may be */
    IN_VALUE,
};

enum field {
    FIELD_DATA,
    FIELD_TYPE,
    FIELD_ID,
    FIELD_RETRY,
    FIELD_NONE, /* a comment, or none that is known */
};

static const struct {
    const char *name;
    enum field field;
} fields[] = {
    {"data", FIELD_DATA},
    {"event", FIELD_TYPE},
    {"id", FIELD_ID},
    {"retry", FIELD_RETRY},
};

static const char byte_order_mark[] = "\xef\xbb\xbf";
static const char replacement[] = "\xef\xbf\xbd";

struct uco__http_events {
    enum state state;
    unsigned mark;   /* bytes of the byte order mark that came */
    bool after_cr;   /* a LF belongs to the line before */
    bool delivered;  /* the event is the user's until the next call */
    bool dropping;   /* what belongs to an event that is too large */
    bool id_refused; /* the one that comes is none */
    char name[8];    /* what fits in of a field's, and no name that is known fills it */
    size_t name_size;
    enum field field;
    struct text data; /* each of its lines with a LF */
    struct text type;
    struct text id;
    struct text id_coming;
    long retry; /* -1: none was told */
    long retry_coming;
    /* UTF-8: the character that is not whole. Its bytes are the last of the text. */
    unsigned missing; /* bytes of it to come */
    unsigned present;
    unsigned char lowest, highest; /* of the next one */
};

static void
text_free(struct text *text)
{
    uco__free(text->bytes);
    *text = (struct text){0};
}

void
uco__http_events_free(struct uco__http_events *events)
{
    if (events == NULL)
        return;
    text_free(&events->data);
    text_free(&events->type);
    text_free(&events->id);
    text_free(&events->id_coming);
    uco__free(events);
}

/* Empties it for another event's. */
static void
text_clear(struct text *text)
{
    if (text->capacity > KEPT_MAX)
        text_free(text);
    text->size = 0;
}

/* With room for a zero byte. */
static int
text_add(struct text *text, const char *bytes, size_t size)
{
    int r = uco__http_block_grow(&text->bytes, &text->capacity, text->size + size + 1);

    if (r < 0)
        return r;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
    return 0;
}

static const char *
text_string(const struct text *text, const char *otherwise)
{
    return text->size > 0 ? text->bytes : otherwise;
}

/* --- UTF-8 --- */

/* The first byte of a character of several: how many follow, and within what bounds the next one is
 * (so that nothing is written longer than need be, no surrogate, and nothing above U+10FFFF). 0: it
 * is none. */
static unsigned
character_begin(struct uco__http_events *events, unsigned char byte)
{
    events->lowest = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    events->highest = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf)
        return 1;
    if (byte >= 0xe0 && byte <= 0xef)
        return 2;
    return byte >= 0xf0 && byte <= 0xf4 ? 3 : 0;
}

/* The one that is not whole will not be. */
static int
character_spoil(struct uco__http_events *events, struct text *text)
{
    size_t before = text->size;
    int r;

    if (events->missing == 0)
        return 0;
    text->size -= events->present;
    r = text_add(text, replacement, 3);
    if (r < 0)
        text->size = before;
    else
        events->missing = 0;
    return r;
}

/* One byte of no plain text: 1 when it is taken, 0 when not yet. */
static int
character_add(struct uco__http_events *events, struct text *text, char byte)
{
    unsigned char value = (unsigned char) byte;
    unsigned missing;
    int r;

    if (events->missing > 0 && (value < events->lowest || value > events->highest))
        return character_spoil(events, text);
    if (events->missing > 0) {
        r = text_add(text, &byte, 1);
        if (r < 0)
            return r;
        events->missing--;
        events->present++;
        events->lowest = 0x80;
        events->highest = 0xbf;
        return 1;
    }
    missing = character_begin(events, value);
    r = missing > 0 ? text_add(text, &byte, 1) : text_add(text, replacement, 3);
    if (r < 0)
        return r;
    events->missing = missing;
    events->present = 1;
    return 1;
}

/* How many bytes can be added as they are. */
static size_t
plain_size(const char *bytes, size_t size, bool with_nul)
{
    size_t n = 0;

    while (n < size && (unsigned char) bytes[n] < 0x80 && (with_nul || bytes[n] != '\0'))
        n++;
    return n;
}

/* Adds bytes, and counts those that were taken. */
static int
text_decode(struct uco__http_events *events, struct text *text, const char *bytes, size_t size,
            size_t *taken)
{
    while (*taken < size) {
        size_t plain = plain_size(bytes + *taken, size - *taken, text != &events->type);
        int r;

        if (plain > 0) {
            r = character_spoil(events, text);
            if (r == 0)
                r = text_add(text, bytes + *taken, plain);
            if (r < 0)
                return r;
            *taken += plain;
            continue;
        }
        r = character_add(events, text, bytes[*taken]);
        if (r < 0)
            return r;
        *taken += (size_t) r;
    }
    return 0;
}

/* --- the event --- */

/* -EMSGSIZE: it is too large, and from now on dropped. The LF after the last line of its data does
 * not count. */
static int
event_weigh(struct uco__http_events *events)
{
    bool known = events->dropping;

    if (events->data.size + events->type.size + events->id_coming.size <= EVENT_MAX + 1)
        return 0;
    events->dropping = true;
    text_free(&events->data);
    text_free(&events->type);
    if (events->id_coming.size > EVENT_MAX) {
        text_free(&events->id_coming);
        events->id_refused = true;
    }
    return known ? 0 : -EMSGSIZE;
}

/* At an empty line. 1: it is delivered. 0: there is none. */
static int
event_end(struct uco__http_events *events)
{
    bool dropped = events->dropping;

    events->dropping = false;
    if (dropped || events->data.size == 0) {
        text_clear(&events->data);
        text_clear(&events->type);
        return 0;
    }
    events->data.bytes[--events->data.size] = '\0';
    events->delivered = true;
    return 1;
}

/* The next one begins. */
static void
event_taken(struct uco__http_events *events)
{
    if (!events->delivered)
        return;
    text_clear(&events->data);
    text_clear(&events->type);
    events->delivered = false;
}

static void
event_tell(const struct uco__http_events *events, uco_http_event *event)
{
    *event = (uco_http_event){
        .type = text_string(&events->type, "message"),
        .data = events->data.bytes,
        .data_size = events->data.size,
        .id = text_string(&events->id, ""),
        .retry = events->retry,
    };
}

/* --- fields --- */

static struct text *
field_text(struct uco__http_events *events)
{
    switch (events->field) {
    case FIELD_DATA:
        return events->dropping ? NULL : &events->data;
    case FIELD_TYPE:
        return events->dropping ? NULL : &events->type;
    case FIELD_ID:
        return events->id_refused ? NULL : &events->id_coming;
    default:
        return NULL;
    }
}

/* Its name has come. */
static void
field_begin(struct uco__http_events *events)
{
    events->field = FIELD_NONE;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (events->name_size == strlen(fields[i].name) &&
            memcmp(events->name, fields[i].name, events->name_size) == 0)
            events->field = fields[i].field;
    }
    events->missing = 0;
    events->retry_coming = RETRY_EMPTY;
    events->id_refused = false;
    if (events->field == FIELD_TYPE)
        events->type.size = 0;
}

static void
retry_add(struct uco__http_events *events, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size && events->retry_coming != RETRY_BAD; i++) {
        long before = events->retry_coming == RETRY_EMPTY ? 0 : events->retry_coming;
        long digit = bytes[i] - '0';

        if (digit < 0 || digit > 9)
            events->retry_coming = RETRY_BAD;
        else if (before > (LONG_MAX - digit) / 10)
            events->retry_coming = LONG_MAX;
        else
            events->retry_coming = before * 10 + digit;
    }
}

/* A piece of its value; counts the bytes that were taken. */
static int
field_add(struct uco__http_events *events, const char *bytes, size_t size, size_t *taken)
{
    int r = 0;

    if (events->field == FIELD_RETRY)
        retry_add(events, bytes, size);
    if (events->field == FIELD_ID && memchr(bytes, '\0', size) != NULL)
        events->id_refused = true;
    while (r == 0 && *taken < size) {
        struct text *text = field_text(events);

        if (text == NULL) {
            *taken = size;
            break;
        }
        r = text_decode(events, text, bytes, size, taken);
        if (r == 0)
            r = event_weigh(events);
    }
    return r;
}

/* Its line has ended. -ENOMEM: not yet. */
static int
field_end(struct uco__http_events *events)
{
    struct text *text = field_text(events);
    struct text old = events->id;
    int r = 0;

    if (text != NULL)
        r = character_spoil(events, text);
    if (r == 0 && text == &events->data)
        r = text_add(text, "\n", 1);
    if (r < 0)
        return r;
    r = event_weigh(events);
    if (events->field == FIELD_RETRY && events->retry_coming >= 0)
        events->retry = events->retry_coming;
    if (events->field == FIELD_ID && !events->id_refused) {
        events->id = events->id_coming;
        events->id_coming = old;
    }
    text_clear(&events->id_coming);
    return r;
}

/* --- lines --- */

/* 1: an event is whole. */
static int
line_end(struct uco__http_events *events, char ending)
{
    int r;

    if (events->state == IN_NAME && events->name_size == 0) {
        r = event_end(events);
    } else {
        if (events->state == IN_NAME)
            field_begin(events);
        r = field_end(events);
    }
    if (r == -ENOMEM)
        return r;
    events->state = IN_NAME;
    events->name_size = 0;
    events->after_cr = ending == '\r';
    return r;
}

/* A colon without a name begins a comment, which is a field of no name that is known. */
static void
name_add(struct uco__http_events *events, char byte)
{
    if (byte == ':') {
        field_begin(events);
        events->state = AT_VALUE;
    } else if (events->name_size < sizeof events->name) {
        events->name[events->name_size++] = byte;
    }
}

/* Whether the byte was part of a mark. If it breaks one off, that was a name's beginning. */
static bool
mark_add(struct uco__http_events *events, char byte)
{
    if (byte == byte_order_mark[events->mark]) {
        if (++events->mark == 3)
            events->state = IN_NAME;
        return true;
    }
    memcpy(events->name, byte_order_mark, events->mark);
    events->name_size = events->mark;
    events->state = IN_NAME;
    return false;
}

static bool
is_ending(char byte)
{
    return byte == '\r' || byte == '\n';
}

static size_t
value_size(const char *bytes, size_t size)
{
    size_t n = 0;

    while (n < size && !is_ending(bytes[n]))
        n++;
    return n;
}

/* Looks at what comes next, and counts the bytes that were taken. 1: an event is whole. */
static int
events_step(struct uco__http_events *events, const char *bytes, size_t size, size_t *taken)
{
    bool after_cr = events->after_cr;
    int r = 0;

    events->after_cr = false;
    if (after_cr && *bytes == '\n') {
        *taken = 1;
    } else if (events->state == AT_BEGINNING) {
        *taken = mark_add(events, *bytes) ? 1 : 0;
    } else if (is_ending(*bytes)) {
        r = line_end(events, *bytes);
        *taken = r != -ENOMEM ? 1 : 0;
    } else if (events->state == IN_NAME) {
        name_add(events, *bytes);
        *taken = 1;
    } else if (events->state == AT_VALUE) {
        events->state = IN_VALUE;
        *taken = *bytes == ' ' ? 1 : 0;
    } else {
        r = field_add(events, bytes, value_size(bytes, size), taken);
    }
    return r;
}

static int
events_parse(struct uco__http_events *events, const char *bytes, size_t size, size_t *taken)
{
    int r = 0;

    event_taken(events);
    *taken = 0;
    while (r == 0 && *taken < size) {
        size_t step = 0;

        r = events_step(events, bytes + *taken, size - *taken, &step);
        *taken += step;
    }
    return r;
}

/* --- reading --- */

static struct uco__http_events *
response_events(struct uco__http_response *response)
{
    if (response->events == NULL) {
        response->events = uco__allocate(sizeof *response->events);
        if (response->events != NULL)
            response->events->retry = -1;
    }
    return response->events;
}

int
uco_http_read_event(uco_http_response *r, uco_http_event *event)
{
    struct uco__http_response *response = (struct uco__http_response *) r;
    int result;

    if (response == NULL || event == NULL) {
        result = uco__checkpoint();
        return result < 0 ? result : uco__misuse(-EINVAL, "uco_http_read_event: a NULL");
    }
    do {
        struct uco__http_events *events;
        char *bytes;
        size_t taken;
        ssize_t size = uco__http_peek(response, 0, &bytes);

        if (size <= 0)
            return (int) size;
        events = response_events(response);
        if (events == NULL)
            return -ENOMEM;
        result = events_parse(events, bytes, (size_t) size < PIECE_MAX ? (size_t) size : PIECE_MAX,
                              &taken);
        uco__http_consume(response, taken);
    } while (result == 0);
    if (result > 0)
        event_tell(response->events, event);
    return result;
}
