package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"stamp/internal/callout"
	"stamp/internal/callout/ops"
	"stamp/internal/callout/session"
	"stamp/internal/release"
)

type serveCommand struct {
	Config    string `short:"c" required:"" placeholder:"FILE" help:"configuration file"`
	LogFormat string `enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json (default: text)"`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (default: info); debug tells of each grant"`
}

// Time limits of the end and of a reload.
const (
	stopTime   = 20 * time.Second // for callouts and requests that are being answered
	reloadTime = 10 * time.Second // for the new handler to connect
)

func (c *serveCommand) Run(s *streams) error {
	log, err := ops.Logger(s.err, c.LogFormat, c.LogLevel)
	if err != nil {
		return usage(err, "")
	}
	// Before anything else, so that an early SIGHUP does not end the process.
	caught, signals := make(chan os.Signal, 8), make(chan os.Signal, 8)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go relay(caught, signals)
	cfg, err := callout.Load(c.Config)
	if err != nil && isServers(c.Config) {
		return hint(err, "this looks like the configuration of a nats-server, which runs the handler itself: nats-server -c "+c.Config)
	}
	if err != nil {
		return err
	}
	v := &service{file: c.Config, log: log, metrics: metrics.NewSet(), signals: signals}
	v.declareMetrics()
	return v.run(cfg)
}

// declareMetrics makes metrics that would otherwise begin to exist with their first event: Prometheus
// sees no increase from nothing to 1.
func (v *service) declareMetrics() {
	callout.Options{Metrics: v.metrics}.ReadyMetric().Set(0)
	v.reloads("done")
	v.reloads("failed")
}

// reloads counts reloads with that result.
func (v *service) reloads(result string) *metrics.Counter {
	return v.metrics.GetOrCreateCounter(fmt.Sprintf("stamp_callout_reloads_total{result=%q}", result))
}

// relay passes signals on. After a first signal that ends the process, a second one ends it at
// once, whatever the process waits for.
func relay(caught <-chan os.Signal, to chan<- os.Signal) {
	for sig := range caught {
		if sig != syscall.SIGHUP {
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			to <- sig
			return
		}
		select {
		case to <- sig:
		default: // enough reloads are waiting; each reads the file when it starts
		}
	}
}

// service is a running handler with its HTTP endpoint.
type service struct {
	file    string
	log     *slog.Logger
	metrics *metrics.Set
	signals chan os.Signal

	process atomic.Pointer[callout.Process] // nil: not connected yet
	failed  atomic.Pointer[error]           // why the last attempt to connect failed, before the first connection
	http    *ops.Server                     // nil: none is configured
	address string                          // configured address of http
}

func (v *service) run(cfg *callout.Config) error {
	v.log.Info("starting", "version", release.Version, "configuration", v.file)
	v.warn(cfg)
	err := v.listen(cfg.HTTP)
	if err == nil {
		err = v.loop(cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if p := v.process.Load(); p != nil {
		v.log.Info("draining")
		err = errors.Join(err, p.Stop(ctx))
	}
	if v.http != nil {
		err = errors.Join(err, v.http.Close(ctx))
	}
	if err == nil {
		v.log.Info("stopped")
	}
	return err
}

// loop starts the handler and carries out signals until one ends the process. A start or a reload
// runs in a goroutine of its own, one at a time, so that it can be canceled.
func (v *service) loop(cfg *callout.Config) error {
	task := v.begin(func(ctx context.Context) error { return v.start(ctx, cfg) })
	for {
		var done chan error // nil: no task is running
		if task != nil {
			done = task.done
		}
		select {
		case err := <-done:
			task = nil
			if v.process.Load() == nil {
				return err
			}
		case sig := <-v.signals:
			switch {
			case sig != syscall.SIGHUP:
				v.log.Info("signal", "signal", sig.String())
				task.giveUp(errEnding)
				return nil
			case v.process.Load() == nil:
				task = v.startAnew(task)
			default:
				// The reload that is running may wait for something that the file no longer
				// contains.
				task.giveUp(errAgain)
				task = v.begin(v.reload)
			}
		}
	}
}

// startAnew restarts the first start, for a reload. It may be waiting for a server that the file no
// longer names.
func (v *service) startAnew(starting *task) *task {
	cfg, err := v.load()
	if err != nil {
		v.reloaded(err)
		return starting
	}
	starting.giveUp(errAgain)
	return v.begin(func(ctx context.Context) error {
		err := v.replace(ctx, cfg)
		v.reloaded(err)
		return err
	})
}

// task is a start or a reload.
type task struct {
	cancel context.CancelCauseFunc
	done   chan error
}

// Reasons to cancel a task.
var (
	errAgain  = errors.New("given up for another reload")
	errEnding = errors.New("given up, because the process ends")
	errTask   = errors.New("fault, please report it")
)

func (v *service) begin(f func(context.Context) error) *task {
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &task{cancel, make(chan error, 1)}
	go func() {
		defer cancel(nil)
		t.done <- v.recovered(ctx, f)
	}()
	return t
}

// recovered runs f. A panic in a reload becomes an error of that reload, and the old configuration
// stays.
func (v *service) recovered(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if recover() != nil { // the text of the panic may contain a secret
			err = session.Fault(errTask)
			v.log.Error("nats-callout", "error", err)
		}
	}()
	return f(ctx)
}

// giveUp cancels the task, if there is one, and waits until it has ended.
func (t *task) giveUp(why error) {
	if t != nil {
		t.cancel(why)
		<-t.done
	}
}

// start connects and serves. It waits until a server is there.
func (v *service) start(ctx context.Context, cfg *callout.Config) error {
	failed := func(err error) { v.failed.Store(&err) }
	p, err := callout.Start(ctx, cfg, callout.Options{Log: v.log, Metrics: v.metrics, Failed: failed})
	if err != nil {
		return err
	}
	v.process.Store(p)
	v.log.Info("serving")
	return nil
}

// reload reads the file again and serves with it. After an error nothing has changed.
func (v *service) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reloadTime, fmt.Errorf("the new handler did not serve within %s", reloadTime))
	defer cancel()
	cfg, err := v.load()
	if err == nil {
		err = v.replace(ctx, cfg)
	}
	v.reloaded(err)
	return err
}

