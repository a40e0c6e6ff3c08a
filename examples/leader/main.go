// Leader runs in several copies, on one host or many. One of them leads and carries out
// the orders that it reads, a line each; the others wait, and one of them goes on when the
// leader gives way or dies.
//
//	leader FILE               take part; orders come on standard input
//	leader FILE TOKEN ORDER   write as a leader of that term would: what a late one meets
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/godlm/godlm"
)

func main() {
	log.SetFlags(0)
	var err error
	switch len(os.Args) {
	case 2:
		err = takePart(store{os.Args[1]})
	case 4:
		var term godlm.Token
		if term, err = godlm.ParseToken(os.Args[2]); err == nil {
			err = store{os.Args[1]}.write(term, os.Args[3])
		}
	default:
		log.Fatal("usage: leader FILE [TOKEN ORDER]")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func takePart(s store) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ns, err := godlm.Join(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }() // nothing is held then, or all is lost
	fmt.Println("waiting")

	// All copies come here; one at a time gets through, for as long as it likes. There is
	// no lease to renew: the lock ends with this program, not with a clock.
	l, err := ns.Lock(ctx, "leader", godlm.EX)
	if err != nil {
		return err
	}
	if err := lead(ctx, ns, l, s); err != nil {
		return err
	}
	return l.Unlock(context.Background()) // ctx may be done
}

// lead returns when the orders end, when the program is asked to end, and when it must not
// lead any more.
func lead(ctx context.Context, ns *godlm.Namespace, l *godlm.Lock, s store) error {
	// Each term has a larger token than those before it. The store hears of the new one
	// before anything else is done, and from then on refuses what an older leader had
	// under way.
	term, err := l.Token()
	if err != nil {
		return err
	}
	if err := s.write(term, "begins"); err != nil {
		return err
	}
	fmt.Println("leading", term)
	if !l.Block().Valid { // only those who were waiting are told
		fmt.Println("the leader before has died: see what it left half done")
		// And when that is mended, say so: this write makes the value block valid.
		if err := l.Convert(ctx, godlm.EX, godlm.Write(l.Block().Value)); err != nil {
			return err
		}
	}
	orders := make(chan string)
	go read(orders)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ns.Done(): // cut off from the other hosts: another one leads, or will
			return ns.Err()
		case order, more := <-orders:
			if !more {
				return nil
			}
			if err := s.write(term, order); err != nil {
				return err
			}
			fmt.Println("written", order)
		}
	}
}

func read(orders chan<- string) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		orders <- in.Text()
	}
	close(orders)
}
