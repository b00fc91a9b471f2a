package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
)

type decodeCommand struct {
	File string `arg:"" optional:"" help:"file with a JWT, or a creds file; default: standard input"`
}

// Run prints the claims of the JWT, without the values of headers. If a server would refuse the
// JWT, the reasons go to standard error, and the command fails.
func (c *decodeCommand) Run(s *streams) error {
	token, err := c.read(s)
	if err != nil {
		return err
	}
	redacted := claim.Redact(token)
	if redacted == "" {
		return c.notJWT()
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(redacted, ".")[1])
	if err != nil {
		return c.notJWT()
	}
	var out bytes.Buffer
	if err := json.Indent(&out, payload, "", "  "); err != nil {
		return c.notJWT()
	}
	out.WriteByte('\n')
	if _, err := out.WriteTo(s.out); err != nil {
		return err
	}
	return complain(s.err, examine(token))
}

// notJWT is the error for a text that is no JWT. It does not show the text.
func (c *decodeCommand) notJWT() error {
	from := c.File
	if from == "" || from == "-" {
		from = "standard input"
	}
	return fmt.Errorf("decode: %s: expected a JWT, or a creds file; found another text", from)
}

// read returns the JWT. It can be in a creds file, whose seed is not read.
func (c *decodeCommand) read(s *streams) (string, error) {
	in := s.in
	if c.File != "" && c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return "", fmt.Errorf("decode: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := limited(in, "decode")
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT([]byte(text))
	if err != nil {
		return "", c.notJWT()
	}
	return strings.TrimSpace(token), nil
}

// examine returns the reasons for which a server would refuse a user JWT, as far as they can be
// known without its operator and accounts.
func examine(token string) []error {
	claims, err := jwt.Decode(token)
	if err != nil {
		return []error{errors.New("signature or form is not valid")}
	}
	var out []error
	now := time.Now().Unix()
	switch data := claims.Claims(); {
	case data.Expires > 0 && data.Expires <= now:
		out = append(out, fmt.Errorf("expired at %s", when(data.Expires)))
	case data.NotBefore > now:
		out = append(out, fmt.Errorf("not valid before %s", when(data.NotBefore)))
	}
	if _, ok := claims.(*jwt.UserClaims); !ok {
		return out
	}
	var faults claim.Errors
	if _, err := claim.FromUserJWT(token, claim.MaxLimits); errors.As(err, &faults) {
		out = append(out, faults...)
	} else if err != nil {
		out = append(out, err)
	}
	return out
}

func complain(w io.Writer, list []error) error {
	if len(list) == 0 {
		return nil
	}
	for _, err := range list {
		fmt.Fprintf(w, "%s: a server refuses this JWT: %v\n", program, err)
	}
	return errSaid
}

// when formats a time in Unix seconds.
func when(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
