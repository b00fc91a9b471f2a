// Package session finds out what a credential stands for. Each kind of store or
// issuer is a Source in a package below this one; what all of them need, a cache,
// one look-up at a time for a credential, and a bound on how many run at once, is
// Lookup's.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"

	"stamp/server/conf"
)

// Kind tells what sort of credential a client presented.
type Kind string

const (
	None     Kind = "none"     // nothing at all
	Cookie   Kind = "cookie"   // a cookie of the websocket's upgrade request, says the server
	Token    Kind = "token"    // auth_token of CONNECT; where the server does not tell, maybe a cookie
	Password Kind = "password" // user and pass of CONNECT
	Nkey     Kind = "nkey"     // a public key, and a signature of the server's nonce
	JWT      Kind = "jwt"      // a user JWT, and a signature of the server's nonce unless it is a bearer's
)

// Credential is what a client presented. All of it but Username and Nkey is
// secret.
type Credential struct {
	Kind      Kind
	Value     string // cookie, token, or user JWT
	Username  string
	Password  string
	Nkey      string // public key; beside a cookie or token it is a proof more
	Nonce     string // the server's
	Signature string // of the nonce
	// MayBeToken tells that Password may be a token as well: MQTT's CONNECT has one field for both.
	MayBeToken bool
}

// Transport is what a connection runs over, as far as the server tells.
type Transport string

const (
	UnknownTransport Transport = ""
	TCP              Transport = "tcp" // or TLS, or in-process
	Websocket        Transport = "websocket"
)

// Request is one question of the server: who is this connection?
type Request struct {
	Credential Credential

	ServerID   string
	ServerName string
	Cluster    string
	ClientID   uint64 // the server's number of the connection
	Host       string // IP address that the server sees
	Name       string // client name, as it calls itself
	Lang       string
	Kind       string // "Client", "Leafnode", ...: upstream's words
	Type       string // "nats", "mqtt", "websocket"
	MQTT       string // MQTT client id
	Renewal    bool   // the connection lives, and is asked about again
	Transport  Transport

	// Headers and Cookies are those of the websocket's upgrade request that the
	// server's configuration lists; names of headers as http.CanonicalHeaderKey writes
	// them. Cookies that came twice are left out.
	Headers map[string][]string
	Cookies map[string]string
}

// Session is what a credential stands for. It is shared: nobody changes it.
type Session struct {
	// Data is the content, as encoding/json decodes an object into a map.
	Data map[string]any
	// Expires is when the session ends; zero when the source does not tell.
	Expires time.Time
	// Source and Key name the session where it is kept: the name of the source, and a
	// key that may be printed and compared, which is never the credential.
	Source, Key string
}

// Source tells what a credential stands for.
type Source interface {
	// Accepts tells whether the credential may be one of this source, by its form, and
	// returns what a look-up depends on: equal keys get equal answers, within
	// the time that answers are cached. An empty key is for a source whose answers must not be
	// cached or shared, such as one that verifies a signature of this connection's nonce.
	Accepts(r *Request) (key string, ok bool)

	// Find returns the session. The error is ErrUnknown, maybe wrapped, when the
	// source is sure that it does not know the credential; any other one means that
	// it cannot tell. No error holds any part of a credential or of a session.
	Find(ctx context.Context, r *Request) (*Session, error)

	// Close ends what New began.
	Close() error
}

// Errors of Find.
var (
	// ErrUnknown: no such session, or it has ended. The next source is asked.
	ErrUnknown = errors.New("unknown credential")
	// ErrFault: the source panicked.
	ErrFault = errors.New("fault in the session source; please report it")
	// ErrBusy: too many look-ups wait already.
	ErrBusy = errors.New("overloaded: too many session look-ups are under way")
)

// Unknown is ErrUnknown with its reason, which holds nothing of the credential.
func Unknown(reason string) error { return fmt.Errorf("%w: %s", ErrUnknown, reason) }

// HasReason tells whether an error is ErrUnknown and says more than that.
func HasReason(err error) bool {
	return errors.Is(err, ErrUnknown) && err.Error() != ErrUnknown.Error()
}

// Opener is the configuration of a source, read and found valid. Nothing
// is contacted before Open.
type Opener interface {
	Open(ctx context.Context, env Env) (Source, error)
	// Common returns the fields that every source has.
	Common() Settings
}

