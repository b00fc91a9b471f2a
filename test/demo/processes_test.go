package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"stamp/test/harness"
)

// TestProcesses runs each part as a process of its own, as compose.yaml does,
// those first that have to wait for others.
func TestProcesses(t *testing.T) {
	nats := builtServer(t)
	dir := t.TempDir()
	demo := buildDemo(t, dir)
	tcp, websocket, page := harness.FreeAddr(t), harness.FreeAddr(t), harness.FreeAddr(t)
	conf, keys, origin := filepath.Join(dir, "nats.conf"), filepath.Join(dir, "keys"), "http://"+page
	_, port, _ := net.SplitHostPort(websocket)

	start(t, demo, "service", "-nats", "nats://"+tcp, "-keys", keys)
	client := exec.Command(demo, "client", "-web", origin, "-websocket", "ws://"+websocket, "-origin", origin,
		"-nats", "nats://"+tcp, "-keys", keys)
	var output bytes.Buffer
	client.Stdout, client.Stderr = &output, &output
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	config := exec.Command(demo, "config", "-conf", conf, "-keys", keys, "-listen", tcp, "-websocket", websocket, "-origin", origin,
		"-store", filepath.Join(dir, "store"))
	if said, err := config.CombinedOutput(); err != nil {
		t.Fatalf("demo config failed: %v\n%s", err, said)
	}
	start(t, nats, "-c", conf)
	start(t, demo, "web", "-listen", page, "-websocket-port", port, "-nats", "nats://"+tcp, "-keys", keys)

	if err := client.Wait(); err != nil {
		t.Errorf("demo client failed: %v\n%s", err, &output)
	}
	checkOutput(t, output.Bytes())
}

// builtServer is the server that STAMP_SERVER names, or one that is built.
func builtServer(t *testing.T) string {
	t.Helper()
	if file := os.Getenv("STAMP_SERVER"); file != "" {
		return file
	}
	if output, err := exec.Command("../../scripts/build", "nats-server").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the server: %v\n%s", err, output)
	}
	return "../../bin/nats-server"
}

// buildDemo builds the demonstration in dir.
func buildDemo(t *testing.T, dir string) string {
	t.Helper()
	demo := filepath.Join(dir, "demo")
	if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", demo, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the demonstration: %v\n%s", err, output)
	}
	return demo
}

// start runs a process until the test ends; SIGTERM must end it with status 0,
// which the patched server gives too.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM, expected %s %s to end with status 0; found %v\n%s", filepath.Base(name), args[0], err, &output)
		}
		checkOutput(t, serverID.ReplaceAll(output.Bytes(), nil))
	})
}
