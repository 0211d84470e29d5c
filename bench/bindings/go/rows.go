package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

func (b *bench) add1() error {
	return b.turns("add1", "events/s", func(l library) (float64, error) {
		key := b.key()
		return perSecond(b.scale.add, func() error {
			for n := 0; n < b.scale.add; n++ {
				if err := l.add(context.Background(), key); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (b *bench) add16() error {
	const tasks = 16
	count := b.scale.add * 4 / tasks * tasks
	return b.turns("add16", "events/s", func(l library) (float64, error) {
		key := b.key()
		return perSecond(count, func() error {
			errs := make(chan error, tasks)
			for task := 0; task < tasks; task++ {
				go func() {
					for n := 0; n < count/tasks; n++ {
						if err := l.add(context.Background(), key); err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			return firstOf(errs, tasks)
		})
	})
}

func firstOf(errs <-chan error, count int) (first error) {
	for ; count > 0; count-- {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

const batch = 512

func (b *bench) addMany() error {
	return b.turns("addmany", "events/s", func(l library) (float64, error) {
		return perSecond(b.scale.addMany, func() error { return fill(l, b.key(), b.scale.addMany) })
	})
}

func fill(l library, key string, count int) error {
	for n := 0; n < count; n += batch {
		size := batch
		if count-n < size {
			size = count - n
		}
		if err := l.addMany(context.Background(), key, size); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) replay() error {
	keys := map[library]string{}
	for _, l := range b.libraries {
		keys[l] = b.key()
		if err := fill(l, keys[l], b.scale.replay); err != nil {
			return err
		}
	}
	return b.turns("replay", "events/s", func(l library) (float64, error) {
		return perSecond(b.scale.replay, func() error {
			return l.replay(context.Background(), keys[l], b.scale.replay)
		})
	})
}

func (b *bench) latency() error {
	return b.turns("latency", "µs", func(l library) (float64, error) {
		ctx, cancel := context.WithCancel(context.Background())
		key := b.key()
		waiting, came := make(chan struct{}, 1), make(chan time.Time, 2)
		ended := make(chan error, 1)
		go func() {
			ended <- l.follow(ctx, key, func() { waiting <- struct{}{} }, func() { came <- time.Now() })
		}()
		<-waiting
		var all []float64
		for n := 0; n < b.scale.latency; n++ {
			began := time.Now()
			if err := l.add(context.Background(), key); err != nil {
				cancel()
				return 0, err
			}
			select {
			case at := <-came:
				all = append(all, float64(at.Sub(began).Nanoseconds())/1000)
			case err := <-ended:
				cancel()
				return 0, err
			}
		}
		cancel()
		_ = l.add(context.Background(), key) // for those whose wait a context does not end
		<-ended
		return median(all), nil
	})
}

// listeners has each library's be measured in a process of its own.
func (b *bench) listeners() error {
	rows := []struct{ row, unit string }{{"listeners-connections", "connections"},
		{"listeners-memory", "bytes/listener"}, {"listeners-threads", "threads"}, {"listeners", "events/s"}}
	got := map[string][][]float64{}
	counts := map[string]int{}
	for round := 0; round < rounds; round++ {
		for _, l := range b.libraries {
			count, values, err := b.listenersIn(l.name())
			if err != nil {
				return fmt.Errorf("listeners, %s: %w", l.name(), err)
			}
			counts[l.name()] = count
			got[l.name()] = append(got[l.name()], values)
		}
	}
	for i, of := range rows {
		for _, l := range b.libraries {
			var values []float64
			for _, round := range got[l.name()] {
				values = append(values, round[i])
			}
			print(of.row, l.name(), median(values), fmt.Sprintf("%s, %d listeners", of.unit, counts[l.name()]))
		}
	}
	return nil
}

// listenersIn measures in a process, with fewer listeners if so many connections are not to be had.
func (b *bench) listenersIn(name string) (int, []float64, error) {
	var failed error
	for _, count := range []int{b.scale.listeners, 1000} {
		args := []string{"-one", fmt.Sprintf("%s,%d", name, count), "-url", b.url}
		command := exec.Command(os.Args[0], args...)
		var told strings.Builder
		command.Stderr = &told
		output, err := command.Output()
		if err != nil {
			failed = fmt.Errorf("%w: %s", err, told.String())
			continue
		}
		var values []float64
		for _, text := range strings.Fields(string(output)) {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, nil, err
			}
			values = append(values, value)
		}
		return count, values, nil
	}
	return 0, nil, failed
}

func (b *bench) listenersOf(one string) error {
	name, text, _ := strings.Cut(one, ",")
	count, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	for _, open := range opens {
		l, err := open(b.url)
		if err != nil {
			return err
		}
		defer l.close()
		if l.name() == name {
			return b.serve(l, count)
		}
	}
	return fmt.Errorf("no such library: %s", name)
}

// serve prints connections, bytes for each listener, threads, and events delivered in a second.
func (b *bench) serve(l library, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	keys := make([]string, count)
	for i := range keys {
		keys[i] = b.key()
	}
	// What any use of it costs is there before.
	if err := l.addToEach(ctx, keys[:1]); err != nil {
		return err
	}
	before, sockets := resident(), connections()
	var waiting, came sync.WaitGroup
	waiting.Add(count)
	came.Add(count)
	failed := make(chan error, count)
	for _, key := range keys {
		key := key
		go func() {
			if err := l.follow(ctx, key, waiting.Done, came.Done); err != nil && ctx.Err() == nil {
				failed <- err
			}
		}()
	}
	if err := all(&waiting, failed); err != nil {
		return err
	}
	rate, err := perSecond(count, func() error {
		added := make(chan error, 1)
		go func() { added <- l.addToEach(ctx, keys) }()
		if err := <-added; err != nil {
			return err
		}
		return all(&came, failed)
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // until all wait again
	used := float64(resident()-before) / float64(count)
	threads, _ := filepath.Glob("/proc/self/task/*")
	fmt.Println(connections()-sockets, used, len(threads), rate)
	return nil
}

// all waits for the group, or a failure.
func all(group *sync.WaitGroup, failed <-chan error) error {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case err := <-failed:
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("not all have come to it in a minute")
	}
}

func resident() int {
	runtime.GC()
	debug.FreeOSMemory()
	text, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize()
}

func connections() int {
	count := 0
	list, _ := filepath.Glob("/proc/self/fd/*")
	for _, path := range list {
		if target, _ := os.Readlink(path); strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}
