// SPDX-License-Identifier: MIT

// What bench_spawn measures, in Go. Its arguments are a row's name and how many batches of
// goroutines to measure; it prints nanoseconds per goroutine, and fails when its counts do not add
// up.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const result = 3 // of each

var batches = map[string]int{"one": 1, "batch": 1000}

type tally struct {
	ran int
	sum int
}

func one(count int) tally {
	var tally tally
	done := make(chan int)

	for i := 0; i < count; i++ {
		go func() {
			tally.ran++
			done <- result
		}()
		tally.sum += <-done
	}
	return tally
}

func batch(count, size int) tally {
	var tally tally
	var all sync.WaitGroup
	results := make([]int, size)

	for i := 0; i < count; i++ {
		all.Add(size)
		for k := 0; k < size; k++ {
			go func(k int) {
				tally.ran++ // one processor, and nothing here is preempted for long
				results[k] = result
				all.Done()
			}(k)
		}
		all.Wait()
		for k := range results {
			tally.sum += results[k]
			results[k] = 0
		}
	}
	return tally
}

func run(count, size int) tally {
	if size == 1 {
		return one(count)
	}
	return batch(count, size)
}

func main() {
	count := 0

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		count, _ = strconv.Atoi(os.Args[2])
	}
	if count <= 0 || batches[os.Args[1]] == 0 {
		fmt.Fprintln(os.Stderr, "usage: spawn_go ROW BATCHES")
		os.Exit(2)
	}
	size := batches[os.Args[1]]
	run(count/10+1, size)
	began := time.Now()
	tally := run(count, size)
	took := time.Since(began)
	if tally.ran != count*size || tally.sum != tally.ran*result {
		fmt.Fprintf(os.Stderr, "%d goroutines instead of %d, or other results\n", tally.ran,
			count*size)
		os.Exit(1)
	}
	fmt.Println(float64(took.Nanoseconds()) / float64(count*size))
}
