package stamp_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/vectors"
	"stamp.example/receivers/go/stamptest"
)

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func same(a, b vectors.Want) bool {
	values := maps.EqualFunc(a.Values, b.Values, func(x, y []string) bool { return slices.Equal(x, y) })
	return values && a.Verdict == b.Verdict && a.User == b.User && a.Account == b.Account && a.Subject == b.Subject && a.Time == b.Time && a.Proven == b.Proven && a.Server == b.Server
}

var seed = regexp.MustCompile(`S[A-Z][A-Z2-7]{20}`)

// The receiver's verdict on each vector is the wanted one.
func TestVectors(t *testing.T) {
	var file struct {
		Cases      []vectors.Case      `json:"cases"`
		BadTrusts  []vectors.BadTrust  `json:"bad_trusts"`
		GoodTrusts []vectors.GoodTrust `json:"good_trusts"`
		BadTexts   []vectors.BadText   `json:"bad_texts"`
	}
	readJSON(t, "vectors.json", &file)
	verdicts := map[stamp.Verdict]int{}
	for _, c := range file.Cases {
		trust, err := c.Trust.Compile(c.Now)
		if err != nil {
			t.Errorf("vector %s: cannot compile its trust: %v", c.Name, err)
			continue
		}
		if len(c.Subjects) > 0 {
			if trust, err = trust.ForSubjects(c.Subjects...); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range c.Before {
			stamp.Identify(stamp.Message{Header: stamp.Lines(m.Headers), Payload: m.Payload, Subject: m.Arrived}, trust)
		}
		judge := stamp.Identify
		if c.Forwarded {
			judge = stamp.Forwarded
		}
		id, err := judge(stamp.Message{Header: stamp.Lines(c.Headers), Payload: c.Payload, Subject: c.Arrived}, trust)
		got := vectors.WantOf(id, err, c.Trust)
		if !same(got, c.Want) {
			t.Errorf("vector %s:\n got %+v\nwant %+v", c.Name, got, c.Want)
		}
		verdicts[got.Verdict]++
	}
	for _, b := range file.BadTrusts {
		options, err := stamp.OptionsJSON(b.Trust)
		if err == nil {
			_, err = stamp.NewTrust(options)
		}
		if err == nil {
			t.Errorf("a bad trust, %s: expected an error", b.Name)
		} else if seed.MatchString(err.Error()) {
			t.Errorf("a bad trust, %s: the error has a seed", b.Name)
		} else if !strings.Contains(err.Error(), b.Field) {
			t.Errorf("a bad trust, %s: expected an error that names %s, found: %v", b.Name, b.Field, err)
		}
	}
	for _, b := range file.BadTexts {
		if _, err := stamp.OptionsJSON([]byte(b.Text)); err == nil || !strings.Contains(err.Error(), b.Field) {
			t.Errorf("a bad text, %s: expected an error that names %q, found: %v", b.Name, b.Field, err)
		}
	}
	for _, g := range file.GoodTrusts {
		options, err := stamp.OptionsJSON(g.Trust)
		if err == nil {
			_, err = stamp.NewTrust(options)
		}
		if err != nil {
			t.Errorf("a good trust, %s: %v", g.Name, err)
		}
	}
	const least = 300
	if len(file.Cases) < least {
		t.Errorf("expected at least %d cases, found %d", least, len(file.Cases))
	}
	t.Log(len(file.Cases), "cases", len(file.BadTrusts), "bad trusts", verdicts)
}

// stamptest and Forward make the proofs of make.json, and a receiver accepts them.
func TestMakes(t *testing.T) {
	var file struct {
		Cases []vectors.MakeCase `json:"cases"`
	}
	readJSON(t, "make.json", &file)
	for _, c := range file.Cases {
		lines, err := stamptest.Make(stamptest.Input{
			CurveSeed: c.CurveSeed, SignSeed: c.SignSeed, Receiver: c.Receiver, Salt: [16]byte(c.Salt), Counter: c.Counter,
			Account: c.Account, Subject: c.Subject, Time: c.Time, Headers: c.Headers, Encrypt: c.Encrypt, Sign: c.Sign, Payload: c.Payload,
		})
		if err != nil || !slices.Equal(lines, c.Lines) {
			t.Errorf("%s: Make returned error %v\n got %q\nwant %q", c.Name, err, lines, c.Lines)
			continue
		}
		trust, err := c.Trust.Compile(time.Now().UTC().Format(time.RFC3339))
		if err != nil {
			t.Fatal(err)
		}
		m := stamp.Message{Header: stamp.Lines(lines), Payload: c.Payload}
		if id, err := stamp.Identify(m, trust); err != nil || id.User != c.Headers[0][1] {
			t.Errorf("%s: Identify does not take the made message: error %v", c.Name, err)
		}
		if forward, err := stamp.Forward(m, trust); err != nil || forward != c.Forward {
			t.Errorf("%s: Forward returned %q, error %v", c.Name, forward, err)
		}
	}
	t.Log(len(file.Cases), "cases")
}
