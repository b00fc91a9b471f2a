package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// The part reload has a server reload its configuration while many connections live.

// reloadCase is one change of a configuration.
type reloadCase struct {
	name, server string
	callout      bool // the connections come by the handler inside; otherwise they are a static user's
	next         func(c *reloadConf)
	source       sourceState
}

// sourceState is what the session source does from just before the reload on.
type sourceState int

const (
	sourceAnswers sourceState = iota
	sourceHangs
	sourceFails // with status 503
)

// Cases that the summary has too.
const (
	stockAddedCase     = "stock, static users: a user is added"
	changedHeadersCase = "ours, static users: headers block"
)

func reloadCases() []reloadCase {
	unchanged := func(*reloadConf) {}
	addUser := func(c *reloadConf) { c.users += ", {user: added, password: added}" }
	changeHeaders := func(c *reloadConf) { c.headers = "headers { all: {X-Server: two}, sealed: [Secret] }" }
	changeCallout := func(c *reloadConf) { c.grantHeaders = `X-User: "{{ session.user }}", X-New: "1"` }
	return []reloadCase{
		{"stock, static users: unchanged file", stock, false, unchanged, sourceAnswers},
		{"ours, static users: unchanged file", ours, false, unchanged, sourceAnswers},
		{stockAddedCase, stock, false, addUser, sourceAnswers},
		{"ours, static users: a user is added", ours, false, addUser, sourceAnswers},
		{changedHeadersCase, ours, false, changeHeaders, sourceAnswers},
		{"callout: unchanged file", ours, true, unchanged, sourceAnswers},
		{"callout: a static user is added", ours, true, addUser, sourceAnswers},
		{"callout: headers block", ours, true, changeHeaders, sourceAnswers},
		{"callout: callout block", ours, true, changeCallout, sourceAnswers},
		{"callout: callout block, the source hangs", ours, true, changeCallout, sourceHangs},
		{"callout: callout block, the source answers 503", ours, true, changeCallout, sourceFails},
	}
}

// reloadConf is the configuration of a case. Its users are in one account.
type reloadConf struct {
	users, headers, grantHeaders, url string
}

func (c reloadConf) text(callout bool) string {
	conf := c.headers + fmt.Sprintf("\naccounts { APP { users: [{user: %s, password: %s}%s] } }\nauthorization { timeout: 10 }\n", plainUser, password, c.users)
	if callout {
		conf += fmt.Sprintf(`callout {
  sessions: [{kind: http, url: %q, header: Authorization, scheme: Bearer, cache: 0, negative_cache: 0, timeout: "5s", concurrency: 256}]
  grants: [{account: APP, publish: ">", subscribe: ">", headers: {%s}}]
}
`, c.url, c.grantHeaders)
	}
	return conf
}

// reloadSample is one reload.
type reloadSample struct {
	reload     time.Duration // from SIGHUP until the log says that the configuration is in force
	outcome    string        // empty, or why it is not in force
	rtt, info  time.Duration // the longest round trip of a bystander, and wait of a new connection for its INFO
	closed     int           // of the connections
	asked      int64         // how often the source was asked
	renewals   int           // of the connections, in the time that was given
	renewedIn  time.Duration // until the last of them, from SIGHUP
	connection int           // how many there were
}

// sessionSource is an application that the handler asks for sessions.
type sessionSource struct {
	*httptest.Server
	asked atomic.Int64
	state atomic.Int64
	hold  chan struct{} // closed when answers need not wait any more
}

func newSessionSource() *sessionSource {
	s := &sessionSource{hold: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		switch sourceState(s.state.Load()) {
		case sourceHangs:
			select {
			case <-s.hold:
			case <-r.Context().Done():
				return
			}
		case sourceFails:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"user":%q}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) // who asked is gone
	}))
	return s
}

// spareFiles is more than a process opens beside its connections.
const spareFiles = 1000

