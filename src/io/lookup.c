/* SPDX-License-Identifier: MIT */

/*
 * Look-ups of names: jobs of a pool of the loop's own, each shared by all who ask the same.
 *
 * 1. A look-up is in its loop's table from its start until its news arrives on the loop, unless it
 *    was taken back before it began. Who asks the same meanwhile joins it.
 * 2. The table, a look-up's callers and the handing out of answers are the loop's thread's. The job
 *    reads the question and writes the answer, which is the loop's once the job's future is
 *    resolved.
 * 3. The news of a job comes once, whatever became of it, and frees the look-up. So callers may
 *    leave before, and the loop too: then the news goes no further than the job's thread.
 * 4. Each caller's list is made when the news arrives: one that is cancelled later has it already.
 * 5. A job that all its callers have left is taken back; one that has begun goes on, as it cannot
 *    be stopped, and holds no virtual clock. Who asks the same again joins it: a silent name server
 *    costs one thread for each name, however often callers give up and try again.
 */

#include "io/lookup.h"

#include "base/list.h"
#include "base/system.h"
#include "core/dump.h"
#include "core/leave.h"
#include "task/future.h"
#include "task/pool.h"
#include "task/runtime.h"
#include "task/task.h"

#include <string.h>

#define THREADS_MAX 16 /* a loop; <uco/name.h> tells */
#define BUCKETS 64     /* of the table; a power of two */

struct lookup {
    struct uco__list link;    /* in a bucket of its loop's; in none once nobody may join */
    struct uco__list callers; /* in the order in which they came */
    struct uco_loop *loop;
    uco_future *job;
    struct uco__waiter waiter; /* of the job's */
    struct uco__ready news;    /* of its end */
    uint32_t hash;
    struct uco__question question;
    struct uco__answer answer;
    char text[]; /* the question's */
};

/* In the frame of the one that waits. */
struct caller {
    struct uco__list link;
    struct uco__wait wait;
    struct lookup *lookup;
    struct addrinfo *list;
    int code; /* EAI_ ..., or 0 */
};

/* A loop's. */
struct uco__names {
    struct uco__resource resource;
    struct uco_loop *loop;
    struct uco__pool *pool;
    struct uco__list buckets[BUCKETS];
};

static void
lookup_free(struct lookup *lookup)
{
    uco__answer_done(&lookup->answer);
    uco_unref(lookup->job);
    uco__free(lookup);
}

/* The job. */
static intptr_t
lookup_run(void *arg)
{
    struct lookup *lookup = arg;

    lookup->answer = uco__question_look_up(&lookup->question);
    return 0;
}

/* The loop: the job has ended. */
static void
lookup_arrive(struct uco__ready *node)
{
    struct lookup *lookup = UCO__CONTAINER(node, struct lookup, news);
    struct uco__list *link;

    uco__list_remove(&lookup->link);
    while ((link = uco__list_pop_front(&lookup->callers)) != NULL) {
        struct caller *caller = UCO__CONTAINER(link, struct caller, link);

        uco__wake(&caller->wait, uco__answer_copy(&lookup->answer, &caller->list, &caller->code));
    }
    lookup_free(lookup);
}

static void
lookup_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    struct lookup *lookup = UCO__CONTAINER(waiter, struct lookup, waiter);

    (void) future;
    if (uco__loop_post(lookup->loop, &lookup->news) < 0)
        lookup_free(lookup); /* the loop has closed: it is nobody's and in no table */
}

static bool
text_is(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
question_is(const struct uco__question *a, const struct uco__question *b)
{
    return a->hints.ai_flags == b->hints.ai_flags && a->hints.ai_family == b->hints.ai_family &&
           a->hints.ai_socktype == b->hints.ai_socktype &&
           a->hints.ai_protocol == b->hints.ai_protocol && text_is(a->node, b->node) &&
           text_is(a->service, b->service);
}

/* FNV-1a of the name; what else there is to a question rarely differs. */
static uint32_t
question_hash(const struct uco__question *question)
{
    const char *node = question->node != NULL ? question->node : "";
    uint32_t hash = 2166136261;

    for (; *node != '\0'; node++)
        hash = (hash ^ (unsigned char) *node) * 16777619;
    return hash;
}

static size_t
text_size(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *
text_put(char *place, const char *text, size_t size)
{
    return text != NULL ? memcpy(place, text, size) : NULL;
}

static struct lookup *
lookup_new(struct uco_loop *loop, const struct uco__question *question)
{
    size_t node = text_size(question->node);
    size_t service = text_size(question->service);
    struct lookup *lookup = uco__allocate(sizeof *lookup + node + service);

    if (lookup == NULL)
        return NULL;
    uco__list_init(&lookup->link);
    uco__list_init(&lookup->callers);
    lookup->loop = loop;
    lookup->waiter.notify = lookup_notify;
    lookup->news.run = lookup_arrive;
    lookup->question = *question;
    lookup->question.node = text_put(lookup->text, question->node, node);
    lookup->question.service = text_put(lookup->text + node, question->service, service);
    lookup->answer.code = EAI_FAIL; /* of a job whose thread is ended under it */
    return lookup;
}

/* --- the table --- */

/* Only look-ups that go on for nobody are left: they end by themselves. */
static void
names_close(struct uco__resource *resource)
{
    struct uco__names *names = UCO__CONTAINER(resource, struct uco__names, resource);

    uco__runtime_of(names->loop)->names = NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        UCO__LIST_EACH_SAFE(link, &names->buckets[i]) {
            struct lookup *lookup = UCO__CONTAINER(link, struct lookup, link);

            /* Under the mutex that lookup_notify() runs under: it may free what is written here. */
            uco__mutex_lock(&lookup->job->mutex);
            uco__list_remove(link);
            uco__mutex_unlock(&lookup->job->mutex);
        }
    }
    uco__pool_close(names->pool);
    uco__free(names);
}

/* The loop's, made if need be; NULL without memory. */
static struct uco__names *
names_get(struct uco_loop *loop)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);
    struct uco__names *names = runtime->names;

    if (names != NULL)
        return names;
    names = uco__allocate(sizeof *names);
    if (names == NULL)
        return NULL;
    names->pool = uco__pool_new(THREADS_MAX);
    if (names->pool == NULL) {
        uco__free(names);
        return NULL;
    }
    names->loop = loop;
    names->resource.close = names_close;
    for (size_t i = 0; i < BUCKETS; i++)
        uco__list_init(&names->buckets[i]);
    uco__loop_add_resource(loop, &names->resource);
    runtime->names = names;
    return names;
}

