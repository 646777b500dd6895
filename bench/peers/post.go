// SPDX-License-Identifier: MIT

// What bench_post and bench_idle measure, in Go: a channel that goroutines send to, each of which
// has a thread of its own. Its arguments are a row's name, how many messages each producer sends,
// and for each producer the processor it runs on. It prints M/s of a flood, else p50 and p99 in us,
// and fails when its counts do not add up.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	ring  = 1024                  // messages that are under way
	pause = 50 * time.Microsecond // before a wake
)

type message struct {
	producer int
	number   uint64
	sent     time.Time
}

type run struct {
	row       string
	each      uint64
	messages  chan message
	answers   chan struct{}
	start     chan struct{}
	latencies []float64
}

func fail(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}

func latency(sent time.Time) float64 {
	return float64(time.Since(sent).Nanoseconds()) / 1e3
}

// For the thread of a goroutine that is locked to it. All others stay where the program started.
func pin(processor int) {
	var set [1024 / 64]uint64

	set[processor/64] = 1 << (processor % 64)
	_, _, err := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set),
		uintptr(unsafe.Pointer(&set)))
	if err != 0 {
		fail("pinning to a processor:", err)
	}
}

func (r *run) produce(producer, processor int) {
	runtime.LockOSThread()
	pin(processor)
	<-r.start
	for i := uint64(0); i < r.each; i++ {
		m := message{producer: producer, number: i}
		if r.row == "flood" {
			r.messages <- m
			continue
		}
		if r.row == "wakes" {
			for began := time.Now(); time.Since(began) < pause; {
			}
		}
		m.sent = time.Now()
		r.messages <- m
		<-r.answers
		if r.row == "trips" {
			r.latencies = append(r.latencies, latency(m.sent))
		}
	}
	r.answers <- struct{}{} // the end
}

func (r *run) receive(producers int) {
	next := make([]uint64, producers)

	for received := uint64(0); received < r.each*uint64(producers); received++ {
		m := <-r.messages
		if m.number != next[m.producer] {
			fail("a message came twice, or out of order")
		}
		next[m.producer]++
		if r.row == "wakes" {
			r.latencies = append(r.latencies, latency(m.sent))
		}
		if r.row != "flood" {
			r.answers <- struct{}{}
		}
	}
}

func measure(row string, each uint64, processors []int) (*run, time.Duration) {
	r := &run{
		row:       row,
		each:      each,
		messages:  make(chan message, ring),
		answers:   make(chan struct{}, len(processors)),
		start:     make(chan struct{}),
		latencies: make([]float64, 0, each),
	}
	for i, processor := range processors {
		go r.produce(i, processor)
	}
	began := time.Now()
	close(r.start)
	r.receive(len(processors))
	took := time.Since(began)
	for range processors {
		<-r.answers
	}
	if row != "flood" && uint64(len(r.latencies)) != each {
		fail(len(r.latencies), "messages instead of", each)
	}
	return r, took
}

func main() {
	var processors []int
	var each int

	if len(os.Args) >= 4 {
		each, _ = strconv.Atoi(os.Args[2])
		for _, argument := range os.Args[3:] {
			processor, _ := strconv.Atoi(argument)
			processors = append(processors, processor)
		}
	}
	if each <= 0 || (os.Args[1] != "flood" && os.Args[1] != "wakes" && os.Args[1] != "trips") {
		fmt.Fprintln(os.Stderr, "usage: post_go ROW MESSAGES PROCESSOR...")
		os.Exit(2)
	}
	row := os.Args[1]
	runtime.GOMAXPROCS(1 + len(processors))
	measure(row, uint64(each/10+1), processors)
	r, took := measure(row, uint64(each), processors)
	if row == "flood" {
		fmt.Println(float64(each*len(processors)) / float64(took.Nanoseconds()) * 1e3)
		return
	}
	sort.Float64s(r.latencies)
	fmt.Println(r.latencies[each/2], r.latencies[each*99/100])
}
