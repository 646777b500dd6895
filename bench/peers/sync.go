// SPDX-License-Identifier: MIT

// What bench_sync measures, in Go. Its arguments are a row's name and how many units of work to
// measure; it prints nanoseconds per operation, and fails when its counts do not add up.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	members  = 1000 // of a group
	capacity = 64   // of a queue that never blocks
)

type row struct {
	run  func(units int) int // how many operations it did
	each int                 // operations in a unit
}

func lock(units int) int {
	var mutex sync.Mutex
	counter := 0

	for i := 0; i < units; i++ {
		mutex.Lock()
		counter++
		mutex.Unlock()
	}
	return counter
}

// There and back is two messages.
func event(units int) int {
	there := make(chan struct{})
	back := make(chan struct{})
	messages := 0

	go func() {
		for i := 0; i < units; i++ {
			<-there
			messages++
			back <- struct{}{}
		}
	}()
	for i := 0; i < units; i++ {
		there <- struct{}{}
		<-back
		messages++
	}
	return messages
}

func queue(units int) int {
	items := make(chan uint64, capacity)
	right := 0

	for i := 0; i < units; i++ {
		items <- uint64(i)
		if <-items == uint64(i) {
			right++
		}
	}
	return right
}

func handover(units int) int {
	items := make(chan uint64, 1)
	right := 0

	go func() {
		for i := 0; i < units; i++ {
			items <- uint64(i)
		}
	}()
	for i := 0; i < units; i++ {
		if <-items == uint64(i) {
			right++
		}
	}
	return right
}

func scope(units int) int {
	background := context.Background()
	alive := 0

	for i := 0; i < units; i++ {
		inside, cancel := context.WithTimeout(background, time.Second)
		if inside.Err() == nil {
			alive++
		}
		cancel()
	}
	return alive
}

func group(units int) int {
	ran := 0

	for i := 0; i < units; i++ {
		var all sync.WaitGroup

		all.Add(members)
		for k := 0; k < members; k++ {
			go func() {
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
		"lock":     {lock, 1},
		"event":    {event, 2},
		"queue":    {queue, 1},
		"handover": {handover, 1},
		"scope":    {scope, 1},
		"group":    {group, members},
	}
	units := 0

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		units, _ = strconv.Atoi(os.Args[2])
	}
	if units <= 0 || rows[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: sync_go ROW UNITS")
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
