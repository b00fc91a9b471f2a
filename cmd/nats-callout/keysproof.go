package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nkeys"

	"stamp/internal/proof"
)

type keysProof struct {
	Make proofMake `cmd:"" help:"make proof.nk for a server, or receiver.nk for a receiver; nothing is overwritten"`
	Show proofShow `cmd:"" help:"show the public keys and their ids, and where they belong"`
	Roll proofRoll `cmd:"" help:"make new keys beside those in use, which stay until --finish"`
}

// proofOwner is the arguments that say whose keys are meant.
type proofOwner struct {
	Whose     string `arg:"" enum:"server,receiver" help:"server or receiver"`
	Directory string `arg:"" optional:"" default:"." help:"where proof.nk or receiver.nk is; default: the current one"`
}

// seeds are the kinds of seeds that are made together for one owner.
func (o *proofOwner) seeds() []nkeys.PrefixByte {
	if o.Whose == "server" {
		return []nkeys.PrefixByte{nkeys.PrefixByteCurve, nkeys.PrefixByteServer}
	}
	return []nkeys.PrefixByte{nkeys.PrefixByteCurve}
}

func (o *proofOwner) path() string {
	name := map[string]string{"server": "proof.nk", "receiver": "receiver.nk"}[o.Whose]
	return filepath.Join(o.Directory, name)
}

// target is the key file, also where path is a link to it: a roll changes the file, and leaves the link.
func (o *proofOwner) target() string {
	if info, err := os.Lstat(o.path()); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return o.path()
	}
	target, err := filepath.EvalSymlinks(o.path())
	if err != nil {
		return o.path() // which cannot be read
	}
	return target
}

// next is where the new keys of a server wait until all receivers trust them. It is in the directory of the target, so that it can replace it.
func (o *proofOwner) next() string { return o.target() + ".new" }

// command is how a command about these keys is called.
func (o *proofOwner) command(name string) string {
	return fmt.Sprintf("%s keys proof %s %s %s", program, name, o.Whose, o.Directory)
}

// newSeeds returns the lines of a key file with new keys.
func (o *proofOwner) newSeeds() ([]byte, error) {
	var text []byte
	for _, prefix := range o.seeds() {
		seed, err := newSeed(prefix)
		if err != nil {
			return nil, err
		}
		text = append(append(text, seed...), '\n')
	}
	return text, nil
}

type proofMake struct{ proofOwner }

// Run creates a key file that only its owner can read.
func (c *proofMake) Run(s *streams) error {
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	text, err := c.newSeeds()
	if err == nil {
		err = writeSecret(c.path(), text)
	}
	if errors.Is(err, fs.ErrExist) {
		return hint(fmt.Errorf("keys: %s is there already", c.path()), "keys proof make replaces no keys; name another directory, or change the keys with keys proof roll")
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	use := map[string]string{"server": "proves stamped messages", "receiver": "checks proofs, and decrypts"}[c.Whose]
	_, err = fmt.Fprintf(s.out, "%s\t%s\nnext: %s\n", c.path(), use, c.command("show"))
	return err
}

type proofShow struct{ proofOwner }

// Run shows public keys only.
func (c *proofShow) Run(s *streams) error {
	keys, err := c.public(c.path())
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "# %s\n", c.path())
	for i, key := range keys {
		fmt.Fprintf(s.out, "%s  id %s  %s\n", key, proof.ID(key), c.use(i, key))
	}
	if _, err := os.Lstat(c.next()); c.Whose == "server" && err == nil {
		coming, err := c.coming()
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "# %s: new keys, which the server does not use yet\n", c.next())
		for i, key := range coming {
			fmt.Fprintf(s.out, "%s  id %s  %s\n", key, proof.ID(key), c.use(i, key))
		}
	}
	if c.Whose == "server" {
		fmt.Fprintln(s.out, "# Receivers list these keys in servers.")
	} else {
		fmt.Fprintln(s.out, "# Servers have the first key in headers.proof.receivers. The receiver has all seeds, in this order, in keys.")
	}
	return nil
}

// use says what the key of that number in a file is for.
func (c *proofOwner) use(number int, key string) string {
	switch {
	case c.Whose == "receiver" && number > 0:
		return "an older key, for messages that were made with it"
	case c.Whose == "receiver":
		return "for messages to this receiver"
	case key[0] == 'N':
		return "signs"
	}
	return "proves to receivers"
}

// public returns the public keys of a file.
func (c *proofOwner) public(path string) ([]string, error) {
	wrong := func(err error) error {
		return hint(fmt.Errorf("keys: %s: %w", path, err), fmt.Sprintf("%s keys proof make %s makes one", program, c.Whose))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, wrong(errors.Unwrap(err)) // without the path
	}
	defer clear(text)
	if c.Whose == "server" {
		keys, err := proof.ParseKeys(text)
		if err != nil {
			return nil, wrong(err)
		}
		x, n := keys.Public()
		return slices.DeleteFunc([]string{x, n}, func(key string) bool { return key == "" }), nil
	}
	var public []string
	for number, seed := range receiverSeeds(text) {
		keys, err := proof.ParseKeys(seed)
		var x string
		if err == nil {
			x, _ = keys.Public()
		}
		if x == "" {
			return nil, wrong(fmt.Errorf("seed %d: expected the seed of a curve key (SX...)", number+1))
		}
		public = append(public, x)
	}
	if len(public) == 0 {
		return nil, wrong(errors.New("expected at least one seed of a curve key (SX...); found none"))
	}
	return public, nil
}

