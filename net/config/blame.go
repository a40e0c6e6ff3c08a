package config

import (
	"bytes"
	"errors"
	"fmt"
)

// SettingError is a value that is wrong by itself or beside others.
type SettingError struct {
	Name string // of the environment variable
	Item string // of a list: which one; "" else
	Err  error
}

// Error implements error.
func (e *SettingError) Error() string { return fmt.Sprintf("%s: %v", e.Name, e.Err) }

// Unwrap gives the reason.
func (e *SettingError) Unwrap() error { return e.Err }

// keys are those of the file by the variable that they stand for.
var keys = map[string]string{
	"GODLM_HOST": "host", "GODLM_BIND": "bind", "GODLM_ADVERTISE": "advertise", "GODLM_KEY_FILE": "key_file", "GODLM_STATE_DIR": "state_dir",
	"GODLM_LEASE_MS": "lease", "GODLM_SUSPECT_MS": "suspect", "GODLM_PROBE_MS": "probe", "GODLM_VOTERS": "voters",
}

// Blame adds file, line and key to a SettingError whose value comes from the file of the
// environment, and the variable's name if it comes from there.
func Blame(getenv func(string) string, err error) error {
	var e *SettingError
	if !errors.As(err, &e) || getenv(e.Name) != "" {
		return err
	}
	path, _, pathErr := Path(getenv)
	if pathErr != nil {
		return err
	}
	return BlameFile(path, err)
}

// BlameFile does that with a file.
func BlameFile(path string, err error) error {
	var e *SettingError
	if !errors.As(err, &e) || keys[e.Name] == "" {
		return err
	}
	b, loadErr := load(path)
	if loadErr != nil {
		return err
	}
	key := keys[e.Name]
	line, there := find(top(b), key)
	if e.Name == "GODLM_VOTERS" {
		line, there = table(b, key)
		if n, ok := find(after(b, line), e.Item); there && ok && e.Item != "" {
			line, key = line+n, e.Item
		}
	}
	if !there {
		return err
	}
	return fmt.Errorf("configuration: %s:%d: %s: %w", path, line, key, e.Err)
}

// top is what stands before the first table.
func top(b []byte) []byte {
	if line, there := match(b, `\[`); there {
		return bytes.Join(bytes.SplitAfterN(b, []byte("\n"), line)[:line-1], nil)
	}
	return b
}

// after is what stands below a line.
func after(b []byte, line int) []byte {
	if rest := bytes.SplitAfterN(b, []byte("\n"), line+1); len(rest) > line {
		return rest[line]
	}
	return nil
}
