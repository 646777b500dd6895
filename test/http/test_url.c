/* SPDX-License-Identifier: MIT */
/*
 * URLs. The plain ones are taken apart without curl; what comes out, and what is refused, must be
 * what curl says.
 */
#include "http/url.h"

#include "base/system.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether both ways agree about a URL; it is one, if so. */
static bool
agree(const char *url)
{
    struct uco__http_origin origin, by_curl;
    const char *why = "", *why_by_curl = "";
    int r = uco__http_origin_init(&origin, url, &why);
    int expected = uco__http_origin_init_by_curl(&by_curl, url, &why_by_curl);

    ck_assert_msg(r == expected, "'%s': %d (%s), curl %d (%s)", url, r, why, expected, why_by_curl);
    if (r == 0) {
        ck_assert_msg(strcmp(origin.key, by_curl.key) == 0, "'%s': %s, curl %s", url, origin.key,
                      by_curl.key);
        ck_assert_uint_eq(origin.host_length, by_curl.host_length);
        ck_assert_int_eq(origin.tls, by_curl.tls);
        ck_assert(uco__http_origin_same(&origin, &by_curl));
    } else {
        ck_assert_int_eq(r, -EINVAL);
        ck_assert_str_eq(why, why_by_curl);
    }
    uco__http_origin_done(&origin);
    uco__http_origin_done(&by_curl);
    return r == 0;
}

static const char *const many[] = {
    "http://example.org",
    "https://example.org",
    "http://example.org/",
    "https://example.org:8443/path/to?query=1&more=%20#part",
    "http://example.org?query",
    "http://example.org#part",
    "http://example.org?#",
    "http://example.org/?",
    "http://EXAMPLE.org/",
    "HTTP://example.org/",
    "hTTps://example.org/",
    "http://127.0.0.1/",
    "http://127.0.0.1:1/",
    "http://127.1/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://2130706433/",
    "http://127.0.0.1./",
    "http://127.0.0.256/",
    "http://1.2.3.4.5/",
    "http://1.2.3.4a/",
    "http://3com.com/",
    "http://0/",
    "http://00.0.0.0/",
    "http://[::1]/",
    "http://[::1]:80/",
    "http://[0:0::1]/",
    "http://[::1%25lo]/",
    "http://[::1/",
    "http://[]/",
    "http://host:0/",
    "http://host:00/",
    "http://host:080/",
    "http://host:1/",
    "http://host:65535/",
    "http://host:65536/",
    "http://host:99999/",
    "http://host:100000/",
    "http://host:18446744073709551696/",
    "http://host:/",
    "http://host:",
    "http://host:80a/",
    "http://host:a/",
    "http://host:-1/",
    "http://host:+1/",
    "http://host:80:80/",
    "http://host:80?x",
    "http://host:80#x",
    "http://host::80/",
    "http://:80/",
    "http:///",
    "http://",
    "http:/",
    "http:",
    "http",
    "http//host/",
    "http:/host/",
    "http:host/",
    "http:///host/",
    "http:////host/",
    "https:host",
    "httpsx://host/",
    "httpx://host/",
    "ftp://host/",
    "file:///etc/passwd",
    "file://host/",
    "mailto:somebody@example.org",
    "data:text/plain,x",
    "",
    " ",
    "/",
    "//host/",
    "host",
    "host/path",
    "host:80/",
    "?x",
    "#x",
    "://host/",
    "1http://host/",
    " http://host/",
    "http://host/ ",
    "http://ho st/",
    "http://host /",
    "http:// host/",
    "http://host/a b",
    "http://host/a\tb",
    "http://host/a\nb",
    "http://host\r\n/",
    "http://host/?a b",
    "http://host/#a b",
    "http://host/\x7f",
    "http://host/\x01",
    "http://host/\xc3\xa4",
    "http://b\xc3\xbc\x63her.example/",
    "http://\xff/",
    "http://xn--bcher-kva.example/",
    "http://xn--/",
    "http://user@host/",
    "http://user:secret@host:81/",
    "http://@host/",
    "http://user:@host/",
    "http://a@b@c/",
    "http://host/@x",
    "http://host/a:b@c",
    "http://host?x@y",
    "http://host#x@y",
    "http://.host/",
    "http://host./",
    "http://host../",
    "http://./",
    "http://../",
    "http://a..b/",
    "http://-host-/",
    "http://_host_/",
    "http://h_o_s_t:81/",
    "http://h~/",
    "http://h*/",
    "http://h%41/",
    "http://h%2f/",
    "http://h%00/",
    "http://h%zz/",
    "http://h\\/",
    "http://h;x/",
    "http://h=x/",
    "http://h,x/",
    "http://h!/",
    "http://h\"x/",
    "http://h/%zz",
    "http://h/%",
    "http://h/%00",
    "http://h/..",
    "http://h/../../x",
    "http://h/./a/../b",
    "http://h/a|b",
    "http://h/a\\b",
    "http://h/a\"b",
    "http://h/<a>",
    "http://h/{a}",
    "http://h/[a]",
    "http://h/^`",
    "http://h//a//b",
    "http://localhost/",
    "http://a.localhost:8080/",
    "https://h:443/",
    "http://h:80/",
    "http://h:443/",
};

