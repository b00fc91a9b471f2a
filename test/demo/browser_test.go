package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// seenInBrowser is what test/js/demo.mjs prints.
type seenInBrowser struct {
	LoadErrors  []string `json:"load_errors"` // in the console, until the visitor is signed in
	Console     []string // errors there since then
	Axe         []string // what axe-core found
	Rules       []int    // how many of its rules each look passed
	Overflow    []string // where the page is wider than the window
	AtFirst     string   `json:"at_first"` // status, until the script is there
	BeforeLogin struct {
		Status string
		Usable int // groups of controls
		Mode   string
	} `json:"before_login"`
	First, Own, Token shown
	Status, Client    string
	Cookies           []struct {
		Name     string
		HTTPOnly bool   `json:"httpOnly"`
		SameSite string `json:"sameSite"`
	}
	Fault   string // in the form
	Attacks map[string]shown
	Loot    []struct {
		Place string
		Size  int
		Has   bool
	}
	SecondTab          shown    `json:"second_tab"`
	Tokens             []string // newest first
	StatusAfterRefresh string   `json:"status_after_refresh"`
	Focus              []string // in the order of the tab key
	Foreign            string
	OwnOrigin          string `json:"own_origin"`
	Logout             shown
	LogoutElsewhere    shown `json:"logout_elsewhere"`
	AfterLogout        struct {
		Status string
		Usable int
	} `json:"after_logout"`
	OtherVisitor string `json:"other_visitor"`
	MadeUp       string `json:"made_up"`
}

// shown is an entry of the page's board.
type shown struct {
	Title, Verdict, Plain string
	Ways                  [][]string // the lines of each column
}

// way returns a column as one text.
func (s shown) way(i int) string {
	if i >= len(s.Ways) {
		return ""
	}
	return strings.Join(s.Ways[i], "\n")
}

// chromium is the browser's file, with node and puppeteer-core to drive it. Where
// they are missing the test is skipped, or fails with STAMP_TEST_ALL.
func chromium(t *testing.T) string {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("STAMP_TEST_ALL") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if _, err := os.Stat("../js/node_modules/puppeteer-core"); err != nil {
		missing("test/js has no puppeteer-core; `npm ci` there gets it")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if file, err := exec.LookPath(name); err == nil {
			return file
		}
	}
	missing("there is no chromium; the Debian package is chromium")
	return ""
}

// TestPageInBrowser drives the page as a visitor does, and as a script that got
// into it would.
func TestPageInBrowser(t *testing.T) {
	got := browseDemo(t, script(t, ""))
	checkRun(t, got, modeTicket)
	refused := map[string]string{
		"socket": "refused -ERR 'Authorization Violation'",
		"replay": "refused the leaked ticket: -ERR 'Authorization Violation'",
	}
	for attack, want := range refused {
		if entry := got.Attacks[attack]; entry.Verdict != "refused" || !strings.Contains(entry.way(1), want) {
			t.Errorf("expected the attack %s to be refused; the page shows %+v", attack, entry)
		}
	}
	if !strings.Contains(got.Attacks["replay"].way(1), "refused the request for a ticket: status 403") {
		t.Errorf("expected a script's request for a ticket to be refused; the page shows %+v", got.Attacks["replay"])
	}
}

// TestPageWithCookie does the same on a site with sessions of its own, whose cookie opens connections: with the
// browser package, and where npm cannot build it.
func TestPageWithCookie(t *testing.T) {
	for mode, arguments := range map[string][]string{
		modePackage: {"-browser", "../../browser/dist", "-cookie"},
		modeCookie:  nil,
	} {
		t.Run(mode, func(t *testing.T) {
			chromium(t) // with npm
			if output, err := exec.Command("../../scripts/build-browser").CombinedOutput(); err != nil {
				t.Fatalf("cannot build the browser package: %v\n%s", err, output)
			}
			cmd := exec.CommandContext(t.Context(), buildDemo(t, t.TempDir()), append([]string{"-server", builtServer(t)}, arguments...)...)
			got := browseDemo(t, cmd)
			checkRun(t, got, mode)
			if own := got.Attacks["socket"]; own.Verdict != "harmless" || !strings.Contains(own.way(2), "X-User: alice") {
				t.Errorf("expected a websocket of the script's own to be refused; the page shows %+v", own)
			}
		})
	}
}

// browseDemo starts the demonstration, drives its page, and ends it.
func browseDemo(t *testing.T, cmd *exec.Cmd) *seenInBrowser {
	t.Helper()
	file := chromium(t)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	page := waitForPage(t, lines)
	var rest bytes.Buffer
	read := make(chan struct{}) // a full pipe would stop the demonstration
	go func() {
		defer close(read)
		_, _ = io.Copy(&rest, lines)
	}()
	got := browse(t, file, page)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-read
	checkOutput(t, rest.Bytes())
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the signal, expected scripts/run to end without an error; found %v", err)
	}
	return got
}

func browse(t *testing.T, chromium, page string) *seenInBrowser {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", "demo.mjs", page)
	node.Dir = filepath.Join("..", "js")
	pictures := t.ArtifactDir() // go test -artifacts keeps them
	node.Env = append(os.Environ(), "CHROMIUM="+chromium, "SCREENSHOTS="+pictures)
	var stderr bytes.Buffer
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("demo.mjs failed: %v\n%s", err, &stderr)
		}
		t.Fatal(err)
	}
	checkOutput(t, out)
	if taken, _ := filepath.Glob(filepath.Join(pictures, "signed-in-*.png")); len(taken) != 4 {
		t.Errorf("%d pictures of the page were taken, want 4: two widths, light and dark", len(taken))
	}
	var got seenInBrowser
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("demo.mjs printed something that is not JSON: %v", err)
	}
	return &got
}

