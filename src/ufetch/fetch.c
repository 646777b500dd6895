/* SPDX-License-Identifier: MIT */

/* A worker: from a line of the list to a file that has its name, whole and with the right sum. */

#include "ufetch.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <wctype.h>
#ifdef UCO_TLS
#include <openssl/evp.h>
#endif

enum { NAME_SIZE = 200 }; /* a file system takes 255 bytes, with ".part.etag" and the like */

/* What would harm a terminal or the summary, or is a slash where none may be, becomes "_". */
static bool
text_clean(char *text, bool slashes)
{
    bool was_clean = true;
    wchar_t c;

    for (int n; (n = mbtowc(&c, text, MB_CUR_MAX)) != 0; text += n) {
        if (n < 0 || iswcntrl((wint_t) c) || c == '"' || c == '\\' || (c == '/' && !slashes)) {
            text[0] = '_';
            was_clean = false;
            n = 1;
        }
    }
    return was_clean;
}

static int
name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What the list gives, or the last part of the URL. Of two that want the same name the later gets
 * its place in the list appended, so that a second run gives the same names. A name stays taken
 * until the end of the process. */
static const char *
name_choose(struct ufetch *ufetch, const char *url, const char *given)
{
    size_t length = strcspn(url, "?#");
    const char *slash = memrchr(url, '/', length), *part = slash != NULL ? slash + 1 : url;
    char wanted[NAME_SIZE + 24], *name = NULL, **taken;

    if (given != NULL)
        snprintf(wanted, NAME_SIZE, "%s", given);
    else
        snprintf(wanted, NAME_SIZE, "%.*s", (int) (url + length - part), part);
    if (wanted[strspn(wanted, ".")] == '\0') /* it leads nowhere, or out of the folder */
        strcpy(wanted, "index.html");
    text_clean(wanted, false);
    do {
        free(name);
        name = strdup(wanted);
        taken = name != NULL ? tsearch(name, &ufetch->names, name_compare) : NULL;
        length = strlen(wanted); /* nobody has a longer one than there is room for */
        snprintf(wanted + length, sizeof wanted - length, ".%zu", ufetch->listed);
    } while (taken != NULL && *taken != name);
    return taken != NULL ? name : NULL;
}

/* The length of the next line; 0: there are no more. */
static ssize_t
list_read(struct ufetch *ufetch, const char **line)
{
    ssize_t n = 0;

    if (*ufetch->urls != NULL)
        return (ssize_t) strlen(*line = *ufetch->urls++);
    if (ufetch->list != NULL && !ufetch->all_listed)
        n = uco_stream_read_line(ufetch->list, line);
    ufetch->all_listed = n <= 0;
    if (n >= 0 || n == -ECANCELED)
        return n;
    warnx("%s: %s", ufetch->input, uco_strerror((int) n));
    ufetch->broken = true; /* what was read is fetched all the same */
    return 0;
}

/* The next line that has something in it: URL [TAB NAME] [TAB sha256:HEX]. 0: there are no more. */
static int
worker_next(struct worker *worker)
{
    struct ufetch *ufetch = worker->ufetch;
    char *rest, *field, *name = NULL;
    const char *line;
    ssize_t n;

    do {
        n = list_read(ufetch, &line);
        if (n <= 0)
            return (int) n;
        while (n > 0 && isspace((unsigned char) line[n - 1]))
            n--;
    } while (n == 0 || line[0] == '#');
    ufetch->listed++;
    *worker = (struct worker){.ufetch = ufetch, .wanted = ufetch->sum, .digest = worker->digest};
    worker->began = uco_time();
    worker->url = rest = strndup(line, (size_t) n);
    if (rest == NULL)
        return -ENOMEM;
    strsep(&rest, "\t");
    while ((field = strsep(&rest, "\t")) != NULL) {
        if (strncmp(field, "sha256:", 7) == 0)
            worker->wanted = field + 7;
        else if (field[0] != '\0')
            name = field;
    }
    worker->name = name_choose(ufetch, worker->url, name);
    return worker->name != NULL ? 1 : -ENOMEM;
}

