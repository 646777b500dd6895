/* SPDX-License-Identifier: MIT */

/*
 * multipart/form-data (RFC 7578), made while it is sent: curl's own would read files on the loop's
 * thread.
 *
 * 1. What is sent is, for each part, the delimiter, the head and the content, then the delimiter
 *    and "--". A delimiter begins with the line break that ends the content before it; the first
 *    one is sent without.
 * 2. While `sending`, nothing is added, and one body reads.
 * 3. What was measured is what is sent: of a file that has grown the beginning, and one that has
 *    shrunk is an error.
 * 4. A regular file is open only while it is measured, and while its turn is: a form may have more
 *    files than a process may open. Others cannot be opened twice, so they stay open from their
 *    measuring on.
 */

#include "http/multipart.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/body.h"
#include "http/url.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <uco/http/body.h>
#include <uco/loop.h>
#include <uco/task.h>

#define TYPE "multipart/form-data; boundary="
#define BOUNDARY_BYTES 16 /* of randomness, two digits each */
#define LINE_BREAK 2      /* bytes: what the first delimiter is sent without */
#define END "--\r\n"      /* after the last one */
#define OTHER_TYPE "application/octet-stream"

/* Of a part, or of the end, which has no content. */
enum stage { STAGE_DELIMITER, STAGE_HEAD, STAGE_CONTENT };

struct part {
    struct part *next;
    const char *path; /* NULL: it is in memory */
    const char *data;
    long long size; /* bytes; of a file while it is sent: -1: not known */
    struct uco__http_file file;
    size_t head_size;
    char head[]; /* with the line breaks around it; then what is ours of path or data */
};

struct uco_http_multipart {
    struct part *first;
    struct part **end; /* where the next one is linked to */
    bool sending;
    char type[sizeof TYPE + 2 * BOUNDARY_BYTES];
    char delimiter[sizeof "\r\n--" + 2 * BOUNDARY_BYTES];
    /* What is sent next. */
    struct part *part; /* NULL: the end */
    enum stage stage;
    long long offset; /* in the stage */
    bool ended;
};

/* --- content types --- */

static const char *
type_of_name(const char *name)
{
    static const char *const types[][2] = {
        {"avif", "image/avif"},
        {"bin", "application/octet-stream"},
        {"bmp", "image/bmp"},
        {"bz2", "application/x-bzip2"},
        {"css", "text/css"},
        {"csv", "text/csv"},
        {"doc", "application/msword"},
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"epub", "application/epub+zip"},
        {"gif", "image/gif"},
        {"gz", "application/gzip"},
        {"htm", "text/html"},
        {"html", "text/html"},
        {"ico", "image/vnd.microsoft.icon"},
        {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},
        {"js", "text/javascript"},
        {"json", "application/json"},
        {"md", "text/markdown"},
        {"mjs", "text/javascript"},
        {"mov", "video/quicktime"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"odt", "application/vnd.oasis.opendocument.text"},
        {"oga", "audio/ogg"},
        {"ogg", "audio/ogg"},
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
        {"rtf", "application/rtf"},
        {"svg", "image/svg+xml"},
        {"tar", "application/x-tar"},
        {"tif", "image/tiff"},
        {"tiff", "image/tiff"},
        {"txt", "text/plain"},
        {"wasm", "application/wasm"},
        {"wav", "audio/wav"},
        {"webm", "video/webm"},
        {"webp", "image/webp"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"xml", "application/xml"},
        {"yaml", "application/yaml"},
        {"yml", "application/yaml"},
        {"zip", "application/zip"},
        {"zst", "application/zstd"},
    };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (uco__http_text_same(dot + 1, types[i][0], strlen(types[i][0]) + 1))
            return types[i][1];
    }
    return OTHER_TYPE;
}

/* --- parts --- */

/* As browsers write it (the HTML standard, "multipart/form-data encoding algorithm"): there is no
 * other escape that all servers understand. Up to three bytes for one. */
static char *
write_escaped(char *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"')
            to = stpcpy(to, "%22");
        else if (*text == '\r')
            to = stpcpy(to, "%0D");
        else if (*text == '\n')
            to = stpcpy(to, "%0A");
        else
            *to++ = *text;
    }
    return to;
}

static char *
write_head(char *to, const char *name, const char *file_name, const char *type)
{
    to = stpcpy(to, "\r\nContent-Disposition: form-data; name=\"");
    to = write_escaped(to, name);
    if (file_name != NULL) {
        to = stpcpy(to, "\"; filename=\"");
        to = write_escaped(to, file_name);
    }
    to = stpcpy(to, "\"\r\n");
    if (type != NULL) {
        to = stpcpy(to, "Content-Type: ");
        to = stpcpy(to, type);
        to = stpcpy(to, "\r\n");
    }
    return stpcpy(to, "\r\n");
}

#define HEAD_MAX 128 /* bytes of a head but for names and type */