func (v *service) load() (*callout.Config, error) {
	cfg, err := callout.Load(v.file)
	if err == nil {
		v.warn(cfg)
	}
	return cfg, err
}

// reloaded logs and counts the result of a reload.
func (v *service) reloaded(err error) {
	result := "done"
	if err == nil {
		v.log.Info("reloaded", "configuration", v.file)
	} else {
		result = "failed"
		list := faults(err)
		for _, fault := range list {
			v.log.Error("configuration", "fault", fault.Error())
		}
		if len(list) > 0 {
			err = errors.New("configuration is not valid")
		}
		v.log.Error("reload failed, the old configuration stays", "error", err)
	}
	v.reloads(result).Inc()
}

// replace serves with cfg. If the address of the endpoint has changed, the new one is opened first
// and the old one closed last.
func (v *service) replace(ctx context.Context, cfg *callout.Config) error {
	old, oldAddress := v.http, v.address
	moves := cfg.HTTP != oldAddress
	if moves {
		if err := v.listen(cfg.HTTP); err != nil {
			v.http, v.address = old, oldAddress
			return err
		}
	}
	var err error
	if p := v.process.Load(); p != nil {
		err = p.Reload(ctx, cfg)
	} else {
		err = v.start(ctx, cfg)
	}
	if err != nil && moves {
		old, v.http, v.address = v.http, old, oldAddress
	}
	if moves && old != nil {
		// In a goroutine, because somebody may be reading or waiting for readiness.
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopTime)
			defer cancel()
			_ = old.Close(ctx) // all requests that matter have been answered
		}()
	}
	return err
}

// listen opens the endpoint, unless the address is empty.
func (v *service) listen(address string) error {
	v.http, v.address = nil, address
	if address == "" {
		return nil
	}
	server, err := ops.Listen(address, ops.Options{Metrics: v.metrics, BuildInfo: callout.BuildInfo, CheckReady: v.checkReady, Status: v.status, Log: v.log})
	if err != nil {
		return err
	}
	v.http = server
	v.log.Info("http endpoint", "address", server.Address())
	return nil
}

var errNotConnected = errors.New("not connected to NATS yet")

func (v *service) checkReady(ctx context.Context) error {
	p := v.process.Load()
	if p != nil {
		return p.CheckReady(ctx)
	}
	if err := v.failed.Load(); err != nil {
		return fmt.Errorf("%w: %w", errNotConnected, *err)
	}
	return errNotConnected
}

// status implements ops.Options.Status.
func (v *service) status(ctx context.Context) any {
	if p := v.process.Load(); p != nil {
		return p.Status(ctx)
	}
	if err := v.checkReady(ctx); err != nil {
		return &callout.Status{Version: release.Version, NotReady: err.Error()}
	}
	return &callout.Status{Version: release.Version, NotReady: errNotConnected.Error()}
}

func (v *service) warn(cfg *callout.Config) {
	for _, text := range cfg.Warnings() {
		v.log.Warn("configuration", "warning", text)
	}
}
