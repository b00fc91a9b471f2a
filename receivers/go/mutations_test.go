package stamp_test

import (
	"slices"
	"testing"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/internal/vectors"
)

// However a message is changed, the receiver calls it anonymous, unless the change is in nothing that is proven (see
// vectors.Mutation).
func TestMutations(t *testing.T) {
	const least = 10000
	trust := vectors.MutationTrust()
	compiled, err := trust.Compile(vectors.Now)
	if err != nil {
		t.Fatal(err)
	}
	all, genuine := vectors.Mutations(), 0
	for _, m := range all {
		judge := stamp.Identify
		if m.Forwarded {
			judge = stamp.Forwarded
		}
		id, err := judge(stamp.Message{Header: stamp.Lines(m.Headers), Payload: m.Payload}, compiled)
		if id.User != m.Genuine || (err == nil) != (m.Genuine != "") {
			t.Errorf("%s: found the user %q, expected %q (%v)\n%q", m.Name, id.User, m.Genuine, err, m.Headers)
		}
		if m.Genuine != "" {
			genuine++
		}
	}
	if len(all) < least {
		t.Errorf("expected at least %d mutations, found %d", least, len(all))
	}
	t.Logf("%d mutations, of which %d change nothing that is proven", len(all), genuine)
}

// The mutations in mutations.json, which receivers in other languages judge too.
func TestMutationsFile(t *testing.T) {
	var file struct {
		Trust []vectors.Trust    `json:"trust"`
		Now   []string           `json:"now"`
		Cases []vectors.Mutation `json:"cases"`
	}
	readJSON(t, "mutations.json", &file)
	trust, err := file.Trust[0].Compile(file.Now[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range file.Cases {
		judge := stamp.Identify
		if m.Forwarded {
			judge = stamp.Forwarded
		}
		id, err := judge(stamp.Message{Header: stamp.Lines(m.Headers), Payload: m.Payload}, trust)
		if got := vectors.WantOf(id, err, file.Trust[0]); !same(got, m.Want) {
			t.Errorf("mutation %s: found %+v, expected %+v", m.Name, got, m.Want)
		}
	}
	if len(file.Cases) < 1000 || !slices.ContainsFunc(file.Cases, func(m vectors.Mutation) bool { return m.Want.Verdict == stamp.OK }) {
		t.Errorf("expected 1000 mutations and some that are ok, found %d", len(file.Cases))
	}
}
