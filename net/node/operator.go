package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/rundir"
)

// What people ask an agent, who are no members.

// askTime bounds how long an agent is asked.
const askTime = 10 * time.Second

// ErrMute: there is no agent, or it does not answer.
var ErrMute = errors.New("the agent of this host does not answer")

// Report is what an agent knows of the hosts.
type Report struct {
	host.Report
	// Refused counts connections between hosts that were not let in, by reason.
	Refused map[string]int `json:"refused"`
}

// operator answers a command.
func (h *fromMember) operator(c *link.Conn, m *proto.Msg) error {
	r := h.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errNotNow
	}
	if m.Kind == proto.KEvict {
		r.host.Evict(m.Text, m.Flags&proto.EvictEnded != 0, func(err error) {
			answer := &proto.Msg{Kind: proto.KEvicted, Number: m.Number}
			if err != nil {
				answer.Text = err.Error()
			}
			c.Send(answer)
		})
		return nil
	}
	report := &Report{*r.host.Report(), r.hosts.counts()}
	if l := r.leaving; l != nil && !l.asked {
		since := time.Since(l.since)
		report.Add(host.Stall{Kind: host.Leaving, Since: int64(since), Bound: host.Exact,
			Text: fmt.Sprintf("the agent of this host is leaving, since %.1f s; another one has yet to take over what it has", since.Seconds())})
	}
	b, err := json.Marshal(report)
	if err != nil {
		return err
	}
	c.Send(&proto.Msg{Kind: proto.KStatusIs, Data: b})
	return nil
}

// counts is how often hosts were not let in, by reason.
func (h *hosts) counts() map[string]int { return h.node().unwelcome.snapshot() }

// AskStatus asks the agent of a runtime directory for its Report.
func AskStatus(path string) (*Report, error) {
	m, err := askAgent(path, &proto.Msg{Kind: proto.KStatus}, proto.KStatusIs)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(m.Data, r); err != nil {
		return nil, fmt.Errorf("the agent's answer: %w", err)
	}
	return r, nil
}

// Evict has the agent of a runtime directory remove a host from the cluster; see
// host.Host.
func Evict(path, name string, ended bool) error {
	m := &proto.Msg{Kind: proto.KEvict, Text: name}
	if ended {
		m.Flags = proto.EvictEnded
	}
	m, err := askAgent(path, m, proto.KEvicted)
	if err != nil {
		return err
	}
	if m.Text != "" {
		return errors.New(m.Text)
	}
	return nil
}

// lookTime is how much longer than agents an agent is waited for that tells what it sees.
const lookTime = 3 * time.Second

// Look asks the agent of a runtime directory for what is to be seen, on all hosts, and
// hands every part of the answer to each. Who has not answered is in the last part.
func Look(path string, q *proto.Inquiry, each func(*proto.Sight) error) error {
	return withDir(path, func(d *rundir.Dir) error { return look(d, q, each) })
}

// Look does the same from within a member.
func (n *Node) Look(q *proto.Inquiry, each func(*proto.Sight) error) error {
	return look(n.dir, q, each)
}

func look(d *rundir.Dir, q *proto.Inquiry, each func(*proto.Sight) error) error {
	patience := time.Duration(q.Patience)
	if patience <= 0 {
		patience = gatherTime
	}
	return withAgent(d, patience+lookTime, &proto.Msg{Kind: proto.KInspect, Number: 1, Inquiry: q}, func(answer *proto.Msg) (bool, error) {
		if err := between(answer, proto.KSeen, proto.KSeen); err != nil {
			return false, err
		}
		return !answer.Sight.End, each(answer.Sight)
	})
}

// askAgent says one thing to the agent and waits for the answer.
func askAgent(path string, m *proto.Msg, kind proto.Kind) (answer *proto.Msg, err error) {
	err = withDir(path, func(d *rundir.Dir) error {
		return withAgent(d, askTime, m, func(a *proto.Msg) (bool, error) {
			answer = a
			return false, between(a, kind, kind)
		})
	})
	return answer, err
}

// withDir opens a runtime directory of which this process is no member.
func withDir(path string, do func(*rundir.Dir) error) (err error) {
	if _, err := os.Lstat(path); err != nil {
		return fmt.Errorf("%w: %w", ErrMute, err)
	}
	d, err := rundir.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

// withAgent says one thing to the agent and hands what it answers to take, until that
// wants no more.
func withAgent(d *rundir.Dir, patience time.Duration, m *proto.Msg, take func(*proto.Msg) (more bool, err error)) (err error) {
	fd, err := link.Dial(d.AgentSock())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMute, err)
	}
	conn := os.NewFile(uintptr(fd), "agent.sock")
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	frame, err := link.AppendFrame(nil, m)
	if err != nil {
		return err
	}
	if _, err := conn.Write(frame); err != nil {
		return fmt.Errorf("%w: %w", ErrMute, err)
	}
	for more := true; more; {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		answer, err := link.ReadFrame(conn)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w within %v; it is %s", ErrMute, patience, describe(d.AgentPid()))
		case err != nil:
			return fmt.Errorf("%w: %w", ErrMute, err)
		case answer.Kind == proto.KReject:
			return errors.New(answer.Text)
		}
		if more, err = take(answer); err != nil {
			return err
		}
	}
	return nil
}
