// Bench measures libagx's binding beside what its users would otherwise use, doing the same work on
// one server. run.sh builds it, with those of the others that it finds.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"time"
)

// A library is one way to do the work. Each key is a stream of its own.
type library interface {
	name() string
	// add adds an event and waits until the server has it.
	add(ctx context.Context, key string) error
	// addMany adds so many events in few round trips.
	addMany(ctx context.Context, key string, count int) error
	// replay reads a stream from its beginning, and looks at each text of so many events.
	replay(ctx context.Context, key string, count int) error
	// follow tells of each event that comes from now on, until ctx is done. It says when it waits.
	follow(ctx context.Context, key string, waits func(), event func()) error
	// addToEach adds an event to each of the streams, in as few round trips as it can.
	addToEach(ctx context.Context, keys []string) error
	close()
}

// Opened by what is built in, in the order of the files' names.
var opens = []func(url string) (library, error){openAgx}

// A hundred bytes.
const body = `{"event":"part_delta","event_idx":7,"part_delta_kind":"text","content_delta":"some words more"}`

const (
	rounds = 5
	warmUp = time.Second
)

type scale struct{ add, addMany, replay, latency, listeners int }

var (
	full  = scale{5000, 512 * 100, 100000, 300, 10000}
	quick = scale{200, 512 * 4, 5000, 30, 200}
)

func main() {
	log.SetFlags(0)
	url := flag.String("url", "redis://127.0.0.1:6379", "the server; what is measured stays under agx-bench:*, and is deleted")
	rows := flag.String("rows", "add1,add16,addmany,replay,latency,listeners", "what to measure")
	isQuick := flag.Bool("quick", false, "little of it, to see that it works")
	one := flag.String("one", "", "used by the program itself: the library whose listeners to measure")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, `Measures libagx and its opponents on one server, and prints
row<TAB>library<TAB>value<TAB>unit; of each row the median of 5 rounds, in which they take turns,
behind a second of each that does not count.

run.sh builds and runs it. Opponents are built in where their sources are: go-redis where
$AGX_BENCH_GO_REDIS says, rueidis where $AGX_BENCH_RUEIDIS does: directories with a go.mod, or versions
such as v9.7.3 and v1.0.53, which come by $GOPROXY. What is not there is said, and left out.

`)
		flag.PrintDefaults()
	}
	flag.Parse()
	of := full
	if *isQuick {
		of = quick
	}
	b := bench{url: *url, scale: of}
	if *one != "" {
		check(b.listenersOf(*one))
		return
	}
	for _, open := range opens {
		l, err := open(*url)
		check(err)
		defer l.close()
		b.libraries = append(b.libraries, l)
	}
	for _, row := range strings.Split(*rows, ",") {
		measure := map[string]func() error{"add1": b.add1, "add16": b.add16, "addmany": b.addMany,
			"replay": b.replay, "latency": b.latency, "listeners": b.listeners}[row]
		if measure == nil {
			log.Fatal("no such row: ", row)
		}
		check(measure())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type bench struct {
	url       string
	scale     scale
	libraries []library
	keys      int
}

func (b *bench) key() string {
	b.keys++
	return fmt.Sprint(os.Getpid(), "-", b.keys)
}

// turns has each library do something in turn, behind a second of each that does not count, and prints
// each one's median.
func (b *bench) turns(row, unit string, do func(l library) (float64, error)) error {
	got := make([][]float64, len(b.libraries))
	for _, l := range b.libraries {
		for began := time.Now(); time.Since(began) < warmUp; {
			if _, err := do(l); err != nil {
				return fmt.Errorf("%s, %s: %w", row, l.name(), err)
			}
		}
	}
	for round := 0; round < rounds; round++ {
		for i := range b.libraries {
			at := (i + round) % len(b.libraries)
			value, err := do(b.libraries[at])
			if err != nil {
				return fmt.Errorf("%s, %s: %w", row, b.libraries[at].name(), err)
			}
			got[at] = append(got[at], value)
		}
	}
	for i, l := range b.libraries {
		print(row, l.name(), median(got[i]), unit)
	}
	return nil
}

func print(row, library string, value float64, unit string) {
	fmt.Printf("%s\t%s\t%.1f\t%s\n", row, library, value, unit)
}

func median(values []float64) float64 {
	sort.Float64s(values)
	return values[len(values)/2]
}

// perSecond is how many of count events were done in a second.
func perSecond(count int, do func() error) (float64, error) {
	began := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	return float64(count) / time.Since(began).Seconds(), nil
}
