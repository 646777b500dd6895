/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_WATCH_H
#define UCO_IO_WATCH_H

/* uco_loop_add_reader() and its kin. */

struct uco_loop;

/* The fd is about to be closed: removes its callbacks. */
void uco__watch_forget(struct uco_loop *loop, int fd);

#endif
