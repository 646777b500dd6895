/* SPDX-License-Identifier: MIT */
#include "certificates.h"

#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define WORDS_MAX 32
#define PATH_SIZE 256

int
program_run(const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    status = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *) (uintptr_t) argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return status == 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* openssl with these words; those that begin with '@' are files of the directory. */
static bool
openssl(const char *directory, const char *const *words)
{
    static char paths[WORDS_MAX][PATH_SIZE];
    const char *argv[WORDS_MAX + 2] = {"openssl"};

    for (size_t i = 0; i < WORDS_MAX && words[i] != NULL; i++) {
        argv[i + 1] = words[i];
        if (words[i][0] == '@') {
            snprintf(paths[i], sizeof paths[i], "%s/%s", directory, words[i] + 1);
            argv[i + 1] = paths[i];
        }
    }
    return program_run(argv) == 0;
}

#define OPENSSL(directory, ...) openssl(directory, (const char *const[]){__VA_ARGS__, NULL})
#define NEW_KEY "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"

#define LOCAL_NAMES "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
#define OTHER_NAMES "subjectAltName=DNS:shop.test,DNS:few.test"

static bool
authority_make(const char *directory, const char *certificate, const char *key)
{
    return OPENSSL(directory, "req", "-x509", NEW_KEY, "-days", "2", "-subj", "/CN=authority",
                   "-keyout", key, "-out", certificate);
}

static bool
certificate_make(const char *directory, const char *certificate, const char *key,
                 const char *subject, const char *names)
{
    return OPENSSL(directory, "req", "-x509", NEW_KEY, "-days", "2", "-subj", subject, "-addext",
                   names, "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "@ca.pem",
                   "-CAkey", "@ca.key", "-keyout", key, "-out", certificate);
}

/* `req` makes none that has ended; `x509` does, from a request. */
static bool
expired_make(const char *directory)
{
    return OPENSSL(directory, "req", "-new", NEW_KEY, "-subj", "/CN=localhost", "-addext",
                   LOCAL_NAMES, "-keyout", "@expired.key", "-out", "@expired.csr") &&
           OPENSSL(directory, "x509", "-req", "-in", "@expired.csr", "-CA", "@ca.pem", "-CAkey",
                   "@ca.key", "-days", "-1", "-copy_extensions", "copy", "-set_serial", "5", "-out",
                   "@expired.pem");
}

static bool
alice_make(const char *directory)
{
    return certificate_make(directory, "@alice.pem", "@plain.key", "/CN=alice", "nsComment=none") &&
           OPENSSL(directory, "pkey", "-in", "@plain.key", "-aes256", "-passout",
                   "pass:" CERTIFICATES_PASSWORD, "-out", "@alice.key");
}

/* "sha256//" and the base64 of the key's hash. */
static bool
pin_make(const char *directory)
{
    char path[PATH_SIZE], base64[64];
    FILE *file;
    bool made;

    if (!OPENSSL(directory, "pkey", "-in", "@local.key", "-pubout", "-outform", "DER", "-out",
                 "@local.der") ||
        !OPENSSL(directory, "dgst", "-sha256", "-binary", "-out", "@local.sha256", "@local.der") ||
        !OPENSSL(directory, "base64", "-A", "-in", "@local.sha256", "-out", "@local.pin"))
        return false;
    snprintf(path, sizeof path, "%s/local.pin", directory);
    file = fopen(path, "r+e");
    if (file == NULL)
        return false;
    made = fscanf(file, "%63s", base64) == 1;
    rewind(file);
    made = fprintf(file, "sha256//%s", base64) > 0 && made;
    return fclose(file) == 0 && made;
}

static bool
public_key_make(const char *directory, const char *key, const char *public_key)
{
    return OPENSSL(directory, "pkey", "-in", key, "-pubout", "-out", public_key);
}

bool
certificates_make(const char *directory)
{
    return authority_make(directory, "@ca.pem", "@ca.key") &&
           authority_make(directory, "@other-ca.pem", "@other-ca.key") &&
           certificate_make(directory, "@local.pem", "@local.key", "/CN=localhost", LOCAL_NAMES) &&
           certificate_make(directory, "@named.pem", "@named.key", "/CN=named", OTHER_NAMES) &&
           expired_make(directory) && alice_make(directory) &&
           public_key_make(directory, "@local.key", "@local.pub") &&
           public_key_make(directory, "@named.key", "@named.pub") && pin_make(directory);
}
