/* SPDX-License-Identifier: MIT */

#include "echo_server.h"

/* Seconds, of those that spin. */
#define SPIN 50e-6

const struct echo_subject echo_subjects[] = {
    {
        .name = "floor",
        .what = "floor: bare epoll",
        .serve = echo_serve_floor,
    },
    {
        .name = "floor-spin",
        .what = "floor, but spinning 50 us",
        .serve = echo_serve_floor,
        .way = {.spin = SPIN},
    },
    {
        .name = "floor-uring",
        .what = "floor on io_uring",
        .serve = echo_serve_floor_uring,
    },
    {
        .name = "fds",
        .what = "uco, fds",
        .serve = echo_serve_fds,
        .way = {.backend = UCO_BACKEND_EPOLL},
    },
    {
        .name = "fds-spin",
        .what = "uco, fds, spinning 50 us",
        .serve = echo_serve_fds,
        .way = {.backend = UCO_BACKEND_EPOLL, .spin = SPIN},
    },
    {
        .name = "fds-uring",
        .what = "uco, fds, io_uring",
        .serve = echo_serve_fds,
        .way = {.backend = UCO_BACKEND_IO_URING},
    },
    {
        .name = "streams",
        .what = "uco, streams",
        .serve = echo_serve_streams,
        .way = {.backend = UCO_BACKEND_EPOLL},
    },
    {
        .name = "streams-spin",
        .what = "uco, streams, spinning 50 us",
        .serve = echo_serve_streams,
        .way = {.backend = UCO_BACKEND_EPOLL, .spin = SPIN},
    },
    {
        .name = "streams-uring",
        .what = "uco, streams, io_uring",
        .serve = echo_serve_streams,
        .way = {.backend = UCO_BACKEND_IO_URING},
    },
    {
        .name = "libuv",
        .what = "libuv",
        .peer = {.path = PEER_LIBUV},
    },
    {
        .name = "st",
        .what = "State Threads, poll",
        .peer = {.path = PEER_ST},
    },
    {
        .name = "pth",
        .what = "Pth",
        .peer = {.path = PEER_PTH},
        .connections_max = 50,
        .no_more = "it looks at every thread in each switch, and waits with select()",
    },
    {
        .name = "go",
        .what = "Go",
        .peer = {.path = PEER_GO},
    },
    {
        .name = "boost",
        .what = "boost.asio",
        .peer = {.path = PEER_BOOST},
    },
    {
        .name = "uvloop",
        .what = "uvloop",
        .peer = {.path = PEER_UVLOOP, .script = PEER_PYTHON_SCRIPT, .loop = "uvloop"},
    },
    {
        .name = "asyncio",
        .what = "asyncio",
        .peer = {.path = PEER_PYTHON, .script = PEER_PYTHON_SCRIPT},
    },
    {.name = NULL},
};
