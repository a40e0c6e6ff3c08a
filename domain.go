package godlm

import (
	"context"
	"errors"
	"fmt"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// MaxDomainName is the longest name of a recovery domain (DLM_RDNAMELEN).
const MaxDomainName = 64

// Domain is a recovery domain: a named set of persistent resources, whose value blocks stay
// marked as not valid also when everybody who used them is gone. See dlm_rd_attach(3).
//
// Its calls wait for the agent's answer also when their context is done while that is on its
// way, since they change what the program has; the agent answers at once, or another
// program becomes the agent.
type Domain struct {
	ns     *Namespace
	name   string
	digest proto.Digest
}

// Attach attaches this program to a recovery domain. A program, that is a session, can be
// attached to each once.
func (ns *Namespace) Attach(ctx context.Context, name string) (*Domain, error) {
	if len(name) < 1 || len(name) > MaxDomainName {
		return nil, bad("attach to domain", name, "its name has 1 to %d bytes", MaxDomainName)
	}
	d := &Domain{ns: ns, name: name, digest: proto.DomainDigest(name)}
	s := ns.session
	s.domains.Lock()
	taken := s.domains.of[name] != nil
	if !taken {
		s.domains.of[name] = ns
	}
	s.domains.Unlock()
	if taken {
		return nil, &Error{"attach to domain", name, ErrAttached, nil}
	}
	if _, err := d.ask(ctx, "attach to domain", proto.DomainAttach, 0); err != nil {
		s.forgetDomain(name)
		return nil, err
	}
	return d, nil
}

func (s *session) forgetDomain(name string) {
	s.domains.Lock()
	defer s.domains.Unlock()
	delete(s.domains.of, name)
	delete(s.domains.open, name)
}

// leaveDomains detaches a namespace that is closed from its domains. Nobody waits for the
// answers.
func (ns *Namespace) leaveDomains() {
	s := ns.session
	s.domains.Lock()
	var names []string
	for name, of := range s.domains.of {
		if of == ns {
			names = append(names, name)
		}
	}
	s.domains.Unlock()
	for _, name := range names {
		w := s.waits.take(nil, 0)
		var r process.Result
		if s.enter() == nil {
			s.node.Process().Domain(&process.DomainRequest{What: proto.DomainLeave, Name: name, Token: w.token}, &r)
			s.node.Process().Detach(0, w.token)
			s.leave()
		}
		s.waits.put(w)
		s.forgetDomain(name)
	}
}

// Name is the domain's.
func (d *Domain) Name() string { return d.name }

// Detach ends the attachment: ErrHasLocks while this program has locks in the domain.
func (d *Domain) Detach(ctx context.Context) error {
	_, err := d.ask(ctx, "detach from domain", proto.DomainDetach, 0)
	if err == nil {
		d.ns.session.forgetDomain(d.name)
	}
	return err
}

// Invalidate is Detach that marks all value blocks of the domain as not valid, and those that
// are added until it is recovered.
func (d *Domain) Invalidate(ctx context.Context) error {
	_, err := d.ask(ctx, "invalidate domain", proto.DomainInvalidate, 0)
	if err == nil {
		d.ns.session.forgetDomain(d.name)
	}
	return err
}

// Recover has the domain recovered: repair is called when those resources are known whose
// blocks are not valid, and again for those that became so meanwhile. Then their blocks are
// zero and valid, but those that somebody has written. ErrRecovering if another program is
// at it. When repair fails, its error is returned and nothing is changed; the collection stays
// open until this program ends or Recover is called again.
func (d *Domain) Recover(ctx context.Context, repair func(context.Context) error) error {
	for {
		n, err := d.collect(ctx)
		if err != nil {
			return err
		}
		if err := repair(ctx); err != nil {
			return err
		}
		st, err := d.ask(ctx, "validate domain", proto.DomainValidate, n)
		if err == nil {
			d.setCollection(0)
		}
		if err != nil || st != dlm.MoreToRecover {
			return err
		}
	}
}

// collect opens a collection, or goes on with the one that is open.
func (d *Domain) collect(ctx context.Context) (uint64, error) {
	s := d.ns.session
	s.domains.Lock()
	n := s.domains.open[d.name]
	s.domains.Unlock()
	if n != 0 {
		return n, nil
	}
	_, err := d.askNumber(ctx, "collect in domain", proto.DomainCollect, &n)
	if err == nil {
		d.setCollection(n)
	}
	return n, err
}

func (d *Domain) setCollection(n uint64) {
	s := d.ns.session
	s.domains.Lock()
	defer s.domains.Unlock()
	s.domains.open[d.name] = n
}

func (d *Domain) ask(ctx context.Context, op string, what uint32, number uint64) (dlm.Status, error) {
	return d.askNumber(ctx, op, what, &number)
}

// askNumber asks the agent; number is a collection's, in or out.
func (d *Domain) askNumber(ctx context.Context, op string, what uint32, number *uint64) (dlm.Status, error) {
	if ctx.Err() != nil {
		return 0, &Error{op, d.name, ErrCanceled, ctx.Err()}
	}
	s := d.ns.session
	st, err := s.question(context.WithoutCancel(ctx), func(token uint64, r *process.Result) {
		s.node.Process().Domain(&process.DomainRequest{What: what, Name: d.name, Number: *number, Token: token}, r)
	}, func(_ *process.Result, a *answer) { *number = a.number })
	if st == dlm.MoreToRecover && err == nil {
		return st, nil
	}
	err = told(op, d.name, st, err)
	if errors.Is(err, ErrDomain) {
		err = fmt.Errorf("%w (detached already?)", err)
	}
	return st, err
}
