/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_DESCRIBE_H
#define UCO_HTTP_DESCRIBE_H

/* What the waits of this folder have to tell in a dump. */

#include "core/scheduler.h"

#include <stdbool.h>

struct uco__http_exchange;

/* "the body of GET http://host/path, ..."; false if it cannot be read. */
bool uco__http_exchange_describe(struct uco__dump *dump, const struct uco__http_exchange *exchange,
                                 const char *what);

/* In a struct uco__http_exchange. */
extern const struct uco__wait_kind uco__wait_exchange;
extern const struct uco__wait_kind uco__wait_exchange_end;
/* In a struct uco__websocket_frame. */
extern const struct uco__wait_kind uco__wait_frame;
/* With no more to tell. */
extern const struct uco__wait_kind uco__wait_client;
extern const struct uco__wait_kind uco__wait_goodbye;
extern const struct uco__wait_kind uco__wait_users;

#endif
