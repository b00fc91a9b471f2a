package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/server/callout"
	"stamp/server/callout/conf"
)

var fenced = regexp.MustCompile("(?s)```conf\n(.*?)```")

// Every configuration in docs/callout.md is valid.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/callout.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := (&keysMake{Directory: "keys"}).Run(&streams{out: new(strings.Builder), err: new(strings.Builder)}); err != nil {
		t.Fatal(err)
	}
	seed, err := os.ReadFile("keys/issuer.nk")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"keys/app.nk": string(seed), "client.secret": "x", "express.secret": "x", "callout.creds": "", "sentinel.creds": "",
		"users.conf": `users: [ { user: u, password: "$2a$04$jRLJrPHoeTwJxcQsWSujpesDliE1Oxx6EJa.b/3LaSMM4X2POF2IC" } ]`,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blocks := fenced.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 12 {
		t.Fatalf("%d configurations were found", len(blocks))
	}
	for _, block := range blocks {
		if err := checkDoc(t, block[1]); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}

// checkDoc completes a configuration, by what it begins with, and checks it.
func checkDoc(t *testing.T, text string) error {
	t.Helper()
	switch {
	case strings.HasPrefix(text, "sessions:"):
		text += "issuer_file: \"keys/issuer.nk\"\ngrants: [ { account: APP, publish: [], subscribe: [] } ]\n"
	case strings.HasPrefix(text, "grants:"):
		text += "issuer_file: \"keys/issuer.nk\"\nsessions: [ { kind: anonymous } ]\n"
	case strings.HasPrefix(text, "# server"):
		n, err := conf.ParseString(text)
		if err != nil {
			return err
		}
		var faults conf.Faults
		callout.Parse(n.Get("callout"), &faults)
		return faults.Err()
	}
	file := filepath.Join(t.TempDir(), "callout.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := callout.Load(file)
	return err
}
