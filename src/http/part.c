/* SPDX-License-Identifier: MIT */

/*
 * Files that are written beside their place.
 *
 * 1. Whoever looks at the path sees what was there before, or the whole new file: it gets there by
 *    one rename or link, after its bytes are on the disk.
 * 2. Without `resume` it has no name until then, where the file system can do that: whatever ends
 *    the process leaves nothing behind.
 * 3. With `resume` it is locked as long as it is open, and the note beside it never tells of
 *    another version than its bytes are of, not even after a power failure: where something of
 *    another version may be on the disk, that is first gone from it for sure; and what may have
 *    holes in it is of no version.
 * 4. The loop's thread waits for no disk: all calls are the pool's. Only the last ones, when there
 *    is no memory to ask the pool, are made here: nothing stays behind for want of memory.
 */

#include "http/part.h"

#include "base/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <uco/file.h>
#include <uco/io.h>
#include <uco/scope.h>
#include <uco/thread.h>
#include <unistd.h>

#define NAMES_MAX 100 /* that are tried */
#define OPENS_MAX 100
#define PART_MODE (S_IRUSR | S_IWUSR)          /* at least */
#define SYNC_SIZE ((uint64_t) 8 * 1024 * 1024) /* bytes */

/* --- the pool --- */

struct part_job {
    struct uco__http_part *part;
    int (*run)(struct uco__http_part *part);
    int result;
};

static intptr_t
part_job_run(void *arg)
{
    struct part_job *job = arg;

    job->result = job->run(job->part);
    return 0;
}

/* -ECANCELED: it was not called. */
static int
part_call(struct uco__http_part *part, int (*run)(struct uco__http_part *part))
{
    struct part_job job = {.part = part, .run = run};
    intptr_t r = uco_to_thread(part_job_run, &job);

    if (r == -EAGAIN)
        r = -ENOMEM; /* no thread for it */
    return r < 0 ? (int) r : job.result;
}

/* How the kernel names a file without a name. */
#define UNNAMED_PATH_MAX 40

static void
unnamed_path(const struct uco__http_part *part, char path[UNNAMED_PATH_MAX])
{
    snprintf(path, UNNAMED_PATH_MAX, "/proc/self/fd/%d", part->fd);
}

/* --- opening --- */

static int
part_drop(struct uco__http_part *part)
{
    UCO__SYSTEM(close, close(part->fd));
    part->fd = -1;
    return 0;
}

/* What has the part's name is the part. */
static int
part_has_name(const struct uco__http_part *part)
{
    struct stat own, named;
    long r = UCO__SYSTEM(stat, fstat(part->fd, &own));

    if (r == 0)
        r = UCO__SYSTEM(stat, lstat(part->name, &named));
    if (r < 0)
        return r == -ENOENT ? 0 : (int) r;
    return named.st_dev == own.st_dev && named.st_ino == own.st_ino;
}

/* 1: whoever had it has put it into its place meanwhile, or removed it. */
static int
part_lock(struct uco__http_part *part)
{
    long r = UCO__SYSTEM(flock, flock(part->fd, LOCK_EX | LOCK_NB));

    if (r < 0)
        return r == -EWOULDBLOCK ? -EBUSY : (int) r;
    r = part_has_name(part);
    return r < 0 ? (int) r : r == 0;
}

/* Nobody may read a part who may not read the file; but it is to be opened again. */
static void
part_narrow_mode(const struct uco__http_part *part, mode_t mode)
{
    mode_t most = (part->target.replaces ? part->target.mode : part->mode) | PART_MODE;

    if ((mode & 07777 & ~most) != 0)
        UCO__SYSTEM(fchmod, fchmod(part->fd, mode & most));
}

/* Sees what an earlier attempt has left. Nothing of another user's is gone on with. */
static int
part_look(struct uco__http_part *part)
{
    char *folder = uco__http_target_folder(&part->target);
    struct stat status;
    long r = folder != NULL ? UCO__SYSTEM(stat, fstat(part->fd, &status)) : -ENOMEM;

    if (r == 0)
        r = uco__http_beside_check(&status, folder);
    if (r == 0) {
        part->owned = true;
        part->size = (uint64_t) status.st_size;
        part->written = status.st_size > 0;
        part_narrow_mode(part, status.st_mode);
        r = uco__http_note_read(&part->note, folder, &part->version);
        part->stale = part->note.there || part->written;
    }
    uco__free(folder);
    if (r < 0)
        return (int) r;
    if (part->version.validator[0] == '\0' ||
        (part->version.size >= 0 && status.st_size > part->version.size))
        uco__http_part_forget(part);
    return 0;
}

