package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// kubernetes is the folder of manifests.
var kubernetes = filepath.Join("..", "deploy", "kubernetes")

// podUser is the user of the images, and of the pods.
const podUser = "65532:65532"

// rendered returns the chart nats with our values. The chart is no part of this repository, so the test is skipped unless the
// chart and helm are in .cache.
func rendered(t *testing.T, more ...string) string {
	t.Helper()
	helm, chart := filepath.Join("..", ".cache", "bin", "helm"), filepath.Join("..", ".cache", "nats-chart")
	for _, file := range []string{helm, chart} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("there is no %s (hint: scripts/test tools)", file)
		}
	}
	command := exec.Command(helm, append([]string{"template", "nats", chart, "-f", filepath.Join(kubernetes, "values.yaml")}, more...)...)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("helm cannot render the chart: %v", err)
	}
	return string(out)
}

// natsConf is the configuration file in a rendered chart, with other ports.
func natsConf(t *testing.T, chart string) (text, monitor, metrics string) {
	t.Helper()
	_, rest, ok := strings.Cut(chart, "\n  nats.conf: |\n")
	if !ok {
		t.Fatal("the chart has no nats.conf")
	}
	var b strings.Builder
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "    ") {
			break
		}
		b.WriteString(line[4:])
	}
	text = b.String()
	port := func(of string) string {
		_, number, _ := strings.Cut(harness.FreeAddr(t), ":")
		if !strings.Contains(text, of) {
			t.Fatalf("the chart's configuration has no %q", of)
		}
		text = strings.Replace(text, of, regexp.MustCompile(`\d{4}`).ReplaceAllString(of, number), 1)
		return "http://127.0.0.1:" + number
	}
	port(`"port": 4222`)
	return text, port(`"http_port": 8222`), port(`0.0.0.0:7778`)
}

// pod is a root file system with the image's server, and volumes as Kubernetes mounts them.
type pod struct{ root string }

func newPod(t *testing.T, conf string) *pod {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run a server as another user in a file system of its own")
	}
	p := &pod{t.TempDir()}
	if err := os.Chmod(p.root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/nats-config", "var/run/nats", "data"} {
		if err := os.MkdirAll(filepath.Join(p.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.write(t, "nats-server", must(os.ReadFile(harness.Binary(t))), 0o755)
	p.write(t, "etc/nats-config/nats.conf", []byte(conf), 0o644)
	// An emptyDir can be written by all; a claim belongs to root.
	if err := os.Chmod(filepath.Join(p.root, "var/run/nats"), 0o777); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pod) write(t *testing.T, name string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.root, name), content, mode); err != nil {
		t.Fatal(err)
	}
}

// applyFSGroup does what kubelet does to a volume for fsGroup: the group gets all that there is, and
// may read and write it.
func (p *pod) applyFSGroup(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(p.root, "data"), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		more := os.FileMode(0o660)
		if entry.IsDir() {
			more |= os.ModeSetgid | 0o110
		}
		return errors.Join(os.Lchown(path, -1, 65532), os.Chmod(path, info.Mode()|more))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// storeOne publishes a message into a stream, which it creates if need be, and returns how many the
// stream has then.
func storeOne(t *testing.T, server *harness.Process) uint64 {
	t.Helper()
	line := server.WaitLog(t, `client connections on \S+:\d+`)
	nc, err := nats.Connect("127.0.0.1" + line[strings.LastIndexByte(line, ':'):])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js := must(jetstream.New(nc))
	mustStream(t, js, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}})
	return must(js.Publish(t.Context(), "orders", []byte("payload"))).Sequence
}

// headersBlock is the block headers in the chart's configuration.
var headersBlock = regexp.MustCompile(`"headers": \{[^}]*\},?`)

// runStock runs a stock server as root on the volumes, as the official image does, and stores a
// message. It returns how many there are then.
func (p *pod) runStock(t *testing.T, conf string) uint64 {
	t.Helper()
	p.write(t, "stock", must(os.ReadFile(harness.Tool(t, "stock-nats-server"))), 0o755)
	p.write(t, "stock.conf", []byte(headersBlock.ReplaceAllString(conf, "")), 0o644)
	t.Setenv("SERVER_NAME", "nats-0")
	server := harness.Run(t, "chroot", p.root, "/stock", "--config", "/stock.conf")
	server.WaitLog(t, "Server is ready")
	stored := storeOne(t, server)
	server.Signal(t, syscall.SIGTERM)
	server.Exit(t)
	return stored
}

// run runs a command of the pod as its user, without capabilities.
func (p *pod) run(t *testing.T, args ...string) *harness.Process {
	t.Helper()
	t.Setenv("SERVER_NAME", "nats-0")
	t.Setenv("PATH", os.Getenv("PATH")+":/")
	return harness.Run(t, "chroot", append([]string{"--userspec=" + podUser, "--groups=65532", p.root}, args...)...)
}

