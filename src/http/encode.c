/* SPDX-License-Identifier: MIT */

/*
 * application/x-www-form-urlencoded: forms, and query parameters.
 *
 * 1. Bytes are encoded, not characters: what is not ASCII should be UTF-8, and goes as it is, byte
 *    by byte.
 * 2. The size is counted first, by the function that then writes.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/body.h"

#include <stdint.h>
#include <string.h>
#include <uco/http/body.h>

/* Where to, and how much so far; `text` NULL: it is only counted. */
struct encoder {
    char *text;
    size_t size;
};

static void
encoder_put(struct encoder *encoder, char c)
{
    if (encoder->text != NULL)
        encoder->text[encoder->size] = c;
    encoder->size++;
}

/* Not isalnum(), which asks the locale. */
static bool
is_plain(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '*' ||
           c == '-' || c == '.' || c == '_';
}

static void
encoder_put_text(struct encoder *encoder, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char) *text;

        if (is_plain(*text) || *text == ' ') {
            encoder_put(encoder, *text == ' ' ? '+' : *text);
            continue;
        }
        encoder_put(encoder, '%');
        encoder_put(encoder, digits[byte >> 4]);
        encoder_put(encoder, digits[byte & 15]);
    }
}

/* The list's end is checked: pairs_check(). */
static void
encoder_put_pairs(struct encoder *encoder, const char *const *pairs)
{
    for (size_t i = 0; pairs[i] != NULL; i++) {
        if (i > 0)
            encoder_put(encoder, i % 2 == 0 ? '&' : '=');
        encoder_put_text(encoder, pairs[i]);
    }
}

static int
pairs_check(const char *const *pairs)
{
    size_t count = 0;

    if (pairs == NULL)
        return -EINVAL;
    while (pairs[count] != NULL)
        count++;
    return count % 2 == 0 ? 0 : -EINVAL;
}

char *
uco__http_encode(const char *const *pairs, int *error)
{
    struct encoder encoder = {0};

    *error = pairs_check(pairs);
    if (*error < 0)
        return NULL;
    encoder_put_pairs(&encoder, pairs);
    encoder.text = uco__allocate(encoder.size + 1);
    if (encoder.text == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    encoder.size = 0;
    encoder_put_pairs(&encoder, pairs);
    return encoder.text;
}

/* Plain malloc() is under uco__allocate(), so free() is fine. */
char *
uco_http_encode(const char *const *pairs)
{
    int error;
    char *text = uco__http_encode(pairs, &error);

    if (text != NULL) {
        uco__ledger_hand_over(text);
        return text;
    }
    if (error == -EINVAL)
        uco__misuse(-EINVAL, "uco_http_encode: the pairs are NULL, or the last has no value");
    return uco__error_null(error);
}

/* What stands between a URL, or its part before the fragment, and more of its query. */
static const char *
query_joint(const char *url, size_t size)
{
    if (memchr(url, '?', size) == NULL)
        return "?";
    return url[size - 1] == '?' || url[size - 1] == '&' ? "" : "&";
}

char *
uco__http_url_add_params(const char *url, const char *const *params, int *error)
{
    size_t size = strcspn(url, "#");
    struct encoder encoder = {0};
    const char *joint;
    char *result;

    *error = params != NULL ? pairs_check(params) : 0;
    if (*error < 0) {
        uco__misuse(-EINVAL, "an HTTP request: the last of its params has no value");
        return NULL;
    }
    if (params != NULL)
        encoder_put_pairs(&encoder, params);
    joint = params != NULL && params[0] != NULL ? query_joint(url, size) : "";
    result = uco__allocate(strlen(url) + strlen(joint) + encoder.size + 1);
    if (result == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    memcpy(result, url, size);
    encoder = (struct encoder){.text = stpcpy(result + size, joint)};
    if (params != NULL)
        encoder_put_pairs(&encoder, params);
    strcpy(encoder.text + encoder.size, url + size);
    return result;
}