/* Locks it. 1: it must be opened anew. */
static int
part_claim(struct uco__http_part *part)
{
    int r = part_lock(part);

    if (r == 1)
        part_drop(part);
    return r != 0 ? r : part_look(part);
}

/* A file that is replaced hands its permissions on; a new one has no more of them than were asked
 * for, whatever it had as a part. Not every file system has any. */
static int
part_set_mode(struct uco__http_part *part)
{
    struct stat status;
    mode_t mode = part->target.mode;

    if (!part->target.replaces) {
        if (UCO__SYSTEM(stat, fstat(part->fd, &status)) < 0)
            return 0;
        mode = status.st_mode & part->mode;
    }
    UCO__SYSTEM(fchmod, fchmod(part->fd, mode));
    return 0;
}

static int
part_open_file(struct uco__http_part *part, const char *path, int flags)
{
    mode_t mode = part->target.replaces ? part->target.mode : part->mode;
    int fd = uco_open(path, flags | O_CLOEXEC | (part->readable ? O_RDWR : O_WRONLY),
                      part->resume ? mode | PART_MODE : mode);

    if (fd < 0)
        return fd;
    part->fd = fd;
    return 0;
}

static int
part_open_shared(struct uco__http_part *part)
{
    int r = 1;

    part->name = uco__http_target_beside(&part->target, ".part");
    part->note.path = uco__http_target_beside(&part->target, ".part.etag");
    if (part->name == NULL || part->note.path == NULL)
        return -ENOMEM;
    /* Neither a link nor a FIFO that somebody has put there. */
    for (int i = 0; i < OPENS_MAX && r == 1; i++) {
        r = part_open_file(part, part->name, O_CREAT | O_NOFOLLOW | O_NONBLOCK);
        if (r == 0)
            r = part_call(part, part_claim);
    }
    return r == 1 ? -EBUSY : r;
}

static int
part_open_named(struct uco__http_part *part)
{
    int r = -EEXIST;

    for (int i = 0; i < NAMES_MAX && r == -EEXIST; i++) {
        uco__free(part->name);
        part->name = NULL;
        r = uco__http_target_random(&part->target, &part->name);
        if (r == 0)
            r = part_open_file(part, part->name, O_CREAT | O_EXCL);
    }
    part->owned = r == 0;
    return r;
}

/* Not every file system can make a file without a name, and where /proc is not seen it could not
 * get one. What is wrong with the folder is found out again. */
static int
part_open_own(struct uco__http_part *part)
{
    char *folder = uco__http_target_folder(&part->target);
    int r = -ENOMEM;

    if (folder != NULL)
        r = part->can_name ? part_open_file(part, folder, O_TMPFILE) : -EOPNOTSUPP;
    uco__free(folder);
    if (r != -EOPNOTSUPP && r != -EISDIR && r != -EINVAL && r != -ENOENT)
        return r;
    return part_open_named(part);
}

static int
part_find_target(struct uco__http_part *part)
{
    part->can_name = UCO__SYSTEM(access, access("/proc/self/fd", X_OK)) == 0;
    return uco__http_target_init(&part->target, part->path, part->no_replace);
}

int
uco__http_part_open(struct uco__http_part *part)
{
    int r;

    part->fd = -1;
    part->version.size = -1;
    r = part_call(part, part_find_target);
    if (r == 0)
        r = part->resume ? part_open_shared(part) : part_open_own(part);
    if (r == 0 && part->target.replaces && !part->resume)
        r = part_call(part, part_set_mode);
    return r;
}

/* --- writing and reading --- */

void
uco__http_part_forget(struct uco__http_part *part)
{
    part->size = 0;
    part->version = (struct uco__http_version){.size = -1};
    part->begun = false; /* what is there, and its note, may still serve another attempt */
}

/* A version without validator has no note: nothing could go on with it. */
static int
part_write_note(struct uco__http_part *part, bool sync)
{
    char *folder;
    int r;

    if (part->version.validator[0] == '\0')
        return uco__http_note_remove(&part->note, sync);
    folder = uco__http_target_folder(&part->target);
    if (folder == NULL)
        return -ENOMEM;
    r = uco__http_note_write(&part->note, folder, &part->version, sync);
    uco__free(folder);
    return r;
}