START_TEST(both_ways_agree_about_many_urls)
{
    unsigned good = 0;

    for (size_t i = 0; i < COUNT(many); i++)
        good += agree(many[i]);
    ck_assert_uint_gt(good, 50);
    ck_assert_uint_lt(good, COUNT(many) - 30);
}
END_TEST

static const char *const pieces[] = {
    "http://", "https://", "http:",  "/",     "//",    "?",      "#",        ":",    ":80",
    ":443",    ":8080",    ":0",     "@",     "host",  "a",      "b.c",      ".",    "..",
    "1",       "127.",     "0.0.1",  "0x",    "%41",   "%",      "[::1]",    "[",    "]",
    "-",       "_",        "~",      "xn--",  " ",     "\x01",   "\xc3\xa4", "A",    "&",
    "=",       "+",        "path/x", "65535", "65536", "ftp://", "255",      ".org",
};

START_TEST(both_ways_agree_about_urls_at_random)
{
    unsigned good = 0;

    srandom(1);
    for (int i = 0; i < scaled(200000); i++) {
        int count = (int) (random() % 8);
        char url[128];

        strcpy(url, random() % 4 == 0 ? "" : random() % 2 == 0 ? "http://" : "https://");
        while (count-- > 0)
            strcat(url, pieces[(size_t) random() % COUNT(pieces)]);
        good += agree(url);
    }
    ck_assert_uint_gt(good, 100);
}
END_TEST

START_TEST(both_ways_agree_about_urls_with_one_byte_changed)
{
    static const char *const plain[] = {
        "http://example.org/path?query#part",
        "https://127.0.0.1:8443/path",
        "http://a-b.c_d.e:80",
    };
    char url[64];

    for (size_t i = 0; i < COUNT(plain); i++) {
        for (size_t at = 0; at < strlen(plain[i]); at++) {
            for (int byte = 1; byte < 256; byte++) {
                strcpy(url, plain[i]);
                url[at] = (char) byte;
                agree(url);
            }
        }
    }
}
END_TEST

static char *
url_of(const char *before, size_t count, char letter, const char *after)
{
    char *url = malloc(strlen(before) + count + strlen(after) + 1);

    ck_assert_ptr_nonnull(url);
    strcpy(url, before);
    memset(url + strlen(before), letter, count);
    strcpy(url + strlen(before) + count, after);
    return url;
}

START_TEST(both_ways_agree_about_long_urls)
{
    static const size_t lengths[] = {40,   57,   58,   59,    60,      61,      62,      63,
                                     64,   65,   252,  253,   254,     255,     256,     1000,
                                     8191, 8192, 8193, 20000, 7999970, 7999990, 8000000, 8000001};

    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *host = url_of("http://", lengths[i], 'h', "/path");
        char *path = url_of("http://host/", lengths[i], 'p', "");

        if (lengths[i] < 10000)
            agree(host);
        agree(path);
        free(host);
        free(path);
    }
}
END_TEST

START_TEST(a_key_is_as_long_as_it_must_be)
{
    char *url = url_of("https://", 200, 'h', ":1");
    struct uco__http_origin origin;
    const char *why;

    ck_assert_int_eq(uco__http_origin_init(&origin, url, &why), 0);
    ck_assert_uint_eq(origin.host_length, 200);
    ck_assert_str_eq(origin.key + 200, ":1");
    ck_assert(origin.tls);
    uco__http_origin_done(&origin);
    ck_assert_ptr_null(origin.key);
    uco__http_origin_done(&origin);
    free(url);
}
END_TEST

START_TEST(a_url_that_has_no_memory_is_no_bad_one)
{
    char *url = url_of("http://", 200, 'h', "/");
    struct uco__http_origin origin;
    const char *why;

    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco__http_origin_init(&origin, url, &why), -ENOMEM);
    uco_test_fail_off();
    uco__http_origin_done(&origin);
    free(url);
}
END_TEST

/* --- which host it is --- */

static bool
same_origin(const char *one, const char *other)
{
    struct uco__http_origin a, b;
    const char *why = "";
    bool same;

    ck_assert_msg(uco__http_origin_init(&a, one, &why) == 0, "%s: %s", one, why);
    ck_assert_msg(uco__http_origin_init(&b, other, &why) == 0, "%s: %s", other, why);
    same = uco__http_origin_same(&a, &b);
    uco__http_origin_done(&a);
    uco__http_origin_done(&b);
    return same;
}