// TestKubernetesServer runs what the chart's pods run: the arguments, the configuration, the probes,
// the pid file, the reload and the preStop hook, as the image's user on volumes that belong to root.
func TestKubernetesServer(t *testing.T) {
	for _, reloader := range []string{"true", "false"} {
		chart := rendered(t, "--set", "reloader.enabled="+reloader)
		for _, part := range []string{
			"- --config\n        - /etc/nats-config/nats.conf", "- nats-server\n              - -sl=ldm=/var/run/nats/nats.pid",
			"path: /healthz?js-server-only=true", "fsGroup: 65532", "image: stamp.example/nats-server:2.15.3.1", "containerPort: 7778",
		} {
			if !strings.Contains(chart, part) {
				t.Errorf("the rendered chart has no %q", part)
			}
		}
		if has := strings.Contains(chart, "name: reloader"); strconv.FormatBool(has) != reloader {
			t.Errorf("reloader.enabled is %s; has one: %t", reloader, has)
		}
	}
	conf, monitor, metrics := natsConf(t, rendered(t, "--set", "config.cluster.enabled=false"))
	p := newPod(t, conf)
	if check := p.run(t, "/nats-server", "--config", "/etc/nats-config/nats.conf", "-t"); check.Exit(t) != 0 {
		t.Fatalf("-t refuses the chart's configuration:\n%s", check.Text())
	}
	without := p.run(t, "/nats-server", "--config", "/etc/nats-config/nats.conf")
	if without.Exit(t) == 0 || !strings.Contains(without.Text(), "permission denied") {
		t.Errorf("expected permission denied without fsGroup; the log has:\n%s", without.Text())
	}
	p.runStock(t, conf)
	p.applyFSGroup(t)
	server := p.run(t, "/nats-server", "--config", "/etc/nats-config/nats.conf")
	server.WaitLog(t, "Server is ready")
	if stored := storeOne(t, server); stored != 2 {
		t.Errorf("%d messages are stored, want 2, with that of the stock server", stored)
	}
	for _, probe := range []string{"/healthz", "/healthz?js-server-only=true", "/healthz?js-enabled-only=true"} {
		if status := statusOf(t, monitor+probe); status != http.StatusOK {
			t.Errorf("expected status 200 from %s; found %d", probe, status)
		}
	}
	scraped(t, metrics)
	pid := strings.TrimSpace(string(must(os.ReadFile(filepath.Join(p.root, "var/run/nats/nats.pid")))))
	if pid != fmt.Sprint(server.PID()) {
		t.Errorf("the pid file has %s, the server is %d", pid, server.PID())
	}
	mark := server.Mark()
	server.Signal(t, syscall.SIGHUP) // what the reloader does
	mark.WaitLog(t, "Reloaded server configuration")
	if hook := p.run(t, "nats-server", "-sl=ldm=/var/run/nats/nats.pid"); hook.Exit(t) != 0 {
		t.Fatalf("the preStop hook failed:\n%s", hook.Text())
	}
	server.WaitLog(t, "Entering lame duck mode")
	if code := server.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after lame duck mode; found %d", code)
	}
	if stored := p.runStock(t, conf); stored != 3 {
		t.Errorf("back on a stock server, %d messages are stored, want 3", stored)
	}
}

// TestKubernetesCallout runs what the pods of nats-callout.yaml run: the configuration and the keys are
// files of a Secret, which belong to root and to the pod's group.
func TestKubernetesCallout(t *testing.T) {
	p := newPod(t, "")
	manifest := string(must(os.ReadFile(filepath.Join(kubernetes, "nats-callout.yaml"))))
	if args := "args: [serve, -c, /etc/nats-callout/callout.conf, --log-format, json]"; !strings.Contains(manifest, args) {
		t.Errorf("nats-callout.yaml lacks %s", args)
	}
	secret := string(must(os.ReadFile(filepath.Join(kubernetes, "nats-callout-secret.yaml"))))
	_, conf, ok := strings.Cut(secret, "  callout.conf: |\n")
	if !ok || !strings.Contains(conf, "0.0.0.0:8223") {
		t.Fatal("nats-callout-secret.yaml has no callout.conf")
	}
	address := harness.FreeAddr(t)
	conf = strings.NewReplacer("0.0.0.0:8223", address, "nats://nats:4222", "nats://"+harness.FreeAddr(t)).Replace(conf)
	keys := t.TempDir()
	if out, err := exec.Command(harness.CalloutBinary(t), "keys", "make", filepath.Join(keys, "keys")).CombinedOutput(); err != nil {
		t.Fatalf("nats-callout keys make failed: %v\n%s", err, out)
	}
	dir := filepath.Join(p.root, "etc/nats-callout")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.write(t, "nats-callout", must(os.ReadFile(harness.CalloutBinary(t))), 0o755)
	p.write(t, "etc/nats-callout/callout.conf", []byte(conf), 0o440)
	for _, name := range []string{"issuer.nk", "xkey.nk", "user.nk"} {
		if !strings.Contains(secret, "  "+name+": ") {
			t.Errorf("the Secret lacks %s", name)
		}
		p.write(t, "etc/nats-callout/"+name, must(os.ReadFile(filepath.Join(keys, "keys", name))), 0o440)
	}
	for _, file := range must(filepath.Glob(filepath.Join(dir, "*"))) {
		if err := os.Chown(file, 0, 65532); err != nil {
			t.Fatal(err)
		}
	}
	if check := p.run(t, "/nats-callout", "check", "-c", "/etc/nats-callout/callout.conf"); check.Exit(t) != 0 {
		t.Fatalf("nats-callout check refuses the configuration:\n%s", check.Text())
	}
	handler := p.run(t, "/nats-callout", "serve", "-c", "/etc/nats-callout/callout.conf", "--log-format", "json")
	handler.WaitLog(t, "http endpoint")
	// The servers are away: the handler is alive, and not ready.
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if status := statusOf(t, "http://"+address+path); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
	handler.Signal(t, syscall.SIGTERM)
	if code := handler.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after SIGTERM; found %d:\n%s", code, handler.Text())
	}
}
