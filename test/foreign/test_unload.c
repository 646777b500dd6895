/* SPDX-License-Identifier: MIT */
/* dlclose() of the library unloads nothing: threads, fork handlers and stacks may still be inside.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

typedef intptr_t run_fn(intptr_t (*fn)(void *arg), void *arg);

static intptr_t
body(void *arg)
{
    return (intptr_t) arg;
}

static int
failed(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

int
main(int argc, char *argv[])
{
    void *library;
    run_fn *run;

    for (int i = 1; i < argc; i++) {
        library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            return failed(dlerror());
        *(void **) &run = dlsym(library, "uco_run");
        if (run != NULL && run(body, (void *) 3) != 3)
            return failed("it does not run");
        if (dlclose(library) != 0 || dlopen(argv[i], RTLD_NOW | RTLD_NOLOAD) == NULL)
            return failed("it is gone");
        if (run != NULL && run(body, (void *) 4) != 4)
            return failed("it does not run any more");
    }
    return argc > 1 ? 0 : failed("no library was named");
}
