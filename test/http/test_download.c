/* SPDX-License-Identifier: MIT */
/* Downloads: what is in the file, where it is, and what is left when it fails. */
#include "download_scene.h"

#include <sys/resource.h>
#include <sys/wait.h>

/* --- files --- */

static void
download_sizes(struct scene *s)
{
    static const size_t sizes[] = {0, 1, 1000, 65536, 262143, 262144, 262145, 524288, 3000001};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        s->size = sizes[i];
        s->version++;
        s->chunked = false;
        expect_download(s, NULL);
        ck_assert_int_eq(s->result.status, 200);
        ck_assert_uint_eq(s->result.received, s->size);
        ck_assert_int_eq(s->result.attempts, 1);
        s->version++;
        s->chunked = true;
        expect_download(s, NULL);
    }
}

START_TEST(a_file_of_any_size_comes_whole)
{
    scene(download_sizes);
}
END_TEST

static void
download_modes(struct scene *s)
{
    uco_http_download_options options = {.mode = 0640};
    struct stat status;

    umask(022);
    expect_download(s, NULL);
    ck_assert_int_eq(stat(s->path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0644);
    unlink(s->path);
    expect_download(s, &options);
    ck_assert_int_eq(stat(s->path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0640);
    unlink(s->path);
    options.resume = true;
    options.mode = 0666;
    umask(077);
    expect_download(s, &options);
    ck_assert_int_eq(stat(s->path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
}

START_TEST(a_new_file_has_the_mode_that_was_asked_for_less_the_umask)
{
    scene(download_modes);
}
END_TEST

static void
replace_file(struct scene *s)
{
    uco_http_download_options options = {.mode = 0600};
    struct stat status;

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        write_text(s->path, "before");
        ck_assert_int_eq(chmod(s->path, 0604), 0);
        s->pause = 500;
        expect_download(s, &options);
        ck_assert_int_eq(stat(s->path, &status), 0);
        ck_assert_uint_eq(status.st_mode & 07777, 0604);
    }
}

static void
open_gate_at_once(struct scene *s)
{
    expect_text_in(s->path, "before");
    uco_event_set(&s->gate);
}

static void
download_over_file(struct scene *s)
{
    s->before = open_gate_at_once;
    replace_file(s);
}

START_TEST(a_file_is_replaced_and_keeps_its_permissions)
{
    scene(download_over_file);
}
END_TEST

static void
download_without_name(struct scene *s)
{
    struct download_task task = {.s = s};
    uco_task *running;

    s->pause = 500;
    running = uco_create_task(download_run, &task);
    until_paused(&task);
    ck_assert_str_eq(scene_names(s), "");
    uco_event_set(&s->gate);
    ck_assert_int_eq(uco_join(running), 0);
    ck_assert_str_eq(scene_names(s), "file");
}

START_TEST(a_file_has_no_name_before_it_is_whole)
{
    scene(download_without_name);
}
END_TEST

/* The file system cannot make files without names. */
static void
download_with_name(struct scene *s)
{
    static const int errors[] = {EOPNOTSUPP, EISDIR, EINVAL};
    struct download_task task = {.s = s};
    uco_task *running;

    for (size_t i = 0; i < COUNT(errors); i++) {
        s->pause = 500;
        uco_event_clear(&s->gate);
        ck_assert_int_eq(uco_test_fail("open", 1, false, errors[i]), 0);
        running = uco_create_task(download_run, &task);
        until_paused(&task);
        ck_assert_ptr_eq(strstr(scene_names(s), "file."), scene_names(s));
        ck_assert_uint_eq(strlen(scene_names(s)), strlen("file.XXXXXX"));
        uco_event_set(&s->gate);
        ck_assert_int_eq(uco_join(running), 0);
        ck_assert_str_eq(scene_names(s), "file");
        expect_bytes_in(s->path, s->size, s->version);
        ck_assert_int_eq(unlink(s->path), 0);
    }
}

START_TEST(where_files_need_names_it_has_one_beside_its_place)
{
    scene(download_with_name);
}
END_TEST

static void
download_long_names(struct scene *s)
{
    char path[400], name[256];

    for (size_t length = 245; length <= 255; length++) {
        memset(name, 'n', length);
        memcpy(name + length - 4, "\xc3\xa4.x", 4); /* a character of two bytes */
        name[length] = '\0';
        snprintf(path, sizeof path, "%s/%s", s->folder, name);
        ck_assert_int_eq(uco_test_fail("open", 1, false, EOPNOTSUPP), 0);
        ck_assert_int_eq(download_to(s, path, NULL), 0);
        ck_assert_str_eq(scene_names(s), name);
        ck_assert_int_eq(download_to(s, path, NULL), 0);
        ck_assert_str_eq(scene_names(s), name);
        ck_assert_int_eq(unlink(path), 0);
    }
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    ck_assert_int_eq(download_to(s, path, NULL), -ENAMETOOLONG);
}

START_TEST(a_name_may_be_as_long_as_names_can_be)
{
    scene(download_long_names);
}
END_TEST

static void
download_to_relative_path(struct scene *s)
{
    ck_assert_int_eq(chdir(s->folder), 0);
    ck_assert_int_eq(download_to(s, "file", NULL), 0);
    expect_bytes_in(s->path, s->size, s->version);
    ck_assert_str_eq(scene_names(s), "file");
}

START_TEST(a_path_may_be_relative)
{
    scene(download_to_relative_path);
}
END_TEST

static void
download_unsynced(struct scene *s)
{
    uco_http_download_options options = {.no_sync = true};

    ck_assert_int_eq(uco_test_fail("fsync", 1, true, EIO), 0);
    expect_download(s, &options);
    options.resume = true;
    expect_download(s, &options);
}

START_TEST(without_sync_the_disk_is_not_waited_for)
{
    scene(download_unsynced);
}
END_TEST

/* --- links, folders, devices --- */

static void
download_over_links(struct scene *s)
{
    uco_http_download_options options = {0};
    char folder[128], link[160], far[160];
    struct stat status;

    snprintf(folder, sizeof folder, "%s/sub", s->folder);
    snprintf(far, sizeof far, "%s/sub/far", s->folder);
    snprintf(link, sizeof link, "%s/sub/link", s->folder);
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    ck_assert_int_eq(symlink("../file", link), 0);
    ck_assert_int_eq(symlink(far, s->path), 0);
    for (int i = 0; i < 4; i++) {
        options.resume = i % 2 == 1;
        s->version++;
        ck_assert_int_eq(download_to(s, link, &options), 0);
        ck_assert_int_eq(lstat(link, &status), 0);
        ck_assert(S_ISLNK(status.st_mode));
        ck_assert_int_eq(lstat(s->path, &status), 0);
        ck_assert(S_ISLNK(status.st_mode));
        expect_bytes_in(far, s->size, s->version);
        if (i == 1)
            ck_assert_int_eq(unlink(far), 0);
    }
    ck_assert_str_eq(scene_names(s), "file sub");
    unlink(far);
    unlink(link);
    rmdir(folder);
}

START_TEST(a_link_is_followed_and_stays)
{
    scene(download_over_links);
}
END_TEST

static void
download_to_nowhere(struct scene *s)
{
    char path[160], other[160];

    snprintf(path, sizeof path, "%s/a", s->folder);
    snprintf(other, sizeof other, "%s/b", s->folder);
    ck_assert_int_eq(symlink("b", path), 0);
    ck_assert_int_eq(symlink("a", other), 0);
    ck_assert_int_eq(download_to(s, path, NULL), -ELOOP);
    unlink(path);
    unlink(other);
    ck_assert_int_eq(download_to(s, s->folder, NULL), -EISDIR);
    ck_assert_int_eq(download_to(s, "/dev/null", NULL), -EINVAL);
    ck_assert_int_eq(download_to(s, "", NULL), -ENOENT);
    ck_assert_int_eq(download_to(s, "/nowhere/file", NULL), -ENOENT);
    snprintf(path, sizeof path, "%s/new/", s->folder);
    ck_assert_int_eq(download_to(s, path, NULL), -EISDIR);
    write_text(s->path, "before");
    snprintf(path, sizeof path, "%s/file", s->path);
    ck_assert_int_eq(download_to(s, path, NULL), -ENOTDIR);
    ck_assert_uint_eq(s->requests, 0);
    expect_text_in(s->path, "before");
    ck_assert_str_eq(scene_names(s), "file");
}

START_TEST(what_cannot_be_a_file_is_refused_before_anything_is_asked)
{
    scene(download_to_nowhere);
}
END_TEST

static void
download_where_nothing_may_be_written(struct scene *s)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(s->folder, 65534, 65534), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    write_text(s->path, "before");
    ck_assert_int_eq(chmod(s->path, 0444), 0);
    ck_assert_int_eq(download(s, NULL), -EACCES);
    ck_assert_int_eq(chmod(s->folder, 0555), 0);
    ck_assert_int_eq(chmod(s->path, 0666), 0);
    ck_assert_int_eq(download(s, NULL), -EACCES);
    ck_assert_int_eq(download(s, &(uco_http_download_options){.resume = true}), -EACCES);
    ck_assert_uint_eq(s->requests, 0);
    expect_text_in(s->path, "before");
    ck_assert_int_eq(chmod(s->folder, 0777), 0);
    ck_assert_str_eq(scene_names(s), "file");
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}

START_TEST(neither_a_read_only_file_is_replaced_nor_one_in_a_read_only_folder)
{
    scene(download_where_nothing_may_be_written);
}
END_TEST

/* --- no_replace --- */

static void
download_over_existing(struct scene *s)
{
    uco_http_download_options options = {.no_replace = true};

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        expect_download(s, &options);
        expect_failed_download(s, &options, -EEXIST);
        ck_assert_int_eq(unlink(s->path), 0);
        ck_assert_int_eq(symlink("nothing", s->path), 0);
        expect_failed_download(s, &options, -EEXIST);
        ck_assert_str_eq(scene_names(s), "file");
        ck_assert_int_eq(unlink(s->path), 0);
    }
    ck_assert_uint_eq(s->requests, 2);
}

START_TEST(what_is_there_is_not_replaced_if_that_is_not_wanted)
{
    scene(download_over_existing);
}
END_TEST

static void
make_file(struct scene *s)
{
    write_text(s->path, "faster");
}

/* In each of the ways in which a file gets its name. */
static void
download_too_late(struct scene *s)
{
    uco_http_download_options options = {.no_replace = true};

    s->before = make_file;
    for (int i = 0; i < 3; i++) {
        if (i == 1)
            ck_assert_int_eq(uco_test_fail("open", 1, false, EOPNOTSUPP), 0);
        options.resume = i == 2;
        expect_failed_download(s, &options, -EEXIST);
        expect_text_in(s->path, "faster");
        ck_assert_str_eq(scene_names(s), options.resume ? "file file.part file.part.etag" : "file");
        ck_assert_int_eq(unlink(s->path), 0);
    }
    unlink(s->part);
    unlink(s->note);
}

START_TEST(a_file_that_came_meanwhile_is_not_replaced_either)
{
    scene(download_too_late);
}
END_TEST

/* --- what fails --- */

static void
download_statuses(struct scene *s)
{
    static const struct {
        long status;
        int error;
    } cases[] = {{404, -ENOENT}, {410, -ENOENT}, {401, -EACCES}, {403, -EACCES}, {407, -EACCES},
                 {400, -EPROTO}, {500, -EPROTO}, {503, -EPROTO}, {204, -EPROTO}, {206, -EPROTO},
                 {304, -EPROTO}, {416, -EPROTO}, {302, -EPROTO}};
    uco_http_download_options options = {0};
    char words[64];

    for (size_t i = 0; i < COUNT(cases) * 2; i++) {
        s->status = cases[i / 2].status;
        options.resume = i % 2 == 1;
        expect_failed_download(s, &options, cases[i / 2].error);
        ck_assert_int_eq(s->result.status, s->status);
        ck_assert_uint_eq(s->result.size, 0);
        ck_assert_str_eq(scene_names(s), "");
        snprintf(words, sizeof words, "the server answered %ld", s->status);
        ck_assert_msg(strstr(uco_http_error(s->client), words) != NULL, "%s",
                      uco_http_error(s->client));
    }
}

START_TEST(an_answer_that_brings_no_file_is_an_error_and_leaves_nothing)
{
    scene(download_statuses);
}
END_TEST

static void
download_cut(struct scene *s)
{
    static const size_t cuts[] = {0, 1, 999};

    for (size_t i = 0; i < COUNT(cuts); i++) {
        s->cut = cuts[i];
        s->cuts = 1;
        write_text(s->path, "before");
        expect_failed_download(s, NULL, -EPROTO);
        ck_assert_int_eq(s->result.status, 200);
        ck_assert_uint_eq(s->result.size, cuts[i]);
        ck_assert_str_eq(scene_names(s), "file");
        expect_text_in(s->path, "before");
        s->chunked = true;
        s->cuts = 1;
        expect_failed_download(s, NULL, -EPROTO);
        s->chunked = false;
    }
}

START_TEST(a_file_that_ends_early_is_none)
{
    scene(download_cut);
}
END_TEST

static void
download_refused(struct scene *s)
{
    ck_assert_int_eq(uco_server_close(s->server, 0), 0);
    expect_failed_download(s, NULL, -ECONNREFUSED);
    ck_assert_int_eq(s->result.status, 0);
    ck_assert_int_eq(s->result.attempts, 1);
    expect_failed_download(
        s, &(uco_http_download_options){.request = &(uco_http_request_options){.retries = 2}},
        -ECONNREFUSED);
    ck_assert_int_eq(s->result.attempts, 3);
    ck_assert_str_eq(scene_names(s), "");
    s->server = uco_server_start("127.0.0.1", 0, scene_connection, s);
}

START_TEST(without_an_answer_the_errors_are_those_of_requests)
{
    scene(download_refused);
}
END_TEST

static void
download_large(struct scene *s)
{
    uco_http_request_options request = {.max_body = 1000};
    uco_http_download_options options = {.request = &request};

    expect_download(s, &options);
    unlink(s->path);
    s->size = 1001;
    expect_failed_download(s, &options, -EMSGSIZE);
    s->chunked = true;
    expect_failed_download(s, &options, -EMSGSIZE);
    ck_assert_str_eq(scene_names(s), "");
    expect_failed_download(s, NULL, -EMSGSIZE);
    request.max_body = 2000;
    expect_download(s, &options);
}

START_TEST(a_file_has_a_limit)
{
    scene_with(&(uco_http_client_options){.max_body = 999}, download_large);
}
END_TEST

/* The opening, with and without a name, and the writing, in each kind of file. */
static void
download_with_failing(struct scene *s, const char *what, unsigned long nth, int error)
{
    uco_http_download_options options = {0};

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        write_text(s->path, "before");
        ck_assert_int_eq(uco_test_fail(what, nth, true, error), 0);
        expect_failed_download(s, &options, -error);
        uco_test_fail_off();
        ck_assert_str_eq(scene_names(s), "file");
        expect_text_in(s->path, "before");
    }
}

