package stamp

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stamp.example/receivers/go/internal/wire"
)

// Options say what a receiver trusts. docs/proofs.md describes the fields; Trust checks them.
type Options struct {
	User     string              // the header that names the user
	One      []string            // further headers, each with one value at most
	Many     []string            // further headers with any number of values
	Accounts map[string][]string // accounts of publishers, and the subjects of each; "*" is any other account
	MaxAge   time.Duration       // how old a message may be, in whole seconds; 0: any age
	MaxSkew  time.Duration       // how far in the future its time may be, in whole seconds; 0: 5 s
	Servers  []string            // public keys of servers, X... and N...
	Keys     []string            // own seeds, SX..., newest first
	Signed   []string            // subjects on which a proof must be signed, with wildcards
	Replays  int                 // how many proofs are remembered; 0: none
	Now      func() time.Time    // for tests; nil: time.Now
}

// Trust is what a receiver trusts, compiled. It does not change, and any number of goroutines may use it.
type Trust struct {
	readers  []reader // user first, then one, then many
	accounts map[string][]pattern
	maxAge   time.Duration
	maxSkew  time.Duration
	now      func() time.Time
	proven   bool // proofs are wanted
	hasKeys  bool
	pairs    []pair
	signed   []pattern
	handled  []pattern // on which messages for a handler are published; nil: that on which each arrived
	signers  []signer
	ciphers  *cipherCache
	names    *nameCache
	replays  *replayCache // nil: none
}

// Format implements fmt.Formatter: no verb shows the seeds.
func (o Options) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "options of a trust with %d keys", len(o.Keys))
}

// Format implements fmt.Formatter: no verb shows the secrets.
func (t Trust) Format(f fmt.State, _ rune) { fmt.Fprint(f, "trust of a receiver") }

// reader is a header that the service reads.
type reader struct {
	name, folded string
	one          bool
}

// pair is a server and an own key, and the secret that they have.
type pair struct {
	public               string // the server's key, as in Options
	server, receiver     wire.Key
	serverID, receiverID [2]byte
	secret               []byte
}

// signer is a server that signs.
type signer struct {
	public string // the key, as in Options
	key    ed25519.PublicKey
	id     [2]byte
}

// pattern is a subject with wildcards, as its tokens.
type pattern []string

const (
	anyAccount  = "*"
	maxReplays  = 8_000_000 // in all languages: a Map of JavaScript has no room for twice as many
	defaultSkew = 5 * time.Second
)

// NewTrust compiles what a receiver trusts.
func NewTrust(o Options) (*Trust, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("stamp: trust: %w", err)
	}
	t := &Trust{maxAge: o.MaxAge, maxSkew: o.MaxSkew, now: o.Now, proven: len(o.Servers) > 0, hasKeys: len(o.Keys) > 0}
	if t.maxSkew == 0 {
		t.maxSkew = defaultSkew
	}
	if t.now == nil {
		t.now = time.Now
	}
	for _, step := range []func(Options) error{t.addReaders, t.addAccounts, t.addKeys, t.addSigned} {
		if err := step(o); err != nil {
			return nil, fmt.Errorf("stamp: trust: %w", err)
		}
	}
	t.ciphers, t.names = newCipherCache(), &nameCache{}
	for _, name := range append(wire.Provenance[:], wire.Proof, wire.ForwardedProof) {
		t.names.add(name, wire.Fold(name))
	}
	for _, r := range t.readers {
		t.names.add(r.name, r.folded)
	}
	if o.Replays > 0 {
		t.replays = newReplayCache(o.Replays)
	}
	return t, nil
}

