package callout

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/grant"
	"stamp/internal/conf"
)

// keys are the handler's keys: it signs and decrypts with them.
type keys struct {
	issuer        nkeys.KeyPair // nil: still to be created, inside the server
	issuerAccount string
	xkey          nkeys.KeyPair   // nil: requests are not encrypted
	older         []nkeys.KeyPair // xkeys to which servers may encrypt until they have the new one
	// accounts are the signing keys of accounts in operator mode, by the names that grants use.
	// Without operators it is empty, and issuer signs everything.
	accounts map[string]signingKey
}

type signingKey struct {
	account string // public key of the account
	key     nkeys.KeyPair
}

func parseKeys(n conf.Node, f *fields, faults *conf.Faults) *keys {
	k := &keys{issuerAccount: f.IssuerAccount}
	if f.Issuer != "" {
		k.issuer = parseSeed(n, "issuer", f.Issuer, nkeys.PrefixByteAccount, faults)
	}
	if f.XKey != "" {
		k.xkey = parseSeed(n, "xkey", f.XKey, nkeys.PrefixByteCurve, faults)
	}
	k.parseOlder(n, f, faults)
	if f.IssuerAccount != "" && !nkeys.IsValidPublicAccountKey(f.IssuerAccount) {
		faults.Add(n.Get("issuer_account"), "issuer_account: expected the public key of an account (A...); found %s", conf.KindOfKey(f.IssuerAccount))
	}
	for _, name := range slices.Sorted(maps.Keys(f.SigningKeys)) {
		if k.accounts == nil {
			k.accounts = map[string]signingKey{}
		}
		k.accounts[name] = parseSigningKey(name, f.SigningKeys[name], faults)
	}
	return k
}

// maxXKeys is the number of xkeys with which a request may be tried.
const maxXKeys = 4

// parseOlder reads the older xkeys: a list, or a file with one per line.
func (k *keys) parseOlder(n conf.Node, f *fields, faults *conf.Faults) {
	_, at := n.Written("xkeys")
	if at.IsZero() {
		return
	}
	if f.XKey == "" {
		faults.Add(at, "xkeys are beside xkey, and there is none")
		return
	}
	seeds := f.XKeys
	if !f.XKeysFile.IsZero() {
		seeds = append(slices.Clip(seeds), xkeysOf(f.XKeysFile, faults)...)
	}
	if len(seeds) >= maxXKeys {
		faults.Add(at, "xkeys: more than %d, and each request is tried with them in turn", maxXKeys-1)
		return
	}
	for _, seed := range seeds {
		if kp := parseSeed(n, "xkeys", conf.Secret(seed), nkeys.PrefixByteCurve, faults); kp != nil {
			k.older = append(k.older, kp)
		}
	}
}

// xkeysOf returns the lines of a file. A file that does not exist has none: it is removed when the
// last server has the new key.
func xkeysOf(n conf.Node, faults *conf.Faults) []string {
	path, ok := n.Plain().(string)
	if !ok {
		faults.Add(n, "xkeys_file: expected the path of a file")
		return nil
	}
	text, err := conf.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		faults.Add(n, "xkeys_file: %v", err)
	}
	return strings.Fields(string(text))
}

// open decrypts a request. It returns the xkey to which the request is encrypted.
func (k *keys) open(data []byte, from string) ([]byte, nkeys.KeyPair, error) {
	out, err := k.xkey.Open(data, from)
	if err == nil {
		return out, k.xkey, nil
	}
	for _, older := range k.older {
		if out, err := older.Open(data, from); err == nil {
			return out, older, nil
		}
	}
	return nil, nil, err
}

