package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredislib "github.com/redis/go-redis/v9"
)

const (
	redisSettings     = "go-redis and redsync as they come: key expires after 8 s, a waiter asks again after 50 to 250 ms; server's default of no synchronous log"
	redisFastSettings = "the same, but a waiter asks again every 1 ms"
)

// startRedis starts servers that know nothing of each other.
func startRedis(s *site, nodes int) ([]string, error) {
	var addrs []string
	for i := range nodes {
		name := fmt.Sprint("n", i)
		ports, err := freePorts(s.ip(i), 1)
		if err != nil {
			return nil, err
		}
		if err := os.Mkdir(s.path(name), 0o755); err != nil {
			return nil, err
		}
		c := s.command("redis-server", "--bind", s.ip(i), "--port", fmt.Sprint(ports[0]), "--protected-mode", "no",
			"--dir", s.path(name))
		if err := s.startServer(name, c); err != nil {
			return nil, err
		}
		addrs = append(addrs, fmt.Sprintf("%s:%d", s.ip(i), ports[0]))
	}
	return addrs, nil
}

type redisLocker struct {
	sync    *redsync.Redsync
	options []redsync.Option
	held    *redsync.Mutex
}

func dialRedsync(addrs []string) (locker, error) {
	return connectRedis(addrs)
}

func dialRedsyncFast(addrs []string) (locker, error) {
	return connectRedis(addrs, redsync.WithRetryDelay(time.Millisecond))
}

func connectRedis(addrs []string, options ...redsync.Option) (locker, error) {
	var pools []redis.Pool
	for _, a := range addrs {
		c := goredislib.NewClient(&goredislib.Options{Addr: a})
		if err := again(connectBound, func() error { return c.Ping(context.Background()).Err() }); err != nil {
			return nil, err
		}
		pools = append(pools, goredis.NewPool(c))
	}
	return &redisLocker{sync: redsync.New(pools...), options: options}, nil
}

// Lock begins anew when the package gives up, which it does after 32 tries.
func (l *redisLocker) Lock(name string) error {
	m := l.sync.NewMutex(name, l.options...)
	for {
		err := m.Lock()
		if err == nil {
			l.held = m
			return nil
		}
		var taken *redsync.ErrTaken
		if !errors.As(err, &taken) && !errors.Is(err, redsync.ErrFailed) {
			return err
		}
	}
}

func (l *redisLocker) Unlock() error {
	if ok, err := l.held.Unlock(); !ok || err != nil {
		return fmt.Errorf("the lock was not held any more: %w", err)
	}
	return nil
}