// ForSubjects returns a trust for a handler whose messages are published on these subjects, with wildcards. It is for messages that
// arrive on another subject than that on which they are published, because a mapping, an import or a stream changes it. It
// remembers proofs together with t. If t is from ForSubjects itself, its subjects no longer count. Forwarded wants the trust from before.
func (t *Trust) ForSubjects(subjects ...string) (*Trust, error) {
	fault := func(err error) (*Trust, error) {
		return nil, fmt.Errorf("stamp: trust: subjects of a handler: %w", err)
	}
	switch {
	case len(t.accounts) == 0:
		return fault(errors.New("there are no accounts in the trust, so no subject would be looked at"))
	case len(subjects) == 0:
		return fault(errors.New("expected at least one subject, found none"))
	}
	of := *t
	of.handled = make([]pattern, len(subjects))
	for i, s := range subjects {
		var err error
		if of.handled[i], err = parsePattern(s); err != nil {
			return fault(err)
		}
	}
	return &of, nil
}

// check looks at the options that are at odds with each other: each of these would trust more than it seems to.
func (o *Options) check() error {
	switch {
	case o.User == "":
		return errors.New("user is missing")
	case !isAge(o.MaxAge):
		return fmt.Errorf("max_age: expected whole seconds, from 0 to 100 years; found %s", o.MaxAge)
	case !isAge(o.MaxSkew):
		return fmt.Errorf("max_skew: expected whole seconds, from 0 to 100 years; found %s", o.MaxSkew)
	case o.Replays < 0 || o.Replays > maxReplays:
		return fmt.Errorf("replays: expected a number from 0 to %d, found %d", maxReplays, o.Replays)
	case len(o.Servers) > 0 && len(o.Accounts) == 0:
		return errors.New("servers without accounts: say in which accounts, and on which subjects, a message must have been published")
	case len(o.Servers) == 0 && len(o.Keys) > 0:
		return errors.New("keys without servers: no proof would be looked at")
	case len(o.Servers) == 0 && o.Replays > 0:
		return errors.New("replays without servers: no proof would be remembered")
	case len(o.Accounts) == 0 && o.MaxAge > 0:
		return errors.New("max_age without accounts: no time would be looked at")
	case o.MaxAge == 0 && o.MaxSkew > 0:
		return errors.New("max_skew without max_age: no time would be looked at")
	}
	return nil
}

// isAge reports whether a trust can have a duration: the same as in the other languages, where it is a number of seconds.
func isAge(d time.Duration) bool { return d >= 0 && d <= maxSeconds*time.Second && d%time.Second == 0 }

func (t *Trust) addReaders(o Options) error {
	seen := map[string]bool{}
	for _, name := range slices.Concat(wire.Provenance[:], []string{wire.Proof, wire.ForwardedProof}) {
		seen[wire.Fold(name)] = true
	}
	add := func(option, name string, one bool) error {
		folded := wire.Fold(name)
		switch {
		case !wire.IsToken(name):
			return fmt.Errorf("%s: expected the name of a header, found %q", option, name)
		case seen[folded]:
			return fmt.Errorf("%s: the name %q is of provenance or of proofs, or is there twice (case is ignored, and '-', '_' and '.' are one character)", option, name)
		}
		seen[folded] = true
		t.readers = append(t.readers, reader{name, folded, one})
		return nil
	}
	err := add("user", o.User, true)
	for _, name := range o.One {
		err = errors.Join(err, add("one", name, true))
	}
	for _, name := range o.Many {
		err = errors.Join(err, add("many", name, false))
	}
	return err
}

func (t *Trust) addAccounts(o Options) error {
	t.accounts = make(map[string][]pattern, len(o.Accounts))
	for account, subjects := range o.Accounts {
		switch {
		case !isAccount(account):
			return fmt.Errorf("accounts: expected the name of an account, in UTF-8 and without control characters or white space around it; found %q", account)
		case len(subjects) == 0:
			return fmt.Errorf("accounts: %q has no subjects", account)
		}
		for _, s := range subjects {
			p, err := parsePattern(s)
			if err != nil {
				return fmt.Errorf("accounts: %q: %w", account, err)
			}
			t.accounts[account] = append(t.accounts[account], p)
		}
	}
	return nil
}

