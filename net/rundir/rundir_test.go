package rundir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
)

// TestMain lets the test binary play another process: its environment says what
// to do, it reports in one line and then lives until its input ends.
func TestMain(m *testing.M) {
	switch os.Getenv("RUNDIR_CHILD") {
	case "":
		os.Exit(m.Run())
	case "proc":
		d, err := Open(os.Getenv("RUNDIR_PATH"))
		check(err)
		f, err := d.CreateProc(nil)
		check(err)
		j, err := journal.Create(f, os.Getpid())
		check(err)
		j.SetProc(7, 0)
		s, err := j.Open()
		check(err)
		j.Write(s, &proto.Record{Writer: 9})
		role, err := d.TryAgent()
		check(err)
		fmt.Println(f.Name, role)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent at the latest
}

func check(err error) {
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(1)
	}
}

// child is a process of the same directory.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	name string
	role string
}

func startChild(t *testing.T, path string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), "RUNDIR_CHILD=proc", "RUNDIR_PATH="+path)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &c.name, &c.role); err != nil {
		t.Fatalf("child said %q", line)
	}
	return c
}

// kill ends the child with SIGKILL and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may be dead
	_ = c.cmd.Wait()         // it was killed
}

func fresh(t *testing.T) string {
	return filepath.Join(t.TempDir(), "base", "cluster")
}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestPath(t *testing.T) {
	xdg := "/xdg/godlm"
	if os.Geteuid() == 0 {
		xdg = "/run/godlm"
	}
	for _, c := range []struct{ dir, xdg, cluster, want string }{
		{"/a/b", "/xdg", "", "/a/b/default"},
		{"/a/b/../c", "/xdg", "x-1_.Y", "/a/c/x-1_.Y"},
		{"", "/xdg", "", xdg + "/default"},
		{"a/b", "", "", ""},
		{"/a", "", "..", ""},
		{"/a", "", ".hidden", ""},
		{"/a", "", "a/b", ""},
		{"/a", "", "a b", ""},
		{"/a", "", strings.Repeat("x", maxClusterName+1), ""},
	} {
		env := map[string]string{"GODLM_DIR": c.dir, "XDG_RUNTIME_DIR": c.xdg, "GODLM_CLUSTER": c.cluster}
		got, err := Path(func(name string) string { return env[name] })
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	mk := func(t *testing.T, path string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, top string)
		says  string
	}{
		{"cluster open to others", func(t *testing.T, top string) { mk(t, top+"/b/c", 0o755) }, "chmod 700"},
		{"base open to others", func(t *testing.T, top string) { mk(t, top+"/b/c", 0o700); mk(t, top+"/b", 0o750) }, "chmod 700"},
		{"above can be written by others", func(t *testing.T, top string) { mk(t, top, 0o777) }, "GODLM_DIR"},
		{"cluster is a link", func(t *testing.T, top string) {
			mk(t, top+"/b", 0o700)
			mk(t, top+"/x", 0o700)
			if err := os.Symlink("../x", top+"/b/c"); err != nil {
				t.Fatal(err)
			}
		}, "symbolic link"},
		{"base is a link", func(t *testing.T, top string) {
			mk(t, top+"/x/c", 0o700)
			if err := os.Symlink("x", top+"/b"); err != nil {
				t.Fatal(err)
			}
		}, "symbolic link"},
		{"proc is a link", func(t *testing.T, top string) {
			mk(t, top+"/b/c", 0o700)
			mk(t, top+"/x", 0o700)
			if err := os.Symlink("../../x", top+"/b/c/proc"); err != nil {
				t.Fatal(err)
			}
		}, "symbolic link"},
		{"cluster is a file", func(t *testing.T, top string) {
			mk(t, top+"/b", 0o700)
			if err := os.WriteFile(top+"/b/c", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
		{"agent.lock is a directory", func(t *testing.T, top string) { mk(t, top+"/b/c/agent.lock", 0o700) }, "agent.lock"},
		{"somebody else's", func(t *testing.T, top string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			mk(t, top+"/b/c", 0o700)
			if err := os.Chown(top+"/b", 12345, 0); err != nil {
				t.Fatal(err)
			}
		}, "belongs to uid 12345"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "top")
			mk(t, top, 0o755)
			c.setup(t, top)
			d, err := Open(top + "/b/c")
			if err == nil {
				t.Fatal(d.Close(), "accepted")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
			t.Log(err)
		})
	}
	t.Run("relative", func(t *testing.T) {
		if _, err := Open("a/b"); !errors.Is(err, ErrUnsafe) {
			t.Error(err)
		}
	})
}

func TestNetworkFileSystems(t *testing.T) {
	for _, magic := range []int64{0x6969, 0x517b, 0xff534d42, int64(int32(-11317950)), 0x65735546} {
		if err := refuseRemote(magic, "/x"); !errors.Is(err, ErrNetwork) {
			t.Errorf("%#x: %v", magic, err)
		}
	}
	for _, magic := range []int64{unix.TMPFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
		if err := refuseRemote(magic, "/x"); err != nil {
			t.Error(err)
		}
	}
}

func TestStrangeUmask(t *testing.T) {
	old := unix.Umask(0o777)
	d, err := Open(fresh(t))
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.Path()); err != nil {
		t.Fatal(err)
	}
}

func TestLifeAndDeath(t *testing.T) {
	path := fresh(t)
	d := open(t, path)
	c := startChild(t, path)
	if c.role != "true" {
		t.Fatal("the first child did not get the role")
	}
	s, err := d.Look(c.name)
	if err != nil || !s.Locked || s.Pid != c.cmd.Process.Pid || s.Proc != 7 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got, err := d.TryAgent(); got || err != nil {
		t.Fatalf("role taken twice: %v, %v", got, err)
	}
	if pid := d.AgentPid(); pid != c.cmd.Process.Pid {
		t.Fatalf("the agent is %d, want %d", pid, c.cmd.Process.Pid)
	}
	if f, err := d.OpenDead(c.name); err == nil {
		t.Fatal(f.Close(), "the file of a living process is opened as a dead one's")
	}
	if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if s, err = d.Look(c.name); err != nil || !s.Locked {
		t.Fatalf("stopped: %+v, %v", s, err)
	}
	c.kill()
	if s, err = d.Look(c.name); err != nil || s.Locked || s.Proc != 7 {
		t.Fatalf("dead: %+v, %v", s, err)
	}
	if got, err := d.TryAgent(); !got || err != nil {
		t.Fatalf("role of the dead: %v, %v", got, err)
	}
	all, err := d.Scan("")
	if err != nil || len(all) != 1 || all[0] != s {
		t.Fatalf("%+v, %v", all, err)
	}
	f, err := d.OpenDead(c.name)
	if err != nil {
		t.Fatal(err)
	}
	if r := journal.Records(f); len(r) != 1 || r[0].Writer != 9 {
		t.Fatalf("%v", r)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if all, err = d.Scan(""); err != nil || len(all) != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
}

func TestGenerationsGrow(t *testing.T) {
	path := fresh(t)
	var last uint32
	for i := 0; i < 3; i++ {
		d := open(t, path)
		g, err := d.NextGeneration()
		if err != nil || g <= last {
			t.Fatalf("%d after %d, %v", g, last, err)
		}
		last = g
	}
}

func TestOwnFile(t *testing.T) {
	d := open(t, fresh(t))
	var told int
	f, err := d.CreateProc(func(_ uintptr, n int) { told += n })
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3; i++ {
		if err := f.Grow(); err != nil {
			t.Fatal(err)
		}
		f.Chunk(i)[journal.ChunkSize-1] = 1
	}
	if told != 3*journal.ChunkSize {
		t.Errorf("told of %d bytes", told)
	}
	var old, lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	lim = old
	lim.Cur = 3 * journal.ChunkSize
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	err = f.Grow()
	if e := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := errors.Join(f.Release(), f.Unmap()); err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skip("mount:", err)
	}
	defer func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	d := open(t, mnt+"/b/c")
	f, err := d.CreateProc(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; n < 100 && err == nil; n++ {
		err = f.Grow()
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d chunks: %v", n, err)
	}
	if err := errors.Join(f.Release(), f.Unmap()); err != nil {
		t.Fatal(err)
	}
}

func TestFillDoesWhatFallocateDoes(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fill(int(f.Fd()), 4096, 8192); err != nil {
		t.Fatal(err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != 12288 {
		t.Fatal(st.Size(), err)
	}
}

func TestLongPath(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), strings.Repeat("long", 30), "base", "cluster"))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, d.ProcSock(0x123)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.Path() + "/sock/123"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.RemoveProcSock(0x123), d.RemoveProcSock(0x123)); err != nil {
		t.Fatal(err)
	}
}

func TestNamesOfOthersAreNotOpened(t *testing.T) {
	d := open(t, fresh(t))
	for _, name := range []string{"", "../agent.lock", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0"} {
		if _, err := d.Look(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
