/* SPDX-License-Identifier: MIT */

/*
 * Where files are to stand, and names beside that.
 *
 * 1. A symbolic link is followed: the file it leads to is replaced, or made, and the link stays, as
 *    if that file had been opened and written to.
 * 2. Names are beside that file, since a rename cannot lead to another file system.
 */

#include "http/target.h"

#include "base/system.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40  /* as the kernel's */
#define RANDOM_SIZE 6 /* characters of a name: one of 5e10 */

static char *
text_join(const char *text, size_t size, const char *more)
{
    size_t more_size = strlen(more);
    char *joined = uco__allocate(size + more_size + 1);

    if (joined != NULL) {
        memcpy(joined, text, size);
        memcpy(joined + size, more, more_size);
    }
    return joined;
}

/* How much of a path stands before its last name: of "a/b" 2. */
static size_t
path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t) (slash + 1 - path) : 0;
}

/* A path that is a link becomes what that leads to. */
static int
path_follow(char path[PATH_MAX])
{
    char link[PATH_MAX];

    for (int i = 0; i < LINKS_MAX; i++) {
        long n = UCO__SYSTEM(stat, readlink(path, link, sizeof link - 1));
        size_t folder = path_folder(path);

        if (n == -EINVAL || n == -ENOENT)
            return 0; /* no link; or a link to a file that is not there yet */
        if (n < 0)
            return (int) n;
        if (link[0] == '/')
            folder = 0;
        if (folder + (size_t) n >= PATH_MAX)
            return -ENAMETOOLONG;
        memcpy(path + folder, link, (size_t) n);
        path[folder + (size_t) n] = '\0';
    }
    return -ELOOP;
}

/* Nothing is there: can there be a file? */
static int
path_check_new(const char *path)
{
    size_t length = strlen(path);

    if (length == 0)
        return -ENOENT;
    return path[length - 1] == '/' ? -EISDIR : 0;
}

static int
target_look(struct uco__http_target *target)
{
    struct stat status;
    long r = UCO__SYSTEM(stat, stat(target->path, &status));

    if (r == -ENOENT)
        return path_check_new(target->path);
    if (r < 0)
        return (int) r;
    if (!S_ISREG(status.st_mode))
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    target->replaces = true;
    target->mode = status.st_mode & 0777;
    /* A rename asks the folder only. Who has made a file read-only means what is in it. */
    return (int) UCO__SYSTEM(access, faccessat(AT_FDCWD, target->path, W_OK, AT_EACCESS));
}

int
uco__http_target_init(struct uco__http_target *target, const char *path, bool no_replace)
{
    char followed[PATH_MAX];
    struct stat status;
    long r = UCO__SYSTEM(stat, lstat(path, &status));

    if (r < 0 && r != -ENOENT)
        return (int) r;
    if (r == 0 && no_replace)
        return -EEXIST;
    if (strlen(path) >= sizeof followed)
        return -ENAMETOOLONG;
    strcpy(followed, path);
    if (r == 0 && S_ISLNK(status.st_mode)) {
        /* Where anybody can put a link, the kernel may refuse to follow it (protected_symlinks). */
        r = UCO__SYSTEM(stat, stat(path, &status));
        if (r == 0 || r == -ENOENT)
            r = path_follow(followed);
        if (r < 0)
            return (int) r;
    }
    target->path = uco__string_copy(followed);
    return target->path != NULL ? target_look(target) : -ENOMEM;
}

void
uco__http_target_done(struct uco__http_target *target)
{
    uco__free(target->path);
    target->path = NULL;
}

char *
uco__http_target_folder(const struct uco__http_target *target)
{
    size_t length = path_folder(target->path);

    return length > 0 ? text_join(target->path, length, "") : uco__string_copy(".");
}

char *
uco__http_target_beside(const struct uco__http_target *target, const char *ending)
{
    return text_join(target->path, strlen(target->path), ending);
}

int
uco__http_target_random(const struct uco__http_target *target, char **name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t folder = path_folder(target->path);
    const char *last = target->path + folder;
    size_t length = strlen(last);
    unsigned char random[RANDOM_SIZE];
    char ending[RANDOM_SIZE + 2] = ".";
    long r = UCO__SYSTEM(getrandom, getrandom(random, sizeof random, 0));

    if (r != (long) sizeof random)
        return r < 0 ? (int) r : -EIO;
    for (size_t i = 0; i < sizeof random; i++)
        ending[i + 1] = letters[random[i] % (sizeof letters - 1)];
    /* A name that is as long as names may be is cut, between two characters. */
    if (length > NAME_MAX - (sizeof ending - 1)) {
        length = NAME_MAX - (sizeof ending - 1);
        while (length > 0 && ((unsigned char) last[length] & 0xc0) == 0x80)
            length--;
    }
    *name = text_join(target->path, folder + length, ending);
    return *name != NULL ? 0 : -ENOMEM;
}
