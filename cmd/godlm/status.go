package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/net/node"
)

// status is what `godlm status` has found.
type status struct {
	Directory string       `json:"directory"`
	Programs  int          `json:"programs"`
	Agent     int          `json:"agent"` // its pid; 0: nobody has the role, or it is not visible here
	Stalls    []string     `json:"stalls"`
	Reasons   []host.Stall `json:"reasons"` // the same for programs
	// Hosts is what the agent knows of the cluster; missing if this host is alone.
	Hosts *node.Report `json:"hosts,omitempty"`
}

const (
	// patience is for how long an agent is missed before that is told: one program after
	// the other may have the role.
	patience  = time.Second
	lookAgain = 20 * time.Millisecond
)

func newStatus(o *options) *cobra.Command {
	return o.jsonFlag(&cobra.Command{
		Use:   "status",
		Short: "Tell whether anything keeps programs waiting",
		Long: "Tell whether anything keeps programs waiting: an agent that is missing or stopped, a stopped\n" +
			"program, for whose locks and resources others may wait, and among several hosts a majority that is\n" +
			"missing, a host that was removed and whose lease has to end, resources that are rebuilt. The exit\n" +
			"status is 3 then.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.status()
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), s)
			} else {
				err = s.print(c)
			}
			switch {
			case err != nil:
				return err
			case len(s.Stalls) > 0:
				return &exit{status: exitStall}
			case s.Programs == 0:
				return &exit{status: exitNobody}
			}
			return nil
		},
	})
}

// status looks at the runtime directory, and asks its agent.
func (o *options) status() (*status, error) {
	begun := time.Now()
	for {
		list, path, err := o.members()
		if err != nil {
			return nil, err
		}
		s, missed := judge(list), time.Since(begun)
		s.Directory = path
		if s.agentless(list) {
			if missed < patience {
				time.Sleep(lookAgain)
				continue
			}
			s.miss(path, missed)
		}
		mute := error(nil)
		if s.Programs > 0 {
			if mute, err = s.ask(o); err != nil {
				return nil, err
			}
		}
		switch missed = time.Since(begun); {
		case mute == nil || len(s.Stalls) > 0:
			return s, nil
		case missed >= patience:
			s.add(host.Stall{Kind: node.MuteAgent, Text: fmt.Sprintf("%v, since at least %s", mute, span(missed)), Since: int64(missed), Bound: host.AtLeast})
			return s, nil
		}
		time.Sleep(lookAgain)
	}
}

// judge finds which programs keep others waiting.
func judge(list []member) *status {
	s := &status{Stalls: []string{}, Reasons: []host.Stall{}}
	for _, m := range list {
		if m.State == node.Ended {
			continue
		}
		s.Programs++
		if m.Agent {
			s.Agent = m.Pid
		}
		if m.State == node.Stopped {
			kind, who, what := node.StoppedProgram, "program", "who asks for its locks, or for resources that it decides about, waits"
			if m.Agent {
				kind, who, what = node.StoppedAgent, "the agent, program", "who joins, looks for a resource or comes to its end waits"
			}
			s.add(host.Stall{Kind: kind, Since: int64(m.since), Bound: m.bound,
				Text: fmt.Sprintf("%s %s (pid %d) is stopped, since %s %s: %s; continue it (kill -CONT %d) or end it",
					who, m.Program, m.Pid, m.bound, span(m.since), what, m.Pid)})
		}
	}
	return s
}

func (s *status) add(x host.Stall) {
	s.Stalls, s.Reasons = append(s.Stalls, x.Text), append(s.Reasons, x)
}

// agentless reports whether nobody is the agent, as far as can be seen here.
func (s *status) agentless(list []member) bool {
	hidden := slices.ContainsFunc(list, func(m member) bool { return m.State == node.Hidden })
	return s.Programs > 0 && s.Agent == 0 && !hidden
}

// miss tells that nobody is the agent. How long that was so before anybody looked nobody
// knows, but that it is not longer than since the last agent began.
func (s *status) miss(path string, missed time.Duration) {
	last := ""
	if begun, err := node.AgentBegan(path); err == nil {
		last = fmt.Sprintf(" (the last one began %s ago)", span(max(missed, time.Since(begun))))
	}
	s.add(host.Stall{Kind: node.NoAgent, Since: int64(missed), Bound: host.AtLeast,
		Text: fmt.Sprintf("nobody is the agent, since at least %s%s: every program is stopped or refuses the runtime directory; continue one, or start godlm agent",
			span(missed), last)})
}

// ask adds what the agent knows of other hosts. It reports as mute that the agent does not
// answer.
func (s *status) ask(o *options) (mute, err error) {
	s.Hosts, err = o.hosts(s.Directory)
	switch {
	case errors.Is(err, node.ErrMute):
		return err, nil
	case err != nil:
		return nil, err
	case s.Hosts != nil:
		s.Stalls, s.Reasons = append(s.Stalls, s.Hosts.Stalls...), append(s.Reasons, s.Hosts.Reasons...)
	}
	return nil, nil
}

func (s *status) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	switch {
	case s.Programs == 0:
		return printf(w, "no program uses %s\n", s.Directory)
	case len(s.Stalls) == 0:
		if err := printf(w, "all is well: %d programs in %s, the agent is pid %d\n", s.Programs, s.Directory, s.Agent); err != nil || s.Hosts == nil {
			return err
		}
		return printf(w, "host %s is one of %d; host %s leads, host %s coordinates; the lease goes on for %v\n",
			s.Hosts.Host, len(s.Hosts.Hosts), s.Hosts.Leader, s.Hosts.Coordinator, time.Duration(s.Hosts.Lease).Round(10*time.Millisecond))
	}
	for _, line := range s.Stalls {
		if err := printf(w, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
