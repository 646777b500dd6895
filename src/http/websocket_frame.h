/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_WEBSOCKET_FRAME_H
#define UCO_HTTP_WEBSOCKET_FRAME_H

/* WebSocket on the wire (RFC 6455): frames' headers, masks, close codes, UTF-8. Knows of no
 * connection. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UCO__WEBSOCKET_HEADER_MAX 14 /* bytes; of a server's, which has no mask, 10 */
#define UCO__WEBSOCKET_MASK_SIZE 4
#define UCO__WEBSOCKET_CONTROL_MAX 125                             /* bytes in a control frame */
#define UCO__WEBSOCKET_REASON_MAX (UCO__WEBSOCKET_CONTROL_MAX - 2) /* of those, after the code */
#define UCO__WEBSOCKET_ACCEPT_SIZE 29                              /* with its zero byte */
#define UCO__WEBSOCKET_KEY_SIZE 25                                 /* likewise */

enum uco__websocket_opcode {
    UCO__WEBSOCKET_CONTINUATION = 0x0,
    UCO__WEBSOCKET_TEXT = 0x1,
    UCO__WEBSOCKET_BINARY = 0x2,
    UCO__WEBSOCKET_CLOSE = 0x8,
    UCO__WEBSOCKET_PING = 0x9,
    UCO__WEBSOCKET_PONG = 0xa
};

/* What is said about a close, of which there is more in RFC 6455, 7.4.1. */
#define UCO__WEBSOCKET_DONE 1000
#define UCO__WEBSOCKET_PROTOCOL_ERROR 1002
#define UCO__WEBSOCKET_NO_CODE 1005 /* never sent */
#define UCO__WEBSOCKET_BAD_TEXT 1007
#define UCO__WEBSOCKET_TOO_LARGE 1009

struct uco__websocket_header {
    enum uco__websocket_opcode opcode;
    bool final;
    uint64_t size; /* bytes that follow */
};

/* Takes a server's frame's header from the first of `size` bytes: how many it is; 0: there must be
 * more of them; -EPROTO: it is none, also if not all of it is there. */
int uco__websocket_header_read(struct uco__websocket_header *header, const char *data, size_t size);

/* A client's; how many bytes of `to` it takes. */
size_t uco__websocket_header_write(unsigned char to[UCO__WEBSOCKET_HEADER_MAX],
                                   const struct uco__websocket_header *header,
                                   const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE]);

/* Copies a piece of a frame's content, which begins `offset` bytes in it, under its mask. */
void uco__websocket_mask(char *to, const char *from, size_t size,
                         const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE], uint64_t offset);

static inline bool
uco__websocket_is_control(enum uco__websocket_opcode opcode)
{
    return opcode >= UCO__WEBSOCKET_CLOSE;
}

/* Whether such a code may be in a frame. */
bool uco__websocket_code_valid(unsigned code);

bool uco__websocket_is_utf8(const char *text, size_t size);

/* What is sent as Sec-WebSocket-Key, made of 16 random bytes; and what the server must answer. */
void uco__websocket_key(char key[UCO__WEBSOCKET_KEY_SIZE], const unsigned char random[16]);
void uco__websocket_accept(char accept[UCO__WEBSOCKET_ACCEPT_SIZE],
                           const char key[UCO__WEBSOCKET_KEY_SIZE]);

#endif
