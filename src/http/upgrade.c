/* SPDX-License-Identifier: MIT */

/*
 * Upgrades.
 *
 * 1. To curl what is sent after the answer is the request's body, whose reading stops as long as
 *    there is none. It begins with the answer of 101, and ends with any other, or the connection.
 */

#include "http/upgrade.h"

#include "core/loop.h"
#include "http/client.h"
#include "http/exchange.h"

void
uco__http_upgrade_judged(struct uco__http_exchange *exchange)
{
    if (exchange->response->result.status == 101)
        uco__timer_stop(exchange->client->loop, &exchange->silence); /* both may be silent */
    else
        uco__http_transfer_resume(&exchange->transfer, CURLPAUSE_SEND); /* curl hears the end */
}

size_t
uco__http_upgrade_take(struct uco__http_exchange *exchange, char *to, size_t size)
{
    long status = exchange->response != NULL ? exchange->response->result.status : 0;
    size_t n = 0;

    if (status == 101)
        n = exchange->upgrade->send(exchange->upgrade, to, size);
    if (n > 0 || exchange->transfer.looked ||
        (status != 101 && exchange->verdict != UCO__HTTP_OPEN))
        return n;
    exchange->transfer.paused |= CURLPAUSE_SEND;
    return CURL_READFUNC_PAUSE;
}

void
uco__http_upgrade_ended(struct uco__http_upgrade *upgrade, int error)
{
    upgrade->exchange = NULL;
    upgrade->ended(upgrade, error);
}

void
uco__http_upgrade_send(struct uco__http_upgrade *upgrade)
{
    if (upgrade->exchange != NULL)
        uco__http_transfer_resume(&upgrade->exchange->transfer, CURLPAUSE_SEND);
}

void
uco__http_upgrade_fail(struct uco__http_upgrade *upgrade, int error)
{
    if (upgrade->exchange != NULL)
        uco__http_exchange_fail(upgrade->exchange, error, NULL);
}

void
uco__http_upgrade_drop(struct uco__http_upgrade *upgrade)
{
    if (upgrade->exchange != NULL)
        upgrade->exchange->upgrade = NULL;
    upgrade->exchange = NULL;
}
