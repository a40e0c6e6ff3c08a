package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leaseLeft is for how long the lease of a member goes on; false if it is none now.
func (p *place) leaseLeft() (time.Duration, bool) {
	p.t.Helper()
	out, _, code := p.run("status", "--json")
	var s struct {
		Hosts *struct {
			Member bool
			Lease  time.Duration `json:"lease_ns"`
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		p.t.Fatalf("status %d: %v\n%s", code, err, out)
	}
	if s.Hosts == nil || !s.Hosts.Member {
		return 0, false
	}
	return s.Hosts.Lease, true
}

// The lease of the configuration file is the one that hosts have: longer than the default
// one, shorter, and not if the environment says otherwise. As long others wait for a host
// that is gone.
func TestLeaseOfTheFile(t *testing.T) {
	const byDefault = 5 * time.Second
	for _, c := range []struct {
		file, env   string
		least, most time.Duration // of what is left when it has just been proven
	}{
		{"lease = \"20s\"\nsuspect = \"1s\"\n", "", byDefault, 20 * time.Second},
		{"lease = \"2s\"\nsuspect = \"1s\"\n", "", 0, 2 * time.Second},
		{"lease = \"20s\"\nsuspect = \"1s\"\n", "GODLM_LEASE_MS=3000", 0, 3 * time.Second},
		{"", "", 2 * time.Second, byDefault},
	} {
		t.Run(strings.Join(strings.Fields(c.file+c.env), " "), func(t *testing.T) {
			hosts := newHosts(t, 60_000, 1000, "a", "b", "c")
			for _, p := range hosts {
				p.env = slices.DeleteFunc(p.env, func(s string) bool {
					return strings.HasPrefix(s, "GODLM_LEASE_MS=") || strings.HasPrefix(s, "GODLM_SUSPECT_MS=")
				})
				path := filepath.Join(p.dir, "godlm.toml")
				if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
				p.env = append(p.env, "GODLM_CONFIG="+path)
				if c.env != "" {
					p.env = append(p.env, c.env)
				}
			}
			last := hosts[2].begin()
			for _, p := range hosts[:2] {
				p.begin()
			}
			for _, p := range hosts {
				var left time.Duration
				p.until(fmt.Sprintf("more than %v are left", c.least), func() bool {
					var member bool
					left, member = p.leaseLeft()
					if left > c.most {
						t.Fatalf("%v are left, more than %v", left, c.most)
					}
					return member && left > c.least
				})
				t.Logf("%v are left of %v", left, c.most)
			}
			if c.least < byDefault {
				return
			}
			hosts[2].signal(last, syscall.SIGKILL)
			hosts[0].says(3, `host c was removed .* until its lease must be over, in (1\d|2\d) s`, "status")
		})
	}
}