func (r *runner) reloadRounds(ctx context.Context) error {
	// Go raises the soft limit of each of our processes to the hard one by itself.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if need := uint64(r.plan.reloadConns + spareFiles); files.Max < need {
		return fmt.Errorf("a process may open %d files, and the part reload needs %d\nhint: ulimit -Hn, or --reload-connections", files.Max, need)
	}
	for range r.plan.reloadRounds {
		for _, c := range shuffled(reloadCases()) {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			fmt.Fprintln(r.progress, "reload:", c.name)
			sample, err := r.reloadOnce(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			r.res.reload[c.name] = append(r.res.reload[c.name], sample)
		}
	}
	return nil
}

// reloadOnce measures one reload on a server of its own.
func (r *runner) reloadOnce(ctx context.Context, c reloadCase) (sample reloadSample, err error) {
	source := newSessionSource()
	defer source.Close()
	release := sync.OnceFunc(func() { close(source.hold) })
	defer release()
	conf := reloadConf{url: source.URL, grantHeaders: `X-User: "{{ session.user }}"`}
	p, err := start(ctx, r.bin.path(c.server), conf.text(c.callout))
	if err != nil {
		return sample, err
	}
	defer p.stop()
	conns, err := openLive(p, c.callout, r.plan.reloadConns)
	if err != nil {
		return sample, err
	}
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // the server is going to be killed
		}
	}()
	c.next(&conf)
	if err := p.configure(conf.text(c.callout)); err != nil {
		return sample, err
	}
	watch, err := startWatching(p)
	if err != nil {
		return sample, err
	}
	source.state.Store(int64(c.source))
	asked := source.asked.Load()
	at, err := p.logSize()
	if err != nil {
		return sample, err
	}
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return sample, err
	}
	sample.outcome, sample.reload = p.awaitReload(at, begin)
	if c.callout && sample.outcome == "" {
		sample.renewals, sample.renewedIn = p.awaitRenewals(len(conns), begin)
	}
	sample.rtt, sample.info, err = watch.stop()
	sample.asked, sample.connection = source.asked.Load()-asked, len(conns)
	release()
	deadline := time.Now().Add(timeout)
	for _, conn := range conns {
		if err := errors.Join(conn.SetDeadline(deadline), conn.flush()); err != nil {
			sample.closed++
		}
	}
	return sample, err
}

// openLive opens n connections that stay.
func openLive(p *process, callout bool, n int) ([]*client, error) {
	conns := make([]*client, n)
	var g errgroup.Group
	g.SetLimit(64)
	for i := range conns {
		g.Go(func() (err error) {
			o := connectOptions{User: plainUser, Pass: password}
			if callout {
				o = connectOptions{Token: fmt.Sprintf("session%d", i)}
			}
			conns[i], err = dial(p.addr, o, nil)
			return err
		})
	}
	return conns, g.Wait()
}

func (p *process) logSize() (int64, error) {
	f, err := os.Stat(p.log)
	if err != nil {
		return 0, err
	}
	return f.Size(), nil
}

// awaitReload waits until the log has the end of a reload, beyond a place in it. It returns why the
// reload is not in force, or nothing.
func (p *process) awaitReload(at int64, begin time.Time) (outcome string, took time.Duration) {
	for time.Since(begin) < timeout {
		text, took := p.logFrom(at), time.Since(begin)
		if strings.Contains(text, "Reloaded server configuration") {
			return "", took
		}
		if _, why, ok := strings.Cut(text, "Failed to reload server configuration: "); ok {
			why, _, _ = strings.Cut(why, ":")
			return "refused: " + strings.TrimSpace(why), took
		}
		time.Sleep(time.Millisecond / 2)
	}
	return fmt.Sprintf("not in %s", timeout), timeout
}

func (p *process) logFrom(at int64) string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.NewSectionReader(f, at, 1<<30)) // what is missing is there the next time
	return string(text)
}

// renewalPause: after this long without a renewal we assume that all renewals are done.
const renewalPause = 3 * time.Second

