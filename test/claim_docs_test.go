package test

import (
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"stamp.example/claim"
	"stamp.example/claim/field"
)

// claimPage returns the fenced blocks of docs/claim.md by their language. The page has one block of each.
func claimPage(t *testing.T) map[string]string {
	t.Helper()
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(must(os.ReadFile("../docs/claim.md"))), -1) {
		if blocks[m[1]] != "" {
			t.Fatalf("docs/claim.md has two blocks of %s", m[1])
		}
		blocks[m[1]] = m[2]
	}
	return blocks
}

// TestClaimPage compares docs/claim.md with the code: its examples are the ones that
// tests run, its JSON is accepted, and its tables have every error.
func TestClaimPage(t *testing.T) {
	doc, blocks := string(must(os.ReadFile("../docs/claim.md"))), claimPage(t)
	for language, file := range map[string]string{"go": "issue.go", "js": "issue.mjs", "python": "issue.py"} {
		if blocks[language] != string(must(os.ReadFile("../docs/examples/"+file))) {
			t.Errorf("docs/claim.md: the block of %s is not docs/examples/%s", language, file)
		}
	}
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + part([]byte(blocks["json"])) + ".AAAA"
	if c, err := claim.FromUserJWT(token, claim.Limits{}); err != nil || c == nil || len(c.Headers) != 3 {
		t.Errorf("docs/claim.md: expected three headers in the JSON; found the claim %v, error %v", c, err)
	}
	for _, err := range []error{
		claim.ErrToken, claim.ErrJSON, claim.ErrTrailing, claim.ErrTwoPlaces, claim.ErrKeyTwice, claim.ErrKeyCase, claim.ErrKeyUnknown,
		claim.ErrHeadersForm, claim.ErrValueForm, claim.ErrInnerValueForm, claim.ErrValueMissing, claim.ErrValueText, claim.ErrSubjectsForm, claim.ErrSubjectsEmpty, claim.ErrPermissionsForm,
		field.ErrNameTwice, claim.ErrValuesEmpty, claim.ErrValueEmpty, field.ErrSubject, field.ErrNamePattern,
		claim.ErrTooManyHeaders, claim.ErrTooManyBytes, claim.ErrBlockTooLarge, claim.ErrUser, claim.ErrIssuer, claim.ErrSigningKey,
		field.ErrNameEmpty, field.ErrNameToken, field.ErrNameReserved,
		field.ErrValueUTF8, field.ErrValueControl, field.ErrValueSpace,
	} {
		inTable := strings.ReplaceAll(err.Error(), "|", `\|`)
		if !strings.Contains(doc, "`"+inTable+"`") {
			t.Errorf("docs/claim.md: expected the error %q in its tables", err)
		}
	}
}
