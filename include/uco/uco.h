/* SPDX-License-Identifier: MIT */
#ifndef UCO_UCO_H
#define UCO_UCO_H

/* All of uco's core: asyncio for C. HTTP is in <uco/http.h>, the tester's tools in <uco/testing.h>.
 */

#include <uco/common.h>
#include <uco/file.h>
#include <uco/generator.h>
#include <uco/group.h>
#include <uco/inspect.h>
#include <uco/io.h>
#include <uco/local.h>
#include <uco/loop.h>
#include <uco/name.h>
#include <uco/net.h>
#include <uco/process.h>
#include <uco/queue.h>
#include <uco/scope.h>
#include <uco/server.h>
#include <uco/signal.h>
#include <uco/stats.h>
#include <uco/stream.h>
#include <uco/sync.h>
#include <uco/task.h>
#include <uco/thread.h>
#include <uco/tls.h>
#include <uco/wait.h>
#include <uco/watch.h>

#endif
