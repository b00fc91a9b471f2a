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
	PortsDir          string      // empty: no ports file
	StoreDir          string      // of JetStream
	Backend           string      // public key of the user of the application's own parts
	Login             *loginPages // nil: the cookie of the application's own login opens connections
}

// loginPages is what the handler needs to log visitors in at the provider, and to deliver the worker
// that owns the connection of each page.
type loginPages struct {
	Listen    string // address of the pages, behind the web server
	Public    string // their URL, as browsers see it
	Issuer    string
	Client    string // client_id
	Websocket string // URL, as browsers see it
	Worker    string // file of the worker's script
	KeyFile   string // encrypts sessions
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
[[- if .Login]]
  credential: [token, cookie]
[[- else]]
  credential: [cookie]
[[- end]]
  sessions: [
    # Sessions of the application's own login.
    { kind: kv, bucket: [[.Bucket]], account: APP }
[[- with .Login]]
    # Sessions of visitors who logged in at the OpenID provider. No cookie of theirs opens a
    # connection, only the one-time tickets of the worker that the handler delivers to the page.
    { kind: login, account: APP, bucket: logins, listen: [[printf "%q" .Listen]], public_url: [[printf "%q" .Public]]
      issuer: [[printf "%q" .Issuer]], client_id: [[printf "%q" .Client]], key_file: [[printf "%q" .KeyFile]]
      lifetime: "1h", same_site: strict
      refresh_before: "10s" # tokens of this provider live 20 s, so that a refresh is soon seen
      worker { file: [[printf "%q" .Worker]], websocket: [[printf "%q" .Websocket]], inbox: "_INBOX.{{ session.sub }}" } }
[[- end]]
  ]
  grants: [
[[- if .Login]]
  {
    name: page
    when: 'source == "login"'
    account: APP
    user: "{{ session.sub }}"
    publish: ["demo.>"]
    subscribe: ["_INBOX.{{ session.sub }}.>"]
    connection_types: [WEBSOCKET]
    expires: "1h"
    headers: {
      Session: "{{ session.sid }}", X-User: "{{ session.sub }}"
      Authorization: { value: "Bearer {{ session.access_token }}", subjects: ["demo.token"] }
    }
  }
[[- end]]
  {
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