static void
download_to_bad_disk(struct scene *s)
{
    download_with_failing(s, "open", 1, ENOSPC);
    download_with_failing(s, "open", 1, EMFILE);
    download_with_failing(s, "write", 1, ENOSPC);
    download_with_failing(s, "write", 1, EIO);
    download_with_failing(s, "fsync", 1, EIO);
    download_with_failing(s, "fsync", 1, ENOSPC);
}

/* A thread that was made stays: the last one has none only if it is alone. */
static void
download_to_bad_disk_without_threads(struct scene *s)
{
    uco_http_download_options options = {0};

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        ck_assert_int_eq(uco_test_fail("pthread_create", 1, true, EAGAIN), 0);
        expect_failed_download(s, &options, -ENOMEM);
        uco_test_fail_off();
        ck_assert_str_eq(scene_names(s), "");
    }
    expect_download(s, NULL);
}

START_TEST(what_the_disk_says_is_the_downloads_error_and_leaves_nothing)
{
    scene(download_to_bad_disk);
}
END_TEST

START_TEST(without_threads_a_download_fails)
{
    scene(download_to_bad_disk_without_threads);
}
END_TEST

/* The second buffer, and the writer that is at work when the error comes. */
static void
download_much_to_full_disk(struct scene *s)
{
    s->size = 5000000;
    for (unsigned long nth = 1; nth <= 60; nth += 7) {
        ck_assert_int_eq(uco_test_fail("write", nth, true, ENOSPC), 0);
        if (download(s, NULL) == 0)
            break;
        uco_test_fail_off();
        ck_assert_str_eq(scene_names(s), "");
        ck_assert_uint_lt(s->result.size, s->size);
    }
    uco_test_fail_off();
    expect_download(s, NULL);
}

