package login

import "cmp"

// Clash is a field of a source whose value conflicts with that of another source.
type Clash struct{ Field, What string }

// Clashes returns the conflicts between two sources of a handler. A session belongs to one
// provider. If another source found it, it would send its refresh token to another provider. own is
// the account of buckets for which none is configured.
func (c *Config) Clashes(with *Config, own string) (all []Clash) {
	if c.sharesBucket(with, own) {
		all = append(all, Clash{"bucket", "the bucket, or the one for its index, -index,"})
	}
	if c.PublicURL != "" && c.PublicURL == with.PublicURL {
		all = append(all, Clash{"public_url", "the address"})
	}
	// Cookies are shared by all ports of a host (RFC 6265, section 8.5).
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

// indexBucket returns the name of the index bucket.
func (c *Config) indexBucket() string { return c.Bucket + "-index" }
