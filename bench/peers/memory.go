// SPDX-License-Identifier: MIT

// What bench_memory measures, with Go. Its arguments are a row's name and how many goroutines to
// park. For "parked" it prints the bytes that each takes, and the microseconds of its creation and
// of its end; for "ended" what is left of their memory when they have ended, and later, in percent
// and in KiB. It fails when its counts do not add up.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The number of KiB behind a name in a file of /proc.
func kib(path string, name string) float64 {
	text, err := os.ReadFile(path)

	if err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, name) {
				number, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
				return number
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%s has no %s\n", path, name)
	os.Exit(1)
	return 0
}

func memory() float64 {
	return 1024 * (kib("/proc/self/smaps_rollup", "Rss:") + kib("/proc/self/status", "VmPTE:"))
}

func main() {
	var all sync.WaitGroup
	pauses := map[string]time.Duration{
		"parked":      0,
		"ended":       5 * time.Second,
		"ended-quick": 100 * time.Millisecond,
	}
	known := false
	var pause time.Duration
	count, arrived, ended := 0, 0, 0
	release := make(chan struct{})

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		pause, known = pauses[os.Args[1]]
		count, _ = strconv.Atoi(os.Args[2])
	}
	if count <= 0 || !known {
		fmt.Fprintln(os.Stderr, "usage: memory_go ROW COUNT")
		os.Exit(2)
	}

	memory() // what reading it takes is there from now on
	start := memory()
	began := time.Now()
	all.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			arrived++ // one processor
			<-release
			ended++
			all.Done()
		}()
	}
	for arrived < count {
		runtime.Gosched()
	}
	created := time.Since(began)
	full := memory()

	began = time.Now()
	close(release)
	all.Wait()
	torn := time.Since(began)
	if arrived != count || ended != count {
		fmt.Fprintf(os.Stderr, "%d came and %d left of %d\n", arrived, ended, count)
		os.Exit(1)
	}

	if pause == 0 {
		each := float64(count) * 1e3
		fmt.Println((full-start)/float64(count), float64(created.Nanoseconds())/each,
			float64(torn.Nanoseconds())/each)
		return
	}
	left := []float64{memory() - start, 0}
	time.Sleep(pause)
	left[1] = memory() - start
	for i := range left {
		if left[i] < 4096 { // so that it can be divided by
			left[i] = 4096
		}
	}
	fmt.Println(100*left[0]/(full-start), 100*left[1]/(full-start), left[0]/1024, left[1]/1024)
}
