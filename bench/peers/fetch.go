// SPDX-License-Identifier: MIT

// What bench_fetch measures, with Go's net/http. Its arguments are what to measure, a URL, the size
// of its page, and how many connections, goroutines and requests there are to be. For "fetch" it
// prints requests a second and the microseconds of processor time that each takes, after a request
// on each connection that is not measured; for "ticks" how many milliseconds a goroutine was late
// that slept 1 ms over and over: half, 99 of 100, and all. It fails when an answer is wrong.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const tick = time.Millisecond

type fetcher struct {
	client *http.Client
	url    string
	size   int
}

func die(arguments ...interface{}) {
	fmt.Fprintln(os.Stderr, append([]interface{}{"fetch_go:"}, arguments...)...)
	os.Exit(1)
}

func processor() time.Duration {
	var usage syscall.Rusage

	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// As nginx_page_check().
func pageCheck(page []byte) {
	for _, i := range []int{0, len(page) / 2, len(page) - 1} {
		if page[i] != byte('a'+i%23) {
			die("a wrong page")
		}
	}
}

func (fetcher *fetcher) get(page []byte) {
	response, err := fetcher.client.Get(fetcher.url)

	if err != nil {
		die(err)
	}
	if response.StatusCode != 200 || response.ContentLength != int64(fetcher.size) {
		die("a wrong answer:", response.Status)
	}
	if _, err = io.ReadFull(response.Body, page); err != nil {
		die(err)
	}
	response.Body.Close()
	pageCheck(page)
}

func (fetcher *fetcher) fetch(tasks, requests int) {
	var all sync.WaitGroup

	left := int64(requests)
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			page := make([]byte, fetcher.size)
			for atomic.AddInt64(&left, -1) >= 0 {
				fetcher.get(page)
			}
			all.Done()
		}()
	}
	all.Wait()
}

func (fetcher *fetcher) measure(connections, tasks, requests int) {
	fetcher.fetch(connections, connections)
	used, began := processor(), time.Now()
	fetcher.fetch(tasks, requests)
	took := time.Since(began).Seconds()
	fmt.Println(float64(requests)/took, (processor()-used).Seconds()*1e6/float64(requests))
}

func (fetcher *fetcher) measureTicks(tasks, requests int) {
	var lateness []float64

	go func() {
		for {
			due := time.Now().Add(tick)
			time.Sleep(tick)
			lateness = append(lateness, time.Since(due).Seconds()*1e3)
		}
	}()
	fetcher.fetch(tasks, requests)
	sort.Float64s(lateness)
	count := len(lateness)
	if count == 0 {
		die("no time for a tick")
	}
	fmt.Println(lateness[count/2], lateness[count*99/100], lateness[count-1])
}

func main() {
	var numbers [4]int // size, connections, tasks, requests

	runtime.GOMAXPROCS(1)
	known := len(os.Args) == 7 && (os.Args[1] == "fetch" || os.Args[1] == "ticks")
	for i := 0; known && i < len(numbers); i++ {
		numbers[i], _ = strconv.Atoi(os.Args[3+i])
		known = numbers[i] > 0
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: fetch_go fetch|ticks URL SIZE CONNECTIONS TASKS REQUESTS")
		os.Exit(2)
	}
	transport := &http.Transport{
		MaxConnsPerHost:     numbers[1],
		MaxIdleConnsPerHost: numbers[1],
		DisableCompression:  true,
	}
	fetcher := &fetcher{&http.Client{Transport: transport}, os.Args[2], numbers[0]}
	if os.Args[1] == "ticks" {
		fetcher.measureTicks(numbers[2], numbers[3])
	} else {
		fetcher.measure(numbers[1], numbers[2], numbers[3])
	}
}