/* What was there goes first, and only then the note tells of what is to come. */
static int
part_start_over(struct uco__http_part *part)
{
    bool sync = part->stale && !part->no_sync;
    long r = UCO__SYSTEM(ftruncate, ftruncate(part->fd, 0));

    if (r < 0 || !part->resume)
        return (int) r;
    part->begun = true;
    if (sync)
        r = UCO__SYSTEM(fsync, fsync(part->fd));
    if (r < 0)
        return (int) r;
    part->stale = true;
    return part_write_note(part, sync);
}

int
uco__http_part_begin(struct uco__http_part *part, const struct uco__http_version *version)
{
    int r = 0;

    part->size = 0;
    part->version = *version;
    if (part->resume || part->written)
        r = part_call(part, part_start_over);
    return r;
}

/* The disk begins with what was written since it last did. A failure is fsync's to tell. */
static int
part_begin_sync(struct uco__http_part *part)
{
    UCO__RESULT(sync_file_range(part->fd, (off_t) part->syncing,
                                (off_t) (part->size - part->syncing), SYNC_FILE_RANGE_WRITE));
    part->syncing = part->size;
    return 0;
}

static int
part_mark(struct uco__http_part *part)
{
    return uco__http_note_mark(&part->note);
}

int
uco__http_part_write(struct uco__http_part *part, const void *data, size_t size)
{
    const char *next = data;
    int r = 0;

    /* What is gone on with was all on the disk; what comes is not yet. */
    if (part->resume && !part->no_sync && !part->note.marked && size > 0 &&
        part->version.validator[0] != '\0')
        r = part_call(part, part_mark);
    if (r < 0)
        return r;
    part->written = true;
    while (size > 0) {
        ssize_t n = uco_pwrite(part->fd, next, size, (off_t) part->size);

        if (n <= 0)
            return n < 0 ? (int) n : -EIO;
        next += n;
        size -= (size_t) n;
        part->size += (uint64_t) n;
    }
    if (part->size < part->syncing)
        part->syncing = part->size;
    /* Else the disk has nothing to do until all has come, and then all. What hinders this call
     * hinders nothing else. */
    if (!part->no_sync && part->size - part->syncing >= SYNC_SIZE)
        part_call(part, part_begin_sync);
    return 0;
}

ssize_t
uco__http_part_read(struct uco__http_part *part, void *buf, size_t n, uint64_t offset)
{
    return uco_pread(part->fd, buf, n, (off_t) offset);
}

/* --- the end --- */

static int
part_place_unnamed(struct uco__http_part *part)
{
    const char *target = part->target.path;
    char path[UNNAMED_PATH_MAX];
    long r = -EEXIST;

    unnamed_path(part, path);
    if (part->no_replace)
        return (int) UCO__SYSTEM(rename,
                                 linkat(AT_FDCWD, path, AT_FDCWD, target, AT_SYMLINK_FOLLOW));
    /* A link replaces nothing, a rename does. */
    for (int i = 0; i < NAMES_MAX && r == -EEXIST; i++) {
        uco__free(part->name);
        part->name = NULL;
        r = uco__http_target_random(&part->target, &part->name);
        if (r == 0)
            r = UCO__SYSTEM(rename,
                            linkat(AT_FDCWD, path, AT_FDCWD, part->name, AT_SYMLINK_FOLLOW));
    }
    if (r < 0)
        return (int) r;
    part->owned = true;
    return (int) UCO__SYSTEM(rename, rename(part->name, target));
}

static int
part_place_named(struct uco__http_part *part)
{
    const char *target = part->target.path;
    long r = part->resume ? part_has_name(part) : 1;

    if (r <= 0)
        return r < 0 ? (int) r : -EBUSY; /* another file was put there */
    if (!part->no_replace)
        return (int) UCO__SYSTEM(rename, rename(part->name, target));
    r = UCO__SYSTEM(rename, renameat2(AT_FDCWD, part->name, AT_FDCWD, target, RENAME_NOREPLACE));
    if (r != -EINVAL && r != -ENOSYS)
        return (int) r;
    r = UCO__SYSTEM(rename, link(part->name, target));
    if (r == 0)
        UCO__SYSTEM(unlink, unlink(part->name));
    return (int) r;
}

