package claim

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/server/field"
)

// TestDocs compares docs/claim.md with the code: its examples are the ones that
// tests run, its JSON is accepted, and its tables have every error.
func TestDocs(t *testing.T) {
	doc := readFile(t, "../../docs/claim.md")
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(doc, -1) {
		blocks[m[1]] = m[2]
	}
	if blocks["js"] != readFile(t, filepath.Join(examples, "issue.mjs")) {
		t.Error("the JavaScript is not examples/issue.mjs")
	}
	if blocks["python"] != readFile(t, filepath.Join(examples, "issue.py")) {
		t.Error("the Python is not examples/issue.py")
	}
	_, body, _ := strings.Cut(readFile(t, "example_test.go"), "func ExampleEncode() {\n")
	body, _, _ = strings.Cut(body, "}\n\nfunc")
	if body = regexp.MustCompile(`(?m)^\t`).ReplaceAllString(body, ""); blocks["go"] != body {
		t.Error("the Go is not ExampleEncode")
	}
	if c, err := FromUserJWT(rawToken(blocks["json"]), Limits{}); err != nil || count(c) != 3 {
		t.Errorf("the JSON: %d headers, error %v", count(c), err)
	}
	for _, err := range []error{
		ErrToken, ErrJSON, ErrTrailing, ErrTwoPlaces, ErrKeyTwice, ErrKeyCase, ErrKeyUnknown,
		ErrHeadersForm, ErrValueForm, ErrInnerValueForm, ErrValueMissing, ErrValueText, ErrSubjectsForm, ErrSubjectsEmpty, ErrPermissionsForm,
		field.ErrNameTwice, ErrValuesEmpty, ErrValueEmpty, field.ErrSubject, field.ErrNamePattern,
		ErrTooManyHeaders, ErrTooManyBytes, ErrBlockTooLarge, ErrUser, ErrIssuer, ErrSigningKey,
		field.ErrNameEmpty, field.ErrNameToken, field.ErrNameReserved,
		field.ErrValueUTF8, field.ErrValueControl, field.ErrValueSpace,
	} {
		if !strings.Contains(doc, "`"+err.Error()+"`") {
			t.Errorf("no %q", err)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
