/* SPDX-License-Identifier: MIT */
/* Downloads that go on where an attempt ended, within a call and in a later one. */
#include "download_scene.h"

#include <sys/file.h>

#define NOTE_ONE "If-Range: \"one\"\nSize: 1000\n"

static const uco_http_download_options resume = {.resume = true};

/* What is left of a download that ended early. */
static void
expect_left(struct scene *s, size_t size, const char *note)
{
    ck_assert_uint_eq(s->result.size, size);
    expect_bytes_in(s->part, size, s->version);
    expect_text_in(s->note, note);
    ck_assert_str_eq(scene_names(s), "file.part file.part.etag");
}

static void
break_off(struct scene *s, size_t after)
{
    s->cut = after;
    s->cuts = 1;
    expect_failed_download(s, &resume, -EPROTO);
}

/* --- in a later call --- */

static void
download_in_two_calls(struct scene *s)
{
    break_off(s, 400);
    expect_left(s, 400, NOTE_ONE);
    ck_assert_uint_eq(s->result.received, 400);
    expect_download(s, &resume);
    ck_assert_str_eq(scene_header(s, "Range"), "bytes=400-");
    ck_assert_str_eq(scene_header(s, "If-Range"), "\"one\"");
    ck_assert_uint_eq(s->result.received, 600);
    ck_assert_int_eq(s->result.status, 206);
    ck_assert_int_eq(s->result.attempts, 1);
    ck_assert_uint_eq(s->requests, 2);
}

START_TEST(a_download_goes_on_where_the_last_one_ended)
{
    scene(download_in_two_calls);
}
END_TEST

static void
download_in_many_calls(struct scene *s)
{
    size_t had = 0;

    s->size = 3000000;
    for (s->cut = 1; had + s->cut < s->size; s->cut = s->cut * 3 + 1) {
        s->cuts = 1;
        expect_failed_download(s, &resume, -EPROTO);
        had += s->cut;
        expect_left(s, had, "If-Range: \"one\"\nSize: 3000000\n");
    }
    expect_download(s, &resume);
}

START_TEST(a_download_may_end_as_often_as_it_likes)
{
    scene(download_in_many_calls);
}
END_TEST

static void
download_changed(struct scene *s)
{
    for (int i = 0; i < 4; i++) {
        s->etag = "\"one\"";
        s->version = 1;
        s->size = 1000;
        break_off(s, 400);
        s->version = 2;
        s->blind = i > 0;          /* the server sends the rest of the new one */
        s->silent = i == 2;        /* and does not say that it is one, */
        s->size += i == 2 ? 1 : 0; /* but it has another length; */
        s->no_ranges = i == 3;     /* or all of it */
        s->etag = "\"two\"";
        s->requests = 0;
        expect_download(s, &resume);
        ck_assert_uint_eq(s->result.received, s->size);
        ck_assert_uint_eq(s->requests, i == 0 || i == 3 ? 1 : 2);
        ck_assert_int_eq(s->result.status, 200);
        ck_assert_int_eq(unlink(s->path), 0);
        s->blind = false;
        s->silent = false;
        s->no_ranges = false;
    }
}

START_TEST(what_has_come_is_never_completed_with_another_version)
{
    scene(download_changed);
}
END_TEST

static void
download_changed_and_broken_off(struct scene *s)
{
    break_off(s, 400);
    s->version = 2;
    s->etag = "\"two\"";
    break_off(s, 100);
    expect_left(s, 100, "If-Range: \"two\"\nSize: 1000\n");
    expect_download(s, &resume);
    ck_assert_str_eq(scene_header(s, "If-Range"), "\"two\"");
}

START_TEST(what_is_left_is_of_the_version_that_came_last)
{
    scene(download_changed_and_broken_off);
}
END_TEST

