/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_TARGET_H
#define UCO_HTTP_TARGET_H

/* Where a download's file is to stand. These calls wait for the disk: they are the pool's. */

#include <stdbool.h>
#include <sys/types.h>

struct uco__http_target {
    char *path;    /* links followed */
    bool replaces; /* there is a file */
    mode_t mode;   /* and these are its permissions */
};

/* What a user's path means: 0; -EEXIST (with no_replace: there is something), -EISDIR, -EINVAL (a
 * device, or the like), -EACCES (a file that may not be written) ... On an error too, the target is
 * to be done with. */
int uco__http_target_init(struct uco__http_target *target, const char *path, bool no_replace);
void uco__http_target_done(struct uco__http_target *target);

/* Names from here on are freed by uco__free(); NULL without memory. */

/* Its folder. */
char *uco__http_target_folder(const struct uco__http_target *target);
/* "<path><ending>". */
char *uco__http_target_beside(const struct uco__http_target *target, const char *ending);
/* "<path>.XXXXXX", a random one: 0, -ENOMEM. */
int uco__http_target_random(const struct uco__http_target *target, char **name);

#endif
