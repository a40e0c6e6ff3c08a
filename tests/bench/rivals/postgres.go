package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

const postgresSettings = "pgx, pg_advisory_lock and pg_advisory_unlock of a session, prepared statements; server as initdb sets it up"

// postgresTool is a program of the newest version that Debian's packages have installed.
func postgresTool(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no /usr/lib/postgresql/*/bin/%s", name)
	}
	newest := ""
	version := -1
	for _, f := range found {
		v, err := strconv.Atoi(strings.Split(f, "/")[4])
		if err == nil && v > version {
			newest, version = f, v
		}
	}
	if newest == "" {
		return "", fmt.Errorf("no version among %v", found)
	}
	return newest, nil
}

// unprivileged is whom a server that refuses root runs as; nil if this is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range [...]string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL refuses root, and there is neither a user postgres nor nobody")
}

func startPostgres(s *site, _ int) ([]string, error) {
	server, err := postgresTool("postgres")
	if err != nil {
		return nil, err
	}
	initdb, err := postgresTool("initdb")
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	home, data := s.path("n0"), s.path("n0/data")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	if who != nil {
		if err := os.Chown(home, int(who.Uid), int(who.Gid)); err != nil {
			return nil, err
		}
	}
	as := func(name string, arg ...string) *command {
		c := s.command(name, arg...)
		c.Dir, c.as = home, who
		return c
	}
	if err := s.run("initdb", as(initdb, "-D", data, "-A", "trust", "-U", "bench", "--no-sync")); err != nil {
		return nil, err
	}
	ports, err := freePorts(s.ip(0), 1)
	if err != nil {
		return nil, err
	}
	c := as(server, "-D", data, "-h", s.ip(0), "-p", fmt.Sprint(ports[0]), "-k", home)
	// At SIGKILL it would leave processes and shared memory.
	c.end = syscall.SIGQUIT
	if err := s.startServer("n0", c); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("postgres://bench@%s:%d/postgres?sslmode=disable", s.ip(0), ports[0])}, nil
}

type postgresLocker struct {
	conn *pgx.Conn
	held int64
}

func dialPostgres(addrs []string) (locker, error) {
	l := &postgresLocker{}
	err := again(connectBound, func() (err error) {
		l.conn, err = pgx.Connect(context.Background(), addrs[0])
		return err
	})
	return l, err
}

func (l *postgresLocker) Lock(name string) error {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it never fails
	l.held = int64(h.Sum64())
	_, err := l.conn.Exec(context.Background(), "select pg_advisory_lock($1)", l.held)
	return err
}

func (l *postgresLocker) Unlock() error {
	var ok bool
	if err := l.conn.QueryRow(context.Background(), "select pg_advisory_unlock($1)", l.held).Scan(&ok); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the lock was not held")
	}
	return nil
}
