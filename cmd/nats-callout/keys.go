package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/nats-io/nkeys"

	"stamp/internal/callout"
)

type keysCommand struct {
	Make keysMake `cmd:"" help:"make issuer.nk, xkey.nk and user.nk in a directory; nothing is overwritten"`
	Show keysShow `cmd:"" help:"show the public keys, and what belongs in the configurations of server and handler"`
	Roll keysRoll `cmd:"" help:"make a new xkey.nk, and put the old one into xkeys.nk, which the handler decrypts with too"`

	Proof keysProof `cmd:"" help:"make, show and change the keys of proofs: those of a server, or of a receiver"`
}

// keyFiles are the files of the handler's keys.
var keyFiles = []struct {
	file   string
	prefix nkeys.PrefixByte
	form   string
	use    string
}{
	{"issuer.nk", nkeys.PrefixByteAccount, "SA...", "signs the answers"},
	{"xkey.nk", nkeys.PrefixByteCurve, "SX...", "decrypts the requests"},
	{"user.nk", nkeys.PrefixByteUser, "SU...", "connects the handler to NATS"},
}

// Names of the files of xkeys: the current one, and older ones.
const (
	xkeyFile  = "xkey.nk"
	xkeysFile = "xkeys.nk"
)

type keysMake struct {
	Directory string `arg:"" optional:"" default:"." help:"default: the current one"`
}

// Run creates all keys or none. Only the owner can read the files.
func (c *keysMake) Run(s *streams) error {
	if err := callout.CheckFIPS(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, key := range keyFiles {
		path := filepath.Join(c.Directory, key.file)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return hint(fmt.Errorf("keys: %s is there already", path),
				"keys make replaces no keys, because servers that expect the old ones would refuse all connections; name another directory, or change the xkey with keys roll")
		}
	}
	for i, key := range keyFiles {
		if err := writeKey(filepath.Join(c.Directory, key.file), key.prefix); err != nil {
			for _, made := range keyFiles[:i] {
				os.Remove(filepath.Join(c.Directory, made.file))
			}
			return fmt.Errorf("keys: %w", err)
		}
	}
	for _, key := range keyFiles {
		fmt.Fprintf(s.out, "%s\t%s\n", filepath.Join(c.Directory, key.file), key.use)
	}
	_, err := fmt.Fprintf(s.out, "next: %s keys show %s\n", program, c.Directory)
	return err
}

func writeKey(path string, prefix nkeys.PrefixByte) error {
	seed, err := newSeed(prefix)
	if err != nil {
		return err
	}
	return writeSecret(path, append(seed, '\n'))
}

func newSeed(prefix nkeys.PrefixByte) ([]byte, error) {
	kp, err := nkeys.CreatePair(prefix)
	if err != nil {
		return nil, err
	}
	defer kp.Wipe() // the seed below too, of which it may be the owner
	seed, err := kp.Seed()
	return bytes.Clone(seed), err
}