START_TEST(an_origin_is_a_scheme_a_host_and_a_port)
{
    ck_assert(same_origin("http://host/", "http://HOST:80/path"));
    ck_assert(same_origin("https://user:secret@host/", "https://host:443"));
    ck_assert(same_origin("http://127.1/", "http://127.0.0.1/"));
    ck_assert(same_origin("http://[::1]/", "http://[0:0::1]:80/"));
    ck_assert(!same_origin("http://host/", "https://host/"));
    ck_assert(!same_origin("http://host/", "http://host:81/"));
    ck_assert(!same_origin("http://host/", "https://host:80/"));
    ck_assert(!same_origin("http://host/", "http://host./"));
    ck_assert(!same_origin("http://host/", "http://host.evil/"));
    ck_assert(!same_origin("http://host/", "http://host@evil/"));
}
END_TEST

START_TEST(an_address_behind_another_interface_is_another_host)
{
    ck_assert(same_origin("http://[fe80::1%25eth0]/", "http://[FE80::1%25eth0]:80/"));
    ck_assert(!same_origin("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth1]/"));
    ck_assert(!same_origin("http://[fe80::1%25eth0]/", "http://[fe80::1%25ETH0]/"));
    ck_assert(!same_origin("http://[fe80::1%25eth0]/", "http://[fe80::1]/"));
}
END_TEST

static bool
is_numeric(const char *url)
{
    struct uco__http_origin origin;
    const char *why = "";
    bool numeric;

    ck_assert_msg(uco__http_origin_init(&origin, url, &why) == 0, "%s: %s", url, why);
    numeric = origin.numeric;
    uco__http_origin_done(&origin);
    return numeric;
}

START_TEST(an_address_is_no_name)
{
    ck_assert(is_numeric("http://127.0.0.1/"));
    ck_assert(is_numeric("http://0.0.0.0/"));
    ck_assert(is_numeric("http://255.255.255.255:1/"));
    ck_assert(is_numeric("http://0x7f.1/"));
    ck_assert(is_numeric("http://0177.0.0.01/"));
    ck_assert(is_numeric("http://2130706433/"));
    ck_assert(is_numeric("http://%31%32%37.0.0.1/"));
    ck_assert(is_numeric("http://[::1]/"));
    ck_assert(is_numeric("http://[fe80::1%25eth0]/"));
    ck_assert(!is_numeric("http://1.2.3.256/"));
    ck_assert(!is_numeric("http://1.2.3.4.5/"));
    ck_assert(!is_numeric("http://1.2.3.4./"));
    ck_assert(!is_numeric("http://1.2..3/"));
    ck_assert(!is_numeric("http://1.2.3.x/"));
    ck_assert(!is_numeric("http://a1.2.3.4/"));
    ck_assert(!is_numeric("http://host/"));
}
END_TEST

static void
expect_joined(const char *base, const char *url, const char *expected)
{
    char *joined = uco__http_url_join(base, url);

    ck_assert_ptr_nonnull(joined);
    ck_assert_str_eq(joined, expected);
    uco__free(joined);
}

START_TEST(what_is_appended_to_a_base_stays_with_its_host)
{
    expect_joined(NULL, "x", "x");
    expect_joined("http://a", "https://b/", "https://b/");
    expect_joined("http://a", "HTTPS://b/", "HTTPS://b/");
    expect_joined("http://a", "", "http://a");
    expect_joined("http://a", "x", "http://a/x");
    expect_joined("http://a/", "x", "http://a/x");
    expect_joined("http://a/", "/x", "http://a/x");
    expect_joined("http://a/b", "x?y", "http://a/b/x?y");
    expect_joined("http://a", "?x", "http://a?x");
    expect_joined("http://a", "#x", "http://a#x");
    expect_joined("http://a", "//b/", "http://a//b/");
    expect_joined("http://a/", "//b/", "http://a//b/");
    expect_joined("http://a", "@b/", "http://a/@b/");
    expect_joined("http://a", ":81/", "http://a/:81/");
    expect_joined("http://a", ".b/", "http://a/.b/");
    expect_joined("http://a", "\\\\b/", "http://a/\\\\b/");
    expect_joined("http://a", "http:/b/", "http://a/http:/b/");
    expect_joined("http://a", "://b/", "http://a/://b/");
    expect_joined("http://a", "1http://b/", "http://a/1http://b/");
}
END_TEST

/* --- what is shown of it --- */

static void
expect_shown(const char *url, const char *expected)
{
    char text[128];

    uco__http_url_show(text, sizeof text, url);
    ck_assert_msg(strcmp(text, expected) == 0, "'%s' is shown as '%s'", url, text);
}