START_TEST(a_disk_may_be_full_at_any_time)
{
    scene(download_much_to_full_disk);
}
END_TEST

/* Its name may not be on the disk, but it is in the folder. */
static void
download_without_folder_sync(struct scene *s)
{
    ck_assert_int_eq(uco_test_fail("fsync", 2, true, EIO), 0);
    expect_failed_download(s, NULL, -EIO);
    uco_test_fail_off();
    ck_assert_str_eq(scene_names(s), "file");
    ck_assert_int_eq(uco_test_fail("fsync", 2, true, EINVAL), 0);
    expect_download(s, NULL);
    uco_test_fail_off();
    ck_assert_int_eq(uco_test_fail("open", 2, true, EACCES), 0);
    expect_download(s, NULL);
    ck_assert_int_eq(unlink(s->path), 0);
    ck_assert_int_eq(uco_test_fail("open", 2, true, EMFILE), 0);
    expect_failed_download(s, NULL, -EMFILE);
    ck_assert_str_eq(scene_names(s), "");
}

START_TEST(a_folder_that_cannot_be_synchronized_is_an_error_only_if_the_disk_says_so)
{
    scene(download_without_folder_sync);
}
END_TEST

static void
download_with_little_memory(struct scene *s)
{
    uco_http_download_options options = {0};
    unsigned long nth = 1;
    int r;

    for (int i = 0; i < 2; i++) {
        options.resume = i == 1;
        do {
            ck_assert_int_eq(uco_test_fail("malloc", nth++, false, ENOMEM), 0);
            r = download(s, &options);
            uco_test_fail_off();
            if (r != 0) {
                scene_names(s);
                ck_assert_msg(r == -ENOMEM || r == -EPROTO || r == -ECONNRESET, "%lu: %d", nth, r);
                unlink(s->part);
                unlink(s->note);
                ck_assert_msg(strcmp(scene_names(s), "") == 0, "%lu: %s", nth, scene_names(s));
            }
            unlink(s->path);
        } while (r != 0 || nth < 10);
        nth = 1;
    }
    s->reports.count = 0;
}

