package conf

import "github.com/nats-io/nkeys"

// keyKinds names the kinds of nkeys by their prefix, and shows how they begin.
var keyKinds = map[nkeys.PrefixByte]struct{ seed, public string }{
	nkeys.PrefixByteAccount:  {"the seed of an account key (SA...)", "the public key of an account (A...)"},
	nkeys.PrefixByteUser:     {"the seed of a user key (SU...)", "the public key of a user (U...)"},
	nkeys.PrefixByteOperator: {"the seed of an operator key (SO...)", "the public key of an operator (O...)"},
	nkeys.PrefixByteCurve:    {"the seed of a curve key (SX...)", "the public key of a curve key (X...)"},
	nkeys.PrefixByteServer:   {"the seed of a server key (SN...)", "the public key of a server (N...)"},
	nkeys.PrefixByteCluster:  {"the seed of a cluster key (SC...)", "the public key of a cluster (C...)"},
}

// KindOfKey says for an error what a text is that should have been another kind of nkey. It does not show the text, which
// may be a seed.
func KindOfKey(text string) string {
	if prefix, _, err := nkeys.DecodeSeed([]byte(text)); err == nil {
		return keyKinds[prefix].seed
	}
	if kind, ok := keyKinds[nkeys.Prefix(text)]; ok && nkeys.IsValidPublicKey(text) {
		return kind.public
	}
	if text == "" {
		return "nothing"
	}
	return "another text"
}