// isAccount reports whether the server can have the name of an account in Stamp-Account. With another name, the trust would be for nobody. What
// encoding/json reads for a lone surrogate is U+FFFD, so a name with that is most likely damaged.
func isAccount(name string) bool {
	breaks := func(r rune) bool {
		return r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	}
	around := func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }
	return name != "" && !strings.ContainsFunc(name, breaks) && strings.TrimFunc(name, around) == name
}

// parsePattern takes what the server takes for a rule. It refuses what only looks like a wildcard, as pay* does: to NATS that is a plain
// text, so the rule would protect nothing.
func parsePattern(text string) (pattern, error) {
	p := strings.Split(text, ".")
	for i, token := range p {
		if token == "" || strings.ContainsFunc(token, isNoneOfSubjects) || token == ">" && i < len(p)-1 || len(token) > 1 && strings.ContainsAny(token, "*>") {
			return nil, fmt.Errorf("expected a subject, with * and > as whole tokens and > as the last one; found %q", text)
		}
	}
	return p, nil
}

// isNoneOfSubjects reports whether no subject on which a header is stamped has a character. White space beyond ASCII is most likely an error.
func isNoneOfSubjects(r rune) bool {
	return r <= ' ' || r == 0x7f || r == utf8.RuneError || unicode.IsSpace(r)
}

// addSigned comes after the keys: without one that signs, each message on these subjects would be refused.
func (t *Trust) addSigned(o Options) error {
	if len(o.Signed) > 0 && len(t.signers) == 0 {
		return errors.New("signed without a server that signs: servers has no public key of the kind N")
	}
	for _, s := range o.Signed {
		p, err := parsePattern(s)
		if err != nil {
			return fmt.Errorf("signed: %w", err)
		}
		t.signed = append(t.signed, p)
	}
	return nil
}

func (t *Trust) addKeys(o Options) error {
	var servers []wire.Key
	seen := map[string]bool{}
	for i, text := range o.Servers {
		if seen[text] {
			return fmt.Errorf("servers: the key number %d is there twice", i+1)
		}
		seen[text] = true
		if strings.HasPrefix(text, "N") {
			key, err := wire.ParseServer(text)
			if err != nil {
				return fmt.Errorf("servers: key number %d: %w", i+1, err)
			}
			t.signers = append(t.signers, signer{text, ed25519.PublicKey(key[:]), key.ID()})
			continue
		}
		key, err := wire.ParseCurve(text)
		if err != nil {
			return fmt.Errorf("servers: key number %d: expected a public key, X... or N...: %w", i+1, err)
		}
		servers = append(servers, key)
	}
	for i, text := range o.Keys {
		if seen[text] {
			return fmt.Errorf("keys: the seed number %d is there twice", i+1)
		}
		seen[text] = true
		private, err := wire.ParseCurveSeed(text)
		if err != nil {
			return fmt.Errorf("keys: seed number %d: expected a seed, SX...: %w", i+1, err)
		}
		own := wire.Key(private.PublicKey().Bytes())
		for _, server := range servers {
			secret, err := wire.Secret(private, server)
			if err != nil {
				return fmt.Errorf("servers: the key %s cannot be used: %w", wire.EncodeCurve(server), err)
			}
			t.pairs = append(t.pairs, pair{wire.EncodeCurve(server), server, own, server.ID(), own.ID(), secret})
		}
	}
	return nil
}

// maxSeconds are those of a hundred years, which fit into a time.Duration.
const maxSeconds = 100 * 366 * 24 * 60 * 60

// OptionsJSON reads options from JSON, with the names of fields that docs/proofs.md has. What encoding/json takes beyond that would trust
// something else than it seems to: other spellings of a name, null for what is not there, and a second object, which it merges.
func OptionsJSON(text []byte) (Options, error) {
	o, err := optionsOf(text)
	if err != nil {
		return Options{}, fmt.Errorf("stamp: trust: %w", err)
	}
	return o, nil
}

