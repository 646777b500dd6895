# SPDX-License-Identifier: MIT
"""The fuzzer finds planted mistakes.

usage: mutants.py ROOT BUILD LIBRARY...

Each mutant is one file of src/sync/ with one piece of text replaced, which must stand there exactly once. It is
compiled as BUILD/compile_commands.json says, linked with the LIBRARies, of which the first is the fuzzer's runner, and
run for a fixed number of inputs: it must not survive them. What is not mutated must.
"""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

RUNS = 2000
LINKED = ("-fsanitize", "--coverage", "-flto")  # what the linker must be told as well
TIMEOUT = 100  # seconds, for a mutant that does not even end

# A target, what is wrong, the file, the text, and what stands there instead.
MUTANTS = [
    ("lock", "a release gives the lock to nobody", "lock.c",
     "lock_give(l, UCO__CONTAINER(first, struct uco__lock_waiter, waiter)->task);", "l->owner = 0;"),
    ("lock", "a release serves the one who came last", "lock.c",
     "*first = uco__waiters_first(&l->waiters);", "*first = l->waiters.last;"),
    ("lock", "a release forgets to wake", "lock.c",
     "uco__wake(&first->wait, 0);", ""),
    ("lock", "a cancelled waiter stays in the line", "lock.c",
     "uco__waiters_remove(&self->waiter);\n    if", "if"),
    ("lock", "the owner waits for itself", "lock.c",
     "return -EDEADLK;", "return -EBUSY;"),
    ("lock", "nobody learns that the owner has ended", "lock.c",
     "contended_unlink(l);\n        lock_break(l);", "contended_unlink(l);"),
    ("lock", "a cancelled waiter leaves the lock with its owner's contended ones", "lock.c",
     "if (uco__waiters_empty(&self->lock->waiters))", "if (self == NULL)"),
    ("lock", "the next owner does not learn that others wait", "lock.c",
     "if (!uco__waiters_empty(&l->waiters))\n        contended_link(l);", ""),
    ("lock", "it is held by one who has ended", "lock.c",
     "return lock_owner_lives(l);", "return true;"),
    ("lock", "a broken lock can be taken", "lock.c",
     "l->broken = true;", ""),
    ("lock", "a granted waiter that is cancelled reports the cancellation", "lock.c",
     "return (int) uco__sync_park(self.waiter.wait.fiber, &self.waiter.wait);",
     "{ int r = (int) uco__sync_park(self.waiter.wait.fiber, &self.waiter.wait);"
     " return uco__scope_cancelled(task) ? -ECANCELED : r; }"),
    ("semaphore", "a release only raises the count", "semaphore.c",
     "if (!uco__waiters_wake_first(&s->waiters, 0))", ""),
    ("semaphore", "a release raises the count and wakes: a newcomer is faster", "semaphore.c",
     "if (!uco__waiters_wake_first(&s->waiters, 0))", "uco__waiters_wake_first(&s->waiters, 0);"),
    ("semaphore", "a release with waiters loses the permit", "semaphore.c",
     "if (!uco__waiters_wake_first(&s->waiters, 0))", "if (uco__waiters_empty(&s->waiters))"),
    ("semaphore", "a permit is lost when its new owner is cancelled", "semaphore.c",
     'return uco__sync_wait(fiber, &s->waiters, &uco__wait_semaphore);',
     '{ int r = uco__sync_wait(fiber, &s->waiters, &uco__wait_semaphore);'
     " return uco__scope_cancelled(uco__task_of_fiber(fiber)) ? -ECANCELED : r; }"),
    ("semaphore", "a cancelled caller takes a free permit", "semaphore.c",
     "r = uco__task_checkpoint(task);", "r = 0;"),
    ("event", "set wakes only one", "event.c",
     "uco__waiters_wake_all(&e->waiters, 0);", "uco__waiters_wake_first(&e->waiters, 0);"),
    ("event", "a clear after the set makes who was woken wait again", "event.c",
     'return e->is_set ? 0 : uco__sync_wait(fiber, &e->waiters, &uco__wait_event);',
     'int r = 0; while (r == 0 && !e->is_set) r = uco__sync_wait(fiber, &e->waiters, &uco__wait_event); return r;'),
    ("event", "set forgets that it is set", "event.c",
     "e->is_set = true;", ""),
    ("condition", "a notified waiter that is cancelled reports the cancellation", "condition.c",
     "if (r != -ECANCELED)", "if (r != -ECANCELED && !uco__scope_cancelled(task))"),
    ("condition", "notify wakes one too few", "condition.c",
     "n > 0 && !uco__waiters_empty(&c->waiters)", "n > 1 && !uco__waiters_empty(&c->waiters)"),
    ("condition", "a cancelled waiter returns without the lock", "condition.c",
     "owner = condition_reacquire(task, l);", "owner = 0;"),
    ("condition", "a cancelled waiter stays in the line", "condition.c",
     "&uco__wait_condition, uco__sync_abort", "&uco__wait_condition, uco__wait_abort_plain"),
    ("condition", "a cancelled caller lets go of the lock", "condition.c",
     "r = uco__task_checkpoint_suspending(task);",
     "r = uco__task_checkpoint_suspending(task); if (r < 0) uco__lock_hand_on(l);"),
    ("condition", "the predicate is looked at only once", "condition.c",
     "while (r == 0 && !predicate(arg))", "if (r == 0 && !predicate(arg))"),
    ("barrier", "a cancelled waiter stays counted", "barrier.c",
     "self->barrier->waiting--;", ""),
    ("barrier", "everybody gets the same place", "barrier.c",
     "place++;", ";"),
    ("barrier", "abort does not break it", "barrier.c",
     "b->broken = broken;", ""),
    ("barrier", "reset forgets those who wait", "barrier.c",
     "uco__waiters_wake_all(&b->waiters, -EPIPE);", ""),
    ("queue", "an item is queued while a getter waits", "queue.c",
     "if (uco__waiters_empty(&q->getters))", "if (q != NULL)"),
    ("queue", "a waiting putter's item is lost", "queue.c",
     "uco__items_push(&q->items, putter->item);", "true;"),
    ("queue", "a waiting putter's item is not counted", "queue.c",
     "q->unfinished++;\n        queue_waiter_end(putter, 0);", "queue_waiter_end(putter, 0);"),
    ("queue", "a get forgets those who wait to put", "queue.c",
     "if (UCO__UNLIKELY(!uco__waiters_empty(&q->putters) || q->left > 0))", "if (q->left > 0)"),
    ("queue", "a getter that is handed an item and cancelled loses it", "queue.c",
     "return (int) uco__sync_park(fiber, &waiter.waiter.wait);",
     "{ int r = (int) uco__sync_park(fiber, &waiter.waiter.wait);"
     " return uco__scope_cancelled(uco__task_of_fiber(fiber)) ? -ECANCELED : r; }"),
    ("queue", "LIFO is FIFO", "queue.c",
     "queue_new(UCO__ITEMS_LIFO,", "queue_new(UCO__ITEMS_FIFO,"),
    ("queue", "of equal items the last comes first", "items.c",
     "*slot_sequence(items, a) < *slot_sequence(items, b)", "*slot_sequence(items, a) > *slot_sequence(items, b)"),
    ("queue", "of equal items the last moves up", "items.c",
     "items->compare(item, parent) >= 0", "items->compare(item, parent) > 0"),
    ("queue", "a ring that grows loses what had gone round", "items.c",
     "memcpy(slots + first * items->stride, items->slots, (items->count - first) * items->stride);", ""),
    ("queue", "what there was no memory for is lost", "queue.c",
     "queue_leave(q, node, last, count);", ""),
    ("queue", "what there was no memory for is counted twice", "queue.c",
     "q->left = count;", "q->left = 0;"),
    ("queue", "shutdown forgets those who wait to get", "queue.c",
     "queue_waiters_end_all(&q->getters, -ESHUTDOWN);", ""),
    ("queue", "shutdown forgets those who wait to put", "queue.c",
     "queue_waiters_end_all(&q->putters, -ESHUTDOWN);", ""),
    ("queue", "free forgets those who join", "queue.c",
     "uco__waiters_wake_all(&q->joiners, -ESHUTDOWN);", ""),
    ("queue", "a join ends one item too early", "queue.c",
     "if (q->unfinished == 0)\n        uco__waiters_wake_all",
     "if (q->unfinished <= 1)\n        uco__waiters_wake_all"),
    ("queue", "task_done counts one too many", "queue.c",
     "queue_finish(q, 1);", "queue_finish(q, q->unfinished > 1 ? 2 : 1);"),
    ("select", "who was served by one queue still waits for the others", "select.c",
     "selection_leave(selection);\n    selection->result = result;", "selection->result = result;"),
    ("select", "who has run into its timeout still waits", "select.c",
     "selection_leave(selection);\n    uco__wake(&selection->wait, -ETIMEDOUT);",
     "uco__wake(&selection->wait, -ETIMEDOUT);"),
    ("select", "who was cancelled still waits", "select.c",
     "selection_leave(UCO__CONTAINER(wait, struct selection, wait));", "(void) wait;"),
    ("select", "the result of the case is not filled in", "select.c",
     "cases[r].result = selection.result;", ";"),
    ("select", "a timeout of zero waits", "select.c",
     "return timeout > 0 ? select_wait", "return timeout >= 0 ? select_wait"),
]


