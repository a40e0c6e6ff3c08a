package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// zkSession is the session's timeout. The package has no default; the server allows 4 s
// to 40 s with its usual tick.
const zkSession = 10 * time.Second

var zkSettings = fmt.Sprintf("go-zookeeper/zk Lock; session of %v; tickTime 2000, synchronous log", zkSession)

// zkClasses is the server as Debian's package zookeeper has it.
const zkClasses = "/usr/share/java/zookeeper.jar"

// startZooKeeper starts the servers of an ensemble; one is a server that stands alone.
func startZooKeeper(s *site, nodes int) ([]string, error) {
	var clients, ensemble []string
	conf := make([]string, nodes)
	for i := range nodes {
		ports, err := freePorts(s.ip(i), 3)
		if err != nil {
			return nil, err
		}
		clients = append(clients, fmt.Sprintf("%s:%d", s.ip(i), ports[0]))
		ensemble = append(ensemble, fmt.Sprintf("server.%d=%s:%d:%d\n", i+1, s.ip(i), ports[1], ports[2]))
		conf[i] = fmt.Sprintf("tickTime=2000\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n"+
			"dataDir=%s\nclientPortAddress=%s\nclientPort=%d\n", s.path(fmt.Sprint("n", i)), s.ip(i), ports[0])
	}
	for i := range nodes {
		name := fmt.Sprint("n", i)
		if nodes > 1 {
			conf[i] += strings.Join(ensemble, "")
		}
		if err := os.Mkdir(s.path(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(s.path(name+"/myid"), fmt.Appendln(nil, i+1), 0o644); err != nil {
			return nil, err
		}
		if err := os.WriteFile(s.path(name+".cfg"), []byte(conf[i]), 0o644); err != nil {
			return nil, err
		}
		c := s.command("java", "-Xmx512m", "-cp", zkClasses, "-Dzookeeper.log.dir="+s.dir,
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", s.path(name+".cfg"))
		if err := s.startServer(name, c); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

type zkLocker struct {
	conn  *zk.Conn
	locks map[string]*zk.Lock
	held  *zk.Lock
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func dialZooKeeper(addrs []string) (locker, error) {
	conn, events, err := zk.Connect(addrs, zkSession, zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	for late := time.After(connectBound); ; {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return &zkLocker{conn: conn, locks: map[string]*zk.Lock{}}, nil
			}
		case <-late:
			return nil, errors.New("no session")
		}
	}
}

func (l *zkLocker) Lock(name string) error {
	k := l.locks[name]
	if k == nil {
		k = zk.NewLock(l.conn, "/"+name, zk.WorldACL(zk.PermAll))
		l.locks[name] = k
	}
	err := k.Lock()
	if err == nil {
		l.held = k
	}
	return err
}

func (l *zkLocker) Unlock() error { return l.held.Unlock() }
