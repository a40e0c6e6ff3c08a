package owned

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger is another user.
const stranger = 12345

// place is a directory in which a test makes things.
type place struct {
	t   *testing.T
	top string
}

func (p *place) dir(name string, mode os.FileMode) {
	p.t.Helper()
	path := filepath.Join(p.top, name)
	if err := errors.Join(os.MkdirAll(path, 0o700), unix.Chmod(path, uint32(mode))); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) file(name string, mode os.FileMode) {
	p.t.Helper()
	path := filepath.Join(p.top, name)
	if err := errors.Join(os.WriteFile(path, []byte("content"), 0o600), os.Chmod(path, mode)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) link(to, name string) {
	p.t.Helper()
	if err := os.Symlink(to, filepath.Join(p.top, name)); err != nil {
		p.t.Fatal(err)
	}
}

// give gives something to another user. Only root can, so only root's tests have it.
func (p *place) give(name string) {
	p.t.Helper()
	if os.Geteuid() != 0 {
		p.t.Skip("only root can give a file to another user")
	}
	if err := os.Lchown(filepath.Join(p.top, name), stranger, -1); err != nil {
		p.t.Fatal(err)
	}
}

const sticky = 0o1777

func TestFiles(t *testing.T) {
	for _, c := range []struct {
		what   string
		make   func(p *place)
		write  string // why it is refused where others must not write; "": it is not
		secret string // and where they must not read
	}{
		{"this user's alone", func(p *place) { p.file("f", 0o600) }, "", ""},
		{"read by others", func(p *place) { p.file("f", 0o644) }, "", "chmod go= it"},
		{"read by a group", func(p *place) { p.file("f", 0o640) }, "", "chmod go= it"},
		{"written by a group", func(p *place) { p.file("f", 0o620) }, "chmod go-w it", "chmod go= it"},
		{"written by others", func(p *place) { p.file("f", 0o602) }, "chmod go-w it", "chmod go= it"},
		{"a link to a good one", func(p *place) { p.file("x", 0o600); p.link("x", "f") }, "", ""},
		{"a link to one that others read", func(p *place) { p.file("x", 0o644); p.link("x", "f") }, "", "chmod go= it"},
		{"links in a circle", func(p *place) { p.link("g", "f"); p.link("f", "g") }, "too many levels", "too many levels"},
		{"a directory", func(p *place) { p.dir("f", 0o700) }, "not a file", "not a file"},
		{"a pipe that nobody writes to", func(p *place) {
			if err := unix.Mkfifo(filepath.Join(p.top, "f"), 0o600); err != nil {
				p.t.Fatal(err)
			}
		}, "not a file", "not a file"},
		{"in a directory that others write", func(p *place) { p.file("f", 0o600); p.dir(".", 0o777) }, "may write in", "may write in"},
		{"in a directory that a group writes", func(p *place) { p.file("f", 0o600); p.dir(".", 0o770) }, "may write in", "may write in"},
		{"in a directory like /tmp", func(p *place) { p.file("f", 0o600); p.dir(".", sticky) }, "", ""},
		{"through a link in a directory like /tmp", func(p *place) { p.file("x", 0o600); p.link("x", "f"); p.dir(".", sticky) }, "", ""},
		{"behind a link, in a directory that others write", func(p *place) {
			p.dir("d", 0o777)
			p.file("d/x", 0o600)
			p.link("d/x", "f")
		}, "may write in", "may write in"},
		{"behind a link to a directory, above which others write", func(p *place) {
			p.dir("open/d", 0o700)
			p.file("open/d/f", 0o600)
			p.dir("open", 0o777)
			p.link("open/d", "e")
			p.link("e/f", "f")
		}, "may write in", "may write in"},
		{"missing", func(p *place) {}, "no such file", "no such file"},
		{"behind a file", func(p *place) { p.file("x", 0o600); p.link("x/f", "f") }, "not a directory", "not a directory"},
		{"another user's", func(p *place) { p.file("f", 0o600); p.give("f") }, "belongs to user 12345", "belongs to user 12345"},
		{"in another user's directory", func(p *place) {
			p.dir("d", 0o755)
			p.file("d/x", 0o600)
			p.link("d/x", "f")
			p.give("d")
		}, "belongs to user 12345", "belongs to user 12345"},
		{"through another user's link in a directory like /tmp", func(p *place) {
			p.file("x", 0o600)
			p.link("x", "f")
			p.dir(".", sticky)
			p.give("f")
		}, "the link", "the link"},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := &place{t, filepath.Join(t.TempDir(), "top")}
			p.dir(".", 0o755)
			c.make(p)
			for _, x := range []struct {
				forbidden uint32
				says      string
			}{{WrittenByOthers, c.write}, {OpenToOthers, c.secret}} {
				f, err := Open(filepath.Join(p.top, "f"), x.forbidden)
				if x.says != "" {
					if err == nil || !strings.Contains(err.Error(), x.says) {
						t.Errorf("mode %#o: %v, want %q", x.forbidden, err, x.says)
					}
					if errors.Is(err, fs.ErrNotExist) != (c.what == "missing") {
						t.Errorf("mode %#o: %v", x.forbidden, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("mode %#o: %v", x.forbidden, err)
					continue
				}
				if b, err := io.ReadAll(f); string(b) != "content" || err != nil {
					t.Errorf("%q, %v", b, err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	for _, c := range []struct {
		what string
		make func(p *place)
		says string
	}{
		{"missing, with those above", func(p *place) {}, ""},
		{"there", func(p *place) { p.dir("a/d", 0o700) }, ""},
		{"read by others", func(p *place) { p.dir("a/d", 0o755) }, "chmod go= it"},
		{"entered by a group", func(p *place) { p.dir("a/d", 0o710) }, "chmod go= it"},
		{"a file", func(p *place) { p.dir("a", 0o700); p.file("a/d", 0o600) }, "no directory"},
		{"a link", func(p *place) { p.dir("a", 0o700); p.dir("x", 0o700); p.link("../x", "a/d") }, "no directory"},
		{"below a link of this user", func(p *place) { p.dir("x/d", 0o700); p.link("x", "a") }, ""},
		{"below what others write", func(p *place) { p.dir("a/d", 0o700); p.dir("a", 0o777) }, "may write in"},
		{"below what is like /tmp", func(p *place) { p.dir("a/d", 0o700); p.dir("a", sticky) }, ""},
		{"another user's", func(p *place) { p.dir("a/d", 0o700); p.give("a/d") }, "belongs to user 12345"},
		{"below another user's", func(p *place) { p.dir("a/d", 0o700); p.give("a") }, "belongs to user 12345"},
		{"below another user's link", func(p *place) {
			p.dir("x/d", 0o700)
			p.link("x", "a")
			p.dir(".", sticky)
			p.give("a")
		}, "the link"},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := &place{t, filepath.Join(t.TempDir(), "top")}
			p.dir(".", 0o755)
			c.make(p)
			path := filepath.Join(p.top, "a/d")
			err := Directory(path)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if st, err := os.Lstat(path); err != nil || st.Mode() != os.ModeDir|0o700 {
				t.Errorf("%v, %v", st, err)
			}
		})
	}
}