/* A file server may not say before a close that it could not store what was written. */
static int
part_flush(struct uco__http_part *part)
{
    int copy = (int) UCO__SYSTEM(fcntl, fcntl(part->fd, F_DUPFD_CLOEXEC, 3));
    int r;

    if (copy < 0)
        return copy;
    r = (int) UCO__SYSTEM(close, close(copy));
    part->broken = r < 0;
    return r;
}

static int
part_place(struct uco__http_part *part)
{
    int r = part->no_sync ? part_flush(part) : 0;

    if (r == 0)
        r = part->name == NULL ? part_place_unnamed(part) : part_place_named(part);
    if (r < 0)
        return r;
    part->placed = true;
    if (part->resume)
        uco__http_note_remove(&part->note, false);
    return part_drop(part);
}

/* The new name is to be on the disk too: the folder's fd; -1: it may be written to but not read,
 * and cannot be opened. */
static int
part_open_folder(const struct uco__http_part *part, int *fd)
{
    char *folder = uco__http_target_folder(&part->target);
    int r = -ENOMEM;

    if (folder != NULL)
        r = uco_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    uco__free(folder);
    if (r < 0 && r != -EACCES)
        return r;
    *fd = r >= 0 ? r : -1;
    return 0;
}

/* The file is in its place: this is not to fail for want of memory, nor of patience. */
static int
folder_sync(int fd)
{
    uco_scope shield;
    bool shielded = uco_shield_open(&shield, UCO_FOREVER) == 0;
    int r = uco_fsync(fd);

    if (r == -ENOMEM || r == -ECANCELED)
        r = (int) UCO__SYSTEM(fsync, fsync(fd));
    if (shielded)
        uco_scope_close(&shield, 0);
    return r == -EINVAL ? 0 : r; /* not every file system does it */
}

int
uco__http_part_finish(struct uco__http_part *part)
{
    int folder = -1;
    int r = part->resume ? part_call(part, part_set_mode) : 0;

    if (r == 0 && !part->no_sync)
        r = uco_fsync(part->fd);
    /* What could not be stored may be missing, and a second fsync would not say so again. */
    if (r < 0 && r != -ECANCELED && r != -ENOMEM)
        part->broken = true;
    if (r == 0 && !part->no_sync)
        r = part_open_folder(part, &folder);
    if (r == 0)
        r = part_call(part, part_place);
    if (r == 0 && folder >= 0)
        r = folder_sync(folder);
    if (folder >= 0)
        uco_close(folder);
    return r;
}

/* Whether what came stays for another attempt. The disk has it then, or it would be of no use after
 * a power failure. */
static bool
part_can_stay(struct uco__http_part *part)
{
    struct stat status;

    if (part->begun)
        UCO__SYSTEM(ftruncate, ftruncate(part->fd, (off_t) part->size));
    if (UCO__SYSTEM(stat, fstat(part->fd, &status)) < 0 || status.st_size == 0)
        return false;
    if (!part->note.marked)
        return true;
    if (!part->no_sync && UCO__SYSTEM(fsync, fsync(part->fd)) < 0)
        return false;
    uco__http_note_clear(&part->note);
    return true;
}

/* Of a file that is not in its place. */
static void
part_clean_up(struct uco__http_part *part)
{
    /* It was opened, and a cancellation came before it was locked: it may be new, and then goes. */
    if (part->resume && !part->owned) {
        part->keep = true;
        if (part->fd < 0 || part_claim(part) != 0)
            return;
    }
    if (!part->owned || (part->resume && part_has_name(part) != 1))
        return;
    if (part->keep && part_can_stay(part))
        return;
    UCO__SYSTEM(unlink, unlink(part->name));
    if (part->resume)
        uco__http_note_remove(&part->note, false);
}

static int
part_end(struct uco__http_part *part)
{
    if (!part->placed)
        part_clean_up(part);
    return part->fd >= 0 ? part_drop(part) : 0;
}

void
uco__http_part_close(struct uco__http_part *part, bool keep)
{
    uco_scope shield;
    bool shielded = uco_shield_open(&shield, UCO_FOREVER) == 0;

    part->keep = keep && part->resume && !part->broken;
    if ((part->fd >= 0 || (part->owned && !part->placed)) && part_call(part, part_end) < 0)
        part_end(part);
    if (shielded)
        uco_scope_close(&shield, 0);
    uco__http_target_done(&part->target);
    uco__free(part->name);
    uco__free(part->note.path);
}