/* A copy of `own` (may be NULL) lies after the head: there. NULL without memory. */
static struct part *
part_new(const char *name, const char *file_name, const char *type, const char *own,
         const char **copy)
{
    size_t head_max = HEAD_MAX + 3 * strlen(name) + (type != NULL ? strlen(type) : 0) +
                      (file_name != NULL ? 3 * strlen(file_name) : 0);
    size_t own_size = own != NULL ? strlen(own) + 1 : 0;
    struct part *part = uco__allocate(sizeof *part + head_max + own_size);
    char *end;

    if (part == NULL)
        return NULL;
    end = write_head(part->head, name, file_name, type);
    part->head_size = (size_t) (end - part->head);
    if (own != NULL)
        *copy = memcpy(end, own, own_size);
    return part;
}

static void
multipart_add(uco_http_multipart *m, struct part *part)
{
    *m->end = part;
    m->end = &part->next;
}

static bool
type_valid(const char *type)
{
    for (; type != NULL && *type != '\0'; type++) {
        if ((unsigned char) *type < ' ' || *type == 0x7f)
            return false;
    }
    return true;
}

/* What each function that adds a part begins with. */
static int
multipart_check(const uco_http_multipart *m, const char *who, bool given, const char *type)
{
    if (m == NULL || !given)
        return uco__misuse(-EINVAL, "%s: something is NULL", who);
    if (!type_valid(type))
        return uco__misuse(-EINVAL, "%s: the type has a line break, or another control character",
                           who);
    return m->sending ? -EBUSY : 0;
}

int
uco_http_multipart_text(uco_http_multipart *m, const char *name, const char *value)
{
    int r = multipart_check(m, "uco_http_multipart_text", name != NULL && value != NULL, NULL);
    struct part *part;
    const char *copy;

    if (r < 0)
        return r;
    part = part_new(name, NULL, NULL, value, &copy);
    if (part == NULL)
        return -ENOMEM;
    part->data = copy;
    part->size = (long long) strlen(copy);
    multipart_add(m, part);
    return 0;
}

int
uco_http_multipart_bytes(uco_http_multipart *m, const char *name, const void *data, size_t size,
                         const char *file_name, const char *type)
{
    bool given = name != NULL && (data != NULL || size == 0);
    int r = multipart_check(m, "uco_http_multipart_bytes", given, type);
    struct part *part;

    if (r < 0)
        return r;
    if (size > SSIZE_MAX)
        return uco__misuse(-EINVAL, "uco_http_multipart_bytes: the size is %zu", size);
    part = part_new(name, file_name, type != NULL ? type : OTHER_TYPE, NULL, NULL);
    if (part == NULL)
        return -ENOMEM;
    part->data = data;
    part->size = (long long) size;
    multipart_add(m, part);
    return 0;
}

int
uco_http_multipart_file(uco_http_multipart *m, const char *name, const char *path,
                        const char *file_name, const char *type)
{
    int r = multipart_check(m, "uco_http_multipart_file", name != NULL && path != NULL, type);
    struct part *part;

    if (r < 0)
        return r;
    if (file_name == NULL) {
        const char *slash = strrchr(path, '/');

        file_name = slash != NULL ? slash + 1 : path;
    }
    if (type == NULL)
        type = type_of_name(file_name);
    part = part_new(name, file_name, type, path, &path);
    if (part == NULL)
        return -ENOMEM;
    part->path = path;
    multipart_add(m, part);
    return 0;
}

uco_http_multipart *
uco_http_multipart_new(void)
{
    uco_http_multipart *m = uco__allocate(sizeof *m);

    if (m == NULL)
        return uco__error_null(-ENOMEM);
    m->end = &m->first;
    return m;
}

void
uco_http_multipart_free(uco_http_multipart *m)
{
    struct part *part;

    if (m == NULL)
        return;
    if (m->sending) {
        uco__misuse(-EBUSY, "uco_http_multipart_free: it is being sent");
        uco__report(uco_get_running_loop(), uco_current_task(),
                    "an HTTP multipart was to be freed while it is being sent: it stays");
        return;
    }
    while ((part = m->first) != NULL) {
        m->first = part->next;
        uco__free(part);
    }
    uco__free(m);
}

/* --- measuring --- */

int
uco__http_multipart_begin(uco_http_multipart *m)
{
    if (m->sending)
        return -EBUSY;
    m->sending = true;
    return 0;
}

void
uco__http_multipart_end(uco_http_multipart *m)
{
    for (struct part *part = m->first; part != NULL; part = part->next)
        uco__http_file_close(&part->file);
    m->sending = false;
}

/* Random, so that nobody can write a file that pretends to be several parts. */
static int
multipart_set_boundary(uco_http_multipart *m)
{
    unsigned char random[BOUNDARY_BYTES];
    char digits[2 * BOUNDARY_BYTES + 1];
    long r;

    do
        r = UCO__SYSTEM(getrandom, getrandom(random, sizeof random, 0));
    while (r == -EINTR);
    if (r < 0)
        return (int) r;
    for (size_t i = 0; i < BOUNDARY_BYTES; i++)
        snprintf(digits + 2 * i, 3, "%02x", random[i]);
    snprintf(m->type, sizeof m->type, TYPE "%s", digits);
    snprintf(m->delimiter, sizeof m->delimiter, "\r\n--%s", digits);
    return 0;
}

