package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/node"
)

// status is what `godlm status` has found.
type status struct {
	Directory string   `json:"directory"`
	Programs  int      `json:"programs"`
	Agent     int      `json:"agent"` // its pid; 0: nobody has the role, or it is not visible here
	Stalls    []string `json:"stalls"`
}

func newStatus(o *options) *cobra.Command {
	return o.jsonFlag(&cobra.Command{
		Use:   "status",
		Short: "Tell whether anything keeps programs waiting",
		Long: "Tell whether anything keeps programs waiting: an agent that is missing or stopped, or a stopped\n" +
			"program, for whose locks and resources others may wait. The exit status is 3 then.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, path, err := o.members()
			if err != nil {
				return err
			}
			s := judge(list)
			s.Directory = path
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

func (s *status) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	switch {
	case s.Programs == 0:
		return printf(w, "no program uses %s\n", s.Directory)
	case len(s.Stalls) == 0:
		return printf(w, "all is well: %d programs in %s, the agent is pid %d\n", s.Programs, s.Directory, s.Agent)
	}
	for _, line := range s.Stalls {
		if err := printf(w, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
