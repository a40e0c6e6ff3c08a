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
		report.Stalls = append(report.Stalls, fmt.Sprintf("the agent of this host is leaving, since %.1f s; another one has yet to take over what it has", time.Since(l.since).Seconds()))
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

// askAgent says one thing to the agent and waits for the answer.
func askAgent(path string, m *proto.Msg, kind proto.Kind) (answer *proto.Msg, err error) {
	if _, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMute, err)
	}
	d, err := rundir.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	fd, err := link.Dial(d.AgentSock())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMute, err)
	}
	conn := os.NewFile(uintptr(fd), "agent.sock")
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return nil, err
	}
	frame, err := link.AppendFrame(nil, m)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(frame); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMute, err)
	}
	answer, err = link.ReadFrame(conn)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMute, err)
	case answer.Kind == proto.KReject:
		return nil, errors.New(answer.Text)
	}
	return answer, between(answer, kind, kind)
}
