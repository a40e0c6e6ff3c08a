package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with the settings of several hosts is said with line and key.
func TestWrongSettings(t *testing.T) {
	p := newPlace(t)
	key := filepath.Join(p.dir, "key")
	p.want(0, "", "key", key)
	p.want(1, "is there already", "key", key)
	open := filepath.Join(p.dir, "open")
	if err := os.WriteFile(open, []byte(strings.Repeat("ab", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "hosts.toml")
	voters := "[voters]\na = \"127.0.0.1:4440\"\nb = \"127.0.0.2:4440\"\n"
	for _, c := range []struct {
		text, want string
		code       int
	}{
		{"host = \"a\"\n" + voters, "is right and sets 2 values", 0},
		{"host = \"c\"\nbind = \"127.0.0.3\"\nadvertise = \"127.0.0.3\"\nkey_file = \"" + key + "\"\nlease = \"2s\"\n" + voters, "is right and sets 6 values", 0},
		{"host = \"a b\"\n" + voters, file + ":1: host: host name \"a b\": 1 to 64 letters, digits, '-', '_' and '.'", 1},
		{"host = \"c\"\n" + voters, file + ":2: voters: host c is none of them, so it needs an address: set bind (GODLM_BIND)", 1},
		{"bind = \"127.0.0.1\"\n", file + ":1: bind: it is set, but there are no voters", 1},
		{"host = \"a\"\n\nbind = \"127.0.0.1:0\"\n" + voters, file + ":3: bind: \"127.0.0.1:0\" has no port from 1 to 65535", 1},
		{"host = \"a\"\nadvertise = \"127.0.0.9\"\n" + voters, file + ":2: advertise: this host advertises 127.0.0.9:4440, but among the voters it has 127.0.0.1:4440", 1},
		{"host = \"a\"\nlease = \"100ms\"\n" + voters, file + ":2: lease: 100ms is out of range: 1s to 1h0m0s", 1},
		{"host = \"a\"\nlease = \"2s\"\nsuspect = \"3s\"\n" + voters, file + ":3: suspect: 3s is longer than the lease, 2s", 1},
		{"host = \"a\"\nkey_file = \"" + open + "\"\n" + voters, file + ":2: key_file: key: it may be known to others: " + open + ": it is open to others (mode 0644): chmod go= it", 1},
		{"host = \"a\"\nkey_file = \"" + key + "x\"\n" + voters, file + ":2: key_file: key: look at " + key + "x: no such file or directory", 1},
		{"host = \"a\"\nstate_dir = \"here\"\n" + voters, file + ":2: state_dir: \"here\" is no absolute path", 1},
		{"host = \"a\"\n[voters]\na = \"127.0.0.1\"\nb = \"127.0.0.1\"\n", file + ":4: b: voters a and b have the same address, 127.0.0.1:4440", 1},
		{"host = \"a\"\n[voters]\na = \"127.0.0.1\"\nb = \"10.9.8.7\"\n", file + ":2: voters: hosts beyond this machine need a key", 1},
		{"host = \"a\"\nvoter = \"b\"\n", file + ":2:1: unknown key voter", 1},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.want(c.code, c.want, "config", "check", file)
	}
	// An agent says it, too; and of a variable, that it is that.
	q := *p
	q.env = append(q.env, "GODLM_CONFIG="+file)
	if err := os.WriteFile(file, []byte("host = \"c\"\n"+voters), 0o600); err != nil {
		t.Fatal(err)
	}
	q.want(1, file+":2: voters: host c is none of them", "agent")
	q.env = append(q.env, "GODLM_HOST=c d")
	q.want(1, "configuration of hosts: GODLM_HOST: host name \"c d\"", "agent")
}
