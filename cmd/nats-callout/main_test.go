package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// TestScripts runs the cases in testdata with the real main.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"NATS_URL", "NATS_CREDS", "NATS_USER", "NATS_PASSWORD", "NATS_NKEY"} {
				e.Setenv(name, "")
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":        exitCode,
			"nats-server": startServer,
			"bucket":      makeBucket,
			"stored":      grepStream,
			"put":         putEntry,
			"mint":        mintJWT,
			"start":       startProgram,
			"await":       awaitLog,
			"logged":      grepLog,
			"signal":      signalProgram,
			"ended":       awaitEnd,
			"fetch":       fetch,
			"client":      connectClient,
			"mode":        checkMode,
			"lines":       countLines,
		},
	})
}

// exitCode: code N arguments of nats-callout...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(program, args[1:]...)
	code := 0
	if err != nil {
		code = -1
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d: %v", code, err)
	}
}

// startServer: nats-server FILE. It starts a server in this process, and sets
// NATS_URL. The file says port: -1.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	options, err := natsserver.ProcessConfigFile(ts.MkAbs(args[0]))
	ts.Check(err)
	options.NoSigs, options.NoLog, options.StoreDir = true, true, filepath.Join(ts.Getenv("WORK"), "jetstream")
	server, err := natsserver.NewServer(options)
	ts.Check(err)
	server.Start()
	ts.Defer(func() {
		server.Shutdown()
		server.WaitForShutdown()
	})
	if !server.ReadyForConnections(20 * time.Second) {
		ts.Fatalf("the server is not ready")
	}
	ts.Setenv("NATS_URL", server.ClientURL())
}

func jetStream(ts *testscript.TestScript) jetstream.JetStream {
	options := []nats.Option{}
	if seed := ts.Getenv("BACKEND"); seed != "" {
		option, err := nats.NkeyOptionFromSeed(ts.MkAbs(seed))
		ts.Check(err)
		options = append(options, option)
	}
	nc, err := nats.Connect(ts.Getenv("NATS_URL"), options...)
	ts.Check(err)
	ts.Defer(nc.Close)
	js, err := jetstream.New(nc)
	ts.Check(err)
	return js
}

// makeBucket: bucket NAME. Its entries may have a TTL of their own. The user is the
// nkey in the file that BACKEND names.
func makeBucket(ts *testscript.TestScript, neg bool, args []string) {
	_, err := jetStream(ts).CreateKeyValue(context.Background(), jetstream.KeyValueConfig{
		Bucket: args[0], History: 5, LimitMarkerTTL: time.Hour, Storage: jetstream.MemoryStorage,
	})
	ts.Check(err)
}

// putEntry: put BUCKET FILE FILE. The first has the key, the second the value.
func putEntry(ts *testscript.TestScript, neg bool, args []string) {
	bucket, err := jetStream(ts).KeyValue(context.Background(), args[0])
	ts.Check(err)
	_, err = bucket.PutString(context.Background(), strings.TrimSpace(ts.ReadFile(args[1])), ts.ReadFile(args[2]))
	ts.Check(err)
}

// grepStream: [!] stored BUCKET TEXT. Any message of the bucket's stream has it.
func grepStream(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	stream, err := jetStream(ts).Stream(ctx, "KV_"+args[0])
	ts.Check(err)
	state := stream.CachedInfo().State
	found := false
	for n := state.FirstSeq; n <= state.LastSeq && n > 0; n++ {
		m, err := stream.GetMsg(ctx, n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		ts.Check(err)
		found = found || bytes.Contains(m.Data, []byte(args[1]))
	}
	if found == neg {
		ts.Fatalf("%q in the stream: %v", args[1], found)
	}
}

// checkMode: mode PERMISSIONS FILE.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); (got == args[0]) == neg {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}