START_TEST(without_memory_a_download_fails_and_leaves_nothing)
{
    scene(download_with_little_memory);
}
END_TEST

/* --- cancellation --- */

static void
cancel_at_pause(struct scene *s)
{
    static const size_t pauses[] = {1, 500, 300000, 900000};
    struct download_task task = {.s = s};
    uco_task *running;

    s->size = 1000000;
    for (size_t i = 0; i < COUNT(pauses) * 2; i++) {
        s->pause = pauses[i / 2];
        if (i % 2 == 1)
            ck_assert_int_eq(uco_test_fail("open", 1, false, EOPNOTSUPP), 0);
        running = uco_create_task(download_run, &task);
        until_paused(&task);
        ck_assert_int_eq(uco_cancel(running), 0);
        ck_assert_int_eq(uco_join(running), -ECANCELED);
        ck_assert_str_eq(scene_names(s), "");
    }
}

START_TEST(a_cancelled_download_leaves_nothing)
{
    scene(cancel_at_pause);
}
END_TEST

/* After so many turns of the loop, wherever it is by then. */
static void
cancel_anywhere(struct scene *s)
{
    struct download_task task = {.s = s};
    intptr_t r = -ECANCELED;

    for (int turns = 0; turns < 2000 && r == -ECANCELED; turns += 1 + turns / 20) {
        uco_task *running;

        task.options.resume = turns % 2 == 1;
        running = uco_create_task(download_run, &task);
        for (int i = 0; i < turns; i++)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(running);
        r = uco_join(running);
        ck_assert_msg(r == 0 || r == -ECANCELED, "%d", (int) r);
        if (r == 0)
            expect_bytes_in(s->path, s->size, s->version);
        unlink(s->part);
        unlink(s->note);
        ck_assert_str_eq(scene_names(s), r == 0 ? "file" : "");
    }
    unlink(s->path);
    scene_names(s);
}