START_TEST(a_url_is_shown_without_its_password)
{
    expect_shown("http://host/a@b?c@d#e@f", "http://host/a@b?c@d#e@f");
    expect_shown("http://host:80/a@b", "http://host:80/a@b");
    expect_shown("http://[::1]:80/a@b", "http://[::1]:80/a@b");
    expect_shown("http://user:secret@host/a@b", "http://host/a@b");
    expect_shown("http://user:sec@ret@host/", "http://host/");
    expect_shown("http://user@host?a@b", "http://host?a@b");
    expect_shown("http:/user:secret@host/", "http:/host/");
    expect_shown("http:///user:secret@host/", "http:///host/");
    expect_shown("HTTP:user:secret@host/", "HTTP:host/");
    expect_shown("user:secret@host/", "user:host/");
    expect_shown("//user:secret@host/", "//host/");
    expect_shown("/a@b", "/a@b");
    expect_shown("", "");
}
END_TEST

START_TEST(what_is_wrong_with_a_url_may_be_its_password)
{
    expect_shown("http://user:sec/ret@host/", "http://host/");
    expect_shown("http://user:sec?ret@host/", "http://host/");
    expect_shown("http://user:s#@host/", "http://host/");
}
END_TEST

START_TEST(what_is_shown_is_cut_off)
{
    char text[8];

    uco__http_url_show(text, sizeof text, "http://user:secret@host/");
    ck_assert_str_eq(text, "http://");
}
END_TEST

/* --- places --- */

START_TEST(a_place_is_made_once_and_shared)
{
    struct uco__http_places places = {0};
    struct uco__http_place *one = uco__http_places_get(&places, "http://host/path?query#part");
    struct uco__http_place *same = uco__http_places_get(&places, "http://host/path?query#part");
    struct uco__http_place *other = uco__http_places_get(&places, "http://host/other");
    char *path;

    ck_assert_ptr_nonnull(one);
    ck_assert_ptr_eq(one, same);
    ck_assert_ptr_ne(one, other);
    ck_assert_int_eq(curl_url_get(other->parts, CURLUPART_PATH, &path, 0), CURLUE_OK);
    ck_assert_str_eq(path, "/other");
    curl_free(path);
    uco__http_place_unref(one);
    uco__http_place_unref(same);
    uco__http_place_unref(other);
    uco__http_places_done(&places);
}
END_TEST

/* Whoever has one keeps it. */
START_TEST(a_place_outlives_its_turn)
{
    struct uco__http_places places = {0};
    struct uco__http_place *first = uco__http_places_get(&places, "http://host/first");
    char url[64];

    for (int i = 0; i < 40 * UCO__HTTP_PLACES; i++) {
        snprintf(url, sizeof url, "http://host/%d", i);
        uco__http_place_unref(uco__http_places_get(&places, url));
    }
    uco__http_places_done(&places);
    ck_assert_str_eq(first->url, "http://host/first");
    uco__http_place_unref(first);
}
END_TEST

START_TEST(what_is_no_url_or_long_has_no_place)
{
    struct uco__http_places places = {0};
    char url[4096] = "http://host/";

    ck_assert_ptr_null(uco__http_places_get(&places, "http://"));
    /* curl 7.88 copies it without the interface */
    ck_assert_ptr_null(uco__http_places_get(&places, "http://[fe80::1%25eth0]/"));
    memset(url + strlen(url), 'a', sizeof url - 1 - strlen(url));
    ck_assert_ptr_null(uco__http_places_get(&places, url));
    uco__http_places_done(&places);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http url");
    TCase *urls = case_new(suite, "urls");
    TCase *places = case_new(suite, "places");

    tcase_add_test(urls, both_ways_agree_about_many_urls);
    tcase_add_test(urls, both_ways_agree_about_urls_at_random);
    tcase_add_test(urls, both_ways_agree_about_urls_with_one_byte_changed);
    tcase_add_test(urls, both_ways_agree_about_long_urls);
    tcase_add_test(urls, a_key_is_as_long_as_it_must_be);
    tcase_add_test(urls, a_url_that_has_no_memory_is_no_bad_one);
    tcase_add_test(urls, an_origin_is_a_scheme_a_host_and_a_port);
    tcase_add_test(urls, an_address_behind_another_interface_is_another_host);
    tcase_add_test(urls, an_address_is_no_name);
    tcase_add_test(urls, what_is_appended_to_a_base_stays_with_its_host);
    tcase_add_test(urls, a_url_is_shown_without_its_password);
    tcase_add_test(urls, what_is_wrong_with_a_url_may_be_its_password);
    tcase_add_test(urls, what_is_shown_is_cut_off);
    tcase_add_test(places, a_place_is_made_once_and_shared);
    tcase_add_test(places, a_place_outlives_its_turn);
    tcase_add_test(places, what_is_no_url_or_long_has_no_place);
    return suite_end(suite);
}
