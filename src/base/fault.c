/* SPDX-License-Identifier: MIT */

/*
 * Fault injection: uco_test_fail().
 *
 * 1. uco__faults_set counts the entries whose `nth` is not zero, beside the ledger's bit.
 * 2. An entry counts its calls only while it is set; what it made fail it counts for ever.
 */

#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <uco/testing.h>

struct fault {
    unsigned long nth;   /* 0: not set */
    unsigned long calls; /* since it was set */
    unsigned long failed;
    bool for_ever;
    int error; /* positive */
};

static const char *const fault_names[UCO__FAULT_COUNT] = {
#define FAULT_NAME(name) #name,
    UCO__FAULTS(FAULT_NAME)
#undef FAULT_NAME
};

static pthread_mutex_t fault_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fault faults[UCO__FAULT_COUNT];
atomic_uint uco__faults_set;

static void
fault_set(struct fault *fault, struct fault value)
{
    if (fault->nth == 0 && value.nth != 0)
        atomic_fetch_add(&uco__faults_set, 1);
    if (fault->nth != 0 && value.nth == 0)
        atomic_fetch_sub(&uco__faults_set, 1);
    value.failed = fault->failed;
    *fault = value;
}

int
uco__fault_ask(enum uco__fault which)
{
    struct fault *fault = &faults[which];
    int error = 0;

    /* Without the mutex, which would order what threads do while only the ledger is on. */
    if ((atomic_load_explicit(&uco__faults_set, memory_order_relaxed) & ~UCO__LEDGER_ON) == 0)
        return 0;
    pthread_mutex_lock(&fault_mutex);
    if (fault->nth != 0) {
        fault->calls++;
        if (fault->calls == fault->nth || (fault->for_ever && fault->calls > fault->nth)) {
            error = -fault->error;
            fault->failed++;
        }
    }
    pthread_mutex_unlock(&fault_mutex);
    return error;
}

const char *
uco__fault_name(enum uco__fault fault)
{
    return fault_names[fault];
}

struct uco__fault_count
uco__fault_count(enum uco__fault fault)
{
    struct uco__fault_count count;

    pthread_mutex_lock(&fault_mutex);
    count = (struct uco__fault_count){faults[fault].calls, faults[fault].failed};
    pthread_mutex_unlock(&fault_mutex);
    return count;
}

int
uco_test_fail(const char *what, unsigned long nth, bool for_ever, int error)
{
    struct fault value = {.nth = nth, .for_ever = for_ever, .error = error};

    if (what == NULL || (nth != 0 && (error <= 0 || error > UCO_MAX_ERROR)))
        return -EINVAL;
    for (int i = 0; i < UCO__FAULT_COUNT; i++) {
        if (strcmp(fault_names[i], what) == 0) {
            pthread_mutex_lock(&fault_mutex);
            fault_set(&faults[i], value);
            pthread_mutex_unlock(&fault_mutex);
            return 0;
        }
    }
    return -EINVAL;
}

void
uco_test_fail_off(void)
{
    pthread_mutex_lock(&fault_mutex);
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        fault_set(&faults[i], (struct fault){0});
    pthread_mutex_unlock(&fault_mutex);
}