static int
part_measure(struct part *part)
{
    int r;

    if (part->path == NULL)
        return 0;
    uco__http_file_close(&part->file); /* of a measuring that has failed further on */
    r = uco__http_file_open(&part->file, part->path);
    if (r < 0)
        return r;
    part->size = part->file.size;
    if (part->file.regular)
        uco__http_file_close(&part->file);
    return 0;
}

static void
multipart_set_stage(uco_http_multipart *m, struct part *part, enum stage stage)
{
    m->part = part;
    m->stage = stage;
    m->offset = 0;
}

static void
multipart_start(uco_http_multipart *m)
{
    multipart_set_stage(m, m->first, STAGE_DELIMITER);
    m->offset = LINE_BREAK;
    m->ended = false;
}

/* An unknown size makes the sum unknown. */
static int
size_add(long long *sum, long long size)
{
    if (*sum < 0 || size < 0) {
        *sum = -1;
        return 0;
    }
    return __builtin_add_overflow(*sum, size, sum) ? -EFBIG : 0;
}

int
uco__http_multipart_measure(uco_http_multipart *m, long long *size, bool *rewindable)
{
    const long long delimiter = (long long) sizeof m->delimiter - 1;
    int r = multipart_set_boundary(m);

    *size = delimiter + (long long) strlen(END) - LINE_BREAK;
    *rewindable = true;
    for (struct part *part = m->first; part != NULL && r == 0; part = part->next) {
        r = part_measure(part);
        if (r == 0)
            r = size_add(size, delimiter + (long long) part->head_size);
        if (r == 0)
            r = size_add(size, part->size);
        if (part->file.open)
            *rewindable = false;
    }
    multipart_start(m);
    return r;
}

const char *
uco__http_multipart_type(const uco_http_multipart *m)
{
    return m->type;
}

/* --- reading --- */

void
uco__http_multipart_rewind(uco_http_multipart *m)
{
    if (m->part != NULL)
        uco__http_file_close(&m->part->file);
    multipart_start(m);
}

static void
multipart_next_stage(uco_http_multipart *m)
{
    switch (m->stage) {
    case STAGE_DELIMITER:
        multipart_set_stage(m, m->part, STAGE_HEAD);
        return;
    case STAGE_HEAD:
        m->ended = m->part == NULL;
        multipart_set_stage(m, m->part, STAGE_CONTENT);
        return;
    case STAGE_CONTENT:
        uco__http_file_close(&m->part->file);
        multipart_set_stage(m, m->part->next, STAGE_DELIMITER);
        return;
    }
    __builtin_unreachable();
}

static ssize_t
stage_copy(const uco_http_multipart *m, const char *text, long long size, void *buf, size_t n)
{
    if ((unsigned long long) (size - m->offset) < n)
        n = (size_t) (size - m->offset);
    if (n > 0)
        memcpy(buf, text + m->offset, n);
    return (ssize_t) n;
}

/* What is left of a file; one that was not regular when it was measured is still open. */
static ssize_t
part_read_file(struct part *part, void *buf, size_t n, long long offset)
{
    ssize_t r = 0;

    if (part->size >= 0 && (unsigned long long) (part->size - offset) < n)
        n = (size_t) (part->size - offset);
    if (n == 0)
        return 0;
    if (!part->file.open)
        r = uco__http_file_open(&part->file, part->path);
    if (r == 0)
        r = uco__http_file_read(&part->file, buf, n, offset);
    return r == 0 && part->size >= 0 ? -EIO : r;
}

/* 0: the end of the stage. */
static ssize_t
stage_read(uco_http_multipart *m, void *buf, size_t n)
{
    struct part *part = m->part;

    switch (m->stage) {
    case STAGE_DELIMITER:
        return stage_copy(m, m->delimiter, sizeof m->delimiter - 1, buf, n);
    case STAGE_HEAD:
        return part != NULL ? stage_copy(m, part->head, (long long) part->head_size, buf, n)
                            : stage_copy(m, END, (long long) strlen(END), buf, n);
    case STAGE_CONTENT:
        return part->path != NULL ? part_read_file(part, buf, n, m->offset)
                                  : stage_copy(m, part->data, part->size, buf, n);
    }
    __builtin_unreachable();
}

/* Who writes to a FIFO may take a long time. */
static bool
stage_may_last(const uco_http_multipart *m)
{
    return m->stage == STAGE_CONTENT && m->part->file.open && !m->part->file.regular;
}

/* An error after some bytes is not told: nothing is lost, so the next call meets it again. */
ssize_t
uco__http_multipart_read(uco_http_multipart *m, void *buf, size_t n)
{
    size_t done = 0;

    while (done < n && !m->ended && !(done > 0 && stage_may_last(m))) {
        ssize_t r = stage_read(m, (char *) buf + done, n - done);

        if (r < 0)
            return done > 0 ? (ssize_t) done : r;
        if (r == 0)
            multipart_next_stage(m);
        m->offset += r;
        done += (size_t) r;
    }
    return (ssize_t) done;
}
