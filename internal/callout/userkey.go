package callout

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
)

// Values of the field user_key.
const (
	keyOfSession = "session"
	keyOfUser    = "user"
)

// tags returns our tags for the user JWT of a verdict: the session's name, its revision if the store
// has revisions, and a user key if configured.
func (c *Config) tags(v *Verdict) ([]string, error) {
	session := forwarded.SessionName(v.Session.Source, v.Session.Key)
	tags := []string{forwarded.SessionTag(session)}
	if revision := forwarded.Revision(v.Session.Revision); revision != (forwarded.Revision{}) {
		tags = append(tags, revision.Tag())
	}
	if c.UserKey == "" {
		return tags, nil
	}
	// Without a user name, the session stands for the user. Equal names in two accounts are two
	// users.
	what := keyOfSession + "\x00" + session
	if c.UserKey == keyOfUser && v.Grant.User.Name != "" {
		what = keyOfUser + "\x00" + v.Grant.Account + "\x00" + v.Grant.User.Name
	}
	key, err := c.keys.userKey(what)
	if err != nil {
		return nil, err
	}
	return append(tags, forwarded.UserKeyTag(key)), nil
}

// userKey returns the public key that stands for something. All handlers with the issuer's seed
// return the same key. Nobody without the seed can tell what it stands for, or make the private
// key.
func (k *keys) userKey(what string) (string, error) {
	raw, err := rawSeed(k.issuer)
	if err != nil {
		return "", fmt.Errorf("user key: %w", err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("stamp user key\x00" + what))
	kp, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, mac.Sum(nil))
	if err != nil {
		return "", fmt.Errorf("user key: %w", err)
	}
	return kp.PublicKey()
}
