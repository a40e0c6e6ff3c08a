package cli

import (
	"context"
	"fmt"
	"image"
	"image/color"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scene is a place where somebody waits, a value is not valid, and a name wants to be
// taken for markup.
func scene(t *testing.T) (p *place, url string, a, b *player) {
	p = newPlace(t)
	url = p.serving("web", "--listen", "127.0.0.1:0")
	if code, body := get(t, "GET", url, ""); code != 200 || !strings.Contains(body, "does not answer") {
		t.Fatalf("without programs: %d\n%s", code, body)
	}
	a, b = p.player(), p.player()
	c, d := p.player(), p.player()
	a.want(0, `lock 0 %d 0 0 0 <b>x</b>"&'`, modeEX)
	b.begin(`lock 0 %d 0 0 0 <b>x</b>"&'`, modePR)
	p.queued(1)
	d.begin(`lock 0 %d 0 0 0 <b>x</b>"&'`, modeEX)
	p.queued(2)
	a.want(0, "lock 1 %d 0 0 0 cache", modeNL)
	c.want(0, "lock 1 %d 0 0 0 cache", modeEX)
	c.kill()
	p.until("the value is not valid", func() bool { out, _, _ := p.run("explain", "cache"); return strings.Contains(out, "NOT VALID") })
	return p, url, a, b
}

func TestWeb(t *testing.T) {
	p, url, a, b := scene(t)
	p.want(1, "can be reached from other machines", "web", "--listen", "0.0.0.0:0")
	code, body := get(t, "GET", url, "")
	if code != 200 {
		t.Fatalf("%d\n%s", code, body)
	}
	for _, text := range []string{
		`&lt;b&gt;x&lt;/b&gt;\&#34;&amp;`, "</svg>", fmt.Sprintf("pid %d (player) (EX)", a.pid()), "died holding it in PW or EX", "a process has ended",
		`<meta name="viewport"`,
	} {
		if !strings.Contains(body, text) {
			t.Errorf("no %q in\n%s", text, body)
		}
	}
	if strings.Contains(body, "<b>x") {
		t.Error("a name is taken for markup")
	}
	if m := regexp.MustCompile(`(?i)(src|href|url\()[="' (]*(https?:|//)|<script|style=|\son\w+=`).FindString(body); m != "" {
		t.Errorf("the page has %q", m)
	}
	if n := strings.Count(body, "<rect "); n != 3 {
		t.Errorf("%d boxes are drawn", n)
	}
	if n := strings.Count(body, `<path class="edge`); n != 2 {
		t.Errorf("%d arrows are drawn", n)
	}
	links := regexp.MustCompile(`href="(/resource[^"]*)"`).FindAllStringSubmatch(body, -1)
	if len(links) < 3 {
		t.Fatalf("%d resources have links", len(links))
	}
	for _, m := range links {
		at := strings.TrimSuffix(url, "/") + strings.ReplaceAll(m[1], "&amp;", "&")
		if code, body := get(t, "GET", at, ""); code != 200 || !strings.Contains(body, "Decided by pid ") || strings.Contains(body, "<b>x") {
			t.Errorf("%s: %d\n%s", at, code, body)
		}
	}
	for _, x := range []struct {
		method, path, host string
		code               int
	}{
		{"GET", "style.css", "", 200}, {"GET", "nothing", "", 404}, {"GET", "resource", "", 200}, {"GET", "resource?name=" + strings.Repeat("x", 65), "", 200},
		{"GET", "", "evil.example", 403}, {"GET", "", "localhost:1", 403}, {"POST", "", "", 405}, {"PUT", "style.css", "", 405},
	} {
		if code, body := get(t, x.method, url+x.path, x.host); code != x.code {
			t.Errorf("%s %s with Host %q: %d, want %d\n%s", x.method, x.path, x.host, code, x.code, body)
		}
	}
	p.signal(b.cmd, syscall.SIGSTOP)
	p.until("who is stopped is named", func() bool {
		_, body := get(t, "GET", url, "")
		return strings.Contains(body, fmt.Sprintf("No answer of pid %d (player)", b.pid())) && strings.Contains(body, `class="box stopped"`)
	})
	p.signal(b.cmd, syscall.SIGCONT)
}

// browser is Debian's chromium. Who has installed it for this test wants to hear if it is
// not there.
func browser(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "true" && os.Getenv("GODLM_CI_CHROMIUM") != "" {
		t.Fatal("chromium was installed and is not there")
	}
	if err != nil {
		t.Skip("there is no browser; install Debian's chromium to have the page looked at in one")
	}
	return path
}

// The page in a browser, as wide as a desk's and as narrow as a phone's: all is there, and
// nothing hangs over the edge.
func TestWebInABrowser(t *testing.T) {
	chromium := browser(t)
	_, url, _, _ := scene(t)
	dir := t.TempDir()
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, chromium, append([]string{
			"--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + filepath.Join(dir, "profile"),
		}, args...)...)
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", chromium, err)
		}
		return string(out)
	}
	dom := run("--dump-dom", url)
	for what, n := range map[string]int{`<rect `: 3, `<path class="edge`: 2, `<table id="waiters">`: 1, `<table id="invalid">`: 1, `<table id="members">`: 1, `<table id="timeline">`: 1, `<b>x`: 0} {
		if got := strings.Count(dom, what); got != n {
			t.Errorf("the browser has %d of %s, want %d\n%s", got, what, n, dom)
		}
	}
	for _, width := range []int{1280, 500} { // chromium's windows are not narrower
		name := fmt.Sprintf("page%d.png", width)
		run(fmt.Sprintf("--window-size=%d,2400", width), "--screenshot="+name, url)
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := image.Decode(f)
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		look(t, m, width)
	}
}

// look finds out whether a picture shows something, and its right edge nothing.
func look(t *testing.T, m image.Image, width int) {
	t.Helper()
	b := m.Bounds()
	if b.Dx() != width {
		t.Fatalf("the picture is %d wide, not %d", b.Dx(), width)
	}
	ground := color.NRGBAModel.Convert(m.At(b.Max.X-1, b.Min.Y)).(color.NRGBA)
	other := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA) == ground {
				continue
			}
			if other++; x >= b.Max.X-8 {
				t.Fatalf("at width %d something hangs over the right edge, in line %d", width, y)
			}
		}
	}
	if other < 5000 {
		t.Fatalf("at width %d the picture is empty: %d points", width, other)
	}
}
