package login

import "cmp"

// Clash is a field of a source that says what another one's says, and should not.
type Clash struct{ Field, What string }

// Clashes are those of two sources of one handler. A session belongs to the provider that it comes of, and another
// source would find it, refresh it at its own provider, and give that the refresh token. own is the account of buckets
// that name none.
func (c *Config) Clashes(with *Config, own string) (all []Clash) {
	if c.sharesBucket(with, own) {
		all = append(all, Clash{"bucket", "the bucket, or the one for its index, -index,"})
	}
	if c.PublicURL != "" && c.PublicURL == with.PublicURL {
		all = append(all, Clash{"public_url", "the address"})
	}
	// Cookies know no ports (RFC 6265, section 8.5).
	if c.public.Hostname() != "" && c.public.Hostname() == with.public.Hostname() && c.CookieName == with.CookieName {
		all = append(all, Clash{"cookie_name", "on this host the cookie"})
	}
	return all
}

func (c *Config) sharesBucket(with *Config, own string) bool {
	if c.Bucket == "" || c.Place != with.Place || cmp.Or(c.Account, own) != cmp.Or(with.Account, own) {
		return false
	}
	return c.Bucket == with.Bucket || c.Bucket == with.indexBucket() || c.indexBucket() == with.Bucket
}

// indexBucket is the name of the bucket beside that of the sessions.
func (c *Config) indexBucket() string { return c.Bucket + "-index" }
