/* SPDX-License-Identifier: MIT */

/*
 * What is open on a loop: resources, which its close closes, and watched fds.
 */

#include "core/loop.h"

void
uco__loop_add_resource(struct uco_loop *loop, struct uco__resource *resource)
{
    uco__list_push_back(&loop->resources, &resource->link);
    loop->resource_count += resource->kind != NULL;
}

void
uco__loop_remove_resource(struct uco_loop *loop, struct uco__resource *resource)
{
    uco__list_remove(&resource->link);
    loop->resource_count -= resource->kind != NULL;
}

int
uco__loop_watch(struct uco_loop *loop, struct uco__fd_watcher *watcher)
{
    return uco__poller_watch(&loop->poller, watcher);
}

void
uco__loop_unwatch(struct uco_loop *loop, struct uco__fd_watcher *watcher)
{
    uco__poller_unwatch(&loop->poller, watcher);
}