static void
download_progress(uint64_t received, uint64_t total, void *arg)
{
    struct worker *worker = arg;

    if (worker->received == 0 || received < worker->first)
        worker->first = worker->ufetch->resume ? received : 0; /* an earlier run's come at once */
    worker->received = received;
    worker->total = total;
}

#ifdef UCO_TLS

/* Gets each piece of the file; NULL: it begins anew. */
static int
download_inspect(const void *data, size_t size, void *arg)
{
    struct worker *worker = arg;

    if (worker->digest == NULL && (worker->digest = EVP_MD_CTX_new()) == NULL)
        return -ENOMEM;
    if (data == NULL)
        return EVP_DigestInit_ex(worker->digest, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    return EVP_DigestUpdate(worker->digest, data, size) == 1 ? 0 : -ENOMEM;
}

/* All has come: a file with a wrong sum does not get its name. */
static int
download_verify(uint64_t size, void *arg)
{
    struct worker *worker = arg;
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    (void) size;
    EVP_DigestFinal_ex(worker->digest, bytes, &count);
    for (unsigned i = 0; i < count; i++)
        snprintf(worker->sum + (size_t) 2 * i, 3, "%02x", bytes[i]);
    if (strcasecmp(worker->wanted, worker->sum) == 0)
        return 0;
    snprintf(worker->error, ERROR_SIZE, "%s: its SHA-256 is %s", worker->url, worker->sum);
    return -EBADMSG;
}

#endif

static int
worker_download(struct worker *worker)
{
    uco_http_download_options options = {
        .request = &worker->ufetch->request,
        .resume = worker->ufetch->resume,
        .progress = download_progress,
        .progress_arg = worker,
        .inspect_arg = worker,
    };

    if (worker->wanted != NULL) {
#ifdef UCO_TLS
        options.inspect = download_inspect;
        options.verify = download_verify;
#else
        snprintf(worker->error, ERROR_SIZE, "this build cannot check sums: it has no OpenSSL");
        return -ENOSYS;
#endif
    }
    return uco_http_download(worker->ufetch->client, worker->url, worker->name, &options,
                             &worker->result);
}

/* With -c a file that is there is not fetched again: it has its name, so it is whole. But one that
 * should have a certain sum is, rather than believed. */
static enum outcome
worker_fetch(struct worker *worker)
{
    struct stat status;
    int r;

    if (!text_clean(worker->url, true)) {
        snprintf(worker->error, ERROR_SIZE, "%s: this is no URL", worker->url);
        return FAILED;
    }
    if (worker->ufetch->resume && worker->wanted == NULL && stat(worker->name, &status) == 0 &&
        S_ISREG(status.st_mode)) {
        worker->result.size = (uint64_t) status.st_size;
        return PRESENT;
    }
    r = worker_download(worker);
    if (r == -ECANCELED)
        snprintf(worker->error, ERROR_SIZE, "%s: interrupted", worker->url);
    else if (r < 0 && worker->error[0] == '\0')
        snprintf(worker->error, ERROR_SIZE, "%s", uco_http_error(worker->ufetch->client));
    text_clean(worker->error, true);
    return r == -ECANCELED ? UNFINISHED : r < 0 ? FAILED : FETCHED;
}

intptr_t
worker_run(void *arg)
{
    struct worker *worker = arg;
    struct ufetch *ufetch = worker->ufetch;
    int r = 1;

    while (r > 0 && (r = uco_lock_acquire(&ufetch->list_lock)) == 0) {
        r = worker_next(worker);
        uco_lock_release(&ufetch->list_lock);
        if (r > 0) {
            worker->outcome = worker_fetch(worker);
            progress_report(worker);
        }
        free(worker->url);
        worker->url = NULL;
    }
    return r; /* 0: the list's end */
}
