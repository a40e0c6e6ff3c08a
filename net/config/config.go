// Package config reads the configuration file. A file gives what the environment does
// not: each key stands for one of the GODLM_* variables, so that whoever reads those
// need not know whether there is a file. What the values mean is their readers'
// business, but for the checks that let `godlm config check` say what is wrong and
// where.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/godlm/godlm/net/owned"
	"github.com/godlm/godlm/net/rundir"
)

// dir is where the files of the clusters are.
const dir = "/etc/godlm"

// maxSize bounds a file, in bytes.
const maxSize = 1 << 20

// ErrUnsafe: others than root and this user may write the file, or replace it.
var ErrUnsafe = errors.New("not to be trusted")

// file is what may stand in a file. Its keys are documented in godlm.toml(5).
type file struct {
	RuntimeDir     string `toml:"runtime_dir"`
	DeadlockWait   string `toml:"deadlock_wait"`
	Master         string `toml:"master"`
	Log            string `toml:"log"`
	LogFormat      string `toml:"log_format"`
	Metrics        string `toml:"metrics"`
	OnLost         string `toml:"on_lost"`
	JoinPersistent bool   `toml:"join_persistent"`

	Host      string            `toml:"host"`
	Bind      string            `toml:"bind"`
	Advertise string            `toml:"advertise"`
	KeyFile   string            `toml:"key_file"`
	StateDir  string            `toml:"state_dir"`
	Lease     string            `toml:"lease"`
	Suspect   string            `toml:"suspect"`
	Probe     string            `toml:"probe"`
	Voters    map[string]string `toml:"voters"`
}

// values are the variables that the file sets. An error comes with its key.
func (f *file) values() (out map[string]string, key string, err error) {
	out = map[string]string{}
	if f.RuntimeDir != "" {
		if !filepath.IsAbs(f.RuntimeDir) {
			return nil, "runtime_dir", fmt.Errorf("%q is no absolute path", f.RuntimeDir)
		}
		out["GODLM_DIR"] = f.RuntimeDir
	}
	for _, t := range [...]struct {
		key, text, name string
		least, most     time.Duration
	}{
		{"deadlock_wait", f.DeadlockWait, "GODLM_DEADLOCK_WAIT_MS", time.Millisecond, 24 * time.Hour},
		{"lease", f.Lease, "GODLM_LEASE_MS", time.Second, time.Hour},
		{"suspect", f.Suspect, "GODLM_SUSPECT_MS", 500 * time.Millisecond, time.Hour},
		{"probe", f.Probe, "GODLM_PROBE_MS", 100 * time.Millisecond, time.Minute},
	} {
		if t.text == "" {
			continue
		}
		d, err := time.ParseDuration(t.text)
		if err != nil {
			return nil, t.key, fmt.Errorf("%q is no duration, as \"1s\" and \"250ms\" are", t.text)
		}
		if d < t.least || d > t.most {
			return nil, t.key, fmt.Errorf("%s is out of range: %v to %v", t.text, t.least, t.most)
		}
		out[t.name] = strconv.FormatInt(d.Milliseconds(), 10)
	}
	for _, s := range [...]struct {
		key, text, name string
		path            bool
	}{
		{"host", f.Host, "GODLM_HOST", false},
		{"bind", f.Bind, "GODLM_BIND", false},
		{"advertise", f.Advertise, "GODLM_ADVERTISE", false},
		{"key_file", f.KeyFile, "GODLM_KEY_FILE", true},
		{"state_dir", f.StateDir, "GODLM_STATE_DIR", true},
		{"metrics", f.Metrics, "GODLM_METRICS", false},
	} {
		if s.text == "" {
			continue
		}
		if s.path && !filepath.IsAbs(s.text) {
			return nil, s.key, fmt.Errorf("%q is no absolute path", s.text)
		}
		out[s.name] = s.text
	}
	var voters []string
	for _, name := range slices.Sorted(maps.Keys(f.Voters)) {
		if strings.ContainsAny(name+f.Voters[name], ",= ") || name == "" {
			return nil, name, fmt.Errorf("%q at %q is no voter: a name and an address", name, f.Voters[name])
		}
		voters = append(voters, name+"="+f.Voters[name])
	}
	if len(voters) > 0 {
		out["GODLM_VOTERS"] = strings.Join(voters, ",")
	}
	for _, w := range [...]struct{ key, text, name, silent, others string }{
		{"master", f.Master, "GODLM_MASTER", "use", "first, agent"},
		{"log", f.Log, "GODLM_LOG", "", "debug, info, warn, error"},
		{"log_format", f.LogFormat, "GODLM_LOG_FORMAT", "text", "json"},
		{"on_lost", f.OnLost, "GODLM_ON_LOST", "tell", "abort"},
	} {
		switch {
		case w.text == "" || w.text == w.silent:
		case slices.Contains(strings.Split(w.others, ", "), w.text):
			out[w.name] = w.text
		case w.silent != "":
			return nil, w.key, fmt.Errorf("%q is none of %s, %s", w.text, w.silent, w.others)
		default:
			return nil, w.key, fmt.Errorf("%q is none of %s", w.text, w.others)
		}
	}
	if f.JoinPersistent {
		out["GODLM_JOIN_PERSISTENT"] = "1"
	}
	return out, "", nil
}

