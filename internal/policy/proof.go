package policy

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/conf"
	"stamp/internal/proof"
	"stamp/internal/stamp"
)

// Proof is how stamped messages are proven: the block proof of a headers block.
type Proof struct {
	keys      *proof.Keys
	receivers map[string]*proof.Receiver // by account; anyAccount is for all others
	encrypt   []string                   // names and patterns of headers whose values are encrypted
	sign      []string                   // subjects on which messages are signed

	encrypted *stamp.NameSet
	signed    stamp.Subjects

	place  conf.Place
	places map[string]conf.Place // of the receivers, by account
}

// anyAccount stands for all accounts that have no receiver of their own.
const anyAccount = "*"

// ErrNotEncrypted is the fault of a header that must be encrypted and cannot be. To stamp
// its values as they are would show them to everybody, and to leave it out would make
// somebody else of the user.
var ErrNotEncrypted = errors.New("headers.proof.encrypt has this header, and its values cannot be encrypted")

// proofBlock is the block proof of the configuration.
type proofBlock struct {
	KeyFile   string               `conf:"key_file,required"`
	Receivers map[string]conf.Node `conf:"receivers"`
	Encrypt   []conf.Node          `conf:"encrypt"`
	Sign      []conf.Node          `conf:"sign"`
}

func (r *Rules) parseProof(n conf.Node, faults *conf.Faults) {
	if n.IsZero() {
		return
	}
	r.Provenance = true
	var b proofBlock
	n.Decode(&b, faults)
	p := &Proof{receivers: map[string]*proof.Receiver{}, place: n.Place(), places: map[string]conf.Place{}}
	r.Proof = p
	p.encrypt = r.parseEncrypt(b.Encrypt, faults)
	p.encrypted = mustRuleSet(p.encrypt)
	p.parseSign(b.Sign, faults)
	n.Get("receivers").AddVariables("receivers", faults)
	if p.parseKeys(n.Get("key_file"), b.KeyFile, faults); p.keys != nil {
		r.warnIfReadable(n.Get("key_file"), b.KeyFile)
		p.parseReceivers(b.Receivers, faults)
		if len(p.sign) > 0 && !p.keys.Signs() {
			faults.Add(n.Get("sign"), "sign: %s: %v", b.KeyFile, proof.ErrNoSigning)
		}
	}
	if len(b.Encrypt) > 0 && len(b.Receivers) == 0 {
		faults.Add(n.Get("encrypt"), "encrypt: expected receivers, who could read what is encrypted; found none")
	}
	if len(b.Receivers)+len(b.Sign) == 0 {
		faults.Add(n, "proof: expected receivers, sign, or both; without them no message is proven")
	}
}

func (p *Proof) parseKeys(n conf.Node, path string, faults *conf.Faults) {
	if path == "" {
		return // Decode has reported it
	}
	text, err := conf.ReadFile(path)
	defer clear(text)
	if err == nil {
		if p.keys, err = proof.ParseKeys(text); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		faults.Add(n, "key_file: %v\nhint: nats-callout keys proof make server makes such a file", err)
	}
}

// warnIfReadable warns if all users of the machine can read the key file. It is no
// fault: orchestrators mount secrets so, into file systems that nobody else sees.
func (r *Rules) warnIfReadable(n conf.Node, path string) {
	const readableByOthers = 0o004
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&readableByOthers != 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%s: key_file: all users of this machine can read %s, and so make proofs; take the permission from them: chmod o-r", n.Place(), path))
	}
}

func (p *Proof) parseReceivers(receivers map[string]conf.Node, faults *conf.Faults) {
	byKey := map[string]*proof.Receiver{} // a key exchange takes as long as many messages
	for account, n := range receivers {
		p.places[account] = n.Place()
		public, ok := n.Plain().(string)
		if !ok {
			faults.Add(n, "receivers: %q: %v; found %s", account, proof.ErrReceiver, n.Kind())
			continue
		}
		if byKey[public] == nil {
			receiver, err := p.keys.Receiver(public)
			if err != nil {
				faults.Add(n, "receivers: %q: %v", account, err)
				continue
			}
			byKey[public] = receiver
		}
		p.receivers[account] = byKey[public]
	}
}