// awaitRenewals waits until n connections are renewed, or until renewalPause has passed without a renewal.
func (p *process) awaitRenewals(n int, begin time.Time) (renewals int, took time.Duration) {
	last := time.Now()
	for renewals < n && time.Since(last) < renewalPause {
		var v struct{ Headers struct{ Renewals int } }
		if err := p.monitored("/varz", &v); err == nil && v.Headers.Renewals > renewals {
			renewals, last, took = v.Headers.Renewals, time.Now(), time.Since(begin)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return renewals, took
}

// watching are a bystander that measures its round trips, and one that opens connections.
type watching struct {
	done      chan struct{}
	group     errgroup.Group
	rtt, info time.Duration
}

func startWatching(p *process) (*watching, error) {
	bystander, err := dial(p.addr, connectOptions{User: plainUser, Pass: password}, nil)
	if err != nil {
		return nil, err
	}
	w := &watching{done: make(chan struct{})}
	repeat := func(worst *time.Duration, once func() error) func() error {
		return func() error {
			for {
				select {
				case <-w.done:
					return nil
				default:
				}
				begin := time.Now()
				err := once()
				*worst = max(*worst, time.Since(begin))
				if errors.Is(err, os.ErrDeadlineExceeded) {
					return nil // that long is what there is to say
				}
				if err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	w.group.Go(func() error {
		defer bystander.Close()
		err := repeat(&w.rtt, func() error {
			return errors.Join(bystander.SetDeadline(time.Now().Add(timeout)), bystander.flush())
		})()
		if err != nil {
			return fmt.Errorf("bystander: %w", err)
		}
		return nil
	})
	w.group.Go(repeat(&w.info, func() error {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(timeout)) // it was just opened
		_, err = bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return fmt.Errorf("a new connection got no INFO: %w", err)
		}
		return nil
	}))
	return w, nil
}

// stop returns the longest round trip, and the longest wait for an INFO.
func (w *watching) stop() (rtt, info time.Duration, err error) {
	close(w.done)
	err = w.group.Wait()
	return w.rtt, w.info, err
}

func reloadSection(b *strings.Builder, r *results) {
	if len(r.reload) == 0 {
		return
	}
	fmt.Fprintf(b, "## Reloads with %d live connections\n\n%d rounds, each with a server of its own for each case. The connections are a static user's, or "+
		"each has a token that the handler inside asks an http source about, without a cache. \"reload\" is the time from SIGHUP until the log says that the "+
		"configuration is in force. During that, and until the connections are renewed, a bystander measures its round trip, and connections are opened one "+
		"after the other: what is shown is the longest of each. A case is done when all are renewed, or none was for %s. Times in milliseconds, median "+
		"(smallest–largest); counts are the largest of the rounds.\n\n", r.plan.reloadConns, r.plan.reloadRounds, renewalPause)
	tableHead(b, "case", "reload", "longest round trip", "longest wait for INFO", "closed", "source asked", "renewed", "all of these after")
	for _, c := range reloadCases() {
		samples := r.reload[c.name]
		ms := func(of func(reloadSample) time.Duration) string {
			var values []float64
			for _, s := range samples {
				values = append(values, float64(of(s)))
			}
			return spread(values, 1e6)
		}
		most := func(of func(reloadSample) int) string {
			n := 0
			for _, s := range samples {
				n = max(n, of(s))
			}
			return fmt.Sprint(n)
		}
		reload := ms(func(s reloadSample) time.Duration { return s.reload })
		for _, s := range samples {
			if s.outcome != "" {
				reload = s.outcome
			}
		}
		asked, renewed, after := "–", "–", "–"
		if c.callout {
			asked = most(func(s reloadSample) int { return int(s.asked) })
			renewed = most(func(s reloadSample) int { return s.renewals })
			if renewed != "0" {
				after = ms(func(s reloadSample) time.Duration { return s.renewedIn })
			}
		}
		tableRow(b, c.name, reload, ms(func(s reloadSample) time.Duration { return s.rtt }), ms(func(s reloadSample) time.Duration { return s.info }),
			most(func(s reloadSample) int { return s.closed }), asked, renewed, after)
	}
	b.WriteString("\n")
}
