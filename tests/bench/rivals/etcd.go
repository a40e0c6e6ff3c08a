package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

const etcdSettings = "client/v3 concurrency.Mutex; session of 60 s, the package's default; server as it comes, synchronous log"

// startEtcd starts the members of a cluster.
func startEtcd(s *site, nodes int) ([]string, error) {
	var clients, peers, cluster []string
	for i := range nodes {
		ports, err := freePorts(s.ip(i), 2)
		if err != nil {
			return nil, err
		}
		clients = append(clients, fmt.Sprintf("http://%s:%d", s.ip(i), ports[0]))
		peers = append(peers, fmt.Sprintf("http://%s:%d", s.ip(i), ports[1]))
		cluster = append(cluster, fmt.Sprintf("n%d=%s", i, peers[i]))
	}
	for i := range nodes {
		name := fmt.Sprint("n", i)
		c := s.command("etcd", "--name", name, "--data-dir", s.path(name), "--logger", "zap", "--log-level", "warn",
			"--listen-client-urls", clients[i], "--advertise-client-urls", clients[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new")
		if err := s.startServer(name, c); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

type etcdLocker struct {
	session *concurrency.Session
	mutexes map[string]*concurrency.Mutex
	held    *concurrency.Mutex
}

func dialEtcd(addrs []string) (locker, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: addrs, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	l := &etcdLocker{mutexes: map[string]*concurrency.Mutex{}}
	err = again(connectBound, func() error {
		// A member that has no leader yet may keep a request for long.
		try, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		lease, err := c.Grant(try, 60)
		if err != nil {
			return err
		}
		l.session, err = concurrency.NewSession(c, concurrency.WithLease(lease.ID))
		return err
	})
	return l, err
}

func (l *etcdLocker) Lock(name string) error {
	m := l.mutexes[name]
	if m == nil {
		m = concurrency.NewMutex(l.session, "/"+name)
		l.mutexes[name] = m
	}
	err := m.Lock(context.Background())
	if err == nil {
		l.held = m
	}
	return err
}

func (l *etcdLocker) Unlock() error { return l.held.Unlock(context.Background()) }