// receiverSeeds returns the lines of a receiver's key file that are no comments.
func receiverSeeds(text []byte) (seeds [][]byte) {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			seeds = append(seeds, line)
		}
	}
	return seeds
}

type proofRoll struct {
	proofOwner
	Finish bool `help:"use the new keys of a server, or remove the older keys of a receiver"`
}

// Run changes keys without a gap. Receivers must trust the new keys of a server before it uses them; a receiver must have
// its new key before servers use that.
func (c *proofRoll) Run(s *streams) error {
	if _, err := c.public(c.path()); err != nil {
		return err
	}
	var err error
	switch {
	case c.Whose == "server" && c.Finish:
		err = c.finishServer(s)
	case c.Whose == "server":
		err = c.server(s)
	case c.Finish:
		err = c.finishReceiver(s)
	default:
		err = c.receiver(s)
	}
	return err
}

const serverRolled = `%[1]s	has new keys
next:
1. add the public keys of %[1]s, which %[2]s prints, to servers of all receivers
2. %[3]s --finish, and reload the server
3. remove the old keys from the receivers when these no longer check messages that the old keys proved
`

func (c *proofRoll) server(s *streams) error {
	text, err := c.newSeeds()
	if err == nil {
		err = c.writeNext(text)
	}
	if errors.Is(err, fs.ErrExist) {
		if _, err := c.coming(); err != nil {
			return err
		}
		return hint(fmt.Errorf("keys: %s is there already", c.next()), "the keys were rolled before; when all receivers trust the new ones: "+c.command("roll")+" --finish")
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err = fmt.Fprintf(s.out, serverRolled, c.next(), c.command("show"), c.command("roll"))
	return err
}

func (c *proofRoll) finishServer(s *streams) error {
	if _, err := os.Lstat(c.next()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: there is no %s: nothing to finish", c.next())
	}
	if _, err := c.coming(); err != nil {
		return err
	}
	err := keepAccess(c.target(), c.next())
	if err == nil {
		err = os.Rename(c.next(), c.target())
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err = fmt.Fprintf(s.out, "%s\thas the new keys\nnext: reload the server\n", c.path())
	return err
}

// coming returns the public keys of the new keys of a server.
func (o *proofOwner) coming() ([]string, error) {
	keys, err := o.public(o.next())
	if err != nil {
		return nil, hint(errors.Unwrap(err), fmt.Sprintf("it is not a whole key file, so a roll was interrupted: remove %s, and repeat the roll", o.next()))
	}
	return keys, nil
}

const receiverRolled = `%[1]s	has a new key, and the older ones
next:
1. restart the receivers with all seeds of %[1]s
2. put the first public key that %[2]s prints into headers.proof.receivers of all servers, and reload them
3. %[3]s --finish when no message that was made with the older keys must be read any more, and restart the receivers
`

func (c *proofRoll) receiver(s *streams) error {
	text, err := os.ReadFile(c.path())
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	added, err := c.newSeeds()
	if err == nil {
		err = c.replace(append(added, text...))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, receiverRolled, c.path(), c.command("show"), c.command("roll"))
	return err
}

func (c *proofRoll) finishReceiver(s *streams) error {
	text, err := os.ReadFile(c.path())
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	seeds := receiverSeeds(text)
	if len(seeds) == 1 {
		return fmt.Errorf("keys: %s has one key: nothing to finish", c.path())
	}
	if err := c.replace(append(bytes.Clone(seeds[0]), '\n')); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\thas the newest key alone\nnext: restart the receivers\n", c.path())
	return err
}

// replace replaces the file as a whole, so that there is never a half.
func (c *proofRoll) replace(text []byte) error {
	err := c.writeNext(text)
	if errors.Is(err, fs.ErrExist) {
		return hint(fmt.Errorf("keys: %s is there already", c.next()),
			fmt.Sprintf("a roll was interrupted before %s was replaced, so its new key is not in use: remove %s, and repeat the roll", c.target(), c.next()))
	}
	if err == nil {
		if err = os.Rename(c.next(), c.target()); err != nil {
			os.Remove(c.next())
		}
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

// writeNext writes the file that replaces the target, for those who may read the target.
func (c *proofRoll) writeNext(text []byte) error {
	if err := writeSecret(c.next(), text); err != nil {
		return err
	}
	if err := keepAccess(c.target(), c.next()); err != nil {
		os.Remove(c.next())
		return err
	}
	return nil
}

// keepAccess gives a new file the owner and the mode of the one that it replaces: a service of another user must be able to read it.
func keepAccess(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	// The owner first, while nobody else can read the file.
	if err := keepOwner(info, to); err != nil {
		return fmt.Errorf("%s cannot be given the owner of %s, without which the service could not read it: %w", to, from, err)
	}
	if made, err := os.Lstat(to); err != nil || !made.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is no file any more: somebody else has replaced it", to))
	}
	return os.Chmod(to, info.Mode().Perm())
}