static void
download_odd_ranges(struct scene *s)
{
    static const char *const ranges[] = {
        "bytes 0-999/1000",    "bytes 399-999/1000",  "bytes 401-999/1000", "bytes 400-999/1001",
        "bytes 400-1000/1000", "bytes 400-399/1000",  "bytes 400-999/*",    "bytes */1000",
        "items 400-999/1000",  "400-999/1000",        "bytes=400-999/1000", "",
        "bytes 400-999",       "bytes 400-999/1000x", "bytes -400-999/1000"};

    for (size_t i = 0; i < COUNT(ranges); i++) {
        leave_part(s, 400, s->version, i == 6 ? "If-Range: \"one\"\nSize: *\n" : NOTE_ONE);
        s->content_range = ranges[i];
        s->requests = 0;
        expect_download(s, &resume);
        ck_assert_msg(s->requests == 2, "%s", ranges[i]);
        ck_assert_str_eq(scene_header(s, "Range"), "");
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(an_answer_with_another_part_than_was_asked_for_is_not_used)
{
    scene(download_odd_ranges);
}
END_TEST

static void
download_without_etag(struct scene *s)
{
    static const struct {
        const char *etag, *modified;
        const char *note; /* NULL: none */
    } cases[] = {
        {NULL, NULL, NULL},
        {"W/\"weak\"", NULL, NULL},
        {"bare", NULL, NULL},
        {"\"", NULL, NULL},
        {NULL, "yesterday", NULL},
        /* Within a minute of the answer, which is of 12:00:00. */
        {NULL, "Mon, 23 Nov 2020 11:59:01 GMT", NULL},
        {NULL, "Mon, 23 Nov 2020 13:00:00 GMT", NULL},
        {"W/\"weak\"", "Mon, 23 Nov 2020 11:59:00 GMT",
         "If-Range: Mon, 23 Nov 2020 11:59:00 GMT\nSize: 1000\n"},
        {"\"\"", NULL, "If-Range: \"\"\nSize: 1000\n"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        s->etag = cases[i].etag;
        s->modified = cases[i].modified;
        break_off(s, 400);
        if (cases[i].note != NULL)
            expect_left(s, 400, cases[i].note);
        else
            ck_assert_str_eq(scene_names(s), "file.part");
        expect_download(s, &resume);
        ck_assert_str_eq(scene_header(s, "Range"), cases[i].note != NULL ? "bytes=400-" : "");
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(what_cannot_be_told_from_another_version_is_not_gone_on_with)
{
    scene(download_without_etag);
}
END_TEST

static void
download_with_odd_notes(struct scene *s)
{
    static const char *const notes[] = {NULL,
                                        "",
                                        "\n",
                                        "If-Range: \"one\"",
                                        "If-Range: \"one\"\n",
                                        "If-Range: \"one\"\nSize: ",
                                        "If-Range: \"one\"\nSize: 1000",
                                        "If-Range: \nSize: 1000\n",
                                        "If-Range: \"one\"\nSize: x\n",
                                        "If-Range: \"one\"\nSize: 399\n",
                                        "Size: 1000\n",
                                        "If-Range: \"one\"\nSize: 1000\n\n",
                                        "If-Range: \"o\rX: e\"\nSize: 1000\n",
                                        "If-Range: \"one\"\nSize: 99999999999999999999\n"};

    for (size_t i = 0; i < COUNT(notes); i++) {
        leave_part(s, 400, 3, notes[i]);
        expect_download(s, &resume);
        ck_assert_msg(scene_header(s, "Range")[0] == '\0', "note %zu", i);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(a_part_without_a_note_of_its_version_is_not_used)
{
    scene(download_with_odd_notes);
}
END_TEST

static void
download_rest_of_nothing(struct scene *s)
{
    static const char *const notes[] = {NOTE_ONE, "If-Range: \"one\"\nSize: *\n"};

    for (int i = 0; i < 2; i++) {
        leave_part(s, 1000, s->version, notes[i]);
        expect_download(s, &resume);
        ck_assert_str_eq(scene_header(s, "Range"), i == 0 ? "bytes=999-" : "bytes=1000-");
        ck_assert_uint_eq(s->result.received, i == 0 ? 1 : 0);
        ck_assert_int_eq(s->result.status, i == 0 ? 206 : 416);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

/* Its download had ended before it could be put into its place. */
START_TEST(a_part_that_is_whole_becomes_the_file)
{
    scene(download_rest_of_nothing);
}
END_TEST

static void
download_shrunk(struct scene *s)
{
    static const char *const ranges[] = {NULL, "", "bytes */600", "bytes */*", "bytes 0-1/500"};

    for (size_t i = 0; i < COUNT(ranges); i++) {
        leave_part(s, 600, s->version, "If-Range: \"one\"\nSize: *\n");
        s->size = 500;
        s->content_range = ranges[i];
        s->silent = true;
        s->before = NULL;
        if (i == 2) {
            /* It says that 600 is right, and is believed. */
            ck_assert_int_eq(download(s, &resume), 0);
            expect_bytes_in(s->path, 600, s->version);
            ck_assert_int_eq(s->result.status, 416);
        } else {
            expect_download(s, &resume);
            ck_assert_int_eq(s->result.status, 200);
        }
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(a_file_that_is_shorter_than_its_part_is_fetched_anew)
{
    scene(download_shrunk);
}
END_TEST

static void
download_failing_with_part(struct scene *s)
{
    static const long statuses[] = {404, 500, 416, 206};

    for (size_t i = 0; i < COUNT(statuses); i++) {
        s->status = 0;
        break_off(s, 400 + i);
        s->status = statuses[i];
        ck_assert_int_lt(download(s, &resume), 0);
        expect_bytes_in(s->part, 400 + i, s->version);
        ck_assert_str_eq(scene_names(s), "file.part file.part.etag");
        unlink(s->part);
        unlink(s->note);
    }
    s->status = 0;
    break_off(s, 400);
    ck_assert_int_eq(uco_test_fail("write", 1, true, ENOSPC), 0);
    expect_failed_download(s, &resume, -ENOSPC);
    uco_test_fail_off();
    expect_left(s, 400, NOTE_ONE);
    expect_download(s, &resume);
    ck_assert_uint_eq(s->result.received, 600);
}

START_TEST(what_fails_keeps_what_an_earlier_attempt_has_brought)
{
    scene(download_failing_with_part);
}
END_TEST

/* The disk may have lost some of it, and does not say which. */
static void
download_to_forgetful_disk(struct scene *s)
{
    ck_assert_int_eq(uco_test_fail("fsync", 1, true, EIO), 0);
    expect_failed_download(s, &resume, -EIO);
    uco_test_fail_off();
    ck_assert_str_eq(scene_names(s), "");
}

START_TEST(what_could_not_be_synchronized_is_not_kept)
{
    scene(download_to_forgetful_disk);
}
END_TEST

static void
download_over_stale_note(struct scene *s)
{
    write_text(s->note, NOTE_ONE);
    s->etag = NULL;
    break_off(s, 400);
    ck_assert_str_eq(scene_names(s), "file.part");
    s->etag = "\"two\"";
    leave_part(s, 700, 9, NOTE_ONE);
    break_off(s, 400);
    expect_left(s, 400, "If-Range: \"two\"\nSize: 1000\n");
}

START_TEST(an_old_note_does_not_outlive_its_part)
{
    scene(download_over_stale_note);
}
END_TEST

/* --- the system goes down --- */

/* What a process leaves that is killed in the middle: its note, in a buffer. */
static void
die_in_the_middle(struct scene *s, char note[1024])
{
    struct download_task task = {.s = s, .options = resume};
    uco_task *running;
    FILE *file;

    s->pause = 500;
    running = uco_create_task(download_run, &task);
    until_paused(&task);
    file = fopen(s->note, "rb");
    ck_assert_ptr_nonnull(file);
    note[fread(note, 1, 1023, file)] = '\0';
    fclose(file);
    ck_assert_int_eq(uco_cancel(running), 0);
    ck_assert_int_eq(uco_join(running), -ECANCELED);
    s->pause = NEVER;
    s->result = task.result;
    expect_left(s, 500, NOTE_ONE);
}

static void
download_after_power_failure(struct scene *s)
{
    char note[1024] = "";

    die_in_the_middle(s, note);
    write_text(s->note, note);
    expect_download(s, &resume);
    ck_assert_uint_eq(s->result.received, 500);
    ck_assert_int_eq(unlink(s->path), 0);
    ck_assert_ptr_nonnull(strstr(note, "\nBoot: "));
    note[strlen(note) - 2] ^= 1;
    leave_part(s, 500, 9, note);
    expect_download(s, &resume);
    ck_assert_uint_eq(s->result.received, 1000);
}

START_TEST(what_may_have_holes_since_the_system_went_down_is_not_used)
{
    scene(download_after_power_failure);
}
END_TEST

static void
download_and_keep_on_bad_disk(struct scene *s)
{
    s->cut = 400;
    s->cuts = 1;
    ck_assert_int_eq(uco_test_fail("fsync", 1, true, EIO), 0);
    expect_failed_download(s, &resume, -EPROTO);
    uco_test_fail_off();
    ck_assert_str_eq(scene_names(s), "");
}

START_TEST(what_is_kept_is_on_the_disk)
{
    scene(download_and_keep_on_bad_disk);
}
END_TEST

static void
download_without_reading_note(struct scene *s)
{
    leave_part(s, 400, s->version, NOTE_ONE);
    ck_assert_int_eq(uco_test_fail("open", 2, false, EMFILE), 0);
    expect_failed_download(s, &resume, -EMFILE);
    uco_test_fail_off();
    expect_bytes_in(s->part, 400, s->version);
    expect_text_in(s->note, NOTE_ONE);
    expect_download(s, &resume);
    ck_assert_uint_eq(s->result.received, 600);
}

START_TEST(a_note_that_cannot_be_read_now_is_not_lost)
{
    scene(download_without_reading_note);
}
END_TEST

/* --- cancelled --- */

static void
cancel_and_resume(struct scene *s)
{
    static const size_t pauses[] = {1, 500, 262144, 700000};
    struct download_task task = {.s = s, .options = resume};

    s->size = 1000000;
    for (size_t i = 0; i < COUNT(pauses); i++) {
        uco_task *running;

        s->pause = pauses[i];
        running = uco_create_task(download_run, &task);
        until_paused(&task);
        ck_assert_int_eq(uco_cancel(running), 0);
        ck_assert_int_eq(uco_join(running), -ECANCELED);
        expect_bytes_in(s->part, pauses[i], s->version);
        ck_assert_uint_eq(task.result.size, pauses[i]);
        s->pause = NEVER;
        expect_download(s, &resume);
        ck_assert_uint_eq(s->result.received, s->size - pauses[i]);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(what_came_before_a_cancellation_is_kept)
{
    scene(cancel_and_resume);
}
END_TEST

/* After so many turns of the loop, wherever it is by then. */
static void
cancel_rest_anywhere(struct scene *s)
{
    struct download_task task = {.s = s, .options = resume};
    intptr_t r = -ECANCELED;

    s->size = 600000;
    for (int turns = 0; turns < 1000 && r == -ECANCELED; turns += 1 + turns / 5) {
        uco_task *running;

        leave_part(s, 300000, s->version, "If-Range: \"one\"\nSize: 600000\n");
        running = uco_create_task(download_run, &task);
        for (int i = 0; i < turns; i++)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(running);
        r = uco_join(running);
        ck_assert_msg(r == 0 || r == -ECANCELED, "%d", (int) r);
        ck_assert_str_eq(scene_names(s), r == 0 ? "file" : "file.part file.part.etag");
        if (r < 0)
            expect_download(s, &resume);
        ck_assert_uint_le(s->result.received, 300000);
        expect_bytes_in(s->path, s->size, s->version);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(a_cancellation_loses_nothing_whenever_it_comes)
{
    scene(cancel_rest_anywhere);
}
END_TEST

static void
download_rest_with_little_memory(struct scene *s)
{
    unsigned long nth = 1;
    int r;

    do {
        leave_part(s, 400, s->version, NOTE_ONE);
        ck_assert_int_eq(uco_test_fail("malloc", nth++, false, ENOMEM), 0);
        r = download(s, &resume);
        uco_test_fail_off();
        ck_assert_msg(r == 0 || r == -ENOMEM || r == -EPROTO || r == -ECONNRESET, "%lu: %d", nth,
                      r);
        if (r < 0) {
            ck_assert_str_eq(scene_names(s), "file.part file.part.etag");
            expect_download(s, &resume);
        }
        ck_assert_uint_le(s->result.received, 600);
        expect_bytes_in(s->path, s->size, s->version);
        ck_assert_int_eq(unlink(s->path), 0);
    } while (r != 0 || nth < 10);
    s->reports.count = 0;
}

START_TEST(want_of_memory_loses_nothing)
{
    scene(download_rest_with_little_memory);
}
END_TEST

/* --- within a call --- */

static void
retry_broken_off(struct scene *s)
{
    uco_http_request_options request = {.retries = 3};
    uco_http_download_options options = {.request = &request};

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        s->requests = 0;
        s->cuts = 3;
        s->cut = 100;
        expect_download(s, &options);
        ck_assert_str_eq(scene_header(s, "Range"), "bytes=300-");
        ck_assert_str_eq(scene_header(s, "If-Range"), "\"one\"");
        ck_assert_uint_eq(s->requests, 4);
        ck_assert_int_eq(s->result.attempts, 4);
        ck_assert_uint_eq(s->result.received, 1000);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(a_body_that_breaks_off_is_taken_up_where_it_ended)
{
    scene(retry_broken_off);
}
END_TEST

static void
retry_too_often(struct scene *s)
{
    uco_http_request_options request = {.retries = 2};
    uco_http_download_options options = {.request = &request};
    double began = uco_time();

    s->cuts = 3;
    s->cut = 100;
    expect_failed_download(s, &options, -EPROTO);
    ck_assert_uint_eq(s->requests, 3);
    ck_assert_int_eq(s->result.attempts, 3);
    ck_assert_uint_eq(s->result.size, 300);
    ck_assert_str_eq(scene_names(s), "");
    ck_assert(uco_time() - began >= 0.15 && uco_time() - began < 1);
}

START_TEST(a_body_is_taken_up_as_often_as_retries_says_with_pauses_between)
{
    scene(retry_too_often);
}
END_TEST

static void
stop_server_once(struct scene *s)
{
    s->status = s->requests == 2 ? 503 : 0;
}

static void
retry_both(struct scene *s)
{
    uco_http_request_options request = {.retries = 2};
    uco_http_download_options options = {.request = &request};

    s->before = stop_server_once;
    s->cuts = 1;
    s->cut = 100;
    expect_download(s, &options);
    ck_assert_uint_eq(s->requests, 3);
    ck_assert_int_eq(s->result.attempts, 3);
    s->requests = 0;
    s->cuts = 2;
    expect_failed_download(s, &options, -EPROTO);
    ck_assert_uint_eq(s->requests, 3);
    ck_assert_int_eq(s->result.attempts, 3);
}

START_TEST(retries_before_and_within_the_body_count_together)
{
    scene(retry_both);
}
END_TEST

static void
retry_without_validator(struct scene *s)
{
    uco_http_request_options request = {.retries = 3};
    uco_http_download_options options = {.request = &request};

    s->etag = NULL;
    s->cuts = 2;
    s->cut = 400;
    expect_download(s, &options);
    ck_assert_uint_eq(s->requests, 3);
    ck_assert_str_eq(scene_header(s, "Range"), "");
    ck_assert_uint_eq(s->result.received, 1000);
}

START_TEST(without_a_validator_a_broken_body_is_fetched_anew)
{
    scene(retry_without_validator);
}
END_TEST

static void
change_at_second_request(struct scene *s)
{
    if (s->requests == 2) {
        s->version = 2;
        s->size = 700;
        s->etag = "\"two\"";
    }
}

static void
retry_changed(struct scene *s)
{
    uco_http_request_options request = {.retries = 3};
    uco_http_download_options options = {.request = &request};

    for (int i = 0; i < 4; i++) {
        options.resume = i / 2 == 1;
        s->blind = i % 2 == 1;
        s->version = 1;
        s->size = 1000;
        s->etag = "\"one\"";
        s->requests = 0;
        s->before = change_at_second_request;
        s->cuts = 1;
        s->cut = 900;
        expect_download(s, &options);
        ck_assert_uint_eq(s->version, 2);
        ck_assert_uint_eq(s->result.received, 700);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(a_file_that_changes_between_two_attempts_is_fetched_anew)
{
    scene(retry_changed);
}
END_TEST

static void
download_in_slices(struct scene *s)
{
    uco_http_request_options request = {.retries = 1};
    uco_http_download_options options = {.request = &request};

    s->cuts = 1;
    s->cut = 100;
    s->most = 150;
    expect_download(s, &options);
    ck_assert_uint_eq(s->requests, 7);
    ck_assert_int_eq(s->result.attempts, 7);
}

/* That is no failure: no attempt is counted. */
START_TEST(a_server_may_send_less_than_was_asked_for)
{
    scene(download_in_slices);
}
END_TEST

static void
download_large_rest(struct scene *s)
{
    uco_http_request_options request = {.max_body = 900};
    uco_http_download_options options = {.request = &request, .resume = true};

    leave_part(s, 400, s->version, NOTE_ONE);
    expect_failed_download(s, &options, -EMSGSIZE);
    leave_part(s, 400, s->version, "If-Range: \"one\"\nSize: *\n");
    expect_failed_download(s, &options, -EMSGSIZE);
    expect_bytes_in(s->part, 400, s->version);
    request.max_body = 1000;
    expect_download(s, &options);
    ck_assert_uint_eq(s->result.received, 600);
}

/* There is no answer whose body could be too large. */
static void
download_large_whole(struct scene *s)
{
    uco_http_request_options request = {.max_body = 999};
    uco_http_download_options options = {.request = &request, .resume = true};

    leave_part(s, 1000, s->version, "If-Range: \"one\"\nSize: *\n");
    expect_failed_download(s, &options, -EMSGSIZE);
    ck_assert_int_eq(s->result.status, 416);
    request.max_body = 1000;
    expect_download(s, &options);
}

START_TEST(the_limit_is_for_a_part_that_is_whole_too)
{
    scene(download_large_whole);
}
END_TEST

START_TEST(the_limit_is_for_the_whole_file)
{
    scene(download_large_rest);
}
END_TEST

/* --- two at once --- */

static void
download_twice_at_once(struct scene *s)
{
    struct download_task task = {.s = s, .options = resume};
    uco_task *running;

    s->pause = 500;
    running = uco_create_task(download_run, &task);
    until_paused(&task);
    expect_failed_download(s, &resume, -EBUSY);
    ck_assert_uint_eq(s->requests, 1);
    uco_event_set(&s->gate);
    ck_assert_int_eq(uco_join(running), 0);
    ck_assert_str_eq(scene_names(s), "file");
    s->version++;
    expect_download(s, &resume);
}

START_TEST(a_part_is_one_downloads_at_a_time)
{
    scene(download_twice_at_once);
}
END_TEST

static void
download_locked(struct scene *s)
{
    int fd;

    leave_part(s, 400, s->version, NOTE_ONE);
    fd = open(s->part, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    expect_failed_download(s, &resume, -EBUSY);
    expect_bytes_in(s->part, 400, s->version);
    expect_text_in(s->note, NOTE_ONE);
    close(fd);
    expect_download(s, &resume);
}

START_TEST(a_part_that_another_process_writes_is_left_alone)
{
    scene(download_locked);
}
END_TEST

#define CROWD 10

static void
download_in_a_crowd(struct scene *s)
{
    struct download_task tasks[CROWD];
    uco_task *running[CROWD];
    intptr_t results[CROWD];
    int done = 0;

    for (int i = 0; i < CROWD; i++) {
        tasks[i] = (struct download_task){.s = s, .options = resume};
        running[i] = uco_create_task(download_run, &tasks[i]);
    }
    ck_assert_int_eq(uco_gather_all(running, CROWD, results), 0);
    for (int i = 0; i < CROWD; i++) {
        ck_assert_msg(results[i] == 0 || results[i] == -EBUSY, "%d", (int) results[i]);
        done += results[i] == 0;
    }
    uco_unref_all(running, CROWD);
    ck_assert_int_ge(done, 1);
    expect_bytes_in(s->path, s->size, s->version);
    ck_assert_str_eq(scene_names(s), "file");
}

START_TEST(of_many_downloads_to_one_part_each_is_whole_or_refused)
{
    scene(download_in_a_crowd);
}
END_TEST

static void
download_over_odd_parts(struct scene *s)
{
    char other[160];

    snprintf(other, sizeof other, "%s/other", s->folder);
    write_text(other, "precious");
    ck_assert_int_eq(symlink("other", s->part), 0);
    expect_failed_download(s, &resume, -ELOOP);
    ck_assert_int_eq(unlink(s->part), 0);
    ck_assert_int_eq(mkfifo(s->part, 0666), 0);
    ck_assert_int_lt(download(s, &resume), 0);
    ck_assert_int_eq(unlink(s->part), 0);
    ck_assert_int_eq(mkdir(s->part, 0777), 0);
    expect_failed_download(s, &resume, -EISDIR);
    ck_assert_int_eq(rmdir(s->part), 0);
    ck_assert_uint_eq(s->requests, 0);
    ck_assert_int_eq(symlink("other", s->note), 0);
    ck_assert_int_lt(download(s, &resume), 0);
    expect_text_in(other, "precious");
}

START_TEST(a_part_is_a_file_and_nothing_else)
{
    scene(download_over_odd_parts);
}
END_TEST

static void
download_over_other_names(struct scene *s)
{
    const char *names[] = {s->part, s->note};
    char other[160];

    snprintf(other, sizeof other, "%s/other", s->folder);
    for (size_t i = 0; i < COUNT(names); i++) {
        leave_part(s, 400, s->version, NOTE_ONE);
        write_text(other, "precious");
        ck_assert_int_eq(unlink(names[i]), 0);
        ck_assert_int_eq(link(other, names[i]), 0);
        expect_failed_download(s, &resume, -EINVAL);
        expect_text_in(other, "precious");
        ck_assert_int_eq(unlink(other), 0);
        ck_assert_int_eq(unlink(names[i]), 0);
    }
    ck_assert_uint_eq(s->requests, 0);
}

START_TEST(a_part_with_another_name_is_left_alone)
{
    scene(download_over_other_names);
}
END_TEST

#define SOMEBODY 12345

static void
download_over_others_files(struct scene *s)
{
    const char *names[] = {s->part, s->note};

    for (size_t i = 0; i < COUNT(names); i++) {
        leave_part(s, 400, s->version, NOTE_ONE);
        ck_assert_int_eq(chown(names[i], SOMEBODY, (gid_t) -1), 0);
        ck_assert_int_eq(chmod(s->folder, 01777), 0);
        expect_failed_download(s, &resume, -EACCES);
        ck_assert_uint_eq(s->requests, 0);
        expect_bytes_in(s->part, 400, s->version);
        expect_text_in(s->note, NOTE_ONE);
        /* Where only its owner can put files they are as good as ours. */
        ck_assert_int_eq(chmod(s->folder, 0755), 0);
        expect_download(s, &resume);
        ck_assert_uint_eq(s->result.received, 600);
        ck_assert_int_eq(unlink(s->path), 0);
        s->requests = 0;
    }
}

/* Who could read all of it, and write to it, would also say what is in it. */
START_TEST(a_part_that_somebody_else_has_laid_out_is_not_used)
{
    if (geteuid() == 0)
        scene(download_over_others_files);
}
END_TEST

static void
download_while_part_is_replaced(struct scene *s)
{
    struct download_task task = {.s = s, .options = resume};
    uco_task *running;
    char other[160];

    snprintf(other, sizeof other, "%s/other", s->folder);
    s->pause = 500;
    running = uco_create_task(download_run, &task);
    until_paused(&task);
    write_text(other, "precious");
    ck_assert_int_eq(rename(other, s->part), 0);
    uco_event_set(&s->gate);
    ck_assert_int_eq(uco_join(running), -EBUSY);
    expect_text_in(s->part, "precious");
    ck_assert_int_eq(access(s->path, F_OK), -1);
}

START_TEST(what_was_put_in_the_parts_place_is_not_taken_for_it)
{
    scene(download_while_part_is_replaced);
}
END_TEST

static void
download_with_modes(struct scene *s)
{
    uco_http_download_options options = {.resume = true};
    static const mode_t modes[] = {0600, 0444, 0604};
    struct stat status;

    umask(022);
    for (size_t i = 0; i < COUNT(modes); i++) {
        leave_part(s, 400, s->version, NOTE_ONE);
        ck_assert_int_eq(chmod(s->part, 0666), 0);
        if (i == 2) {
            write_text(s->path, "before");
            ck_assert_int_eq(chmod(s->path, modes[i]), 0);
        }
        options.mode = i == 2 ? 0666 : modes[i];
        s->status = 404;
        expect_failed_download(s, &options, -ENOENT);
        ck_assert_int_eq(stat(s->part, &status), 0);
        ck_assert_uint_eq(status.st_mode & 07777, modes[i] | 0600);
        s->status = 0;
        expect_download(s, &options);
        ck_assert_uint_eq(s->result.received, 600);
        ck_assert_int_eq(stat(s->path, &status), 0);
        ck_assert_uint_eq(status.st_mode & 07777, modes[i]);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

/* But it can be opened again. */
START_TEST(a_part_has_no_more_permissions_than_the_file_is_to_have)
{
    scene(download_with_modes);
}
END_TEST

static void
download_read_only_in_two_calls(struct scene *s)
{
    uco_http_download_options options = {.resume = true, .mode = 0444};

    ck_assert_int_eq(chmod(s->folder, 0777), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    s->cut = 400;
    s->cuts = 1;
    expect_failed_download(s, &options, -EPROTO);
    expect_download(s, &options);
    ck_assert_uint_eq(s->result.received, 600);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}

START_TEST(a_file_that_is_to_be_read_only_can_be_gone_on_with)
{
    scene(download_read_only_in_two_calls);
}
END_TEST

/* --- inspection --- */

struct inspection {
    struct scene *s;
    uint64_t seen;
    unsigned begun, calls, verified;
    int fail_at; /* the call that fails; 0: none */
    int error;
    bool pauses;
};

static int
inspect(const void *data, size_t size, void *arg)
{
    struct inspection *inspection = arg;
    size_t right = 0;

    inspection->calls++;
    if (inspection->fail_at > 0 && inspection->calls == (unsigned) inspection->fail_at)
        return inspection->error;
    if (data == NULL) {
        ck_assert_uint_eq(size, 0);
        inspection->begun++;
        inspection->seen = 0;
        return 0;
    }
    ck_assert_uint_gt(inspection->begun, 0);
    ck_assert_uint_gt(size, 0);
    while (right < size && ((const char *) data)[right] ==
                               file_byte(inspection->s->version, inspection->seen + right))
        right++;
    ck_assert_uint_eq(right, size);
    inspection->seen += size;
    return inspection->pauses ? uco_sleep(0.01) : 1;
}

static int
verify(uint64_t size, void *arg)
{
    struct inspection *inspection = arg;

    ck_assert_uint_eq(inspection->seen, size);
    inspection->verified++;
    return inspection->fail_at < 0 ? inspection->error : 0;
}

static void
inspect_downloads(struct scene *s)
{
    struct inspection inspection = {.s = s};
    uco_http_download_options options = {
        .inspect = inspect, .verify = verify, .inspect_arg = &inspection};
    static const size_t sizes[] = {0, 1, 2000000};

    for (size_t i = 0; i < COUNT(sizes) * 2; i++) {
        s->size = sizes[i / 2];
        options.resume = i % 2 == 1;
        inspection = (struct inspection){.s = s, .pauses = i == 5};
        expect_download(s, &options);
        ck_assert_uint_eq(inspection.seen, s->size);
        ck_assert_uint_eq(inspection.begun, 1);
        ck_assert_uint_eq(inspection.verified, 1);
    }
}

START_TEST(each_byte_is_inspected_and_the_whole_verified)
{
    scene(inspect_downloads);
}
END_TEST

static void
inspect_resumed(struct scene *s)
{
    struct inspection inspection = {.s = s};
    uco_http_download_options options = {
        .resume = true, .inspect = inspect, .verify = verify, .inspect_arg = &inspection};

    s->size = 2000000;
    leave_part(s, 700000, s->version, "If-Range: \"one\"\nSize: 2000000\n");
    expect_download(s, &options);
    ck_assert_uint_eq(inspection.seen, s->size);
    ck_assert_uint_eq(inspection.begun, 1);
    ck_assert_uint_eq(s->result.received, 1300000);
    ck_assert_int_eq(unlink(s->path), 0);
    leave_part(s, 2000000, s->version, "If-Range: \"one\"\nSize: 2000000\n");
    inspection = (struct inspection){.s = s};
    expect_download(s, &options);
    ck_assert_uint_eq(inspection.seen, s->size);
    ck_assert_uint_eq(inspection.begun, 1);
}

START_TEST(what_an_earlier_attempt_has_brought_is_inspected_too)
{
    scene(inspect_resumed);
}
END_TEST

static void
inspect_started_over(struct scene *s)
{
    struct inspection inspection = {.s = s};
    uco_http_request_options request = {.retries = 1};
    uco_http_download_options options = {
        .request = &request, .inspect = inspect, .verify = verify, .inspect_arg = &inspection};

    s->before = change_at_second_request;
    s->cuts = 1;
    s->cut = 900;
    expect_download(s, &options);
    ck_assert_uint_eq(inspection.seen, 700);
    ck_assert_uint_eq(inspection.begun, 2);
}

START_TEST(inspection_begins_anew_where_the_download_does)
{
    scene(inspect_started_over);
}
END_TEST

static void
fail_inspection(struct scene *s)
{
    struct inspection inspection = {.s = s, .error = -EBADMSG};
    uco_http_download_options options = {
        .inspect = inspect, .verify = verify, .inspect_arg = &inspection};

    for (int i = 0; i < 6; i++) {
        options.resume = i % 2 == 1;
        inspection.fail_at = i / 2 == 2 ? -1 : i / 2 + 1;
        inspection.calls = 0;
        expect_failed_download(s, &options, -EBADMSG);
        ck_assert_str_eq(scene_names(s), "");
    }
    s->size = 1000000;
    s->pause = 600000;
    uco_event_set(&s->gate);
    inspection.calls = 0;
    inspection.fail_at = 5;
    expect_failed_download(s, &options, -EBADMSG);
    ck_assert_str_eq(scene_names(s), "file.part file.part.etag");
    expect_bytes_in(s->part, s->result.size, s->version);
}

START_TEST(who_inspects_can_end_a_download)
{
    scene(fail_inspection);
}
END_TEST

/* --- progress --- */

struct told {
    uint64_t first, last, total;
    unsigned calls;
};

static void
tell(uint64_t received, uint64_t total, void *arg)
{
    struct told *told = arg;

    if (told->calls++ == 0)
        told->first = received;
    told->last = received;
    told->total = total;
}

static void
progress_of_rest(struct scene *s)
{
    struct told told = {0};
    uco_http_download_options options = {.resume = true, .progress = tell, .progress_arg = &told};

    leave_part(s, 400, s->version, NOTE_ONE);
    expect_download(s, &options);
    ck_assert_uint_gt(told.first, 400);
    ck_assert_uint_eq(told.last, 1000);
    ck_assert_uint_eq(told.total, 1000);
}

START_TEST(progress_counts_what_an_earlier_attempt_has_brought)
{
    scene(progress_of_rest);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http download resume");
    TCase *later = case_new(suite, "later");
    TCase *within = case_new(suite, "within");
    TCase *shared = case_new(suite, "shared");
    TCase *inspected = case_new(suite, "inspected");

    tcase_add_test(later, a_download_goes_on_where_the_last_one_ended);
    tcase_add_test(later, a_download_may_end_as_often_as_it_likes);
    tcase_add_test(later, what_has_come_is_never_completed_with_another_version);
    tcase_add_test(later, what_is_left_is_of_the_version_that_came_last);
    tcase_add_test(later, an_answer_with_another_part_than_was_asked_for_is_not_used);
    tcase_add_test(later, what_cannot_be_told_from_another_version_is_not_gone_on_with);
    tcase_add_test(later, a_part_without_a_note_of_its_version_is_not_used);
    tcase_add_test(later, a_part_that_is_whole_becomes_the_file);
    tcase_add_test(later, a_file_that_is_shorter_than_its_part_is_fetched_anew);
    tcase_add_test(later, what_fails_keeps_what_an_earlier_attempt_has_brought);
    tcase_add_test(later, what_could_not_be_synchronized_is_not_kept);
    tcase_add_test(later, an_old_note_does_not_outlive_its_part);
    tcase_add_test(later, what_may_have_holes_since_the_system_went_down_is_not_used);
    tcase_add_test(later, what_is_kept_is_on_the_disk);
    tcase_add_test(later, a_note_that_cannot_be_read_now_is_not_lost);
    tcase_add_test(later, what_came_before_a_cancellation_is_kept);
    tcase_add_test(later, a_cancellation_loses_nothing_whenever_it_comes);
    tcase_add_test(later, want_of_memory_loses_nothing);
    tcase_add_test(within, a_body_that_breaks_off_is_taken_up_where_it_ended);
    tcase_add_test(within, a_body_is_taken_up_as_often_as_retries_says_with_pauses_between);
    tcase_add_test(within, retries_before_and_within_the_body_count_together);
    tcase_add_test(within, without_a_validator_a_broken_body_is_fetched_anew);
    tcase_add_test(within, a_file_that_changes_between_two_attempts_is_fetched_anew);
    tcase_add_test(within, a_server_may_send_less_than_was_asked_for);
    tcase_add_test(within, the_limit_is_for_the_whole_file);
    tcase_add_test(within, the_limit_is_for_a_part_that_is_whole_too);
    tcase_add_test(shared, a_part_is_one_downloads_at_a_time);
    tcase_add_test(shared, a_part_that_another_process_writes_is_left_alone);
    tcase_add_test(shared, of_many_downloads_to_one_part_each_is_whole_or_refused);
    tcase_add_test(shared, a_part_is_a_file_and_nothing_else);
    tcase_add_test(shared, a_part_with_another_name_is_left_alone);
    tcase_add_test(shared, a_part_that_somebody_else_has_laid_out_is_not_used);
    tcase_add_test(shared, what_was_put_in_the_parts_place_is_not_taken_for_it);
    tcase_add_test(shared, a_part_has_no_more_permissions_than_the_file_is_to_have);
    tcase_add_test(shared, a_file_that_is_to_be_read_only_can_be_gone_on_with);
    tcase_add_test(inspected, each_byte_is_inspected_and_the_whole_verified);
    tcase_add_test(inspected, what_an_earlier_attempt_has_brought_is_inspected_too);
    tcase_add_test(inspected, inspection_begins_anew_where_the_download_does);
    tcase_add_test(inspected, who_inspects_can_end_a_download);
    tcase_add_test(inspected, progress_counts_what_an_earlier_attempt_has_brought);
    return suite_end(suite);
}
