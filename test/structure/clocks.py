# SPDX-License-Identifier: MIT
"""Only CLOCK_MONOTONIC measures time: a wall clock jumps, and what waits by it wakes early, late or never.

Where a date comes from outside (a cookie's, an answer's), the wall clock is what it is compared with.
"""

import re
import sys

from tree import Tree, finish, without_comments

# What is confined, and the files that may have it.
CONFINED = [
    (r"\bclock_gettime\s*\(|\bCLOCK_(?!MONOTONIC\b)\w+", ("src/base/clock.h",)),
    (r"(?<![\w.>])time\s*\(", ("src/http/cookies.c", "src/http/retry.c")),
    (r"\b(gettimeofday|ftime|clock|alarm|setitimer|timer_create|times)\s*\(", ()),
    # These wait by the wall clock, unless told otherwise.
    (r"\b(pthread_cond_timedwait|pthread_mutex_timedlock|sem_timedwait|mtx_timedlock|cnd_timedwait)\b", ()),
    (r"\bFUTEX_(CLOCK_REALTIME|LOCK_PI)\b", ()),
    # These block a whole thread. In loop.c: a kernel that cannot even be asked.
    (r"\b(usleep|sleep|nanosleep|clock_nanosleep)\s*\(", ("src/core/loop.c",)),
    # Milliseconds: rounded up in the first, none in the second.
    (r"(?<![\w.>])(epoll_wait|poll)\s*\(", ("src/core/poller_epoll.c", "src/base/system.c")),
]


def main():
    tree = Tree(sys.argv[1])
    problems = []
    names = tree.files("src", ".c", ".h")

    for name in names:
        text = without_comments(tree.read(name), keep_strings=False)
        for pattern, allowed in CONFINED:
            if name in allowed:
                continue
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                problems.append(f"{name}:{line}: {match[0].strip()}: time is CLOCK_MONOTONIC's, by base/clock.h")

    finish(problems, len(names))


main()
