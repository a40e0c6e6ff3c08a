package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/node"
)

// status is what `godlm status` has found.
type status struct {
	Directory string   `json:"directory"`
	Programs  int      `json:"programs"`
	Agent     int      `json:"agent"` // its pid; 0: nobody has the role, or it is not visible here
	Stalls    []string `json:"stalls"`
	// Hosts is what the agent knows of the cluster; missing if this host is alone.
	Hosts *node.Report `json:"hosts,omitempty"`
}

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
			list, path, err := o.members()
			if err != nil {
				return err
			}
			s := judge(list)
			s.Directory = path
			if s.Programs > 0 {
				if err := s.ask(o); err != nil {
					return err
				}
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), &s)
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

// judge finds what keeps others waiting.
func judge(list []member) status {
	s := status{Stalls: []string{}}
	hidden := false
	for _, m := range list {
		if m.State == node.Ended {
			continue
		}
		s.Programs++
		hidden = hidden || m.State == node.Hidden
		if m.Agent {
			s.Agent = m.Pid
		}
		if m.State == node.Stopped {
			who, what := "program", "who asks for its locks, or for resources that it decides about, waits"
			if m.Agent {
				who, what = "the agent, program", "who joins, looks for a resource or comes to its end waits"
			}
			s.Stalls = append(s.Stalls, fmt.Sprintf("%s %s (pid %d) is stopped: %s; continue it (kill -CONT %d) or end it",
				who, m.Program, m.Pid, what, m.Pid))
		}
	}
	if s.Programs > 0 && s.Agent == 0 && !hidden {
		s.Stalls = append(s.Stalls, "nobody is the agent; if that lasts, every program is stopped or refuses the runtime directory")
	}
	return s
}

// ask adds what the agent knows of other hosts.
func (s *status) ask(o *options) (err error) {
	s.Hosts, err = o.hosts(s.Directory)
	switch {
	case errors.Is(err, node.ErrMute):
		if len(s.Stalls) == 0 {
			s.Stalls = append(s.Stalls, err.Error())
		}
		return nil
	case err != nil:
		return err
	case s.Hosts != nil:
		s.Stalls = append(s.Stalls, s.Hosts.Stalls...)
	}
	return nil
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
