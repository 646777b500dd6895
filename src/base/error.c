/* SPDX-License-Identifier: MIT */

/* Error names, and the library's version. */

#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <uco/common.h>

void *
uco__error_null(int error)
{
    errno = -error;
    return NULL;
}

UCO__NOINLINE int *
uco__error_location(void)
{
    return &errno;
}

const char *
uco_strerror(int error)
{
    const char *text;

    if (error == 0)
        return "success";
    if (error == INT_MIN)
        return "unknown error";
#ifdef __GLIBC__
    text = strerrordesc_np(error < 0 ? -error : error);
#else
    text = strerror(error < 0 ? -error : error);
#endif
    return text != NULL ? text : "unknown error";
}

const char *
uco_version(void)
{
    return UCO_VERSION;
}
