package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside marks the process that Main has started. It is the directory for labs, which
// is removed however that process ends.
const inside = "GODLM_LAB_INSIDE"

// Main builds the programs that a lab runs, and runs a program's work in namespaces of
// its own, in a copy of this process. It ends with its exit status. Where the machine does not allow that, missing says what is
// missing, and labs can be made on loopback addresses only.
func Main(work func(missing error) int) {
	if os.Getenv(inside) != "" && os.Getpid() == 1 {
		os.Exit(work(settle()))
	}
	if err := Build(); err != nil { // here, since a compiler's downloads need the machine's network
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	self, err := os.Executable()
	if err != nil {
		os.Exit(work(err))
	}
	dir, err := os.MkdirTemp("", "lab") // short: sockets live there
	if err != nil {
		os.Exit(work(err))
	}
	c := exec.Command(self, os.Args[1:]...)
	c.Env = append(os.Environ(), inside+"="+dir)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The signal at this process's death comes at the end of the thread that has started
	// the copy.
	runtime.LockOSThread()
	if err := c.Start(); err != nil {
		err = fmt.Errorf("namespaces for pids, mounts and networks: %w", err)
		os.Exit(work(errors.Join(err, os.RemoveAll(dir))))
	}
	var ended *exec.ExitError
	err = c.Wait()
	if left := os.RemoveAll(dir); left != nil {
		_, _ = fmt.Fprintln(os.Stderr, "lab:", left) // nobody else is left to be told
	}
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &ended) && ended.ExitCode() >= 0:
		os.Exit(ended.ExitCode())
	default:
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// settle makes the new namespaces usable, and finds out whether they are good for a lab.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("the loopback network: %w", err)
	}
	w := newWire(1)
	n, err := newNet(w, 0)
	if err != nil {
		return err
	}
	return errors.Join(w.close(), n.close())
}

// Root is the directory of the repository.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, no := os.Stat(filepath.Join(dir, "go.mod")); no == nil {
			return dir, nil
		}
		if dir == "/" {
			err = errors.New("the repository was not found above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// Build makes the programs that a lab runs. What an outer make has said is not for it.
func Build() error {
	root, err := Root()
	if err != nil {
		return err
	}
	c := exec.Command("make", "-s", "-C", root, "lab")
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MAKE") && !strings.HasPrefix(e, "MFLAGS") {
			c.Env = append(c.Env, e)
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("make lab: %w\n%s", err, out)
	}
	return nil
}