class Build:
    """How the library's files are compiled and the runner is linked."""

    def __init__(self, root, build, libraries):
        self.sync = os.path.join(root, "src", "sync")
        self.libraries = [name if name.startswith("-") else os.path.join(build, name) for name in libraries]
        self.commands = {}
        with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
            for entry in json.load(file):
                source = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
                if os.path.dirname(source) == os.path.realpath(self.sync):
                    self.commands.setdefault(os.path.basename(source), entry)

    def source(self, name):
        with open(os.path.join(self.sync, name), encoding="utf-8") as file:
            return file.read()

    def compile(self, name, text, folder):
        """What links it, its object first: so the libraries' own is not looked for."""
        entry = self.commands[name]
        source = os.path.join(folder, name)
        target = source + ".o"
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        words = shlex.split(entry["command"])
        words = [word for word in words[: words.index("-o")] if not re.match(r"-M|-Werror|.*\.d$|.*\.o$", word)]
        subprocess.run(words + ["-w", "-o", target, "-c", source], cwd=entry["directory"], check=True)
        compiler = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
        return compiler + [word for word in words if word.startswith(LINKED)] + [target]

    def run(self, link, target, folder):
        runner = os.path.join(folder, "fuzz")
        main, *others = self.libraries  # and what these are linked with: -l...
        linked = ["-o", runner, "-Wl,--whole-archive", main, "-Wl,--no-whole-archive", *others]
        subprocess.run(link + linked + ["-pthread", "-lm"], check=True)
        return subprocess.run(
            [runner, target, "--seed", "1", "--runs", str(RUNS), "--no-shrink"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=TIMEOUT, check=False,
        )


def why_dead(run):
    """The line that says what went wrong; None: it survived."""
    if run.returncode != 1 or "to see this again" not in run.stdout:
        return None
    wrong = [line for line in run.stdout.splitlines() if line.startswith("mismatch: ")]
    return wrong[-1] if wrong else run.stdout.splitlines()[0]


def try_mutant(build, mutant):
    """What to print, and whether that is good."""
    target, what, name, old, new = mutant
    text = build.source(name)
    if text.count(old) != 1:
        return f"{name}: this text stands there {text.count(old)} times, not once:\n{old}", False
    with tempfile.TemporaryDirectory() as folder:
        run = build.run(build.compile(name, text.replace(old, new), folder), target, folder)
    why = why_dead(run)
    return f"{target}: {what}: {why if why else 'SURVIVES'}", why is not None


def try_original(build, target):
    with tempfile.TemporaryDirectory() as folder:
        run = build.run(build.compile("enter.c", build.source("enter.c"), folder), target, folder)
    return f"{target}: as it is: {run.stdout.strip()}", run.returncode == 0


def main():
    build = Build(sys.argv[1], sys.argv[2], sys.argv[3:])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        targets = sorted({mutant[0] for mutant in MUTANTS})
        results = list(pool.map(lambda target: try_original(build, target), targets))
        results += pool.map(lambda mutant: try_mutant(build, mutant), MUTANTS)
    for line, _ in results:
        print(line)
    bad = sum(not good for _, good in results)
    print(f"{len(MUTANTS)} mutants, {bad} problems")
    sys.exit(1 if bad else 0)


main()