static struct lookup *
names_search(struct uco__list *bucket, const struct uco__question *question, uint32_t hash)
{
    UCO__LIST_EACH(link, bucket) {
        struct lookup *lookup = UCO__CONTAINER(link, struct lookup, link);

        if (lookup->hash == hash && question_is(&lookup->question, question))
            return lookup;
    }
    return NULL;
}

/* One for this question, that somebody else has begun or a new one. 0, -ENOMEM, -EAGAIN. */
static int
names_join(struct uco_loop *loop, const struct uco__question *question, struct lookup **result)
{
    struct uco__names *names = names_get(loop);
    uint32_t hash = question_hash(question);
    struct uco__list *bucket;
    struct lookup *lookup;
    int error;

    if (names == NULL)
        return -ENOMEM;
    bucket = &names->buckets[hash & (BUCKETS - 1)];
    *result = names_search(bucket, question, hash);
    if (*result != NULL)
        return 0;
    lookup = lookup_new(loop, question);
    if (lookup == NULL)
        return -ENOMEM;
    lookup->job = uco__pool_start(names->pool, loop, lookup_run, lookup, &error);
    if (lookup->job == NULL) {
        uco__free(lookup);
        return error;
    }
    lookup->hash = hash;
    uco__list_push_back(bucket, &lookup->link);
    if (!uco__future_add_waiter(lookup->job, &lookup->waiter))
        uco__loop_post(loop, &lookup->news); /* it has ended already */
    *result = lookup;
    return 0;
}

/* --- waiting --- */

static enum uco__abort
caller_abort(struct uco__wait *wait)
{
    struct caller *caller = UCO__CONTAINER(wait, struct caller, wait);
    struct lookup *lookup = caller->lookup;

    uco__list_remove(&caller->link);
    if (!uco__list_empty(&lookup->callers))
        return UCO__UNLINKED;
    uco__job_forget(lookup->job);
    uco_cancel(lookup->job);
    if (uco__future_is_resolved(lookup->job))
        uco__list_remove(&lookup->link); /* taken back, most likely: not to be joined */
    return UCO__UNLINKED;
}

static bool
caller_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct caller caller;
    struct lookup lookup;

    if (!UCO__DUMP_READ_AROUND(dump, &caller, wait, struct caller, wait) ||
        !UCO__DUMP_GET(dump, &lookup, caller.lookup) || lookup.question.node == NULL)
        return false;
    uco__dump_text(dump, "the look-up of the name '");
    uco__dump_string(dump, lookup.question.node);
    uco__dump_text(dump, "'");
    return true;
}

static UCO__WAIT_KIND(wait_lookup, "a name look-up", caller_describe);

static int
caller_wait(struct uco__task *task, struct caller *caller)
{
    struct lookup *lookup = caller->lookup;
    intptr_t r;

    if (uco__list_empty(&lookup->callers))
        uco__job_remember(lookup->job);
    uco__list_push_back(&lookup->callers, &caller->link);
    uco__wait_init(&caller->wait, &wait_lookup, caller_abort);
    r = uco__task_park(task, &caller->wait);
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

int
uco__lookup(struct uco__task *task, const struct uco__question *question, struct addrinfo **list,
            int *code)
{
    struct caller caller = {.code = EAI_SYSTEM};
    int r = names_join(task->future.loop, question, &caller.lookup);

    if (r == 0)
        r = caller_wait(task, &caller);
    else
        caller.code = uco__resolve_code(r);
    if (r == -ECANCELED)
        caller.code = uco__resolve_code(r);
    *code = caller.code;
    *list = caller.list;
    return r;
}