// Settings are the fields that every source has in the configuration.
type Settings struct {
	Kind          string        `conf:"kind,required"`
	Name          string        `conf:"name"`           // in logs, metrics and conditions; default: Kind
	Cookie        string        `conf:"cookie"`         // use this forwarded cookie instead of the credential
	Timeout       time.Duration `conf:"timeout"`        // of one look-up
	Cache         time.Duration `conf:"cache"`          // how long a found session is used again; 0: not
	NegativeCache time.Duration `conf:"negative_cache"` // how long an unknown credential is; 0: not
	CacheSize     int           `conf:"cache_size"`     // entries
	Concurrency   int           `conf:"concurrency"`    // look-ups at once; a quarter of them is for renewals
	Queue         int           `conf:"queue"`          // look-ups that wait for their turn; above: ErrBusy
}

// Common implements part of Opener for those that embed Settings.
func (s Settings) Common() Settings { return s }

// What a configuration may ask for at most: each of them takes memory, a look-up also a goroutine and often a
// connection.
const (
	maxCacheSize   = 1 << 24
	maxConcurrency = 1 << 16
	maxQueue       = 1 << 20
)

// Defaults are the settings of a source that the configuration says nothing of.
func Defaults() Settings {
	return Settings{
		Timeout: 2 * time.Second, Cache: 5 * time.Second, NegativeCache: time.Second,
		CacheSize: 100_000, Concurrency: 64, Queue: 20_000,
	}
}

// connects and renewals share Concurrency: a quarter of it is for renewals, and at least one.
func (s *Settings) connects() int { return max(1, s.Concurrency-s.renewals()) }
func (s *Settings) renewals() int { return max(1, s.Concurrency/4) }

// Calls is how many look-ups there are at once at most, which is Concurrency unless that is one.
func (s *Settings) Calls() int { return s.connects() + s.renewals() }

// withoutCookie are the kinds that take no cookie. With one in the place of the credential, whoever leaves it out would be
// a guest to anonymous, whatever else the connection brings; the others would know nobody.
var withoutCookie = []string{"anonymous", "users", "nkey", "jwt"}

// Check adds what is wrong with the settings of the block n.
func (s *Settings) Check(n conf.Node, faults *conf.Faults) {
	if s.Name == "" {
		s.Name = s.Kind
	}
	for _, number := range []struct {
		name        string
		value, most int
	}{{"cache_size", s.CacheSize, maxCacheSize}, {"concurrency", s.Concurrency, maxConcurrency}, {"queue", s.Queue, maxQueue}} {
		if number.value < 1 || number.value > number.most {
			faults.Add(n.Get(number.name), "%s: expected 1 to %d, found %d", number.name, number.most, number.value)
		}
	}
	if s.Cookie != "" && !IsToken(s.Cookie) {
		faults.Add(n.Get("cookie"), "cookie: %q cannot be the name of a cookie (RFC 6265)", s.Cookie)
	}
	if s.Cookie != "" && slices.Contains(withoutCookie, s.Kind) {
		faults.Add(n.Get("cookie"), "cookie: a source of kind %s takes no cookie", s.Kind)
	}
	if s.Timeout <= 0 {
		faults.Add(n.Get("timeout"), "timeout must be more than 0")
	}
}

// IsToken tells whether text is a token of HTTP (RFC 9110, section 5.6.2), which names of header fields and cookies
// are. What is none matches nothing, silently.
func IsToken(text string) bool { return (&http.Cookie{Name: text}).Valid() == nil }

// Env is what the sources get from the handler.
type Env struct {
	Log *slog.Logger
	// Connect returns a connection to NATS in an account: empty is the handler's own.
	// It lives as long as the handler; sources do not close it.
	Connect func(account string) (*nats.Conn, error)
	Metrics *metrics.Set // nil: nobody wants them
	// Cookies tells whether the configuration takes credentials of the kind Cookie.
	Cookies bool
	// LookupsOnly is for who asks for a session and ends then: nothing is served, and nothing is changed in a store
	// or at a provider.
	LookupsOnly bool
	// Changed is told the key of a session that its store changed or, when deleted,
	// ended. It may be nil, and does not block.
	// ago is how long ago that was by the store's clock, or less; 0: it is not known.
	Changed func(source, key string, deleted bool, ago time.Duration)
	// Lost is told that a source may have missed changes, so that nothing that is cached of it counts
	// any more. It may be nil, and does not block.
	Lost func(source string)
}