func optionsOf(text []byte) (o Options, err error) {
	fields, err := membersOf(text)
	if err != nil {
		return o, err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := o.set(name, fields[name]); err != nil {
			return o, fmt.Errorf("%q: %w", name, err)
		}
	}
	return o, nil
}

// set sets the option that has a name in JSON.
func (o *Options) set(name string, value json.RawMessage) (err error) {
	lists := map[string]*[]string{"one": &o.One, "many": &o.Many, "servers": &o.Servers, "keys": &o.Keys, "signed": &o.Signed}
	durations := map[string]*time.Duration{"max_age": &o.MaxAge, "max_skew": &o.MaxSkew}
	list, isList := lists[name]
	duration, isDuration := durations[name]
	var n int64
	switch {
	case isList:
		*list, err = textsOf(value)
	case isDuration:
		n, err = wholeNumber(value, maxSeconds)
		*duration = time.Duration(n) * time.Second
	case name == "user":
		o.User, err = textOf(value)
	case name == "accounts":
		o.Accounts, err = accountsOf(value)
	case name == "replays":
		n, err = wholeNumber(value, maxReplays)
		o.Replays = int(n)
	default:
		err = errors.New("unknown field")
	}
	return err
}

// membersOf takes one object of JSON apart. It refuses a name that is there twice.
func membersOf(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	switch first, err := decoder.Token(); {
	case err == io.EOF:
		return nil, errors.New("expected an object of JSON, found nothing")
	case err != nil:
		return nil, err
	case first != json.Delim('{'):
		return nil, errors.New("expected an object of JSON, found another value")
	}
	members := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		key := fmt.Sprint(name)
		if _, twice := members[key]; twice {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		members[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err // there is no end
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("expected one object of JSON, found more")
	}
	return members, nil
}

func accountsOf(value json.RawMessage) (map[string][]string, error) {
	members, err := membersOf(value)
	if err != nil {
		return nil, err
	}
	accounts := make(map[string][]string, len(members))
	for account, subjects := range members {
		if accounts[account], err = textsOf(subjects); err != nil {
			return nil, fmt.Errorf("%q: %w", account, err)
		}
	}
	return accounts, nil
}

func textsOf(value json.RawMessage) ([]string, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(value, &elements); err != nil || elements == nil {
		return nil, errors.New("expected a list of texts, found another value")
	}
	texts := make([]string, len(elements))
	for i, element := range elements {
		var err error
		if texts[i], err = textOf(element); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func textOf(value json.RawMessage) (string, error) {
	var text *string
	if err := json.Unmarshal(value, &text); err != nil || text == nil {
		return "", errors.New("expected a text, found another value")
	}
	return *text, nil
}

// wholeNumber takes every way in which JSON can write a whole number, such as 1e2: other parsers do not tell them apart.
func wholeNumber(value json.RawMessage, most int64) (int64, error) {
	var n *float64
	if err := json.Unmarshal(value, &n); err != nil || n == nil || *n != math.Trunc(*n) || *n < 0 || *n > float64(most) {
		return 0, fmt.Errorf("expected a whole number from 0 to %d", most)
	}
	return int64(*n), nil
}

// subjects returns the subjects on which messages of an account are trusted, and whether there is an entry for it.
func (t *Trust) subjects(account string) ([]pattern, bool) {
	if subjects, ok := t.accounts[account]; ok {
		return subjects, true
	}
	subjects, ok := t.accounts[anyAccount]
	return subjects, ok
}

// matches reports whether a subject fits. Wildcards in the subject itself are plain characters.
func (p pattern) matches(subject string) bool {
	if subject == "" || subject[0] == '.' || subject[len(subject)-1] == '.' || strings.Contains(subject, "..") {
		return false
	}
	for i, want := range p {
		if want == ">" && i == len(p)-1 {
			return true
		}
		token, rest, more := strings.Cut(subject, ".")
		if want != "*" && want != token || more == (i == len(p)-1) {
			return false
		}
		subject = rest
	}
	return true
}
