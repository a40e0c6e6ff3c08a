package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/attach"
	"github.com/godlm/godlm/net/node"
	"github.com/godlm/godlm/net/rundir"
)

//go:embed web/page.html web/style.css
var webFiles embed.FS

var webPages = template.Must(template.ParseFS(webFiles, "web/page.html"))

// webOld is how old a picture may be that is shown once more.
const webOld = 500 * time.Millisecond

// webRows is how many rows a table of the page has at most.
const webRows = 100

func newWeb(o *options) *cobra.Command {
	addr := ""
	c := &cobra.Command{
		Use:   "web",
		Short: "Serve a page that shows what goes on",
		Long: "Serve a page by HTTP, on the loopback network only: who waits for whom, values that are not valid, what is used\n" +
			"most, programs of all hosts, and what has happened. Whoever on this machine can connect can see it. It ends\n" +
			"with SIGTERM or SIGINT.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			env, err := o.environment()
			if err != nil {
				return err
			}
			path, err := o.directory()
			if err != nil {
				return err
			}
			cluster, err := rundir.Cluster(env)
			if err != nil {
				return &exit{exitError, err}
			}
			l, err := listenLocal(addr, false)
			if err != nil {
				return &exit{exitError, err}
			}
			ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
			defer cancel()
			log := attach.Logger(env, c.ErrOrStderr(), slog.LevelInfo)
			log.Info("a page is served", "url", "http://"+l.Addr().String()+"/")
			serveHTTP(ctx, l, webHandler(&site{cluster: cluster, from: lookAt(path)}), log)
			return nil
		},
	}
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:9441", "address and port of the loopback network")
	return c
}

// site makes the pages.
type site struct {
	cluster string
	from    source

	mu   sync.Mutex
	at   time.Time
	last *overview
}

func webHandler(s *site) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.page(w, "overview", s.overview()) })
	mux.HandleFunc("GET /resource", func(w http.ResponseWriter, r *http.Request) { s.page(w, "resource", s.resource(r.URL.Query())) })
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, webFiles, "web/style.css") })
	return localHost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}))
}

// page writes a page when it is whole.
func (s *site) page(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := webPages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // nobody is left to be told
}

// head is what all pages have.
type head struct {
	Title, Cluster, At string
	Trouble            []string
}

func (s *site) head(title string, at time.Time) head {
	return head{Title: title, Cluster: s.cluster, At: at.Format(time.DateTime)}
}

// overview is the first page.
type overview struct {
	head
	Programs, Hosts int
	Trees, Locks    uint64
	Graph           template.HTML
	Waiters         []waiterRow
	Invalid         []invalidRow
	Hottest         []hotRow
	Members         []memberRow
	Timeline        []timeRow
}

type waiterRow struct{ Owner, Wanted, Resource, Link, Since, For string }
type invalidRow struct{ Resource, Link, Since, Why string }
type hotRow struct {
	Resource, Link, Rate, Master string
	Locks, Queued                uint32
}
type memberRow struct {
	Name, Host, State, Requests, Locks, Trees, Version string
	Bad                                                bool
}
type timeRow struct {
	When, Who, Text string
	Bad             bool
	at              time.Time
}

// overview makes the first page, or the one before if that is new.
func (s *site) overview() *overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && time.Since(s.at) < webOld {
		return s.last
	}
	v := &overview{head: s.head("godlm", time.Now())}
	if err := s.fill(v); err != nil {
		v.Trouble = append(v.Trouble, err.Error())
		return v
	}
	s.last, s.at = v, time.Now()
	return v
}

