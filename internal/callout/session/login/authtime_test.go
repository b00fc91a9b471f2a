package login

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// With max_age, or prompt: login, the ID token has to say that the person has authenticated recently: whoever sits at the
// browser can remove the parameter from the URL.
func TestAuthTime(t *testing.T) {
	at := func(ago time.Duration) any { return time.Now().Add(-ago).Unix() }
	for name, c := range map[string]struct {
		parameters string
		authTime   any
		ok         bool
	}{
		"nothing is asked for":           {"display: page", nil, true},
		"nothing is asked for, and long": {"display: page", at(1000 * time.Hour), true},
		"lately":                         {"max_age: 3600", at(50 * time.Minute), true},
		"lately, in a text":              {`max_age: "3600"`, at(50 * time.Minute), true},
		"too long ago":                   {"max_age: 3600", at(62 * time.Minute), false},
		"within the skew":                {"max_age: 3600", at(60*time.Minute + 30*time.Second), true},
		"not told":                       {"max_age: 3600", nil, false},
		"a text":                         {"max_age: 3600", "now", false},
		"in milliseconds":                {"max_age: 3600", time.Now().UnixMilli(), false},
		"in the future":                  {"max_age: 3600", at(-time.Hour), false},
		"max_age 0, just now":            {"max_age: 0", at(0), true},
		"max_age 0, before":              {"max_age: 0", at(2 * time.Minute), false},
		"prompt, just now":               {"prompt: login", at(0), true},
		"prompt, before":                 {`prompt: "consent login"`, at(2 * time.Minute), false},
		"prompt, not told":               {"prompt: login", nil, false},
		"prompt, with a longer max_age":  {"prompt: login, max_age: 3600", at(2 * time.Minute), false},
		"another prompt":                 {"prompt: select_account", nil, true},
		"no age is too long":             {"max_age: 315360000", at(1000 * time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.exchange = func(claims map[string]any) {
				if claims["auth_time"] = c.authTime; c.authTime == nil {
					delete(claims, "auth_time")
				}
			}
			s := startSite(t, p, startServer(t), newKey(), "authorization { "+c.parameters+" }")
			b := newBrowser(t, s)
			status, _, _ := b.ask("GET", "/login", "")
			if (status == http.StatusSeeOther) != c.ok || (b.cookie() != "") != c.ok {
				t.Errorf("status %d; want that the login succeeds: %t", status, c.ok)
			}
			if !c.ok && !strings.Contains(s.text(), "auth_time") {
				t.Error("the log does not say why")
			}
		})
	}
}

func TestMaxAgeFaults(t *testing.T) {
	p := newProvider(t)
	for _, value := range []string{"-1", "true", `"1h"`, `""`, "1.5", "99999999999999", `"0x10"`, `"+1"`} {
		_, err := parse(t, config(p, "127.0.0.1:1", newKey(), "authorization { max_age: "+value+" }"))
		if err == nil || !strings.Contains(err.Error(), "max_age: expected") || !placed.MatchString(err.Error()) {
			t.Errorf("max_age: %s: expected a fault with its place; found %v", value, err)
		}
	}
}