func (r *Rules) parseEncrypt(items []conf.Node, faults *conf.Faults) (names []string) {
	seen := map[string]bool{}
	for _, n := range items {
		name, ok := n.Plain().(string)
		switch {
		case !ok:
			faults.Add(n, "encrypt: expected a name; found %s", n.Kind())
		case !field.IsNamePattern(name):
			faults.Add(n, "encrypt: %v; found %q", field.ErrNamePattern, name)
		case seen[field.Fold(name)]:
			faults.Add(n, "encrypt: %v; found %q", field.ErrNameTwice, name)
		case checkStampable(name) != nil:
			faults.Add(n, "encrypt: %q is no name, or beginning of names, that can be stamped, so nothing would be encrypted: %v", name, checkStampable(name))
		default:
			seen[field.Fold(name)] = true
			names = append(names, name)
		}
	}
	return names
}

// checkStampable returns an error if no header that a pattern matches can be stamped. The reserved prefixes end in '-', so a pattern that
// does not begin with one matches the name that has one letter more.
func checkStampable(pattern string) error {
	if prefix, isPrefix := strings.CutSuffix(pattern, "*"); isPrefix {
		return field.CheckName(prefix + "x")
	}
	return field.CheckName(pattern)
}

func (p *Proof) parseSign(items []conf.Node, faults *conf.Faults) {
	for _, n := range items {
		subject, ok := n.Plain().(string)
		switch {
		case !ok:
			faults.Add(n, "sign: expected a subject; found %s", n.Kind())
		case !field.IsSubject(subject):
			faults.Add(n, "sign: %v; found %q", field.ErrSubject, subject)
		default:
			p.sign = append(p.sign, subject)
		}
	}
	p.signed, _ = stamp.NewSubjects(p.sign) // each has been checked
}

// equal reports whether both have the same effect.
func (p *Proof) equal(o *Proof) bool {
	if p == nil || o == nil {
		return p == o
	}
	sameReceiver := func(a, b *proof.Receiver) bool { return a.Public() == b.Public() }
	return p.keys.Equal(o.keys) && maps.EqualFunc(p.receivers, o.receivers, sameReceiver) &&
		slices.Equal(p.encrypt, o.encrypt) && slices.Equal(p.sign, o.sign)
}

// accounts returns the accounts that have receivers of their own, sorted.
func (p *Proof) accounts() []string {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.receivers)), func(account string) bool { return account == anyAccount })
}

// addTo adds to a grant, and to the options of its stamp, how its messages are proven. It
// refuses headers that must be encrypted and cannot be.
func (p *Proof) addTo(g *Grant, o *stamp.Options, headers []stamp.Header) error {
	if p == nil || len(headers) == 0 {
		return nil
	}
	receiver := p.receivers[o.Account]
	if receiver == nil {
		receiver = p.receivers[anyAccount]
	}
	if err := p.checkEncrypted(o, headers, receiver); err != nil {
		return err
	}
	if !o.Provenance || receiver == nil && p.signed.Empty() {
		return nil
	}
	o.Proof = &stamp.Proof{ForReceiver: receiver != nil, Signed: !p.signed.Empty()}
	if receiver != nil {
		o.Proof.Encrypt = p.encrypted
	}
	g.Prover, g.Sign = proof.NewProver(p.keys, receiver), p.signed
	return nil
}

func (p *Proof) checkEncrypted(o *stamp.Options, headers []stamp.Header, receiver *proof.Receiver) error {
	var why string
	switch {
	case receiver == nil:
		why = fmt.Sprintf("headers.proof.receivers has no receiver for the account %q, and none for all others (%q)", o.Account, anyAccount)
	case !o.Provenance:
		why = "this leafnode connection sends provenance itself, so its messages are not proven here"
	default:
		return nil
	}
	var faults claim.Errors
	for _, h := range headers {
		if p.encrypted.Has([]byte(h.Name)) {
			faults = append(faults, &claim.Error{Header: h.Name, Err: fmt.Errorf("%w: %s", ErrNotEncrypted, why)})
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}
