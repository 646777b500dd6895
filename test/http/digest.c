/* SPDX-License-Identifier: MIT */

/* MD5 (RFC 1321) and SHA-256 (FIPS 180-4). Both take blocks of 64 bytes, the last of which ends
 * with the number of bits; they differ in the order of bytes and in what they do with a block. */

#include "digest.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024

static uint32_t
left(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

/* The padded text: the number of its bytes. */
static size_t
blocks_make(unsigned char *blocks, const char *text, int big_endian)
{
    size_t size = strlen(text);
    size_t padded = (size + 8) / 64 * 64 + 64;

    ck_assert_uint_lt(size, TEXT_MAX);
    memset(blocks, 0, padded);
    memcpy(blocks, text, size);
    blocks[size] = 0x80;
    for (unsigned i = 0; i < 8; i++) {
        unsigned char byte = (unsigned char) ((uint64_t) size * 8 >> 8 * i);

        blocks[big_endian ? padded - 1 - i : padded - 8 + i] = byte;
    }
    return padded;
}

static uint32_t
word_at(const unsigned char *block, unsigned i, int big_endian)
{
    uint32_t word = 0;

    for (unsigned byte = 0; byte < 4; byte++)
        word |= (uint32_t) block[4 * i + byte] << 8 * (big_endian ? 3 - byte : byte);
    return word;
}

static void
words_show(const uint32_t *words, unsigned n, int big_endian, char *hex)
{
    for (unsigned i = 0; i < 4 * n; i++) {
        unsigned shift = 8 * (big_endian ? 3 - i % 4 : i % 4);

        snprintf(hex + (size_t) 2 * i, 3, "%02x", (unsigned) (words[i / 4] >> shift) & 0xff);
    }
}

static void
md5_block(uint32_t state[4], const unsigned char *block)
{
    static const unsigned turns[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

    for (unsigned i = 0; i < 64; i++) {
        const uint32_t constant = (uint32_t) (fabs(sin(i + 1.0)) * 4294967296.0);
        const uint32_t mixed[] = {(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)};
        const unsigned word[] = {i, 5 * i + 1, 3 * i + 5, 7 * i};
        uint32_t sum = a + mixed[i / 16] + constant + word_at(block, word[i / 16] % 16, 0);

        a = d;
        d = c;
        c = b;
        b += left(sum, turns[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void
digest_md5(const char *text, char *hex)
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char blocks[TEXT_MAX + 128];
    size_t size = blocks_make(blocks, text, 0);

    for (size_t at = 0; at < size; at += 64)
        md5_block(state, blocks + at);
    words_show(state, 4, 0, hex);
}

/* The first bits of the fractions of the cube roots of the first primes. */
static uint32_t
sha256_constant(unsigned i)
{
    static const unsigned char primes[64] = {
        2,   3,   5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,  53,
        59,  61,  67,  71,  73,  79,  83,  89,  97,  101, 103, 107, 109, 113, 127, 131,
        137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223,
        227, 229, 233, 239, 241, 251, 1,   7,   13,  15,  21,  25,  27,  37,  51,  55};
    double prime = primes[i] + (i < 54 ? 0.0 : 256.0);
    double root = cbrt(prime);

    return (uint32_t) ((root - floor(root)) * 4294967296.0);
}

static void
sha256_block(uint32_t state[8], const unsigned char *block)
{
    uint32_t w[64], s[8];

    for (unsigned i = 0; i < 64; i++) {
        uint32_t before = i < 16 ? 0 : w[i - 15];
        uint32_t last = i < 16 ? 0 : w[i - 2];

        w[i] = i < 16 ? word_at(block, i, 1)
                      : w[i - 16] + (left(before, 25) ^ left(before, 14) ^ before >> 3) + w[i - 7] +
                            (left(last, 15) ^ left(last, 13) ^ last >> 10);
    }
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t one = s[7] + (left(s[4], 26) ^ left(s[4], 21) ^ left(s[4], 7)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha256_constant(i) + w[i];
        uint32_t two = (left(s[0], 30) ^ left(s[0], 19) ^ left(s[0], 10)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += one;
        s[0] = one + two;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
}

void
digest_sha256(const char *text, char *hex)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char blocks[TEXT_MAX + 128];
    size_t size = blocks_make(blocks, text, 1);

    for (size_t at = 0; at < size; at += 64)
        sha256_block(state, blocks + at);
    words_show(state, 8, 1, hex);
}
