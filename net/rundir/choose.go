package rundir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Reasons to refuse a runtime directory; errors.Is finds them.
var (
	ErrUnsafe  = errors.New("unsafe runtime directory")
	ErrNetwork = errors.New("runtime directory on a network file system")
	ErrName    = errors.New("bad cluster name")
)

const (
	dirMode  = 0o700
	fileMode = 0o600
	// maxClusterName is in bytes.
	maxClusterName = 64
)

// Path tells the runtime directory that the environment asks for.
func Path(getenv func(string) string) (string, error) {
	base, err := basePath(getenv)
	if err != nil {
		return "", err
	}
	cluster, err := Cluster(getenv)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, cluster), nil
}

// Cluster is the name of the cluster that the environment asks for.
func Cluster(getenv func(string) string) (string, error) {
	name := getenv("GODLM_CLUSTER")
	if name == "" {
		name = "default"
	}
	return name, checkName(name)
}

func basePath(getenv func(string) string) (string, error) {
	if dir := getenv("GODLM_DIR"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("GODLM_DIR is %q: %w: set it to an absolute path", dir, ErrUnsafe)
		}
		return filepath.Clean(dir), nil
	}
	uid := os.Geteuid()
	if uid == 0 {
		return "/run/godlm", nil
	}
	// The XDG specification says to ignore a relative path.
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "godlm"), nil
	}
	return "/tmp/godlm-" + strconv.Itoa(uid), nil
}

// checkName accepts letters, digits, dot, dash and underscore, not beginning
// with a dot.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxClusterName && name[0] != '.'
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("GODLM_CLUSTER is %q: %w: use 1 to %d letters, digits, '.', '-' or '_', not beginning with '.'",
			name, ErrName, maxClusterName)
	}
	return nil
}

// openChecked opens the directory at path, making what is missing of it. Its
// last two components (base and cluster) are refused unless they are
// directories of ours with mode 0700; nothing that is made is reached through a
// symbolic link.
func openChecked(path string) (fd int, err error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) || path == "/" {
		return -1, fmt.Errorf("runtime directory %q: %w: give an absolute path", path, ErrUnsafe)
	}
	// What is there above base may be reached through links: /tmp may be one.
	top := filepath.Dir(filepath.Dir(path))
	var missing []string
	for {
		fd, err = unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_PATH, 0)
		if err == nil {
			break
		}
		if err != unix.ENOENT || top == "/" {
			return -1, fmt.Errorf("open %s, above the runtime directory: %w", top, err)
		}
		missing = append(missing, filepath.Base(top))
		top = filepath.Dir(top)
	}
	if err := checkAbove(fd, top); err != nil {
		return -1, errors.Join(err, closeFD(fd))
	}
	var names []string
	for i := len(missing) - 1; i >= 0; i-- {
		names = append(names, missing[i])
	}
	if base := filepath.Base(filepath.Dir(path)); base != "/" {
		names = append(names, base)
	}
	names = append(names, filepath.Base(path))
	at := top
	for _, name := range names {
		at = filepath.Join(at, name)
		next, err := enter(fd, name, at)
		if err = errors.Join(err, closeFD(fd)); err != nil {
			return -1, err
		}
		fd = next
	}
	if err := checkLocal(fd, path); err != nil {
		return -1, errors.Join(err, closeFD(fd))
	}
	return fd, nil
}

// checkAbove refuses a place where somebody else could replace our directory.
func checkAbove(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, who could replace the runtime directory in it: %w: set GODLM_DIR to a directory of your own",
			path, st.Uid, ErrUnsafe)
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("%s can be written by others (mode %#o), who could replace the runtime directory in it: %w: set GODLM_DIR to a directory of your own",
			path, st.Mode&0o7777, ErrUnsafe)
	}
	return nil
}

// enter opens the directory name in the one of fd, making it if it is missing.
func enter(fd int, name, path string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	made := false
	switch err := unix.Mkdirat(fd, name, dirMode); err {
	case nil:
		made = true
	case unix.EEXIST:
	default:
		return -1, fmt.Errorf("make %s: %w; set GODLM_DIR to a directory that can be written", path, err)
	}
	d, err := unix.Openat(fd, name, flags, 0)
	switch err {
	case nil:
	case unix.ELOOP, unix.ENOTDIR:
		return -1, fmt.Errorf("%s is a symbolic link or not a directory: %w: remove it, or set GODLM_DIR", path, ErrUnsafe)
	default:
		return -1, fmt.Errorf("open %s: %w; remove it, or set GODLM_DIR", path, err)
	}
	if made { // whatever the umask
		if err := unix.Fchmod(d, dirMode); err != nil {
			return -1, errors.Join(fmt.Errorf("set the mode of %s: %w", path, err), closeFD(d))
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(d, &st); err != nil {
		return -1, errors.Join(fmt.Errorf("look at %s: %w", path, err), closeFD(d))
	}
	switch uid := os.Geteuid(); {
	case int(st.Uid) != uid:
		err = fmt.Errorf("%s belongs to uid %d, not to uid %d: %w: set GODLM_DIR to a directory of your own", path, st.Uid, uid, ErrUnsafe)
	case st.Mode&0o077 != 0:
		err = fmt.Errorf("%s is open to others (mode %#o): %w: run chmod 700 %s, or set GODLM_DIR", path, st.Mode&0o7777, ErrUnsafe, path)
	}
	if err != nil {
		return -1, errors.Join(err, closeFD(d))
	}
	return d, nil
}

func closeFD(fd int) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