func (s *site) fill(v *overview) error {
	const patience = int64(time.Second)
	p, err := s.from.look(proto.Inquiry{What: proto.SeeTrees | proto.SeeCounts | proto.SeeEvents, Hot: 20, Patience: patience})
	if err != nil {
		return err
	}
	waits, err := s.from.look(proto.Inquiry{What: proto.SeeLocks | proto.SeeWaits, Waiting: true, Limit: 2000, Patience: patience})
	if err != nil {
		return err
	}
	doubt, err := s.from.look(proto.Inquiry{What: proto.SeeTrees, Invalid: true, Limit: 1000, Patience: patience})
	if err != nil {
		return err
	}
	for i := range p.Silent {
		v.Trouble = append(v.Trouble, "No answer of "+p.Silent[i].String()+".")
	}
	v.members(p)
	v.hottest(p)
	v.waiters(waits)
	v.invalid(doubt)
	v.timeline(p)
	return nil
}

func (v *overview) members(p *picture) {
	counts := map[*who]*count{}
	for i := range p.Counts {
		c := &p.Counts[i]
		counts[c.Who] = c
		v.Trees += c.Trees
		v.Locks += c.Locks
		if c.Rebuilding {
			v.Trouble = append(v.Trouble, "Resources without a master are being rebuilt.")
		}
	}
	var list []*who
	hosts := map[string]bool{}
	for _, w := range p.Members {
		if w.State == "" {
			continue // only heard of
		}
		list = append(list, w)
		hosts[w.Host] = true
	}
	v.Programs, v.Hosts = len(list), len(hosts)
	slices.SortFunc(list, func(x, y *who) int { return cmp.Or(cmp.Compare(x.Host, y.Host), cmp.Compare(x.id, y.id)) })
	for _, w := range list[:min(len(list), webRows)] {
		m := memberRow{Name: w.name(), Host: dash(w.Host), State: w.State, Requests: "-", Locks: "-", Trees: "-", Version: dash(w.version), Bad: w.State == node.Stopped}
		if w.agent {
			m.State += ", agent"
		}
		if c := counts[w]; c != nil {
			m.Requests, m.Locks, m.Trees = short(float64(requests(&c.Counts))), short(float64(c.Locks)), short(float64(c.Trees))
		}
		v.Members = append(v.Members, m)
	}
}

// name is a program without its host.
func (w *who) name() string {
	n := *w
	n.Host = ""
	return n.String()
}

// requests are the program's own.
func requests(c *proto.Counts) (n uint64) {
	for _, way := range c.Requests[:2] {
		for _, op := range way {
			n += op
		}
	}
	return n
}

func (v *overview) hottest(p *picture) {
	slices.SortStableFunc(p.Trees, func(x, y tree) int { return cmp.Compare(y.Rate, x.Rate) })
	for i := range p.Trees {
		if t := &p.Trees[i]; t.Rate > 0 && len(v.Hottest) < 20 {
			v.Hottest = append(v.Hottest, hotRow{resourceName(&t.Root, nil), link(&t.Root), short(float64(t.Rate) / 1000), t.Master.String(), t.Locks, t.Queued})
		}
	}
}

// link leads to the page of a root resource.
func link(r *proto.Root) string {
	return "/resource?" + url.Values{"name": {string(r.Name.Bytes())}, "space": {fmt.Sprintf("%d.%d", r.Space.Kind, r.Space.ID)}}.Encode()
}

func (v *overview) waiters(p *picture) {
	list := p.waiters()
	roots := map[string]string{}
	for i := range p.Trees {
		for j := range p.Trees[i].Resources {
			t := &p.Trees[i]
			roots[spaceName(t.Root.Space)+resourceName(&t.Root, t.Resources[j].Path)] = link(&t.Root)
		}
	}
	for i := range p.Waits {
		a := &p.Waits[i]
		roots[spaceName(a.Root.Space)+resourceName(&a.Root, a.Path)] = link(&a.Root)
	}
	slices.SortStableFunc(list, func(x, y waiter) int { return cmp.Compare(y.age, x.age) })
	v.Graph = drawGraph(list)
	for i := range list[:min(len(list), webRows)] {
		w := &list[i]
		r := waiterRow{Owner: w.Owner.String(), Wanted: w.Wanted, Resource: w.Resource, Link: roots[w.Namespace+w.Resource], Since: "?", For: w.State}
		if w.age >= 0 {
			r.Since = span(w.age)
		}
		for j, x := range w.For {
			text := fmt.Sprintf("%s (%s)", x.Owner, x.Mode)
			if x.Queued {
				text += ", ahead in the queue"
			}
			if j == 0 {
				r.For = text
			} else {
				r.For += "; " + text
			}
		}
		v.Waiters = append(v.Waiters, r)
	}
}

