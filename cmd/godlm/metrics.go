package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/spf13/cobra"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

// The metrics. Those of programs have the labels pid and program.
var (
	ofProgram = []string{"pid", "program"}

	mUp       = describe("up", "Whether the program has answered.", ofProgram)
	mRequests = describe("requests_total", "Requests of this program that it decided itself (local) or sent to others (out), and requests of others that it decided (in).", ofProgram, "way", "operation")
	mWaits    = describe("wait_seconds", "How long requests of this program waited in queues.", ofProgram)
	mBlocking = describe("blocking_notifications_total", "Blocking notifications given to this program.", ofProgram)
	mInvalid  = describe("value_blocks_invalidated_total", "Value blocks that became not valid where this program decides, by cause.", ofProgram, "cause")
	mDead     = describe("deadlocks_total", "Deadlocks that this program has found.", ofProgram)
	mViews    = describe("view_changes_total", "Views that this program has taken.", ofProgram)
	mTrees    = describe("trees_mastered", "Resource trees that this program decides about.", ofProgram)
	mLocks    = describe("locks", "Locks and requests of this program.", ofProgram)
	mAsking   = describe("requests_unanswered", "Requests of this program that have no answer.", ofProgram)
	mQueued   = describe("requests_queued", "Requests of all programs in the queues of this one.", ofProgram)
	mLease    = describe("lease_headroom_seconds", "How long the lease of this host goes on.", nil)
	mRebuilds = describe("rebuild_seconds", "How long resources were without a master, where this host keeps the directory.", nil)
	mBusy     = describe("rebuilding", "Whether resources are without a master.", nil)
	mMembers  = describe("programs", "Programs of this host that have joined.", nil)
)

func describe(name, help string, labels []string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("godlm_"+name, help, append(append([]string(nil), labels...), more...), nil)
}

var (
	wayNames = [proto.Ways]string{"local", "out", "in"}
	opNames  = [proto.Ops]string{"lock", "convert", "unlock", "cancel", "query"}
)

// collector takes a picture of this host when it is asked.
type collector struct {
	from source
	log  *slog.Logger
}

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{
		mUp, mRequests, mWaits, mBlocking, mInvalid, mDead, mViews, mTrees, mLocks, mAsking, mQueued, mLease, mRebuilds, mBusy, mMembers,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	p, err := c.from.look(proto.Inquiry{What: proto.SeeCounts, Here: true})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(mUp, err)
		if c.log != nil {
			c.log.Warn("metrics", "error", err)
		}
		return
	}
	p.collect(ch)
}

func (p *picture) collect(ch chan<- prometheus.Metric) {
	up := map[*who]bool{}
	for i := range p.Counts {
		n := &p.Counts[i]
		if n.Who.id == 0 {
			collectHost(ch, &n.Counts)
		} else {
			up[n.Who] = true
			collectProgram(ch, n)
		}
	}
	members := 0.0
	for _, w := range p.Members {
		members++
		is := 0.0
		if up[w] {
			is = 1
		}
		ch <- prometheus.MustNewConstMetric(mUp, prometheus.GaugeValue, is, w.labels()...)
	}
	ch <- prometheus.MustNewConstMetric(mMembers, prometheus.GaugeValue, members)
}

// labels are those of a program. A container has its number for a pid.
func (w *who) labels(more ...string) []string {
	id := strconv.FormatUint(uint64(w.Pid), 10)
	if w.Pid == 0 {
		id = w.Process
	}
	return append([]string{id, printable(w.Program)}, more...)
}

func collectHost(ch chan<- prometheus.Metric, c *proto.Counts) {
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	if c.Lease > 0 {
		gauge(mLease, time.Duration(c.Lease).Seconds())
	}
	busy := 0.0
	if c.Rebuilding {
		busy = 1
	}
	gauge(mBusy, busy)
	ch <- histogram(mRebuilds, proto.RebuildBounds[:], c.Rebuilds[:], c.RebuildNanos)
}

func collectProgram(ch chan<- prometheus.Metric, n *count) {
	w := n.Who
	add := func(d *prometheus.Desc, kind prometheus.ValueType, v uint64, more ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), w.labels(more...)...)
	}
	for way := range n.Requests {
		for op := range n.Requests[way] {
			add(mRequests, prometheus.CounterValue, n.Requests[way][op], wayNames[way], opNames[op])
		}
	}
	for kind := proto.CauseNone + 1; kind < proto.Causes; kind++ {
		add(mInvalid, prometheus.CounterValue, n.Invalid[kind], causeKinds[kind])
	}
	add(mBlocking, prometheus.CounterValue, n.Blocking)
	add(mDead, prometheus.CounterValue, n.Deadlocks)
	add(mViews, prometheus.CounterValue, n.Views)
	add(mTrees, prometheus.GaugeValue, n.Trees)
	add(mLocks, prometheus.GaugeValue, n.Locks)
	add(mAsking, prometheus.GaugeValue, n.Asking)
	add(mQueued, prometheus.GaugeValue, n.Queued)
	ch <- histogram(mWaits, proto.WaitBounds[:], n.Waits[:], n.WaitNanos, w.labels()...)
}

