package main

import (
	"fmt"
	"os"
	"strings"
	"text/template"
)

// configuration of the server. There is nothing of Stamp in it: that a user has
// headers is said by the JWT that the callout service answers with.
type configuration struct {
	Listen, Websocket string   // addresses
	Origins           []string // of the pages that may connect
	Cookie            string
	PortsDir          string // empty: no ports file
	Issuer, XKey      string // public keys, as the users
	Callout, Backend  string
}

func newConfiguration(k *keys, listen, websocket string, origins []string, portsDir string) configuration {
	return configuration{
		Listen: listen, Websocket: websocket, Origins: origins, Cookie: cookieName, PortsDir: portsDir,
		Issuer: public(k.issuer), XKey: public(k.xkey), Callout: public(k.callout), Backend: public(k.backend),
	}
}

var configurationText = template.Must(template.New("nats.conf").Parse(`# Written by the demonstration.
server_name: demo
listen: {{printf "%q" .Listen}}
{{- with .PortsDir}}
ports_file_dir: {{printf "%q" .}}
{{- end}}

# Browsers. no_tls is for loopback alone.
websocket {
  listen: {{printf "%q" .Websocket}}
  no_tls: true
  token_cookie: {{printf "%q" .Cookie}}
  # Without it a page of any origin could connect with the visitor's cookie.
  allowed_origins: [{{range $i, $o := .Origins}}{{if $i}}, {{end}}{{printf "%q" $o}}{{end}}]
}

accounts {
  AUTH { users: [ { nkey: {{.Callout}} } ] }
  APP  { users: [ { nkey: {{.Backend}} } ] }
}

# Whoever is not one of the two users is the callout service's to judge.
authorization {
  timeout: 5
  auth_callout {
    issuer: {{.Issuer}}
    xkey: {{.XKey}}
    account: AUTH
    auth_users: [ {{.Callout}}, {{.Backend}} ]
  }
}
`))

func (c configuration) write(file string) error {
	var text strings.Builder
	if err := configurationText.Execute(&text, c); err != nil {
		return fmt.Errorf("configuration of the server: %w", err)
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}