func (v *overview) invalid(p *picture) {
	for i := range p.Trees {
		t := &p.Trees[i]
		for j := range t.Resources {
			r := &t.Resources[j]
			c := p.causeOf(&r.Cause)
			if c == nil || len(v.Invalid) == webRows {
				continue
			}
			row := invalidRow{Resource: resourceName(&t.Root, r.Path), Link: link(&t.Root), Why: c.Text, Since: "?"}
			if at := time.Unix(int64(r.Cause.At), 0); r.Cause.At != 0 {
				row.Since = at.Format(time.DateTime)
				v.Timeline = append(v.Timeline, timeRow{Who: t.Master.String(), Text: "the value of " + row.Resource + " is not valid any more: " + c.Text, Bad: true, at: at})
			}
			v.Invalid = append(v.Invalid, row)
		}
	}
}

// timeline adds the lines of logs, the newest first.
func (v *overview) timeline(p *picture) {
	for i := range p.Events {
		e := p.eventLine(&p.Events[i])
		v.Timeline = append(v.Timeline, timeRow{Who: e.Who.String(), Text: printable(e.Text), Bad: e.Level != "info", at: e.at})
	}
	slices.SortStableFunc(v.Timeline, func(x, y timeRow) int { return y.at.Compare(x.at) })
	v.Timeline = v.Timeline[:min(len(v.Timeline), webRows)]
	for i := range v.Timeline {
		v.Timeline[i].When = v.Timeline[i].at.Format(time.DateTime)
	}
}

// resourcePage is the page of a root resource.
type resourcePage struct {
	head
	List []resourceRow
}

type resourceRow struct {
	Resource, Namespace, Master, MasterSince, Origin, InvalidSince, Why, Value string
	Valid                                                                      bool
	Locks                                                                      []lockLine
}

func (s *site) resource(q url.Values) *resourcePage {
	name := q.Get("name")
	v := &resourcePage{head: s.head("godlm: "+strconv.Quote(name), time.Now())}
	n, err := readName(name, false)
	inquiry := proto.Inquiry{What: proto.SeeLocks, Name: n, Limit: 1000, Patience: int64(time.Second)}
	if _, e := fmt.Sscanf(q.Get("space"), "%d.%d", &inquiry.Space.Kind, &inquiry.Space.ID); e == nil && inquiry.Space.Kind <= proto.PerGroup {
		inquiry.InSpace = true
	}
	var p *picture
	if err == nil && name != "" {
		p, err = s.from.look(inquiry)
	}
	if err != nil || p == nil {
		if err != nil {
			v.Trouble = append(v.Trouble, err.Error())
		}
		return v
	}
	for i := range p.Silent {
		v.Trouble = append(v.Trouble, "No answer of "+p.Silent[i].String()+".")
	}
	list := p.explain(nil)
	for i := range list[:min(len(list), webRows)] {
		x := &list[i]
		r := resourceRow{
			Resource: x.Resource, Namespace: x.Namespace, Master: x.Master.String(), MasterSince: time.Unix(int64(x.tree.Since), 0).Format(time.DateTime),
			Origin: x.origin(), Value: x.Value, Valid: x.Valid, Locks: x.Locks[:min(len(x.Locks), webRows)], InvalidSince: "?",
		}
		if x.Cause != nil {
			r.Why = x.Cause.Text
			if at := x.res.Cause.At; at != 0 {
				r.InvalidSince = time.Unix(int64(at), 0).Format(time.DateTime)
			}
		}
		v.List = append(v.List, r)
	}
	return v
}
