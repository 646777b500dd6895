/* SPDX-License-Identifier: MIT */

/*
 * A response's body by lines.
 *
 * 1. A line is taken when it is delivered, and nothing before that: a call that is cut short, or
 *    finds the line too long, loses nothing.
 * 2. Within a call each byte is looked at once, and at most two more than the line may have.
 * 3. A line of a stream lies where it was received, its ending overwritten by the zero byte. The
 *    text of a response in memory is the user's to keep, so lines of it are copied.
 *
 * Nothing is remembered from a call that delivered no line, not even how far it looked: the user
 * may have read some of it by other means since, and looking again goes at memory's speed.
 */

#include "core/report.h"
#include "http/block.h"
#include "http/read.h"
#include "task/task.h"

#include <limits.h>
#include <string.h>

#define LINE_MAX_DEFAULT ((size_t) 1024 * 1024)
#define LINE_MAX_MOST ((size_t) SSIZE_MAX - 2) /* so that it has room for "\r\n" */

/* The copy of the line that was delivered last. */
struct uco__http_lines {
    char *text;
    size_t capacity;
};

void
uco__http_lines_free(struct uco__http_lines *lines)
{
    if (lines == NULL)
        return;
    uco__free(lines->text);
    uco__free(lines);
}

/* What there is of a line. */
struct scan {
    char *text;
    size_t size;
    size_t seen;  /* bytes, without an ending in them */
    size_t line;  /* its size without the ending ... */
    size_t whole; /* ... and with it */
};

/* 1: it is whole. 0: the rest has not come. */
static int
line_scan(struct scan *scan, size_t max, bool at_end)
{
    size_t until = scan->size < max + 2 ? scan->size : max + 2;
    const char *ending = NULL;

    if (until > scan->seen)
        ending = memchr(scan->text + scan->seen, '\n', until - scan->seen);
    if (ending != NULL) {
        scan->line = (size_t) (ending - scan->text);
        scan->whole = scan->line + 1;
        if (scan->line > 0 && scan->text[scan->line - 1] == '\r')
            scan->line--;
        return scan->line <= max ? 1 : -EMSGSIZE;
    }
    scan->seen = until;
    if (at_end) {
        scan->line = scan->size;
        scan->whole = scan->size;
        return scan->line <= max ? 1 : -EMSGSIZE;
    }
    /* One byte more is none too many, if it begins the ending. */
    if (scan->size <= max || (scan->size == max + 1 && scan->text[max] == '\r'))
        return 0;
    return -EMSGSIZE;
}

/* Where the line is to lie, with a zero byte after it; NULL without memory. */
static char *
line_place(struct uco__http_response *response, const struct scan *scan)
{
    struct uco__http_lines *lines = response->lines;

    if (response->streamed) {
        scan->text[scan->line] = '\0';
        return scan->text;
    }
    if (lines == NULL)
        lines = response->lines = uco__allocate(sizeof *lines);
    if (lines == NULL || uco__http_block_grow(&lines->text, &lines->capacity, scan->line + 1) < 0)
        return NULL;
    memcpy(lines->text, scan->text, scan->line);
    lines->text[scan->line] = '\0';
    return lines->text;
}

static ssize_t
line_read(struct uco__http_response *response, const char **line, size_t max)
{
    struct scan scan = {.size = 0};
    char *place;
    int r;

    do {
        size_t have = scan.size;
        ssize_t size = uco__http_peek(response, have, &scan.text);

        if (size <= 0)
            return size;
        scan.size = (size_t) size;
        r = line_scan(&scan, max, scan.size == have);
    } while (r == 0);
    if (r < 0)
        return r;
    place = line_place(response, &scan);
    if (place == NULL)
        return -ENOMEM;
    uco__http_consume(response, scan.whole);
    *line = place;
    return (ssize_t) scan.line;
}

ssize_t
uco_http_read_line(uco_http_response *r, const char **line, size_t max)
{
    if (line != NULL)
        *line = NULL;
    if (r == NULL || line == NULL) {
        int error = uco__checkpoint();

        return error < 0 ? error : uco__misuse(-EINVAL, "uco_http_read_line: a NULL");
    }
    if (max == 0)
        max = LINE_MAX_DEFAULT;
    return line_read((struct uco__http_response *) r, line,
                     max < LINE_MAX_MOST ? max : LINE_MAX_MOST);
}
