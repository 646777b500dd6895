// SPDX-License-Identifier: MIT

// What bench_wake measures, in Go. Its arguments are a row's name and how many units of work to
// measure; it prints nanoseconds per operation, and fails when its counts do not add up.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const tasks = 1000 // that are gathered

type row struct {
	run  func(units int) int // how many operations it did
	each int                 // operations in a unit
}

// There and back is two messages.
func channel(units int) int {
	there := make(chan uint64)
	back := make(chan uint64)
	right := 0

	go func() {
		for i := 0; i < units; i++ {
			item := <-there
			if item == uint64(i) {
				right++
			}
			back <- item
		}
	}()
	for i := 0; i < units; i++ {
		there <- uint64(i)
		if <-back == uint64(i) {
			right++
		}
	}
	return right
}

func gather(units int) int {
	ran := 0

	for i := 0; i < units; i++ {
		var all sync.WaitGroup

		all.Add(tasks)
		for k := 0; k < tasks; k++ {
			go func() {
				runtime.Gosched()
				ran++ // one processor, and nothing here is preempted for long
				all.Done()
			}()
		}
		all.Wait()
	}
	return ran
}

func main() {
	rows := map[string]row{
		"channel": {channel, 2},
		"gather":  {gather, tasks},
	}
	units := 0

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		units, _ = strconv.Atoi(os.Args[2])
	}
	if units <= 0 || rows[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: wake_go ROW UNITS")
		os.Exit(2)
	}
	row := rows[os.Args[1]]
	row.run(units/10 + 1)
	began := time.Now()
	operations := row.run(units)
	took := time.Since(began)
	if operations != units*row.each {
		fmt.Fprintf(os.Stderr, "%d operations instead of %d\n", operations, units*row.each)
		os.Exit(1)
	}
	fmt.Println(float64(took.Nanoseconds()) / float64(operations))
}