func parseSigningKey(name string, n conf.Node, faults *conf.Faults) signingKey {
	var block struct {
		Account string      `conf:"account"`
		Seed    conf.Secret `conf:"seed,required"`
	}
	n.Decode(&block, faults)
	key := signingKey{account: block.Account}
	if block.Seed == "" {
		return key
	}
	if key.key = parseSeed(n, "seed", block.Seed, nkeys.PrefixByteAccount, faults); key.key == nil {
		return key
	}
	if key.account == "" {
		key.account = public(key.key)
	} else if !nkeys.IsValidPublicAccountKey(key.account) {
		faults.Add(n.Get("account"), "signing_keys %s: account: expected the public key of an account (A...); found %s", name, conf.KindOfKey(key.account))
	}
	return key
}

// seedKinds names the kinds of seeds that the configuration has, by their prefix.
var seedKinds = map[nkeys.PrefixByte]string{
	nkeys.PrefixByteAccount: "an account key (SA...)", nkeys.PrefixByteCurve: "a curve key (SX...)",
}

// parseSeed reads the seed in the field name of the block n, or in the file that the field
// name_file names.
func parseSeed(n conf.Node, name string, seed conf.Secret, want nkeys.PrefixByte, faults *conf.Faults) nkeys.KeyPair {
	written, at := n.Written(name)
	kind := seedKinds[want]
	prefix, _, err := nkeys.DecodeSeed([]byte(seed.Reveal()))
	if err != nil || prefix != want {
		found := conf.KindOfKey(seed.Reveal())
		if err != nil && nkeys.IsValidPublicKey(seed.Reveal()) {
			found += ", which cannot sign or decrypt (nats-callout keys make makes seeds)"
		}
		faults.Add(at, "%s: expected the seed of %s; found %s", written, kind, found)
		return nil
	}
	kp, err := nkeys.FromSeed([]byte(seed.Reveal()))
	if err == nil {
		kp, err = fastKeyPair(kp)
	}
	if err != nil {
		faults.Add(at, "%s: expected the seed of %s", written, kind)
		return nil
	}
	return kp
}

// fastKeyPair returns a key pair that does the same as kp with less work for each use.
func fastKeyPair(kp nkeys.KeyPair) (nkeys.KeyPair, error) {
	if nkeys.IsValidPublicCurveKey(public(kp)) {
		return newCurve(kp)
	}
	return newSigner(kp)
}

// public returns the public key of a pair that has one.
func public(kp nkeys.KeyPair) string {
	key, err := kp.PublicKey()
	if err != nil {
		return ""
	}
	return key
}

// sign returns the user JWT of a grant for the user nkey of the request.
func (k *keys) sign(g *grant.Result, userNkey string, tags ...string) (string, error) {
	user := *g.User
	user.Subject = userNkey
	// Ours first: of equal tags the first one counts, and a session may choose those of the grant.
	// Tags.Add is not used, because it changes them to lower case.
	user.Tags = append(slices.Clip(jwt.TagList(tags)), user.Tags...)
	if len(k.accounts) == 0 {
		user.Audience = g.Account
		return claim.Encode(&user, g.Claim, k.issuer)
	}
	signer, ok := k.accounts[g.Account]
	if !ok {
		return "", fmt.Errorf("grant %s: signing_keys has no account of that name", g.Grant)
	}
	if public(signer.key) != signer.account {
		user.IssuerAccount = signer.account
	}
	return claim.Encode(&user, g.Claim, signer.key)
}

// answers returns the public key of the account from which the answers are.
func (k *keys) answers() string { return cmp.Or(k.issuerAccount, public(k.issuer)) }

// respond signs the answer to a request, and encrypts it if the request was encrypted.
func (k *keys) respond(r *request, userJWT, refusal string) ([]byte, error) {
	response := jwt.NewAuthorizationResponseClaims(r.userNkey)
	response.Audience = r.ServerID
	response.Jwt, response.Error = userJWT, refusal
	response.IssuerAccount = k.issuerAccount
	token, err := response.Encode(k.issuer)
	if err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	if r.xkey == "" {
		return []byte(token), nil
	}
	sealed, err := r.sealer.Seal([]byte(token), r.xkey)
	if err != nil {
		return nil, fmt.Errorf("encrypt response: %w", err)
	}
	return sealed, nil
}