START_TEST(a_download_can_be_cancelled_at_any_time)
{
    scene(cancel_anywhere);
}
END_TEST

static void
download_cancelled_before(struct scene *s)
{
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(download(s, NULL), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ck_assert_uint_eq(s->requests, 0);
    ck_assert_str_eq(scene_names(s), "");
}

START_TEST(a_download_that_is_cancelled_before_does_nothing)
{
    scene(download_cancelled_before);
}
END_TEST

static void
download_in_time(struct scene *s)
{
    uco_http_request_options request = {.timeout = 5};
    uco_http_download_options options = {.request = &request};
    double began = uco_time();

    s->pause = 500;
    expect_failed_download(s, &options, -ETIMEDOUT);
    ck_assert(uco_time() - began >= 5 && uco_time() - began < 6);
    ck_assert(s->result.seconds >= 5 && s->result.seconds < 6);
    ck_assert_ptr_nonnull(strstr(uco_http_error(s->client), "longer than the timeout"));
    ck_assert_str_eq(scene_names(s), "");
}

START_TEST(a_download_may_have_a_timeout)
{
    scene(download_in_time);
}
END_TEST

static intptr_t
open_gate_late(void *arg)
{
    struct scene *s = arg;
    int r = uco_sleep(20);

    uco_event_set(&s->gate);
    return r;
}

static void
download_for_long(struct scene *s)
{
    uco_task *opener = uco_create_task(open_gate_late, s);

    s->pause = 500;
    expect_download(s, NULL);
    ck_assert_int_eq(uco_join(opener), 0);
    s->pause = NEVER;
    s->client_options.read_timeout = 15;
    ck_assert_int_eq(uco_http_client_close(s->client), 0);
    scene_open_client(s);
    opener = uco_create_task(open_gate_late, s);
    uco_event_clear(&s->gate);
    s->pause = 500;
    expect_failed_download(s, NULL, -ETIMEDOUT);
    ck_assert_int_eq(uco_join(opener), 0);
}

START_TEST(the_clients_timeout_is_not_the_downloads_but_its_read_timeout_is)
{
    scene_with(&(uco_http_client_options){.timeout = 1}, download_for_long);
}
END_TEST

static void
close_client_meanwhile(struct scene *s)
{
    uco_http_request_options request = {.retries = 5};
    struct download_task task = {.s = s, .options = {.request = &request}};
    uco_task *running;

    for (int i = 0; i < 2; i++) {
        s->pause = i == 0 ? 500 : NEVER;
        s->cut = 500;
        s->cuts = i == 0 ? 0 : 100;
        s->requests = 0;
        running = uco_create_task(download_run, &task);
        while (s->requests == 0 || (i == 1 && s->cuts == 100))
            ck_assert_int_eq(uco_sleep(0.001), 0);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_http_client_close(s->client), 0);
        ck_assert_int_eq(uco_join(running), -ECANCELED);
        ck_assert_str_eq(scene_names(s), "");
        scene_open_client(s);
    }
}

