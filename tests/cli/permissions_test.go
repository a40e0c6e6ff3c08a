package cli

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// An agent does not begin with a key that others may know, state that others may change,
// or a place where others may put something else.
func TestPermissions(t *testing.T) {
	for _, c := range []struct {
		what string
		make func(p *place) error
		says string
	}{
		{"key read by others", func(p *place) error { return os.Chmod(filepath.Join(p.dir, "key"), 0o644) },
			`key: it may be known to others: .*/key: it is open to others \(mode 0644\): chmod go= it`},
		{"key read by a group", func(p *place) error { return os.Chmod(filepath.Join(p.dir, "key"), 0o640) },
			`key: it may be known to others: .*/key: .*\(mode 0640\)`},
		{"key that others can replace", func(p *place) error {
			open, key := filepath.Join(p.dir, "open"), filepath.Join(p.dir, "open", "key")
			p.env = append(p.env, "GODLM_KEY_FILE="+key)
			return errors.Join(os.Mkdir(open, 0o700), os.Rename(filepath.Join(p.dir, "key"), key), os.Chmod(open, 0o777))
		}, `key: it may be known to others: .*they may write in .*/open \(mode 0777\)`},
		{"state read by others", func(p *place) error { return mkdir(filepath.Join(p.dir, "state"), 0o755) },
			`state directory: .*/state: it is open to others \(mode 0755\): chmod go= it`},
		{"state is a link", func(p *place) error {
			return errors.Join(mkdir(filepath.Join(p.dir, "elsewhere"), 0o700), os.Symlink("elsewhere", filepath.Join(p.dir, "state")))
		}, `state directory: .*/state: it is no directory, or a link`},
		{"state that others can replace", func(p *place) error {
			open := filepath.Join(p.dir, "open")
			p.env = append(p.env, "GODLM_STATE_DIR="+filepath.Join(open, "state"))
			return mkdir(open, 0o777)
		}, `state directory: .*they may write in .*/open \(mode 0777\)`},
		{"runtime directory read by others", func(p *place) error { return mkdir(filepath.Join(p.dir, "default"), 0o755) },
			`/default is open to others \(mode 0755\): unsafe runtime directory`},
		{"runtime directory is a link", func(p *place) error {
			return errors.Join(mkdir(filepath.Join(p.dir, "elsewhere"), 0o700), os.Symlink("elsewhere", filepath.Join(p.dir, "default")))
		}, `/default is a symbolic link or not a directory: unsafe runtime directory`},
		{"configuration written by others", func(p *place) error {
			conf := filepath.Join(p.dir, "conf")
			p.env = append(p.env, "GODLM_CONFIG="+conf)
			return errors.Join(os.WriteFile(conf, nil, 0o600), os.Chmod(conf, 0o666))
		}, `not to be trusted: .*/conf: it is open to others \(mode 0666\): chmod go-w it`},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := newHosts(t, 5000, 2000, "a")[0]
			if err := c.make(p); err != nil {
				t.Fatal(err)
			}
			type end struct {
				out, errs string
				code      int
			}
			done := make(chan end, 1)
			go func() {
				out, errs, code := p.run("agent")
				done <- end{out, errs, code}
			}()
			select {
			case e := <-done:
				if e.code == 0 || !regexp.MustCompile(c.says).MatchString(e.errs) {
					t.Errorf("status %d\n%s%s", e.code, e.out, e.errs)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it runs")
			}
		})
	}
}

// mkdir makes a directory with that mode, whatever the umask.
func mkdir(path string, mode os.FileMode) error {
	return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode))
}
