package godlm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"

	"github.com/godlm/godlm"
)

// Several programs, or goroutines, count together: no count is lost.
func Example_counter() {
	ctx := context.Background()
	ns, err := godlm.Join(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = ns.Close() }()

	done := make(chan error)
	for range 4 {
		go func() {
			// The NL lock keeps the value block while nobody counts.
			l, err := ns.Lock(ctx, "counter", godlm.NL)
			for i := 0; i < 100 && err == nil; i++ {
				if err = l.Convert(ctx, godlm.EX); err != nil {
					break
				}
				v := l.Block().Value
				if v[0]++; v[0] == 0 {
					v[1]++
				}
				err = l.Convert(ctx, godlm.NL, godlm.Write(v))
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	info, err := ns.Info(ctx, "counter")
	if err != nil {
		log.Fatal(err)
	}
	v := info.Block.Value
	fmt.Println(int(v[0])+256*int(v[1]), info.Block.Valid)
	// Output: 400 true
}

// One of several candidates leads. When it goes the next one does, and each term has a
// larger fencing token than the one before.
func Example_leaderElection() {
	ctx := context.Background()
	ns, err := godlm.Join(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = ns.Close() }()

	// lead waits until it leads, works, and gives way.
	lead := func(work func(ctx context.Context, term godlm.Token)) error {
		l, err := ns.Lock(ctx, "leader", godlm.EX)
		if err != nil {
			return err
		}
		term, err := l.Token()
		if err != nil {
			return err
		}
		working, cancel := context.WithCancelCause(ctx)
		go func() {
			select {
			case <-ns.Done(): // somebody else may lead by now
				cancel(ns.Err())
			case <-working.Done():
			}
		}()
		work(working, term)
		cancel(nil)
		return l.Unlock(ctx)
	}

	terms := make(chan godlm.Token, 3)
	done := make(chan error)
	for range 3 {
		go func() { done <- lead(func(_ context.Context, term godlm.Token) { terms <- term }) }()
	}
	for range 3 {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	a, b, c := <-terms, <-terms, <-terms
	fmt.Println(a.Compare(b) < 0 && b.Compare(c) < 0)
	// Output: true
}

// A cache is good as long as the version in the value block is the one that was read, and the
// block is valid. If a program dies while it writes, the others are told.
func Example_cachedData() {
	ctx := context.Background()
	ns, err := godlm.Join(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	l, err := ns.Lock(ctx, "config", godlm.PR)
	if err != nil {
		log.Fatal(err)
	}

	cached := "" // version of what is in the cache
	look := func() {
		switch b := l.Block(); {
		case !b.Valid:
			fmt.Println("in doubt: check the file itself, then write a new version")
		case b.Value.Text() != cached:
			cached = b.Value.Text()
			fmt.Printf("read again: version %q\n", cached)
		default:
			fmt.Println("the cache is good")
		}
	}
	look()

	// Somebody writes version 2.
	if err := l.Convert(ctx, godlm.EX); err != nil {
		log.Fatal(err)
	}
	v, err := godlm.TextValue("2")
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Convert(ctx, godlm.PR, godlm.Write(v)); err != nil {
		log.Fatal(err)
	}
	if err := l.Convert(ctx, godlm.PR); err != nil { // reads the block
		log.Fatal(err)
	}
	look()

	// Another program (dyingWriter) takes its turn, and dies in it.
	if err := l.Convert(ctx, godlm.NL); err != nil {
		log.Fatal(err)
	}
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "GODLM_TEST_WRITER=1")
	var killed *exec.ExitError
	if err := other.Run(); !errors.As(err, &killed) {
		log.Fatal("the writer has not died: ", err)
	}
	if err := l.Convert(ctx, godlm.PR); err != nil {
		log.Fatal(err)
	}
	look()
	fmt.Printf("what it was before: %q\n", l.Block().Value.Text())

	// A write makes it good again.
	if err := l.Convert(ctx, godlm.EX); err != nil {
		log.Fatal(err)
	}
	if v, err = godlm.TextValue("3"); err != nil {
		log.Fatal(err)
	}
	if err := l.Convert(ctx, godlm.PR, godlm.Write(v)); err != nil {
		log.Fatal(err)
	}
	if err := l.Convert(ctx, godlm.PR); err != nil {
		log.Fatal(err)
	}
	look()
	// Output:
	// the cache is good
	// read again: version "2"
	// in doubt: check the file itself, then write a new version
	// what it was before: "2"
	// read again: version "3"
}

// dyingWriter takes the lock in order to write, and is killed.
func dyingWriter() {
	ctx := context.Background()
	ns, err := godlm.Join(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ns.Lock(ctx, "config", godlm.EX); err != nil {
		log.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		log.Fatal(err)
	}
	_ = self.Kill() // nothing comes after this
	select {}
}

// A program that caches gives its lock up when somebody else wants to write.
func ExampleOnBlocking() {
	ctx := context.Background()
	ns, err := godlm.Join(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	_, err = ns.Lock(ctx, "page", godlm.PR, godlm.OnBlocking(func(b godlm.Blocking) {
		fmt.Println("wanted in", b.Mode)
		if err := b.Lock.Unlock(ctx); err != nil {
			log.Fatal(err)
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	l, err := ns.Lock(ctx, "page", godlm.EX)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("written")
	if err := l.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// wanted in EX
	// written
}
