package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestValues(t *testing.T) {
	path := write(t, `
# a comment
runtime_dir = "/srv/locks"
deadlock_wait = "1m30s"
master = "agent"
log = "debug"
on_lost = "abort"
join_persistent = true
`, 0o644)
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"GODLM_DIR": "/srv/locks", "GODLM_DEADLOCK_WAIT_MS": "90000", "GODLM_MASTER": "agent", "GODLM_LOG": "debug",
		"GODLM_ON_LOST": "abort", "GODLM_JOIN_PERSISTENT": "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	path = write(t, "master = \"use\"\non_lost = \"tell\"\njoin_persistent = false\n", 0o600)
	if got, err := Read(path); err != nil || len(got) != 0 {
		t.Errorf("what the defaults are: %v, %v", got, err)
	}
}

func TestWhatIsWrongAndWhere(t *testing.T) {
	for text, want := range map[string]string{
		"log = \"info\"\ndeadlock = \"1s\"\n":      ":2:1: unknown key deadlock",
		"[net]\nport = 7\n":                        ":1:2: unknown key net",
		"\n\nlog = \"loud\"\n":                     ":3:",
		"deadlock_wait = 5\n":                      ":1:",
		"deadlock_wait = \"5 apples\"\n":           "is no duration",
		"deadlock_wait = \"0s\"\n":                 "out of range",
		"runtime_dir = \"here\"\n":                 "is no absolute path",
		"master = \"me\"\n":                        ":1: master: \"me\" is none of use, first, agent",
		"join_persistent = \"yes\"\n":              ":1:",
		"log = \"info\"\nlog = \"warn\"\n":         ":2:",
		"log = \n":                                 ":1:",
		"# fine\nlog = \"info\nmaster = \"agent\"": ":2:",
		"\x00": ":1:",
	} {
		path := write(t, text, 0o600)
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestWhoMayWrite(t *testing.T) {
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		if _, err := Read(write(t, "", mode)); !errors.Is(err, ErrUnsafe) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestEnvironmentGoesFirst(t *testing.T) {
	path := write(t, "log = \"debug\"\nmaster = \"agent\"\n", 0o600)
	env := map[string]string{"GODLM_CONFIG": path, "GODLM_LOG": "error"}
	get, err := Environment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if get("GODLM_LOG") != "error" || get("GODLM_MASTER") != "agent" || get("GODLM_DIR") != "" {
		t.Errorf("log %q, master %q, dir %q", get("GODLM_LOG"), get("GODLM_MASTER"), get("GODLM_DIR"))
	}
	env["GODLM_CONFIG"] = path + ".none"
	if _, err := Environment(func(name string) string { return env[name] }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is named must be there: %v", err)
	}
	env = map[string]string{"GODLM_CLUSTER": "no-such-cluster-anywhere"}
	if _, err := Environment(func(name string) string { return env[name] }); err != nil {
		t.Errorf("without a file: %v", err)
	}
	env["GODLM_CLUSTER"] = "../x"
	if _, err := Environment(func(name string) string { return env[name] }); err == nil {
		t.Error("a cluster name with a slash is accepted")
	}
}
