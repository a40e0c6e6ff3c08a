package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// get asks by HTTP, with that Host header if it is not "".
func get(t *testing.T, method, url, host string) (code int, body string) {
	t.Helper()
	q, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = host
	a, err := (&http.Client{Timeout: 20 * time.Second}).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close() // it was read to the end
	return a.StatusCode, string(b)
}

// serving starts a command that serves HTTP, and finds the address in what it logs.
func (p *place) serving(args ...string) (url string) {
	p.t.Helper()
	c := exec.Command(godlm, args...)
	c.Env = append(p.env, "GODLM_LOG_FORMAT=json")
	log, err := c.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	found := make(chan string, 1)
	go func() {
		d := json.NewDecoder(log)
		for {
			var line struct{ Msg, URL, Level, Time string }
			if err := d.Decode(&line); err != nil {
				close(found)
				return
			}
			if line.URL != "" && line.Level == "INFO" && line.Time != "" {
				found <- line.URL
				_, _ = io.Copy(io.Discard, log) // so that it can go on logging
				return
			}
		}
	}()
	select {
	case url = <-found:
	case <-time.After(20 * time.Second):
	}
	if url == "" {
		p.t.Fatalf("godlm %v names no address, or logs no JSON", args)
	}
	return url
}

func TestMetrics(t *testing.T) {
	p := newPlace(t)
	p.want(4, "no program uses", "metrics")
	p.want(1, "can be reached from other machines", "agent", "--metrics", "0.0.0.0:0")
	p.want(1, "no address and port", "agent", "--metrics", "localhost")
	url := p.serving("agent", "--metrics", "127.0.0.1:0")
	a, b := p.player(), p.player()
	a.want(0, "lock 0 %d 0 0 0 m", modeEX)
	b.begin("lock 0 %d 0 0 0 m", modeEX)
	p.queued(1)
	a.want(0, "cvt 0 %d %d 0 0", modeNL, flagInvalid)
	if st := b.end(); st != 0 {
		t.Fatalf("status %d", st)
	}
	text := p.want(0, "", "metrics")
	mine := func(x *player) string { return fmt.Sprintf(`pid="%d",program="player"`, x.pid()) }
	for _, line := range []string{
		fmt.Sprintf(`godlm_up{%s} 1`, mine(a)),
		fmt.Sprintf(`godlm_requests_total{operation="convert",%s,way="local"} 1`, mine(a)),
		fmt.Sprintf(`godlm_requests_total{operation="lock",%s,way="in"} 1`, mine(a)),
		fmt.Sprintf(`godlm_requests_total{operation="lock",%s,way="out"} 1`, mine(b)),
		fmt.Sprintf(`godlm_value_blocks_invalidated_total{cause="invalidated",%s} 1`, mine(a)),
		fmt.Sprintf(`godlm_wait_seconds_count{%s} 1`, mine(b)),
		fmt.Sprintf(`godlm_trees_mastered{%s} 1`, mine(a)),
		fmt.Sprintf(`godlm_locks{%s} 1`, mine(b)),
		`godlm_programs 3`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	out, _, _ := p.run("metrics", "--json")
	p.conforms("metrics", out)

	code, body := get(t, "GET", url, "")
	if code != 200 || !strings.Contains(body, fmt.Sprintf(`godlm_up{%s} 1`, mine(a))) {
		t.Fatalf("%d\n%s", code, body)
	}
	for _, x := range []struct {
		method, host string
		code         int
	}{
		{"GET", "localhost" + url[strings.LastIndex(url, ":"):strings.LastIndex(url, "/")], 200}, {"GET", "evil.example", 403},
		{"GET", "127.0.0.1:1", 403}, {"GET", "127.0.0.1.evil.example", 403}, {"POST", "", 405},
	} {
		if code, body := get(t, x.method, url, x.host); code != x.code {
			t.Errorf("%s with Host %q: %d, want %d\n%s", x.method, x.host, code, x.code, body)
		}
	}
}

// The dashboard asks for metrics and labels that there are.
func TestDashboard(t *testing.T) {
	b, err := os.ReadFile("../../share/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil || len(d.Panels) == 0 {
		t.Fatal(err, len(d.Panels))
	}
	p := newPlace(t)
	p.player()
	text := p.want(0, "", "metrics")
	there := map[string][]string{} // labels of each
	for _, m := range regexp.MustCompile(`(?m)^(godlm_\w+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		there[m[1]] = nil
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			there[m[1]] = append(there[m[1]], l[1])
		}
	}
	there["godlm_lease_headroom_seconds"] = nil // only among several hosts
	used := map[string]bool{}
	for _, panel := range d.Panels {
		for _, q := range panel.Targets {
			names := regexp.MustCompile(`godlm_\w+`).FindAllString(q.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s: %s asks for nothing of ours", panel.Title, q.Expr)
			}
			for _, name := range names {
				labels, ok := there[name]
				if !ok {
					t.Errorf("%s: there is no metric %s", panel.Title, name)
				}
				used[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")] = true
				for _, by := range regexp.MustCompile(`by \((\w+)\)|(\w+)!?=~?"`).FindAllStringSubmatch(q.Expr, -1) {
					l := by[1] + by[2]
					if l != "instance" && !slices.Contains(labels, l) {
						t.Errorf("%s: %s has no label %s", panel.Title, name, l)
					}
				}
			}
		}
	}
	for name := range there {
		if base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !used[base] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// Every command has a page in the manual, which tells of all its options but those of all commands.
func TestManual(t *testing.T) {
	p := newPlace(t)
	help := p.want(0, "Available Commands", "--help")
	list := help[strings.Index(help, "Available Commands:"):strings.Index(help, "\nFlags:")]
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) `).FindAllStringSubmatch(list, -1) {
		name := m[1]
		if name == "help" || name == "completion" {
			continue
		}
		b, err := os.ReadFile("../../man/man1/godlm-" + name + ".1")
		if err != nil {
			t.Error(err)
			continue
		}
		page := strings.ReplaceAll(string(b), `\-`, "-")
		for _, o := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([\w-]+)`).FindAllStringSubmatch(p.want(0, "Usage", name, "--help"), -1) {
			if o[1] != "help" && o[1] != "cluster" && !strings.Contains(page, "--"+o[1]) {
				t.Errorf("the page of %s does not tell of --%s", name, o[1])
			}
		}
		if overview, err := os.ReadFile("../../man/man1/godlm.1"); err != nil || !strings.Contains(string(overview), `.BR godlm\-`+name+" (1)") {
			t.Errorf("godlm.1 does not name %s (%v)", name, err)
		}
	}
}
