# SPDX-License-Identifier: MIT
"""What bench_post and bench_idle measure, with call_soon_threadsafe() of asyncio or uvloop.

Its arguments are the loop, a row's name, how many messages each producer sends, and for each
producer the processor it runs on. It prints M/s of a flood, else p50 and p99 in us, and fails when
its counts do not add up.
"""

import asyncio
import os
import sys
import threading
import time

RING = 1024  # messages of one producer that are under way
PAUSE = 50e-6  # s before a wake; who spins instead keeps the interpreter from the loop


def fail(what):
    """At once: producers may wait for what does not come any more."""
    print("post.py: " + what, file=sys.stderr)
    os._exit(1)


class Producer(threading.Thread):
    def __init__(self, run, processor):
        super().__init__()
        self.run_of = run
        self.processor = processor
        self.received = 0
        self.window = threading.Semaphore(2)  # halves of the ring
        self.answer = threading.Lock()
        self.answer.acquire()

    def receive(self, number, sent):
        """On the loop's thread."""
        run = self.run_of
        if run.row == "wakes":
            run.latencies.append(time.perf_counter_ns() - sent)
        if number != self.received:
            fail("a message came twice, or out of order")
        self.received += 1
        if run.row != "flood":
            self.answer.release()
        elif self.received % (RING // 2) == 0:
            self.window.release()
        run.received += 1
        if run.received == run.expected:
            run.ended = time.perf_counter_ns()
            run.loop.stop()

    def run(self):
        run = self.run_of
        os.sched_setaffinity(0, {self.processor})
        run.go.wait()
        if run.row == "flood":
            self.flood(run)
        else:
            self.ask(run)

    def flood(self, run):
        for number in range(run.each):
            if number % (RING // 2) == 0:
                self.window.acquire()
            run.loop.call_soon_threadsafe(self.receive, number, 0)

    def ask(self, run):
        for number in range(run.each):
            if run.row == "wakes":
                time.sleep(PAUSE)
            sent = time.perf_counter_ns()
            run.loop.call_soon_threadsafe(self.receive, number, sent)
            self.answer.acquire()
            if run.row == "trips":
                run.latencies.append(time.perf_counter_ns() - sent)


class Run:
    def __init__(self, loop, row, each, processors):
        self.loop = loop
        self.row = row
        self.each = each
        self.expected = each * len(processors)
        self.received = 0
        self.ended = 0
        self.latencies = []
        self.go = threading.Event()
        self.producers = [Producer(self, processor) for processor in processors]

    def measure(self):
        for producer in self.producers:
            producer.start()
        began = time.perf_counter_ns()
        self.loop.call_soon(self.go.set)
        self.loop.run_forever()
        for producer in self.producers:
            producer.join()
            if producer.received != self.each:
                fail("the counts are wrong")
        return self.ended - began


def main():
    if len(sys.argv) < 5 or sys.argv[2] not in ("flood", "wakes", "trips"):
        sys.exit("usage: post.py asyncio|uvloop ROW MESSAGES PROCESSOR...")
    row, each = sys.argv[2], int(sys.argv[3])
    processors = [int(processor) for processor in sys.argv[4:]]
    if sys.argv[1] == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    Run(loop, row, each // 10 + 1, processors).measure()
    run = Run(loop, row, each, processors)
    took = run.measure()
    if row == "flood":
        print(run.received / took * 1e3)
    else:
        run.latencies.sort()
        print(run.latencies[each // 2] / 1e3, run.latencies[each * 99 // 100] / 1e3)
    loop.close()


main()
