// Command rivals measures godlm side by side with what a user would pick instead: lock
// servers with their usual Go clients. README.md beside this file says what each figure
// means.
//
// It starts the servers itself, and ends them. Every client is a process: this program
// again (client.go), or the one made from client/client.c for godlm, which takes the same
// commands through a pipe. Nothing here is part of the library, and this module's
// dependencies are not the library's.
//
//   - main.go: what is asked for, and in which order
//   - systems.go: what is compared; etcd.go, postgres.go, ...: how each is started, and
//     how a client locks with it
//   - site.go: processes, and that none outlives this one
//   - driven.go: clients as seen from here
//   - contest.go: turns of all systems
//   - measure.go, pairs.go, hot.go, kill.go: the measurements
//   - report.go: figures and tables
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	build   = flag.String("build", "build", "where the library, the command and the C client are")
	parent  = flag.String("dir", os.TempDir(), "where the servers' data go, for as long as this runs")
	asJSON  = flag.Bool("json", false, "print JSON")
	only    = flag.String("only", "", "measure only systems whose names match this expression")
	what    = flag.String("what", "pairs,hot,kill", "what to measure")
	runs    = flag.Int("runs", 5, "runs of pairs and of the hot lock")
	clients = flag.Int("clients", 32, "of the hot lock")
	window  = flag.Duration("window", 3*time.Second, "how long a run of the hot lock counts")
	kills   = flag.Int("kills", 20, "holders that are killed, where waiters do not wait for leases")
	leases  = flag.Int("leases", 5, "the same, where they do: all at once")
)

// self is this program's file.
var self string

func main() {
	var err error
	if self, err = os.Executable(); err != nil {
		fail(err)
	}
	switch {
	case len(os.Args) > 1 && os.Args[1] == "client":
		err = beClient(os.Args[2:])
	case len(os.Args) == 3 && os.Args[1] == "janitor":
		err = beJanitor(os.Args[2])
	default:
		flag.Parse()
		err = beParent()
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "rivals:", err)
	os.Exit(1)
}

// chosen are the kinds that are asked for.
func chosen(all []kind, names string) (some []kind, err error) {
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("nothing called %q can be measured", name)
		}
		some = append(some, all[i])
	}
	return some, nil
}

func beParent() error {
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if flag.NArg() > 0 || min(*runs, *clients, *kills, *leases) < 1 || *window <= 0 {
		return fmt.Errorf("arguments that are none, or a number that is not positive: %q", os.Args[1:])
	}
	if *build, err = filepath.Abs(*build); err != nil {
		return err
	}
	one, two, all, err := placements()
	if err != nil {
		return err
	}
	kinds, err := chosen([]kind{
		{name: "pairs", what: whatPairs, places: []*placement{one, two}, start: newPairs},
		{name: "hot", what: whatHot, places: []*placement{all}, start: newHot},
		{name: "kill", what: whatKill, places: []*placement{all}, start: newKill, waits: true},
	}, *what)
	if err != nil {
		return err
	}
	base, err := newBase(*parent)
	if err != nil {
		return err
	}
	// An end from outside takes the directory with it as any other end does; what was
	// measured until then is of no use.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		fail(errors.New((<-stop).String()))
	}()
	say("load of the machine before: %s; data in %s", load(), base.dir)
	rows, failed := measureAll(base.dir, match, kinds)
	say("load of the machine after: %s", load())
	if *asJSON {
		err = printJSON(os.Stdout, rows)
	} else {
		err = errors.Join(printSettings(os.Stdout, rows), printText(os.Stdout, rows))
	}
	return errors.Join(err, failed, base.close())
}

// measureAll measures what there is. A system that is not there is left out, with a row
// that says so; so is one that fails, and that is an error too.
func measureAll(base string, match *regexp.Regexp, kinds []kind) (rows []row, failed error) {
	var some []*system
	for _, x := range systems {
		if !match.MatchString(x.String()) {
			continue
		}
		if err := x.needs(); err != nil {
			say("%s is left out: %v", x, err)
			rows = append(rows, row{Name: x.String(), What: "everything", LeftOut: err.Error()})
			continue
		}
		some = append(some, x)
	}
	for _, k := range kinds {
		for _, place := range k.places {
			if place == nil {
				continue // there is only one CPU
			}
			more, err := contest(base, some, k, place)
			rows, failed = append(rows, more...), errors.Join(failed, err)
		}
	}
	return rows, failed
}

// load is the number of processes that want a CPU, on average of a minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
