package main

import (
	"fmt"
	"os"
	"os/exec"
)

// system is something to lock with.
type system struct {
	name     string
	nodes    int // servers, or hosts
	settings string
	// leased: of a holder that has died the lock is free when its lease ends.
	leased bool
	// mastered: a process decides about the lock, and which one makes a difference.
	mastered bool
	// needs is what is missing to measure it, and how to get that; nil if nothing is.
	needs func() error
	// start starts the servers and returns how clients reach each.
	start func(s *site, nodes int) ([]string, error)
	// client is a client; those of godlm are on different hosts.
	client func(s *site, addrs []string, host int) *command
}

// role says who masters the resource that is measured.
type role struct {
	name string
	// keeper: a process that does nothing but have an NL lock, from before the others.
	keeper bool
	// bystander: a process that has no lock. Of one host it is the agent, being the first.
	bystander bool
	// alone is for one host only: several have agents that stay.
	alone bool
}

var (
	pairRoles = []role{{name: "master is the client"}, {name: "master is another process", keeper: true}}
	killRoles = []role{
		{name: "master and agent is the holder", alone: true},
		{name: "master is the holder", bystander: true},
		{name: "master is another process", keeper: true},
	}
)

var (
	needsEtcd     = program("etcd", "etcd-server")
	needsRedis    = program("redis-server", "redis-server")
	needsPostgres = func() error {
		if _, err := postgresTool("postgres"); err != nil {
			return fmt.Errorf("%w: apt-get install postgresql", err)
		}
		return nil
	}
	needsZooKeeper = func() error {
		if _, err := os.Stat(zkClasses); err != nil {
			return fmt.Errorf("%w: apt-get install zookeeper", err)
		}
		return program("java", "default-jre-headless")()
	}
	needsGodlm = func() error {
		if _, err := os.Stat(clientC()); err != nil {
			return fmt.Errorf("%w: make bench-rivals", err)
		}
		return nil
	}
)

// program wants a program, which Debian has in a package.
func program(name, debian string) func() error {
	return func() error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("no program %s: apt-get install %s", name, debian)
		}
		return nil
	}
}

// systems are those that are compared, one server first, then three and more.
var systems = []*system{
	{name: "godlm", nodes: 1, settings: godlmSettings, mastered: true, needs: needsGodlm, start: startGodlm, client: godlmClient},
	{name: "PostgreSQL", nodes: 1, settings: postgresSettings, needs: needsPostgres, start: startPostgres, client: goClient("postgresql")},
	{name: "Redis", nodes: 1, settings: redisSettings, leased: true, needs: needsRedis, start: startRedis, client: goClient("redsync")},
	{name: "Redis, 1 ms", nodes: 1, settings: redisFastSettings, leased: true, needs: needsRedis, start: startRedis, client: goClient("redsync1ms")},
	{name: "etcd", nodes: 1, settings: etcdSettings, leased: true, needs: needsEtcd, start: startEtcd, client: goClient("etcd")},
	{name: "ZooKeeper", nodes: 1, settings: zkSettings, leased: true, needs: needsZooKeeper, start: startZooKeeper, client: goClient("zookeeper")},

	{name: "godlm", nodes: 3, settings: godlmHostsSettings, mastered: true, needs: needsGodlm, start: startGodlmHosts, client: godlmClient},
	{name: "Redlock", nodes: 3, settings: redisSettings, leased: true, needs: needsRedis, start: startRedis, client: goClient("redsync")},
	{name: "Redlock", nodes: 5, settings: redisSettings, leased: true, needs: needsRedis, start: startRedis, client: goClient("redsync")},
	{name: "etcd", nodes: 3, settings: etcdSettings, leased: true, needs: needsEtcd, start: startEtcd, client: goClient("etcd")},
	{name: "ZooKeeper", nodes: 3, settings: zkSettings, leased: true, needs: needsZooKeeper, start: startZooKeeper, client: goClient("zookeeper")},
}

// of is the name of a system whose resource is mastered so.
func (r role) of(x *system) string {
	if r.name == "" {
		return x.String()
	}
	return x.String() + ", " + r.name
}

// String is the system's name in tables: with the number of servers.
func (x *system) String() string {
	if x.nodes == 1 {
		return x.name
	}
	return fmt.Sprintf("%s, %d nodes", x.name, x.nodes)
}

// roles are those of the given ones that apply, or one without a name where there are no
// masters.
func (x *system) roles(of []role) (some []role) {
	if !x.mastered {
		return []role{{}}
	}
	for _, r := range of {
		if !r.alone || x.nodes == 1 {
			some = append(some, r)
		}
	}
	return some
}

// goClient is a client of client.go.
func goClient(kind string) func(*site, []string, int) *command {
	return func(s *site, addrs []string, _ int) *command {
		return s.command(self, append([]string{"client", kind}, addrs...)...)
	}
}