// checkRun reports what is wrong with a run of the page in any of its modes.
func checkRun(t *testing.T, got *seenInBrowser, mode string) {
	t.Helper()
	expect := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("expected %s; the browser saw %+v", what, got)
		}
	}
	client := "owned by a worker"
	if mode == modeCookie {
		client = "opened with the cookie"
	}
	expect("the page says who owns its connection", got.BeforeLogin.Mode == mode && got.Client == client)
	expect("the console has no error at the first load", len(got.LoadErrors) == 0)
	looks := 12 // three states, two widths, light and dark
	if mode == modeTicket {
		looks += 4 // the provider's page
	}
	expect("axe-core looked at each state, and found nothing", len(got.Rules) == looks && slices.Min(got.Rules) >= 10 && len(got.Axe) == 0)
	expect("the page fits a phone", len(got.Overflow) == 0)
	expect("all controls are reached by keyboard, with an outline", len(got.Focus) >= 12 && slices.Contains(got.Focus, "attack-replay") &&
		slices.Contains(got.Focus, "logout") && !slices.ContainsFunc(got.Focus, func(name string) bool { return strings.Contains(name, "outline") }))
	expect("until its script is there the page says so", got.AtFirst == "Connecting …")
	expect("whoever is not signed in is told so, and cannot send", got.BeforeLogin.Status == "Not signed in" && got.BeforeLogin.Usable == 0)
	expect("there is one cookie, HttpOnly and SameSite=Strict",
		len(got.Cookies) == 1 && got.Cookies[0].HTTPOnly && got.Cookies[0].SameSite == "Strict")
	judgeMessages(expect, got)
	judgeAttacks(expect, got)

	expect("a second tab is the same visitor", strings.Contains(got.SecondTab.way(2), "X-User: alice"))
	expect("a new token is stamped on the open connection", len(got.Tokens) >= 2 && got.Tokens[0] != got.Tokens[1] &&
		got.StatusAfterRefresh == "Connected as alice")
	expect("a page of a foreign origin cannot connect, the own one can", got.Foreign == "refused" && got.OwnOrigin == "opened")
	expect("a logout is shown where it was asked for, and in the other tab",
		got.Logout.Title == "You logged out" && got.LogoutElsewhere.Title == "The session ended")
	expect("after logout nobody is anybody", got.AfterLogout.Status == "Logged out: the server closed the connection" && got.AfterLogout.Usable == 0)
	expect("another visitor's connection lives", got.OtherVisitor == "Connected as bob")
	expect("a made-up cookie is refused", got.MadeUp == "refused")
}

func judgeMessages(expect func(string, bool), got *seenInBrowser) {
	expect("the first message has no header, and is stamped", got.First.Verdict == "stamped" &&
		got.First.way(0) == "to demo.whoami\nno header" && strings.Contains(got.First.way(2), "X-User: alice"))
	expect("a line without a colon is a fault of the form", got.Fault == "Line 2: expected “Name: value”, found “forged” without a colon.")
	// The page sent Session: forged, x_user: admin, Color: blue.
	did, rows := got.Own.way(1), got.Own.Ways[2]
	expect("forged headers are replaced, the page's own stays", len(rows) == 3 && rows[0] == "Color: blue" &&
		strings.HasPrefix(rows[1], "Session: ") && rows[1] != "Session: forged" && rows[2] == "X-User: alice")
	expect("the page shows what the server did", got.Own.Verdict == "harmless" && strings.Contains(did, "removed Session: forged") &&
		strings.Contains(did, "removed x_user: admin") && strings.Contains(did, "wrote X-User: alice") && strings.Contains(did, "left alone Color: blue"))
	expect("the access token is stamped on its subject alone", strings.Contains(got.Token.way(2), "Authorization: Bearer ") &&
		!strings.Contains(got.Own.way(2), "Authorization"))
}

func judgeAttacks(expect func(string, bool), got *seenInBrowser) {
	expect("each attack has its entry", len(got.Attacks) == 7)
	for name, entry := range got.Attacks {
		expect("the attack "+name+" comes to nothing", entry.Verdict != "broken" && entry.Verdict != "failed" && entry.Plain != "")
	}
	expect("forgeries are removed", got.Attacks["forge"].Verdict == "harmless" && got.Attacks["alias"].Verdict == "harmless" &&
		strings.Count(got.Attacks["alias"].way(1), "removed ") == 4)
	expect("a malformed block is refused, in the server's words", got.Attacks["malformed"].Verdict == "refused" &&
		strings.Contains(got.Attacks["malformed"].way(1), "line break is not CRLF"))
	// Not by the policy of the page in the frame, which would prove nothing of the server.
	byServer := slices.ContainsFunc(got.Console, func(text string) bool {
		return strings.Contains(text, "/nats' failed") && strings.HasSuffix(text, "403")
	})
	expect("a page of another origin is refused by the server", got.Attacks["foreign"].Verdict == "refused" && byServer)
	expect("no policy of a page stops an attack", !strings.Contains(strings.Join(got.Console, " "), "Content Security Policy"))
	expect("the script looked everywhere", len(got.Loot) == 13 && len(got.Attacks["steal"].Ways[0]) == 13 && got.Attacks["steal"].Verdict == "nothing")
	for _, loot := range got.Loot {
		expect("a script finds the session id in "+loot.Place, !loot.Has)
	}
}
