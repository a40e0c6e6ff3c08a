package godlm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm"
)

// patience bounds what must happen.
const patience = 20 * time.Second

var bg = context.Background()

func join(t *testing.T, opts ...godlm.JoinOption) *godlm.Namespace {
	t.Helper()
	ns, err := godlm.Join(bg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, ns.Close()) })
	return ns
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func lock(t *testing.T, ns *godlm.Namespace, name string, m godlm.Mode, opts ...godlm.LockOption) *godlm.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, patience)
	defer cancel()
	l, err := ns.Lock(ctx, name, m, opts...)
	must(t, err)
	return l
}

func text(t *testing.T, s string) godlm.Value {
	t.Helper()
	v, err := godlm.TextValue(s)
	must(t, err)
	return v
}

func block(t *testing.T, l *godlm.Lock, want string, valid bool) {
	t.Helper()
	if b := l.Block(); b.Value.Text() != want || b.Valid != valid {
		t.Fatalf("%s: block %q, valid %v; want %q, %v", l.Name(), b.Value.Text(), b.Valid, want, valid)
	}
}

// nobody waits until no lock on the name is left, which a withdrawn request may still be.
func nobody(t *testing.T, ns *godlm.Namespace, name string) {
	t.Helper()
	until(t, "nobody has "+name, func() bool {
		_, err := ns.Info(bg, name)
		return errors.Is(err, godlm.ErrNoResource)
	})
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestValueBlock(t *testing.T) {
	ns := join(t)
	keep := lock(t, ns, "vb", godlm.NL)
	block(t, keep, "", true)
	l := lock(t, ns, "vb", godlm.EX)
	must(t, l.Convert(bg, godlm.PR, godlm.Write(text(t, "one"))))
	must(t, keep.Convert(bg, godlm.CR))
	block(t, keep, "one", true)
	must(t, l.Convert(bg, godlm.PW))
	must(t, l.Unlock(bg, godlm.Write(text(t, "two"))))
	must(t, keep.Convert(bg, godlm.CR))
	block(t, keep, "two", true)

	// Whoever gives up says so; the contents stay.
	l = lock(t, ns, "vb", godlm.PW)
	block(t, l, "two", true)
	must(t, l.Unlock(bg, godlm.Invalidate()))
	must(t, keep.Convert(bg, godlm.CR))
	block(t, keep, "two", false)

	// What writes nothing is not taken for a write.
	wants(t, keep.Convert(bg, godlm.NL, godlm.Write(godlm.Value{})), godlm.ErrBadParam)
	wants(t, keep.Unlock(bg, godlm.Invalidate()), godlm.ErrBadParam)
	must(t, keep.Convert(bg, godlm.PW))
	wants(t, keep.Convert(bg, godlm.EX, godlm.Write(godlm.Value{})), godlm.ErrBadParam)
	wants(t, keep.Convert(bg, godlm.NL, godlm.Write(godlm.Value{}), godlm.Invalidate()), godlm.ErrBadParam)
	if keep.Mode() != godlm.PW {
		t.Fatalf("mode %v", keep.Mode())
	}
	must(t, keep.Convert(bg, godlm.NL, godlm.Write(text(t, "three"))))
	must(t, keep.Convert(bg, godlm.NL))
	block(t, keep, "three", true)
	must(t, keep.Unlock(bg))
	wants(t, keep.Unlock(bg), godlm.ErrUnlocked)
	wants(t, keep.Convert(bg, godlm.NL), godlm.ErrUnlocked)
	nobody(t, ns, "vb")
}

func TestKilledWriter(t *testing.T) {
	for _, here := range []bool{true, false} { // whoever locks first is the master
		t.Run(fmt.Sprintf("master here %v", here), func(t *testing.T) {
			ns := join(t)
			p := newPuppet(t)
			name := fmt.Sprint("killed", here)
			if !here {
				p.do("ok", "lock %s NL", name)
				p.do("ok", "convert %s EX", name)
			}
			l := lock(t, ns, name, godlm.NL)
			if here {
				p.do("ok", "lock %s EX", name)
			}
			p.do("ok", "write %s EX first", name)
			p.kill()
			ctx, cancel := context.WithTimeout(bg, patience)
			defer cancel()
			must(t, l.Convert(ctx, godlm.EX))
			block(t, l, "first", false)
			must(t, l.Convert(ctx, godlm.PR, godlm.Write(text(t, "mended"))))
			must(t, l.Convert(ctx, godlm.PR))
			block(t, l, "mended", true)
			must(t, l.Unlock(ctx))
		})
	}
}

func TestGivingUp(t *testing.T) {
	ns := join(t)
	p := newPuppet(t)
	for _, master := range []string{"here", "there"} {
		t.Run("master "+master, func(t *testing.T) {
			name := "giving up " + master
			name = strings.ReplaceAll(name, " ", "-")
			if master == "here" {
				defer func() { must(t, lock(t, ns, name, godlm.NL).Unlock(bg)) }()
				lock(t, ns, name, godlm.NL)
			}
			p.do("ok", "lock %s EX", name)

			_, err := ns.Lock(bg, name, godlm.PR, godlm.NoQueue())
			wants(t, err, godlm.ErrNotQueued)
			_, err = ns.Lock(bg, name, godlm.PR, godlm.Timeout(time.Millisecond))
			wants(t, err, godlm.ErrTimeout)
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			_, err = ns.Lock(ctx, name, godlm.PR)
			cancel()
			wants(t, err, context.DeadlineExceeded)
			wants(t, err, godlm.ErrCanceled)
			_, err = ns.Lock(ctx, name, godlm.PR)
			wants(t, err, godlm.ErrCanceled)

			// A conversion that is given up leaves the lock as it was.
			l := lock(t, ns, name, godlm.NL)
			ctx, cancel = context.WithCancel(bg)
			go func() {
				until(t, "it waits", func() bool { b, _ := l.Blockers(bg); return len(b) > 0 })
				cancel()
			}()
			wants(t, l.Convert(ctx, godlm.PR), context.Canceled)
			if l.Mode() != godlm.NL {
				t.Errorf("mode %v", l.Mode())
			}
			wants(t, l.Convert(bg, godlm.PR, godlm.Timeout(time.Millisecond)), godlm.ErrTimeout)
			wants(t, l.Convert(bg, godlm.PR, godlm.NoQueue()), godlm.ErrNotQueued)
			must(t, l.Unlock(bg))

			// So does a request for a sub-lock: the lock above can be unlocked at once.
			p.do("ok", "unlock %s", name)
			above := lock(t, ns, name, godlm.CR)
			sub, err := above.Lock(bg, "sub", godlm.EX)
			must(t, err)
			ctx, cancel = context.WithTimeout(bg, time.Millisecond)
			_, err = above.Lock(ctx, "sub", godlm.EX)
			cancel()
			wants(t, err, godlm.ErrCanceled)
			wants(t, above.Unlock(bg), godlm.ErrSubLocks)
			must(t, sub.Unlock(bg))
			must(t, above.Unlock(bg))
			_, err = above.Lock(bg, "sub", godlm.NL)
			wants(t, err, godlm.ErrUnlocked)
		})
	}
}

// Contexts end at all moments of requests that are granted or not: nothing stays behind.
func TestCancelRaces(t *testing.T) {
	ns := join(t)
	p := newPuppet(t)
	for _, name := range []string{"race-here", "race-there"} {
		if name == "race-there" {
			p.do("ok", "lock %s NL", name)
		} else {
			defer func(l *godlm.Lock) { must(t, l.Unlock(bg)) }(lock(t, ns, name, godlm.NL))
		}
		var got, not atomic.Int32
		var all sync.WaitGroup
		var inside atomic.Int32
		for range 4 {
			all.Go(func() {
				for range 200 {
					ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(300))*time.Microsecond)
					l, err := ns.Lock(ctx, name, godlm.EX)
					if err != nil {
						not.Add(1)
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						cancel()
						continue
					}
					got.Add(1)
					if inside.Add(1) != 1 {
						t.Error("two are inside")
					}
					inside.Add(-1)
					if err := l.Unlock(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		all.Wait()
		must(t, lock(t, ns, name, godlm.EX).Unlock(bg))
		until(t, "only one lock is left", func() bool {
			i, err := ns.Info(bg, name)
			must(t, err)
			return i.Locks == 1
		})
		t.Logf("%s: %d granted, %d given up", name, got.Load(), not.Load())
	}
}

func TestBlocking(t *testing.T) {
	ns := join(t)
	p := newPuppet(t)
	told := make(chan godlm.Blocking, 1)
	l := lock(t, ns, "blocking", godlm.EX, godlm.OnBlocking(func(b godlm.Blocking) {
		if b.Lock.Mode() == godlm.EX {
			must(t, b.Lock.Convert(bg, godlm.NL, godlm.Write(text(t, "given"))))
		}
		told <- b
	}))
	p.do("ok \"given\" true", "lock blocking PR")
	if b := <-told; b.Lock != l || b.Mode != godlm.PR {
		t.Fatalf("%+v", b)
	}
	// It stays with the lock.
	p.do("ok", "unlock blocking")
	must(t, l.Convert(bg, godlm.EX))
	p.do("ok", "lock blocking CR")
	if b := <-told; b.Mode != godlm.CR {
		t.Fatalf("%+v", b)
	}

	// A hint comes with the request.
	must(t, l.Convert(bg, godlm.PR))
	other, err := ns.Lock(bg, "blocking", godlm.EX, godlm.Hint(77), godlm.Timeout(time.Hour), godlm.WhileWaiting(time.Millisecond, func(list []godlm.Blocker) {
		for _, b := range list {
			if b.Mode == godlm.CR && strings.Contains(b.Text, fmt.Sprint(p.cmd.Process.Pid)) {
				p.do("ok", "unlock blocking")
				must(t, l.Unlock(bg))
			}
		}
	}))
	must(t, err)
	if b := <-told; b.Hint != 77 {
		t.Fatalf("%+v", b)
	}
	must(t, other.Unlock(bg))
}

// Goroutines that wait for each other in a circle: one is told.
func TestDeadlock(t *testing.T) {
	ns := join(t)
	results := make(chan error, 2)
	var both sync.WaitGroup
	both.Add(2)
	for i, names := range [][2]string{{"da", "db"}, {"db", "da"}} {
		go func() {
			tx := godlm.LocalTransaction(uint64(i + 1))
			first, err := ns.Lock(bg, names[0], godlm.EX, tx)
			both.Done()
			if err != nil {
				results <- err
				return
			}
			both.Wait()
			second, err := ns.Lock(bg, names[1], godlm.EX, tx)
			results <- errors.Join(err, first.Unlock(bg))
			if err == nil {
				err = second.Unlock(bg)
			}
			results <- err
		}()
	}
	refused := 0
	for range 4 {
		if err := <-results; errors.Is(err, godlm.ErrDeadlock) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 2 { // one is, and says so twice
		t.Errorf("%d refused", refused)
	}
}

func TestTokens(t *testing.T) {
	ns := join(t)
	var last godlm.Token
	for _, m := range []godlm.Mode{godlm.EX, godlm.PW, godlm.EX} {
		l := lock(t, ns, "token", m)
		tok, err := l.Token()
		must(t, err)
		if tok.Compare(last) <= 0 || tok.String() <= last.String() {
			t.Errorf("%v after %v", tok, last)
		}
		if back, err := godlm.ParseToken(tok.String()); err != nil || back != tok {
			t.Errorf("%v, %v", back, err)
		}
		last = tok
		must(t, l.Convert(bg, godlm.PR))
		_, err = l.Token()
		wants(t, err, godlm.ErrBadParam)
		must(t, l.Unlock(bg))
		_, err = l.Token()
		wants(t, err, godlm.ErrUnlocked)
	}
}

func TestInfo(t *testing.T) {
	ns := join(t)
	_, err := ns.Info(bg, "info")
	wants(t, err, godlm.ErrNoResource)
	_, err = ns.Info(bg, "")
	wants(t, err, godlm.ErrBadName)
	l := lock(t, ns, "info", godlm.CR)
	m := lock(t, ns, "info", godlm.PR)
	sub, err := l.Lock(bg, "below", godlm.EX)
	must(t, err)
	must(t, sub.Convert(bg, godlm.NL, godlm.Write(text(t, "deep"))))
	i, err := ns.Info(bg, "info")
	must(t, err)
	if i.Locks != 2 || i.GroupMode != godlm.PR || i.AtGroupMode != 1 || i.SubResources != 1 || !i.Block.Valid {
		t.Errorf("%+v", i)
	}
	i, err = l.Info(bg, "below")
	must(t, err)
	if i.Locks != 1 || i.Block.Value.Text() != "deep" {
		t.Errorf("%+v", i)
	}
	for _, l := range []*godlm.Lock{sub, l, m} {
		must(t, l.Unlock(bg))
	}
}

// Close ends who waits, and what is held in EX is as if the program had died.
func TestClose(t *testing.T) {
	stay := join(t)
	keep := lock(t, stay, "close", godlm.NL)
	ns, err := godlm.Join(bg)
	must(t, err)
	held := lock(t, ns, "close", godlm.EX)
	must(t, held.Convert(bg, godlm.EX, godlm.Write(text(t, "half"))))
	sub, err := held.Lock(bg, "sub", godlm.EX)
	must(t, err)
	waits := make(chan error)
	go func() {
		_, err := ns.Lock(bg, "close", godlm.PR)
		waits <- err
	}()
	until(t, "it waits", func() bool { i, err := stay.Info(bg, "close"); return err == nil && i.WaitMode == godlm.PR })
	must(t, ns.Close())
	wants(t, <-waits, godlm.ErrClosed)
	<-ns.Done()
	wants(t, ns.Err(), godlm.ErrClosed)
	for _, err := range []error{held.Convert(bg, godlm.NL), sub.Unlock(bg)} {
		wants(t, err, godlm.ErrClosed)
	}
	_, err = ns.Lock(bg, "close", godlm.NL)
	wants(t, err, godlm.ErrClosed)
	must(t, ns.Close())
	must(t, keep.Convert(bg, godlm.EX))
	block(t, keep, "half", false)
	must(t, keep.Unlock(bg))
	if stay.Err() != nil {
		t.Error(stay.Err())
	}
}

// Every Join of a directory shares one membership; another directory is another one.
func TestSessions(t *testing.T) {
	dir, err := os.MkdirTemp("", "g")
	must(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				a, err := godlm.Join(bg, godlm.Dir(dir))
				if err != nil {
					t.Error(err)
					return
				}
				l, err := a.Lock(bg, "s", godlm.EX)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(l.Unlock(bg), a.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	a, b := join(t, godlm.Dir(dir)), join(t, godlm.Dir(dir), godlm.Cluster("other"))
	c := join(t, godlm.Dir(dir))
	x := lock(t, a, "s", godlm.EX)
	y := lock(t, b, "s", godlm.EX)
	_, err = c.Lock(bg, "s", godlm.EX, godlm.NoQueue())
	wants(t, err, godlm.ErrNotQueued)
	must(t, x.Unlock(bg))
	must(t, y.Unlock(bg))
	group := join(t, godlm.Dir(dir), godlm.Group(os.Getegid()))
	g := lock(t, group, "s", godlm.EX)
	must(t, lock(t, a, "s", godlm.EX).Unlock(bg))
	must(t, g.Unlock(bg))
}

func TestCannotJoin(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "c.toml")
	must(t, os.WriteFile(config, []byte("mastr = \"agent\"\n"), 0o600))
	_, err := godlm.Join(bg, godlm.Getenv(func(name string) string {
		return map[string]string{"GODLM_CONFIG": config, "GODLM_DIR": dir}[name]
	}))
	wants(t, err, godlm.ErrNoSys)
	if !strings.Contains(err.Error(), "c.toml:1:1: unknown key mastr") {
		t.Error(err)
	}
	_, err = godlm.Join(bg, godlm.Group(4294967294))
	wants(t, err, godlm.ErrNoAccess)
	_, err = godlm.Join(bg, godlm.Cluster("a/b"))
	wants(t, err, godlm.ErrNoSys)

	// An agent that is stopped keeps newcomers waiting, as long as they like.
	p := newPuppet(t)
	must(t, p.cmd.Process.Signal(unix.SIGSTOP))
	until(t, "it is stopped", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err == nil && strings.Contains(string(b), ") T ")
	})
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	_, err = godlm.Join(ctx, godlm.Log(slog.New(slog.DiscardHandler)))
	wants(t, err, context.DeadlineExceeded)
	if !strings.Contains(err.Error(), "which is stopped") {
		t.Error(err)
	}
	must(t, p.cmd.Process.Signal(unix.SIGCONT))
	must(t, join(t).Err())
}

func TestRecoveryDomain(t *testing.T) {
	ns := join(t)
	d, err := ns.Attach(bg, "books")
	must(t, err)
	_, err = ns.Attach(bg, "books")
	wants(t, err, godlm.ErrAttached)
	l := lock(t, ns, "ledger", godlm.EX, godlm.Persistent(d))
	must(t, l.Convert(bg, godlm.EX, godlm.Write(text(t, "balance"))))
	_, err = ns.Lock(bg, "ledger", godlm.NL)
	wants(t, err, godlm.ErrPersistent)
	wants(t, d.Detach(bg), godlm.ErrHasLocks)
	must(t, l.Unlock(bg, godlm.Invalidate()))

	// Nobody has a lock on it, and it is not forgotten.
	l = lock(t, ns, "ledger", godlm.NL, godlm.Persistent(d))
	block(t, l, "balance", false)
	repaired := 0
	fail := errors.New("no log")
	wants(t, d.Recover(bg, func(context.Context) error { return fail }), fail)
	must(t, d.Recover(bg, func(context.Context) error { repaired++; return nil }))
	must(t, l.Convert(bg, godlm.NL))
	block(t, l, "", true)
	if repaired != 1 {
		t.Errorf("repaired %d times", repaired)
	}
	must(t, l.Unlock(bg))
	must(t, d.Detach(bg))
	wants(t, d.Detach(bg), godlm.ErrDomain)
	d, err = ns.Attach(bg, "books")
	must(t, err)
	must(t, d.Invalidate(bg))
}

// A program that loses its locks is told, also while it waits for something else.
func TestLost(t *testing.T) {
	ns := join(t)
	lock(t, ns, "other", godlm.NL)
	p := newPuppet(t)
	p.do("ok", "lock other NL") // for a connection
	p.do("ok", "lock lost EX")
	p.do("GODLM_LOST", "break")
	p.do("GODLM_LOST", "lock lost NL")
	l := lock(t, ns, "lost", godlm.EX) // others get them
	must(t, l.Unlock(bg))
	p.do("ok", "again")
	p.do("ok", "lock lost EX")
	_, err := ns.Lock(bg, "lost", godlm.NL, godlm.Timeout(time.Second))
	must(t, err)
}

// With GODLM_ON_LOST=abort the program is ended.
func TestAbortOnLost(t *testing.T) {
	ns := join(t)
	lock(t, ns, "other", godlm.NL)
	t.Setenv("GODLM_ON_LOST", "abort")
	p := newPuppet(t)
	p.do("ok", "lock other NL") // for a connection
	p.cmd.Stderr = nil
	p.say("break")
	if p.out.Scan() {
		t.Errorf("it goes on: %s", p.out.Text())
	}
	if err := p.cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
}

// A program that joins and leaves again and again keeps nothing.
func TestNothingIsLeft(t *testing.T) {
	left := func() (files, maps int) {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		b, err := os.ReadFile("/proc/self/maps")
		must(t, err)
		return len(fds), strings.Count(string(b), os.Getenv("GODLM_DIR"))
	}
	turn := func() {
		ns, err := godlm.Join(bg)
		must(t, err)
		lock(t, ns, "turn", godlm.EX)
		must(t, ns.Close())
	}
	turn()
	files, maps := left()
	for range 5 {
		turn()
	}
	if f, m := left(); f != files || m != maps {
		t.Errorf("%d descriptors and %d mappings, then %d and %d", files, maps, f, m)
	}
}

func BenchmarkLockUnlock(b *testing.B) {
	ns, err := godlm.Join(bg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	for b.Loop() {
		l, err := ns.Lock(bg, "bench", godlm.EX)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Unlock(bg); err != nil {
			b.Fatal(err)
		}
	}
}
