package main

import (
	"fmt"
	"os"
	"strings"
	"text/template"
)

// configuration of the server, with the callout handler inside.
type configuration struct {
	Listen, Websocket string   // addresses
	Origins           []string // of the pages that may connect
	Cookie, Bucket    string
	PortsDir          string // empty: no ports file
	StoreDir          string // of JetStream
	Backend           string // public key of the user of the application's own parts
}

func newConfiguration(k *keys, listen, websocket string, origins []string, portsDir, storeDir string) configuration {
	return configuration{
		Listen: listen, Websocket: websocket, Origins: origins, Cookie: cookieName, Bucket: bucketName,
		PortsDir: portsDir, StoreDir: storeDir, Backend: public(k.backend),
	}
}

var configurationText = template.Must(template.New("nats.conf").Delims("[[", "]]").Parse(`# Written by the demonstration.
server_name: demo
listen: [[printf "%q" .Listen]]
[[- with .PortsDir]]
ports_file_dir: [[printf "%q" .]]
[[- end]]
jetstream { store_dir: [[printf "%q" .StoreDir]] }

# Browsers. no_tls is for loopback alone.
websocket {
  listen: [[printf "%q" .Websocket]]
  no_tls: true
  token_cookie: [[printf "%q" .Cookie]]
  # Without it a page of any origin could connect with the visitor's cookie.
  allowed_origins: [ [[- range $i, $o := .Origins]][[if $i]], [[end]][[printf "%q" $o]][[end -]] ]
}

# The application's own parts log in with a key; everybody else has to show a session.
accounts {
  APP { jetstream: enabled, users: [ { nkey: [[.Backend]] } ] }
}

# What a session cookie stands for, and what that gets. The handler is in the
# server: nothing else is to be run, and it makes its keys by itself.
callout {
  credential: [cookie]
  sessions: [ { kind: kv, bucket: [[.Bucket]], account: APP } ]
  grants: [ {
    name: visitor
    account: APP
    user: "{{ session.user }}"
    publish: ["demo.>"]
    subscribe: ["_INBOX.{{ session.user }}.>"]
    connection_types: [WEBSOCKET]
    expires: "1h"
    headers: {
      Session: "{{ credential }}", X-User: "{{ session.user }}"
      Authorization: { value: "Bearer {{ session.token }}", subjects: ["demo.token"] }
    }
  } ]
}
`))

func (c configuration) write(file string) error {
	var text strings.Builder
	if err := configurationText.Execute(&text, c); err != nil {
		return fmt.Errorf("configuration of the server: %w", err)
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}