// histogram is one of classes of nanoseconds.
func histogram(d *prometheus.Desc, bounds []int64, classes []uint64, nanos uint64, labels ...string) prometheus.Metric {
	buckets := map[float64]uint64{}
	sum := uint64(0)
	for i, n := range classes {
		sum += n
		if i < len(bounds) {
			buckets[time.Duration(bounds[i]).Seconds()] = sum
		}
	}
	return prometheus.MustNewConstHistogram(d, sum, float64(nanos)/1e9, buckets, labels...)
}

func newMetrics(o *options) *cobra.Command {
	return o.jsonFlag(&cobra.Command{
		Use:   "metrics",
		Short: "Print the counters of the programs here, for Prometheus",
		Long: "Print the counters of all programs of this host in the text format of Prometheus. With 'godlm agent\n" +
			"--metrics ADDRESS' the agent serves the same by HTTP. A program that does not answer has godlm_up 0.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := o.source()
			if err != nil {
				return err
			}
			r := prometheus.NewRegistry()
			r.MustRegister(collector{from: from})
			families, err := r.Gather()
			if err != nil {
				return &exit{exitError, err}
			}
			if o.json {
				return printJSON(c.OutOrStdout(), struct {
					Metrics []sample `json:"metrics"`
				}{samples(families)})
			}
			return writeMetrics(c.OutOrStdout(), r)
		},
	})
}

// sample is a metric in the JSON.
type sample struct {
	Name    string            `json:"name"`
	Type    string            `json:"type"` // "counter", "gauge", "histogram"
	Labels  map[string]string `json:"labels"`
	Value   float64           `json:"value"`             // of a histogram: the sum
	Count   uint64            `json:"count,omitempty"`   // of a histogram
	Buckets []bucket          `json:"buckets,omitempty"` // of a histogram, cumulative
}

type bucket struct {
	Most  float64 `json:"le"`
	Count uint64  `json:"count"`
}

func samples(families []*dto.MetricFamily) []sample {
	out := []sample{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			s := sample{Name: f.GetName(), Type: strings.ToLower(f.GetType().String()), Labels: map[string]string{}}
			for _, l := range m.GetLabel() {
				s.Labels[l.GetName()] = l.GetValue()
			}
			switch h := m.GetHistogram(); {
			case h != nil:
				s.Value, s.Count = h.GetSampleSum(), h.GetSampleCount()
				for _, b := range h.GetBucket() {
					s.Buckets = append(s.Buckets, bucket{b.GetUpperBound(), b.GetCumulativeCount()})
				}
			case m.GetCounter() != nil:
				s.Value = m.GetCounter().GetValue()
			default:
				s.Value = m.GetGauge().GetValue()
			}
			out = append(out, s)
		}
	}
	return out
}

func writeMetrics(w io.Writer, r *prometheus.Registry) error {
	families, err := r.Gather()
	if err != nil {
		return &exit{exitError, err}
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return &exit{exitError, err}
		}
	}
	return nil
}

// listenLocal opens a port for HTTP: of this machine only, unless it is asked for
// explicitly.
func listenLocal(addr string, anywhere bool) (net.Listener, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%q is no address and port, as 127.0.0.1:9440 is", addr)
	}
	if !a.Addr().IsLoopback() && !anywhere {
		return nil, fmt.Errorf("%s can be reached from other machines, and whoever reaches it sees the names of all resources; say so explicitly if that is what you want", addr)
	}
	return net.Listen("tcp", addr)
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 14}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // nobody is left to be told
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("serve HTTP", "address", l.Addr().String(), "error", err)
	}
}

// metricsHandler serves the metrics of the node that is there when it is asked.
func metricsHandler(current func() *node.Node, anywhere bool, log *slog.Logger) http.Handler {
	from := source(func(q *proto.Inquiry, each func(*proto.Sight) error) error {
		n := current()
		if n == nil {
			return errors.New("this agent is not a member just now")
		}
		return n.Look(q, each)
	})
	r := prometheus.NewRegistry()
	r.MustRegister(collector{from, log})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	if anywhere {
		return mux // whoever looks may call the machine whatever it likes
	}
	return localHost(mux)
}

// localHost refuses requests that name another host than the address that was asked: a page
// of somebody else could have led a browser here by a name that it makes lead here.
func localHost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		if !goodHost(r) {
			http.Error(w, "the Host header names another host", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// goodHost: localhost, or the address at which the request came in.
func goodHost(r *http.Request) bool {
	name, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		name, port = r.Host, "80"
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || port != strconv.Itoa(int(at.Port())) {
		return false
	}
	if name == "localhost" {
		return at.Addr().Unmap().IsLoopback()
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap() == at.Addr().Unmap()
}