// writeSecret creates a file that only its owner can read.
func writeSecret(path string, text []byte) error {
	// With O_EXCL, a file that somebody else creates meanwhile is not overwritten.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(text); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

type keysShow struct {
	Directory string `arg:"" optional:"" default:"." help:"where issuer.nk, xkey.nk and user.nk are; default: the current one"`
	Account   string `default:"CALLOUT" help:"account of the handler's own connection"`
}

func (c *keysShow) Run(s *streams) error {
	if err := callout.CheckFIPS(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if strings.ContainsAny(c.Account, " \t\r\n{}[]\"'#$;,=:") || c.Account == "" {
		return usage(errors.New("--account: not the name of an account"), "")
	}
	public := map[string]string{}
	for _, key := range keyFiles {
		path := filepath.Join(c.Directory, key.file)
		text, err := publicKey(path, key.prefix, key.form)
		if err != nil {
			return hint(fmt.Errorf("keys: %s: %w", path, err), "nats-callout keys make makes them")
		}
		public[strings.TrimSuffix(key.file, ".nk")] = text
	}
	_, err := os.Lstat(filepath.Join(c.Directory, xkeysFile))
	return writeBlocks(s.out, c.Directory, c.Account, public, err == nil)
}

type keysRoll struct {
	Directory string `arg:"" optional:"" default:"." help:"where xkey.nk is; default: the current one"`
	Finish    bool   `help:"remove xkeys.nk; do this when all servers have the new xkey"`
}

// Run creates a new xkey and keeps the old one until --finish. It first writes the old one under
// its new name, so that it is never lost.
func (c *keysRoll) Run(s *streams) error {
	if err := callout.CheckFIPS(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	path, older := filepath.Join(c.Directory, xkeyFile), filepath.Join(c.Directory, xkeysFile)
	if c.Finish {
		return c.finish(s, older)
	}
	if _, err := publicKey(path, nkeys.PrefixByteCurve, "SX..."); err != nil {
		return hint(fmt.Errorf("keys: %s: %w", path, err), "nats-callout keys make makes it")
	}
	if _, err := os.Lstat(older); !errors.Is(err, fs.ErrNotExist) {
		return hint(fmt.Errorf("keys: %s is there already", older),
			"the xkey was rolled before; when all servers have the new one: nats-callout keys roll --finish "+c.Directory)
	}
	if err := roll(path, older); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err := fmt.Fprintf(s.out, rolled, path, older, program, c.Directory)
	return err
}

// rolled says what to do next.
const rolled = `%[1]s	is new
%[2]s	has the old xkey
next:
1. set callout { xkey_file: %[1]q, xkeys_file: %[2]q } on all handlers, and reload them
2. put the new public xkey, which %[3]s keys show %[4]s prints, into auth_callout of all servers, and restart them one after another, since a server does not reload auth_callout; with operators, put it into the account's JWT
3. %[3]s keys roll --finish %[4]s, and reload all handlers
`

func (c *keysRoll) finish(s *streams, older string) error {
	err := os.Remove(older)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: there is no %s: nothing to finish", older)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err = fmt.Fprintf(s.out, "%s\tis gone\nnext: reload all handlers\n", older)
	return err
}

// roll links a key's file under another name, and puts a new key in its place, which the same users can read.
func roll(path, older string) error {
	next := path + ".new"
	if err := writeKey(next, nkeys.PrefixByteCurve); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: an earlier roll was cut off: remove this file, and %s if it has the same key as %s", err, older, path)
	} else if err != nil {
		return err
	}
	err := keepAccess(path, next)
	if err == nil {
		err = os.Link(path, older)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
	}
	return err
}

func publicKey(path string, want nkeys.PrefixByte, form string) (string, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return "", errors.Unwrap(err) // without the path, which the caller adds
	}
	seed = []byte(strings.TrimSpace(string(seed)))
	if prefix, _, err := nkeys.DecodeSeed(seed); err != nil || prefix != want {
		return "", fmt.Errorf("not a seed of the form %s", form)
	}
	kp, err := pair(seed, want)
	if err != nil {
		return "", errors.New("not a valid seed")
	}
	return kp.PublicKey()
}

func pair(seed []byte, prefix nkeys.PrefixByte) (nkeys.KeyPair, error) {
	if prefix == nkeys.PrefixByteCurve {
		return nkeys.FromCurveSeed(seed)
	}
	return nkeys.FromSeed(seed)
}

var blocks = template.Must(template.New("").Parse(`# nats-server: the user goes into your accounts
accounts {
  {{.Account}}: { users: [ { nkey: {{.Keys.user}} } ] }
}
authorization {
  auth_callout {
    issuer: {{.Keys.issuer}}
    xkey: {{.Keys.xkey}}
    account: {{.Account}}
    # add the names and nkeys of all users of this configuration, or the server asks the handler about them
    auth_users: [ {{.Keys.user}} ]
  }
}

# nats-callout
callout {
  issuer_file: {{.Path "issuer.nk"}}
  xkey_file: {{.Path "xkey.nk"}}
{{- if .Rolled}}
  xkeys_file: {{.Path "xkeys.nk"}}
{{- end}}
  connect { urls: [ "nats://127.0.0.1:4222" ], nkey_file: {{.Path "user.nk"}} }
  # sessions: [ ... ]
  # grants: [ ... ]
}
`))

func writeBlocks(w io.Writer, directory, account string, keys map[string]string, rolled bool) error {
	full, err := filepath.Abs(directory)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return blocks.Execute(w, blockData{account, keys, full, rolled})
}

type blockData struct {
	Account   string
	Keys      map[string]string
	directory string
	Rolled    bool // there are older xkeys
}

// Path quotes the path of a file in NATS' configuration syntax.
func (d blockData) Path(file string) string {
	return `"` + strings.ReplaceAll(filepath.ToSlash(filepath.Join(d.directory, file)), `"`, `\"`) + `"`
}
