package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
)

// presented is the flags for the credential of a connection. Without any of them it has none.
type presented struct {
	Cookie   source `group:"credential" placeholder:"FROM" help:"cookie of the websocket's upgrade request"`
	Token    source `group:"credential" placeholder:"FROM" help:"token"`
	User     string `group:"credential" placeholder:"NAME" help:"user name, with --password"`
	Password source `group:"credential" placeholder:"FROM" help:"password"`
	Nkey     source `group:"credential" placeholder:"FROM" help:"seed of a user nkey, which signs the nonce"`
	JWT      source `name:"jwt" group:"credential" placeholder:"FROM" help:"user JWT; also give --nkey, unless it is a bearer JWT"`
	Creds    string `group:"credential" placeholder:"FILE" help:"creds file whose user JWT and seed are the credential to try"`
}

func (p *presented) read(s *streams) (session.Credential, error) {
	kinds := set(p.Cookie != "", p.Token != "", p.User != "" || p.Password != "", p.JWT != "", p.Creds != "", p.Nkey != "" && p.JWT == "")
	if kinds > 1 {
		return session.Credential{}, usage(errors.New("a connection has one credential: these flags exclude each other"), "")
	}
	switch {
	case p.User != "" && p.Password == "":
		return session.Credential{}, usage(errors.New("--password is missing: --user needs it"), "")
	case p.User == "" && p.Password != "":
		return session.Credential{}, usage(errors.New("--user is missing: --password needs it"), "")
	}
	var c session.Credential
	var err error
	switch {
	case p.Cookie != "":
		c.Kind = session.Cookie
		c.Value, err = s.read(p.Cookie, "--cookie")
	case p.Token != "":
		c.Kind = session.Token
		c.Value, err = s.read(p.Token, "--token")
	case p.User != "":
		c.Kind, c.Username = session.Password, p.User
		c.Password, err = s.read(p.Password, "--password")
	case p.JWT != "", p.Nkey != "", p.Creds != "":
		return p.signed(s)
	default:
		c.Kind = session.None
	}
	return c, err
}

// signed returns a credential with which the client signs the server's nonce.
func (p *presented) signed(s *streams) (session.Credential, error) {
	c := session.Credential{Kind: session.Nkey, Nonce: rand.Text()}
	var seed nkeys.KeyPair
	var err error
	switch {
	case p.Creds != "":
		c.Kind = session.JWT
		c.Value, seed, err = readCreds(p.Creds)
	case p.JWT != "":
		c.Kind = session.JWT
		c.Value, err = s.read(p.JWT, "--jwt")
	}
	if err == nil && p.Nkey != "" {
		seed, err = readSeed(p.Nkey, s)
	}
	if err != nil || seed == nil {
		return c, err
	}
	if c.Kind == session.Nkey {
		if c.Nkey, err = seed.PublicKey(); err != nil {
			return c, errNotSeed
		}
	}
	signature, err := seed.Sign([]byte(c.Nonce))
	if err != nil {
		return c, errNotSeed
	}
	// encoded as clients do (nats.go, connectProto)
	c.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return c, nil
}

var errNotSeed = errors.New("--nkey: expected the seed of a user nkey (SU...)")

func readSeed(from source, s *streams) (nkeys.KeyPair, error) {
	text, err := s.read(from, "--nkey")
	if err != nil {
		return nil, err
	}
	prefix, _, err := nkeys.DecodeSeed([]byte(text))
	if err != nil || prefix != nkeys.PrefixByteUser {
		return nil, errNotSeed
	}
	seed, err := nkeys.FromSeed([]byte(text))
	if err != nil {
		return nil, errNotSeed
	}
	return seed, nil
}

func readCreds(path string) (string, nkeys.KeyPair, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("--creds: %w", err)
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		return "", nil, errors.New("--creds: the file has no JWT")
	}
	seed, err := jwt.ParseDecoratedUserNKey(text)
	if err != nil {
		return "", nil, errors.New("--creds: the file has no seed of a user")
	}
	return token, seed, nil
}

// upgrade is the flags for what else a server knows of a connection.
type upgrade struct {
	Host       string `group:"connection that is tried" default:"127.0.0.1" placeholder:"ADDRESS" help:"the client's IP address (default: 127.0.0.1)"`
	Type       string `group:"connection that is tried" default:"websocket" placeholder:"TYPE" enum:"websocket,nats,mqtt" help:"websocket, nats or mqtt (default: websocket)"`
	Kind       string `group:"connection that is tried" default:"Client" placeholder:"KIND" enum:"Client,Leafnode" help:"Client or Leafnode (default: Client)"`
	ClientName string `group:"connection that is tried" placeholder:"NAME" help:"name in CONNECT"`
	Lang       string `group:"connection that is tried" placeholder:"NAME" help:"lang in CONNECT"`
	MQTTID     string `name:"mqtt-id" group:"connection that is tried" placeholder:"ID" help:"MQTT client id"`
	ServerName string `group:"connection that is tried" placeholder:"NAME" help:"name of the server"`
	Cluster    string `group:"connection that is tried" placeholder:"NAME" help:"name of its cluster"`
	Headers    source `group:"connection that is tried" placeholder:"FROM" help:"header lines of the upgrade request that the server forwards, cookies included"`
}

// request returns what a server would ask.
func (c *tryCommand) request(s *streams) (*session.Request, error) {
	credential, err := c.presented.read(s)
	if err != nil {
		return nil, err
	}
	r := &session.Request{
		Credential: credential, Host: c.Host, Type: c.Type, Kind: c.Kind, Name: c.ClientName, Lang: c.Lang,
		MQTT: c.MQTTID, ServerName: c.ServerName, Cluster: c.Cluster,
	}
	if c.Type == "mqtt" {
		r.Credential = overMQTT(credential)
	}
	if c.Headers == "" {
		return r, nil
	}
	text, err := s.read(c.Headers, "--headers")
	if err != nil {
		return nil, err
	}
	r.Headers, r.Cookies, err = readHeaders(text)
	return r, err
}

// overMQTT returns a credential as it arrives over MQTT, where one field is for passwords and
// tokens.
func overMQTT(c session.Credential) session.Credential {
	switch c.Kind {
	case session.Token:
		return session.Credential{Kind: session.Password, Password: c.Value, MayBeToken: true}
	case session.Password:
		c.MayBeToken = true
	}
	return c
}

// readHeaders parses header lines. It returns what a server would forward of them if its
// configuration lists all these names and all cookies.
func readHeaders(text string) (map[string][]string, map[string]string, error) {
	reader := textproto.NewReader(bufio.NewReader(strings.NewReader(text + "\r\n\r\n")))
	lines, err := reader.ReadMIMEHeader()
	if err != nil {
		// The error of net/textproto would repeat the line.
		return nil, nil, errors.New("--headers: not header lines of the form Name: value")
	}
	from := &http.Request{Header: http.Header(lines)}
	var list forwarded.List
	for name := range lines {
		if name != "Cookie" {
			list.Headers = append(list.Headers, name)
		}
	}
	list.Cookies = forwarded.CookieNames(from)
	picked := list.Pick(from)
	if lost := slices.Concat(picked.TooLong, picked.NotText); len(lost) > 0 {
		return nil, nil, fmt.Errorf("--headers: a server cannot forward %q: they are too long, or not UTF-8", lost)
	}
	return picked.Headers, picked.Cookies, nil
}
