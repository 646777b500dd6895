// SPDX-License-Identifier: MIT

// What bench_yield measures, in Go. Its arguments are how many goroutines there are and how many
// laps to measure; it prints nanoseconds per switch, and fails when its counts do not add up.
//
// Go promises no order, and lets some run while others are not made yet. So all wait for the last
// one to be made, and what is measured are the yields that all of them made while the first one
// made its laps.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const warmLaps = 2

type course struct {
	laps     int
	complete atomic.Bool
	took     time.Duration
	switches int   // meanwhile
	yields   []int // of each runner
	all      sync.WaitGroup
}

func (course *course) total() int {
	total := 0

	for _, yields := range course.yields {
		total += yields
	}
	return total
}

func (course *course) yield(index, count int) {
	yields := &course.yields[index]

	for i := 0; i < count; i++ {
		*yields++
		runtime.Gosched()
	}
}

func (course *course) run(index int) {
	for !course.complete.Load() {
		runtime.Gosched()
	}
	course.yield(index, warmLaps)
	if index == 0 {
		before := course.total()
		began := time.Now()
		course.yield(index, course.laps)
		course.took = time.Since(began)
		course.switches = course.total() - before
	} else {
		course.yield(index, course.laps)
	}
	course.all.Done()
}

func main() {
	runners, laps := 0, 0

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		runners, _ = strconv.Atoi(os.Args[1])
		laps, _ = strconv.Atoi(os.Args[2])
	}
	if runners <= 0 || laps <= 0 {
		fmt.Fprintln(os.Stderr, "usage: yield_go GOROUTINES LAPS")
		os.Exit(2)
	}
	course := course{laps: laps, yields: make([]int, runners)}
	course.all.Add(runners)
	for i := 0; i < runners; i++ {
		go course.run(i)
	}
	course.complete.Store(true)
	course.all.Wait()
	for i, yields := range course.yields {
		if yields != warmLaps+laps {
			fmt.Fprintf(os.Stderr, "goroutine %d: %d yields instead of %d\n", i, yields,
				warmLaps+laps)
			os.Exit(1)
		}
	}
	fmt.Println(float64(course.took.Nanoseconds()) / float64(course.switches))
}