// lineOf is the line on which a key of the file's top level is set.
func lineOf(b []byte, key string) int {
	line, _ := find(b, key)
	return line
}

// find is that line, and whether there is one.
func find(b []byte, key string) (line int, there bool) {
	return match(b, `["']?`+regexp.QuoteMeta(key)+`["']?[ \t]*=`)
}

// table is the line on which a table begins.
func table(b []byte, key string) (line int, there bool) {
	return match(b, `\[`+regexp.QuoteMeta(key)+`\]`)
}

func match(b []byte, what string) (line int, there bool) {
	at := regexp.MustCompile(`(?m)^[ \t]*` + what).FindIndex(b)
	if at == nil {
		return 1, false
	}
	return 1 + bytes.Count(b[:at[0]], []byte("\n")), true
}

// Path is the file that the environment asks for, and whether it must be there.
func Path(getenv func(string) string) (path string, must bool, err error) {
	if p := getenv("GODLM_CONFIG"); p != "" {
		return p, true, nil
	}
	cluster, err := rundir.Cluster(getenv)
	if err != nil {
		return "", false, err
	}
	return filepath.Join(dir, cluster+".toml"), false, nil
}

// Environment is getenv with what the configuration file says where the environment
// says nothing. Without a file it is getenv.
func Environment(getenv func(string) string) (func(string) string, error) {
	path, must, err := Path(getenv)
	if err != nil {
		return nil, err
	}
	values, err := Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !must:
		return getenv, nil
	case err != nil:
		return nil, err
	}
	return func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return values[name]
	}, nil
}

// Read reads a file: environment variables and their values. An error names the file,
// and the line if there is one.
func Read(path string) (map[string]string, error) {
	b, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var f file
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("configuration: %s%s", path, explain(err))
	}
	out, key, err := f.values()
	if err != nil {
		return nil, fmt.Errorf("configuration: %s:%d: %s: %w", path, lineOf(b, key), key, err)
	}
	return out, nil
}

// load reads a file that nobody but root and this user can have written.
func load(path string) ([]byte, error) {
	f, err := owned.Open(path, owned.WrittenByOthers)
	if errors.Is(err, owned.ErrOthers) {
		return nil, fmt.Errorf("%w: %w", ErrUnsafe, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSize {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", path, st.Size(), maxSize)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// explain puts the reader's error into the form of a compiler's: line, column, reason.
func explain(err error) string {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		e := &unknown.Errors[0]
		row, column := e.Position()
		return fmt.Sprintf(":%d:%d: unknown key %s", row, column, strings.Join(e.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, column := bad.Position()
		return fmt.Sprintf(":%d:%d: %s", row, column, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	return ": " + err.Error()
}
