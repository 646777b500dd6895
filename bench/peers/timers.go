// SPDX-License-Identifier: MIT

// What bench_timers measures, in Go. Its arguments are a row's name and how many timers. It prints
// the row's numbers, and fails when its counts do not add up.
package main

import (
	"fmt"
	"math"
	"math/rand"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	sleepMax      = time.Second
	sleepMaxQuick = 20 * time.Millisecond
	armLeast      = 10 * time.Second
	armMax        = 60 * time.Second
	shortLength   = time.Millisecond
)

// The processor's time that this process has had, of all its threads.
func processor() time.Duration {
	var usage syscall.Rusage

	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		os.Exit(1)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func microseconds(time time.Duration) float64 {
	return float64(time.Nanoseconds()) / 1e3
}

func crowd(count int, max time.Duration) int {
	var all sync.WaitGroup
	started, ended := 0, 0
	release := make(chan struct{})
	lateness := make([]float64, count)

	all.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			length := time.Duration(rand.Int63n(int64(max)))
			started++ // one processor
			<-release
			began := time.Now()
			time.Sleep(length)
			lateness[i] = microseconds(time.Since(began) - length)
			ended++
			all.Done()
		}(i)
	}
	for started < count {
		runtime.Gosched()
	}
	before := processor()
	close(release)
	all.Wait()
	took := processor() - before

	early := 0.0
	for i, late := range lateness {
		early = math.Max(early, -late)
		lateness[i] = math.Abs(late)
	}
	sort.Float64s(lateness)
	fmt.Println(microseconds(took)/float64(count), lateness[count/2], lateness[count*99/100],
		lateness[count-1], early)
	return ended
}

func pairsPass(timers []*time.Timer, lengths []time.Duration) int {
	stopped, ran := 0, 0

	for i := range timers {
		timers[i] = time.AfterFunc(lengths[i], func() { ran++ })
	}
	for _, timer := range timers {
		if timer.Stop() {
			stopped++
		}
	}
	return stopped - ran
}

func pairs(count int) int {
	timers := make([]*time.Timer, count)
	lengths := make([]time.Duration, count)

	for i := range lengths {
		lengths[i] = armLeast + time.Duration(rand.Int63n(int64(armMax-armLeast)))
	}
	pairsPass(timers, lengths)
	began := time.Now()
	stopped := pairsPass(timers, lengths)
	fmt.Println(float64(time.Since(began).Nanoseconds()) / float64(count))
	return stopped
}

func short(count int) int {
	sum := 0.0

	for i := 0; i < count; i++ {
		began := time.Now()
		time.Sleep(shortLength)
		sum += microseconds(time.Since(began) - shortLength)
	}
	fmt.Println(sum / float64(count))
	return count
}

func main() {
	rows := map[string]func(count int) int{
		"crowd":       func(count int) int { return crowd(count, sleepMax) },
		"crowd-quick": func(count int) int { return crowd(count, sleepMaxQuick) },
		"pairs":       pairs,
		"short":       short,
	}
	count := 0

	runtime.GOMAXPROCS(1)
	if len(os.Args) == 3 {
		count, _ = strconv.Atoi(os.Args[2])
	}
	if count <= 0 || rows[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: timers_go ROW COUNT")
		os.Exit(2)
	}
	if done := rows[os.Args[1]](count); done != count {
		fmt.Fprintf(os.Stderr, "%d timers instead of %d\n", done, count)
		os.Exit(1)
	}
}