START_TEST(closing_the_client_ends_its_downloads_also_between_two_attempts)
{
    scene(close_client_meanwhile);
}
END_TEST

/* --- arguments --- */

static void
download_wrongly(struct scene *s)
{
    uco_http_request_options bad_timeout = {.timeout = -1}, bad_retries = {.retries = -1};

    ck_assert_int_eq(uco_http_download(NULL, "/file", s->path, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_download(s->client, NULL, s->path, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_download(s->client, "/file", NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(download(s, &(uco_http_download_options){.mode = 0100644}), -EINVAL);
    ck_assert_int_eq(download(s, &(uco_http_download_options){.request = &bad_timeout}), -EINVAL);
    ck_assert_int_eq(download(s, &(uco_http_download_options){.request = &bad_retries}), -EINVAL);
    ck_assert_int_eq(uco_http_download(s->client, "file:///etc/passwd", s->path, NULL, NULL),
                     -EINVAL);
    ck_assert_uint_eq(s->requests, 0);
    ck_assert_str_eq(scene_names(s), "");
    ck_assert_int_eq(uco_http_download(s->client, "/file", s->path, NULL, NULL), 0);
}

START_TEST(a_download_needs_its_arguments)
{
    uco_http_download_result result = {.status = 1};

    ck_assert_int_eq(uco_http_download(NULL, "http://127.0.0.1/", "/tmp/x", NULL, &result), -EPERM);
    ck_assert_int_eq(result.status, 0);
    scene(download_wrongly);
}
END_TEST

static void
download_with_request(struct scene *s)
{
    static const char *const headers[] = {"X-Mine: yes", "range: bytes=5-", "If-Range: x", NULL};
    static const char *const encoding[] = {"accept-encoding: gzip", NULL};
    static const char *const params[] = {"a", "b c", NULL};
    uco_http_request_options request = {.method = "POST",
                                        .url = "/other",
                                        .body = "body",
                                        .body_size = 4,
                                        .range = "1-2",
                                        .headers = headers,
                                        .params = params,
                                        .token = "secret"};
    uco_http_download_options options = {.request = &request};

    expect_download(s, &options);
    ck_assert_ptr_eq(strstr(s->last, "GET /file?a=b+c HTTP/1.1\r\n"), s->last);
    ck_assert_str_eq(scene_header(s, "X-Mine"), "yes");
    ck_assert_str_eq(scene_header(s, "Range"), "");
    ck_assert_str_eq(scene_header(s, "If-Range"), "");
    ck_assert_str_eq(scene_header(s, "Accept-Encoding"), "identity");
    ck_assert_str_eq(scene_header(s, "Authorization"), "Bearer secret");
    ck_assert_str_eq(scene_header(s, "Content-Length"), "");
    request.headers = encoding;
    expect_download(s, &options);
    ck_assert_str_eq(scene_header(s, "Accept-Encoding"), "gzip");
}

START_TEST(a_request_can_be_dressed_but_stays_a_download)
{
    scene(download_with_request);
}
END_TEST

/* --- what is told --- */

struct told {
    uint64_t received, total;
    unsigned calls, falls;
};

static void
tell(uint64_t received, uint64_t total, void *arg)
{
    struct told *told = arg;

    told->falls += received < told->received;
    told->received = received;
    told->total = total;
    told->calls++;
}

static void
download_with_progress(struct scene *s)
{
    struct told told = {0};
    uco_http_download_options options = {.progress = tell, .progress_arg = &told};

    s->size = 2000000;
    expect_download(s, &options);
    ck_assert_uint_gt(told.calls, 1);
    ck_assert_uint_eq(told.falls, 0);
    ck_assert_uint_eq(told.received, s->size);
    ck_assert_uint_eq(told.total, s->size);
    told = (struct told){0};
    s->chunked = true;
    s->cuts = 1;
    s->cut = 1000000;
    expect_failed_download(s, &options, -EPROTO);
    ck_assert_msg(told.received == 1000000, "%ju: %s", (uintmax_t) told.received,
                  uco_http_error(s->client));
    ck_assert_uint_eq(told.total, 0);
    s->size = 0;
    told = (struct told){0};
    expect_download(s, &options);
    ck_assert_uint_eq(told.calls, 1);
}

START_TEST(progress_is_told)
{
    scene(download_with_progress);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http download");
    TCase *files = case_new(suite, "files");
    TCase *places = case_new(suite, "places");
    TCase *failures = case_new(suite, "failures");
    TCase *cancelled = case_new(suite, "cancelled");
    TCase *calls = case_new(suite, "calls");

    tcase_add_test(files, a_file_of_any_size_comes_whole);
    tcase_add_test(files, a_new_file_has_the_mode_that_was_asked_for_less_the_umask);
    tcase_add_test(files, a_file_is_replaced_and_keeps_its_permissions);
    tcase_add_test(files, a_file_has_no_name_before_it_is_whole);
    tcase_add_test(files, where_files_need_names_it_has_one_beside_its_place);
    tcase_add_test(files, a_name_may_be_as_long_as_names_can_be);
    tcase_add_test(files, a_path_may_be_relative);
    tcase_add_test(files, without_sync_the_disk_is_not_waited_for);
    tcase_add_test(places, a_link_is_followed_and_stays);
    tcase_add_test(places, what_cannot_be_a_file_is_refused_before_anything_is_asked);
    tcase_add_test(places, neither_a_read_only_file_is_replaced_nor_one_in_a_read_only_folder);
    tcase_add_test(places, what_is_there_is_not_replaced_if_that_is_not_wanted);
    tcase_add_test(places, a_file_that_came_meanwhile_is_not_replaced_either);
    tcase_add_test(failures, an_answer_that_brings_no_file_is_an_error_and_leaves_nothing);
    tcase_add_test(failures, a_file_that_ends_early_is_none);
    tcase_add_test(failures, without_an_answer_the_errors_are_those_of_requests);
    tcase_add_test(failures, a_file_has_a_limit);
    tcase_add_test(failures, what_the_disk_says_is_the_downloads_error_and_leaves_nothing);
    tcase_add_test(failures, without_threads_a_download_fails);
    tcase_add_test(failures, a_disk_may_be_full_at_any_time);
    tcase_add_test(failures,
                   a_folder_that_cannot_be_synchronized_is_an_error_only_if_the_disk_says_so);
    tcase_add_test(failures, without_memory_a_download_fails_and_leaves_nothing);
    tcase_add_test(cancelled, a_cancelled_download_leaves_nothing);
    tcase_add_test(cancelled, a_download_can_be_cancelled_at_any_time);
    tcase_add_test(cancelled, a_download_that_is_cancelled_before_does_nothing);
    tcase_add_test(cancelled, a_download_may_have_a_timeout);
    tcase_add_test(cancelled, the_clients_timeout_is_not_the_downloads_but_its_read_timeout_is);
    tcase_add_test(cancelled, closing_the_client_ends_its_downloads_also_between_two_attempts);
    tcase_add_test(calls, a_download_needs_its_arguments);
    tcase_add_test(calls, a_request_can_be_dressed_but_stays_a_download);
    tcase_add_test(calls, progress_is_told);
    return suite_end(suite);
}
