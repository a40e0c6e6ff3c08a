package cli

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/net/node"
)

// saysSince is how the line of a stall says since when.
var saysSince = regexp.MustCompile(`(since( at least| at most)?|removed( at least)?|asked for) [0-9.]+ (s|min|h)\b`)

// stall is one in the output of status --json.
type stall struct {
	Kind, Text, Bound string
	Since             int64 `json:"since_ns"`
}

// stalls are those that status tells of, each with since when, in words and in numbers.
func (p *place) stalls() []stall {
	p.t.Helper()
	out, errs, code := p.run("status", "--json")
	if code == 4 {
		return nil // no program has begun yet
	}
	if errs != "" || code != 0 && code != 3 {
		p.t.Fatalf("status %d\n%s%s", code, out, errs)
	}
	p.conforms("status", out)
	var s struct {
		Stalls  []string
		Reasons []stall
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		p.t.Fatal(err)
	}
	if len(s.Stalls) != len(s.Reasons) || (len(s.Stalls) > 0) != (code == 3) {
		p.t.Fatalf("status %d: %d stalls, %d reasons\n%s", code, len(s.Stalls), len(s.Reasons), out)
	}
	for i, r := range s.Reasons {
		bounded := strings.Contains(r.Text, string(host.AtLeast)) || strings.Contains(r.Text, string(host.AtMost))
		if r.Text != s.Stalls[i] || !saysSince.MatchString(r.Text) || r.Since < 0 || bounded != (r.Bound != string(host.Exact)) {
			p.t.Errorf("since when? %+v", r)
		}
	}
	return s.Reasons
}

// stalled waits until status tells of a stall of a kind that has lasted so long.
func (p *place) stalled(kind string, least time.Duration) (found stall) {
	p.t.Helper()
	p.until("a stall: "+kind, func() bool {
		for _, s := range p.stalls() {
			if s.Kind == kind && s.Since >= int64(least) {
				found = s
				return true
			}
		}
		return false
	})
	p.t.Logf("%+v", found)
	return found
}

// Every kind of stall says since when. Those of a host that is seen from outside, and those
// that need no more than agents, are brought about here; package host does the others.
func TestEachStallSaysSinceWhen(t *testing.T) {
	here := map[string]func(t *testing.T, kind string){
		node.StoppedProgram: stopProgram,
		node.StoppedAgent:   stopAgent,
		node.NoAgent:        stopAllAndKillTheAgent,
		node.MuteAgent:      hideTheSocket,
		host.NoCluster:      beginAlone,
		host.NoQuorum:       loseTheOthers,
		host.HostOut:        loseOne,
	}
	kinds := slices.Concat(node.OutsideKinds, host.StallKinds)
	for kind := range here {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s is no kind", kind)
		}
	}
	page, err := os.ReadFile("../../man/man1/godlm-status.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if !strings.Contains(string(page), "\n.B "+kind+"\n") {
			t.Errorf("the manual page does not explain %q", kind)
		}
	}
	for _, name := range []string{"status", "hosts"} {
		if list := schemaKinds(t, name); !slices.Equal(list, slices.Sorted(slices.Values(kinds))) {
			t.Errorf("kinds in the schema of %s: %q, want %q", name, list, kinds)
		}
	}
	for _, kind := range node.OutsideKinds {
		if here[kind] == nil {
			t.Errorf("nothing brings about %q", kind)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(here)) {
		t.Run(kind, func(t *testing.T) { here[kind](t, kind) })
	}
}

// schemaKinds are the kinds that a schema knows, in order.
func schemaKinds(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("schema", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Defs struct {
			Reason struct {
				Properties struct{ Kind struct{ Enum []string } }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(s.Defs.Reason.Properties.Kind.Enum))
}

// stopped checks since when a program is stopped that has run until begun, and not since.
func stopped(p *place, kind string, begun time.Time) {
	p.t.Helper()
	s := p.stalled(kind, time.Second/2)
	passed := time.Since(begun)
	switch s.Bound {
	case string(host.AtLeast):
		if s.Since > int64(passed) {
			p.t.Errorf("stopped since at least %v, which was %v ago", time.Duration(s.Since), passed)
		}
	case string(host.AtMost):
		p.t.Log("this kernel does not tell when threads have run last")
	default:
		p.t.Errorf("%+v", s)
	}
}

func stopProgram(t *testing.T, kind string) {
	p := newPlace(t)
	p.agent()
	other := p.agent()
	begun := time.Now()
	p.signal(other, syscall.SIGSTOP)
	stopped(p, kind, begun)
	p.want(8, "is stopped, since at ", "doctor")
	p.signal(other, syscall.SIGCONT)
	p.until("all is well", func() bool { return len(p.stalls()) == 0 })
}

func stopAgent(t *testing.T, kind string) {
	p := newPlace(t)
	agent := p.agent()
	begun := time.Now()
	p.signal(agent, syscall.SIGSTOP)
	stopped(p, kind, begun)
}

func stopAllAndKillTheAgent(t *testing.T, kind string) {
	p := newPlace(t)
	agent, other := p.agent(), p.agent()
	p.signal(other, syscall.SIGSTOP)
	p.until("it is stopped", func() bool { l := p.members(); return len(l) == 2 && l[1].State == "stopped" })
	p.signal(agent, syscall.SIGKILL)
	_, _ = agent.Process.Wait()
	s := p.stalled(kind, time.Second)
	if s.Bound != string(host.AtLeast) || !strings.Contains(s.Text, "the last one began ") {
		t.Errorf("%+v", s)
	}
	p.signal(other, syscall.SIGCONT)
	p.until("the other takes over", func() bool { return len(p.stalls()) == 0 })
}

// hideTheSocket: an agent that cannot be reached.
func hideTheSocket(t *testing.T, kind string) {
	p := newHosts(t, 60_000, 2000, "a")[0]
	p.begin()
	p.says(0, "all is well", "status")
	if err := os.Remove(filepath.Join(p.dir, "default", "agent.sock")); err != nil {
		t.Fatal(err)
	}
	if s := p.stalled(kind, time.Second); s.Bound != string(host.AtLeast) {
		t.Errorf("%+v", s)
	}
}

func beginAlone(t *testing.T, kind string) {
	p := newHosts(t, 60_000, 2000, "a", "b", "c")[0]
	p.begin()
	p.stalled(kind, time.Second)
}

func begun(t *testing.T) (hosts []*place, agents []*exec.Cmd) {
	hosts = newHosts(t, 60_000, 2000, "a", "b", "c")
	for _, p := range hosts {
		agents = append(agents, p.begin())
	}
	for _, p := range hosts {
		p.says(0, "all is well", "status")
	}
	return hosts, agents
}

func loseTheOthers(t *testing.T, kind string) {
	hosts, agents := begun(t)
	for i, a := range agents[1:] {
		hosts[i+1].signal(a, syscall.SIGKILL)
	}
	hosts[0].stalled(kind, time.Second)
}

func loseOne(t *testing.T, kind string) {
	hosts, agents := begun(t)
	hosts[2].signal(agents[2], syscall.SIGKILL)
	hosts[0].stalled(kind, time.Second)
}
