/* SPDX-License-Identifier: MIT */

/*
 * Notes of what a part is of.
 *
 * 1. A note that is not whole is none.
 * 2. While the part is written the note ends with the mark, a line that names the present boot of
 *    the system: what a process leaves that is killed is all there, but after a power failure there
 *    may be holes in it, and the boot is another one.
 * 3. The mark is set by appending and cleared by cutting: a full disk is no reason to lose a note.
 * 4. Nothing is read from or written to what somebody else may have put there.
 */

#include "http/note.h"

#include "base/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MARK "Boot: "
#define BOOT_SIZE 36 /* bytes of a boot's name */
#define MARK_MAX (sizeof MARK + BOOT_SIZE + sizeof "\n")

int
uco__http_beside_check(const struct stat *found, const char *folder)
{
    struct stat around;
    long r;

    if (!S_ISREG(found->st_mode) || found->st_nlink > 1)
        return -EINVAL;
    if (found->st_uid == geteuid())
        return 0;
    r = UCO__SYSTEM(stat, stat(folder, &around));
    if (r < 0)
        return (int) r;
    /* As the kernel would with fs.protected_regular, which not every system has switched on. */
    return (around.st_mode & S_ISVTX) != 0 && (around.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
                   found->st_uid != around.st_uid
               ? -EACCES
               : 0;
}

/* Where nothing tells the boot, all are the same one. The length. */
static size_t
mark_print(char mark[MARK_MAX])
{
    char boot[BOOT_SIZE + 1] = "";
    int fd = (int) UCO__SYSTEM(open, open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));

    if (fd >= 0) {
        long n = UCO__SYSTEM(read, read(fd, boot, BOOT_SIZE));

        boot[n > 0 ? n : 0] = '\0';
        UCO__SYSTEM(close, close(fd));
    }
    return (size_t) snprintf(mark, MARK_MAX, MARK "%s\n", boot);
}

/* Takes the mark off. false: it is that of another boot. */
static bool
text_unmark(char *text, bool *marked)
{
    char *mark = strstr(text, "\n" MARK);
    char expected[MARK_MAX];

    *marked = false;
    if (mark == NULL)
        return true;
    mark_print(expected);
    if (strcmp(mark + 1, expected) != 0)
        return false;
    mark[1] = '\0';
    *marked = true;
    return true;
}

/* One that is there, for reading or writing: the fd, or an error. */
static int
note_open(const struct uco__http_note *note, const char *folder, int flags)
{
    struct stat status;
    int fd = (int) UCO__SYSTEM(open,
                               open(note->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666));
    long r;

    if (fd < 0)
        return fd;
    r = UCO__SYSTEM(stat, fstat(fd, &status));
    if (r == 0)
        r = uco__http_beside_check(&status, folder);
    if (r == 0)
        return fd;
    UCO__SYSTEM(close, close(fd));
    return (int) r;
}

int
uco__http_note_read(struct uco__http_note *note, const char *folder,
                    struct uco__http_version *version)
{
    char text[UCO__HTTP_NOTE_MAX + MARK_MAX];
    int fd = note_open(note, folder, O_RDONLY);
    long n;

    note->there = fd != -ENOENT;
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    n = UCO__SYSTEM(read, read(fd, text, sizeof text - 1));
    UCO__SYSTEM(close, close(fd));
    if (n < 0)
        return (int) n;
    text[n] = '\0';
    if (strlen(text) != (size_t) n || !text_unmark(text, &note->marked))
        return 0;
    note->size = strlen(text);
    uco__http_version_parse(version, text);
    return 0;
}

/* All of a text at its place, or an error. */
static int
text_write(int fd, const char *text, size_t size, size_t position)
{
    long n = UCO__SYSTEM(write, pwrite(fd, text, size, (off_t) position));

    if (n < 0)
        return (int) n;
    return n == (long) size ? 0 : -ENOSPC;
}

int
uco__http_note_write(struct uco__http_note *note, const char *folder,
                     const struct uco__http_version *version, bool sync)
{
    char text[UCO__HTTP_NOTE_MAX + MARK_MAX];
    size_t size = uco__http_version_print(version, text);
    int fd = note_open(note, folder, O_WRONLY | O_CREAT);
    long r;

    if (fd < 0)
        return fd;
    note->there = true;
    note->marked = true;
    note->size = size;
    size += mark_print(text + size);
    r = UCO__SYSTEM(ftruncate, ftruncate(fd, 0));
    if (r == 0)
        r = text_write(fd, text, size, 0);
    if (r == 0 && sync)
        r = UCO__SYSTEM(fsync, fsync(fd));
    UCO__SYSTEM(close, close(fd));
    return (int) r;
}

int
uco__http_note_mark(struct uco__http_note *note)
{
    char mark[MARK_MAX];
    size_t size = mark_print(mark);
    int fd = (int) UCO__SYSTEM(open, open(note->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    long r;

    note->marked = fd == -ENOENT; /* somebody has removed it: it says nothing */
    if (fd < 0)
        return note->marked ? 0 : fd;
    r = text_write(fd, mark, size, note->size);
    if (r == 0)
        r = UCO__SYSTEM(fsync, fsync(fd));
    if (r < 0)
        UCO__SYSTEM(ftruncate, ftruncate(fd, (off_t) note->size));
    UCO__SYSTEM(close, close(fd));
    note->marked = r == 0;
    return (int) r;
}

static int
note_cut(const struct uco__http_note *note, size_t size, bool sync)
{
    int fd = (int) UCO__SYSTEM(open, open(note->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    long r;

    if (fd < 0)
        return fd;
    r = UCO__SYSTEM(ftruncate, ftruncate(fd, (off_t) size));
    if (r == 0 && sync)
        r = UCO__SYSTEM(fsync, fsync(fd));
    UCO__SYSTEM(close, close(fd));
    return (int) r;
}

int
uco__http_note_clear(struct uco__http_note *note)
{
    int r = note_cut(note, note->size, false);

    if (r == 0)
        note->marked = false;
    return r;
}

int
uco__http_note_remove(struct uco__http_note *note, bool sync)
{
    long r = 0;

    /* A name that is removed may come back with a power failure, but nothing is in it then. */
    if (sync && note->there)
        r = note_cut(note, 0, true);
    note->marked = false;
    if (r == 0)
        r = UCO__SYSTEM(unlink, unlink(note->path));
    return r == -ENOENT ? 0 : (int) r;
}
