/* SPDX-License-Identifier: MIT */

/*
 * The handshake's keys.
 *
 * SHA-1 protects nothing here: a server that has understood what it is asked for can say the hash
 * of the key, and a cache or an old server cannot. It stands here so that libuco-http needs no
 * library for that alone.
 */

#include "http/websocket_frame.h"

#include <string.h>

#define SUFFIX "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define BLOCK 64
#define HASH 20

/* --- base64 --- */

static void
base64_write(char *to, const unsigned char *from, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (; size > 0; from += 3) {
        size_t n = size < 3 ? size : 3;
        unsigned three = (unsigned) from[0] << 16 | (n > 1 ? (unsigned) from[1] << 8 : 0) |
                         (n > 2 ? (unsigned) from[2] : 0);

        for (size_t i = 0; i < 4; i++)
            *to++ = i <= n ? digits[three >> (18 - 6 * i) & 63] : '=';
        size -= n;
    }
    *to = '\0';
}

/* --- SHA-1 (RFC 3174) --- */

static uint32_t
rotate(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

/* The function and the constant of a round. */
static uint32_t
sha1_mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    if (round < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (round < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (round < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void
sha1_block(uint32_t hash[5], const unsigned char block[BLOCK])
{
    uint32_t words[80], v[5];

    for (unsigned i = 0; i < 16; i++)
        words[i] = (uint32_t) block[4 * i] << 24 | (uint32_t) block[4 * i + 1] << 16 |
                   (uint32_t) block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    memcpy(v, hash, sizeof v);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = rotate(v[0], 5) + sha1_mix(i, v[1], v[2], v[3]) + v[4] + words[i];

        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (unsigned i = 0; i < 5; i++)
        hash[i] += v[i];
}

/* Of a text that fills one block, and with its end a second one, as all do here. */
static void
sha1(unsigned char to[HASH], const char *text, size_t size)
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char blocks[2][BLOCK] = {{0}};

    memcpy(blocks[0], text, size);
    blocks[0][size] = 0x80;
    blocks[1][BLOCK - 2] = (unsigned char) (size * 8 >> 8);
    blocks[1][BLOCK - 1] = (unsigned char) (size * 8);
    sha1_block(hash, blocks[0]);
    sha1_block(hash, blocks[1]);
    for (unsigned i = 0; i < HASH; i++)
        to[i] = (unsigned char) (hash[i / 4] >> (8 * (3 - i % 4)));
}

/* --- keys --- */

void
uco__websocket_key(char key[UCO__WEBSOCKET_KEY_SIZE], const unsigned char random[16])
{
    base64_write(key, random, 16);
}

void
uco__websocket_accept(char accept[UCO__WEBSOCKET_ACCEPT_SIZE],
                      const char key[UCO__WEBSOCKET_KEY_SIZE])
{
    char text[UCO__WEBSOCKET_KEY_SIZE - 1 + sizeof SUFFIX];
    unsigned char hash[HASH];

    memcpy(text, key, UCO__WEBSOCKET_KEY_SIZE - 1);
    memcpy(text + UCO__WEBSOCKET_KEY_SIZE - 1, SUFFIX, sizeof SUFFIX);
    sha1(hash, text, sizeof text - 1);
    base64_write(accept, hash, HASH);
}
