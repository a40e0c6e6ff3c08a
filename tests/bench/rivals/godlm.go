package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	godlmSettings      = "C interface, dlm_lock in EX and dlm_unlock; no configuration, no other process than the clients"
	godlmHostsSettings = "the same; an agent on each of three hosts, lease 5 s, suspect 3 s (the defaults), streams encrypted"
)

// godlmCluster is the name of the clusters made here. No configuration file of the
// machine is for it.
const godlmCluster = "rivals"

// startGodlm starts nothing: the first client does.
func startGodlm(s *site, _ int) ([]string, error) {
	return []string{"GODLM_DIR=" + s.path("run")}, nil
}

// startGodlmHosts starts the agents of voters.
func startGodlmHosts(s *site, hosts int) ([]string, error) {
	voters, bind := "[voters]\n", make([]string, hosts)
	for i := range hosts {
		ports, err := freePorts(s.ip(i), 2) // one for gossip
		if err != nil {
			return nil, err
		}
		bind[i] = fmt.Sprintf("%s:%d", s.ip(i), ports[0])
		voters += fmt.Sprintf("n%d = %q\n", i, bind[i])
	}
	key := s.path("key")
	if err := os.WriteFile(key, []byte(strings.Repeat("5a", 32)+"\n"), 0o600); err != nil {
		return nil, err
	}
	var configs []string
	for i := range hosts {
		name := fmt.Sprint("n", i)
		conf := fmt.Sprintf("runtime_dir = %q\nstate_dir = %q\nkey_file = %q\nhost = %q\nbind = %q\n%s",
			s.path(name+".run"), s.path(name+".state"), key, name, bind[i], voters)
		if err := os.WriteFile(s.path(name+".toml"), []byte(conf), 0o600); err != nil {
			return nil, err
		}
		configs = append(configs, "GODLM_CONFIG="+s.path(name+".toml"))
		c := s.command(filepath.Join(*build, "godlm"), "agent")
		c.Env = append(c.Env, configs[i], "GODLM_CLUSTER="+godlmCluster)
		if err := s.startServer(name, c); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// godlmClient is a program on one of the hosts.
func godlmClient(s *site, hosts []string, host int) *command {
	c := s.command(clientC(), "godlm")
	c.Env = append(c.Env, hosts[host%len(hosts)], "GODLM_CLUSTER="+godlmCluster)
	return c
}

// clientC is the program made from client/client.c.
func clientC() string { return filepath.Join(*build, "bench", "rivals-client") }
