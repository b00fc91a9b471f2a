package users

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// A hash that no password can match is a fault that names the user. Any other hash is accepted.
func TestHashesThatCannotMatch(t *testing.T) {
	good := hash(t, "pw", 4)
	for _, version := range []string{"$2a$", "$2b$", "$2y$"} {
		h := version + good[4:]
		if err := bcrypt.CompareHashAndPassword([]byte(h), []byte("pw")); err != nil {
			t.Errorf("%s: bcrypt does not compare such a hash: %v", version, err)
		}
		if _, err := parse(t, fmt.Sprintf(`kind: users, users: [{user: a, password: %q}]`, h)); err != nil {
			t.Errorf("%s: the hash was refused: %v", version, err)
		}
	}
	at := func(i int, by string) string { return good[:i] + by + good[i+1:] }
	for h, want := range map[string]string{
		at(2, "x"): "begin", at(2, "A"): "begin", at(2, "c"): "begin", "$2$" + good[4:]: "begin", at(1, "1"): "begin", at(0, "!"): "begin",
		" " + good: "begin", "{BCRYPT}" + good: "begin", "a:" + good: "begin",
		at(4, "+"): "begin", at(4, "x"): "begin", at(6, "x"): "begin", "$2a$4$" + good[7:]: "begin", "$2a$004$" + good[7:]: "begin",
		at(5, "0"): "cost", at(5, "3"): "cost", at(4, "9"): "cost",
		good[:59]: "found 59", good + "x": "found 61", good + "\n": "found 61", good + good: "found 120", good[:7]: "found 7",
		at(7, "!"): "characters", at(20, "="): "characters", at(40, " "): "characters", at(59, "="): "characters",
		at(30, "\n"): "characters", at(30, "\r"): "characters", at(30, "é"[:1]): "characters", at(59, "/"): "characters", at(59, "9"): "characters",
	} {
		if fault := hashFault(h); !strings.Contains(fault, want) {
			t.Errorf("the fault of hash %q is %q, want %q", h, fault, want)
		}
		if strings.ContainsAny(h, "\n\r") || !strings.HasPrefix(h, "$") || strings.Contains(h, "\xc3") {
			continue // the parser of the configuration reads another text, or has a word of its own
		}
		_, err := parse(t, fmt.Sprintf(`kind: users, users: [{user: carol, password: %q}]`, h))
		if err == nil || !strings.Contains(err.Error(), `"carol"`) || strings.Contains(err.Error(), h) || strings.Contains(err.Error(), good[10:40]) {
			t.Errorf("hash %q: expected a fault that names carol and shows no hash; found %v", h, err)
		}
	}
}

// The last character of a hash has two bits that bcrypt does not use. If they are set, no password matches.
func TestLastCharacter(t *testing.T) {
	good := hash(t, "pw", 4)
	for _, last := range "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" {
		h := good[:59] + string(last)
		canMatch := h == good || strings.ContainsRune(".CGKOSWaeimquy26", last)
		if h != good && bcrypt.CompareHashAndPassword([]byte(h), []byte("pw")) == nil {
			t.Errorf("a changed hash, which ends in %c, matches the password too", last)
		}
		if (hashFault(h) == "") != canMatch {
			t.Errorf("hash that ends in %c: it can match: %t; hashFault says %q", last, canMatch, hashFault(h))
		}
	}
	for range 30 {
		if h := hash(t, "another", 4); hashFault(h) != "" {
			t.Errorf("the good hash %q is a fault: %s", h, hashFault(h))
		}
	}
}
