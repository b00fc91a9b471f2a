// Package session defines what a session source is: it finds the session that
// belongs to a client's credential. The packages below this one are the sources, one
// for each kind of store or issuer. Lookup adds to each source a cache, a bound on
// the look-ups that run at once, and one shared look-up for callers with the same
// credential.
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

	"stamp/internal/conf"
)

// Kind is the kind of a credential.
type Kind string

const (
	None     Kind = "none"     // the client presented nothing
	Cookie   Kind = "cookie"   // a cookie of the websocket's upgrade request
	Token    Kind = "token"    // auth_token of CONNECT, or a cookie if the server does not report which
	Password Kind = "password" // user and pass of CONNECT
	Nkey     Kind = "nkey"     // a public key, and a signature of the server's nonce
	JWT      Kind = "jwt"      // a user JWT and, unless it is a bearer JWT, a signature of the server's nonce
)

// Credential is what a client presented. All fields but Kind, Username and Nkey are
// secret.
type Credential struct {
	Kind      Kind
	Value     string // cookie, token, or user JWT
	Username  string
	Password  string
	Nkey      string // public key; a client may present it in addition to a cookie or token
	Nonce     string // sent by the server
	Signature string // of the nonce
	// MayBeToken is set if Password may be a token: MQTT's CONNECT has one field for both.
	MayBeToken bool
}

// Transport is the transport of a connection.
type Transport string

const (
	UnknownTransport Transport = ""    // the server does not report it
	TCP              Transport = "tcp" // also TLS and in-process connections
	Websocket        Transport = "websocket"
)

// Request is an authorization request of the server for one connection.
type Request struct {
	Credential Credential

	ServerID   string
	ServerName string
	Cluster    string
	ClientID   uint64 // the server's id of the connection (CID)
	Host       string // the client's IP address, as the server sees it
	Name       string // client name; chosen by the client, not verified
	Lang       string // language of the client library; not verified
	Kind       string // "Client", "Leafnode", ..., as upstream names them
	Type       string // "nats", "mqtt", "websocket"
	MQTT       string // MQTT client id
	Renewal    bool   // the connection is authorized already, and its authorization is renewed
	Transport  Transport

	// Headers and Cookies are those of the websocket's upgrade request that the server's
	// configuration lists. The names of headers are in the form of http.CanonicalHeaderKey.
	// A cookie that the request has twice is left out.
	Headers map[string][]string
	Cookies map[string]string
}

// Session is the session of a credential. It is shared by connections and must not
// be modified.
type Session struct {
	// Data is the content of the session: a JSON object as encoding/json decodes it into a map.
	Data map[string]any
	// Expires is when the session ends. It is zero if the source does not know of an end.
	Expires time.Time
	// Source is the name of the source. Key identifies the session in that source; it is
	// never the credential, and may be printed.
	Source, Key string
	// Revision is the entry of the store that the session was read from. It is zero if the store has
	// no revisions.
	Revision Revision
}

// Revision identifies one entry among all that a store has had for a session.
type Revision struct {
	Bucket   int64  // when the bucket was created, in nanoseconds since 1970
	Sequence uint64 // of the entry in the bucket
	Written  int64  // when the entry was written, in nanoseconds since 1970
}

// Change is a change of a session in its store.
type Change struct {
	Source, Key string // as in Session
	Deleted     bool
	// Ago is a lower bound of the time since the change, by the store's clock; 0 if that is not known.
	Ago time.Duration
	// Revision is the entry that the change has written, or the marker of a deletion.
	Revision Revision
}

// Source finds the sessions of credentials.
type Source interface {
	// Accepts reports whether the credential has a form that this source can look up. It
	// also returns a key with all that the answer of Find depends on: two requests with
	// equal keys get equal answers while answers are cached. With an empty key the answer
	// is neither cached nor shared, for instance because Find verifies a signature of this
	// connection's nonce.
	Accepts(r *Request) (key string, ok bool)

	// Find returns the session. The error is ErrUnknown, possibly wrapped, if the source is
	// certain that it does not know the credential. With any other error it could not find
	// out. No error holds any part of a credential or of a session.
	Find(ctx context.Context, r *Request) (*Session, error)

	// Close releases what Open acquired.
	Close() error
}

// Errors of Find.
var (
	// ErrUnknown: there is no such session, or it has ended. The handler asks the next source.
	ErrUnknown = errors.New("unknown credential")
	// ErrFault: the source panicked.
	ErrFault = errors.New("fault in the session source; please report it")
	// ErrBusy: the look-up got no turn, because too many others run or wait.
	ErrBusy = errors.New("overloaded: too many session look-ups are under way")
)

// Unknown returns ErrUnknown with a reason, which must not hold any part of the
// credential.
func Unknown(reason string) error { return fmt.Errorf("%w: %s", ErrUnknown, reason) }

// HasReason reports whether err is ErrUnknown with a reason.
func HasReason(err error) bool {
	return errors.Is(err, ErrUnknown) && err.Error() != ErrUnknown.Error()
}

// Opener is the valid configuration of a source.
type Opener interface {
	// Open returns the source. No server is contacted before.
	Open(ctx context.Context, env Env) (Source, error)
	// Common returns the settings that all sources have.
	Common() Settings
}

// Settings are the settings that all sources have.
type Settings struct {
	Kind          string        `conf:"kind,required"`
	Name          string        `conf:"name"`           // in logs, metrics and conditions; default: Kind
	Cookie        string        `conf:"cookie"`         // name of a forwarded cookie that replaces the credential; default: none does
	Timeout       time.Duration `conf:"timeout"`        // of one look-up; DefaultTimeout
	Cache         time.Duration `conf:"cache"`          // how long a session is cached; 0: not at all; DefaultCache
	NegativeCache time.Duration `conf:"negative_cache"` // how long an unknown credential is cached; 0: not at all; DefaultNegativeCache
	CacheSize     int           `conf:"cache_size"`     // entries of the cache; DefaultCacheSize
	Concurrency   int           `conf:"concurrency"`    // look-ups that run at once, a quarter of them for renewals; DefaultConcurrency
	Queue         int           `conf:"queue"`          // look-ups that may wait; further ones fail with ErrBusy; DefaultQueue
}

// Common implements Opener for configurations that embed Settings.
func (s Settings) Common() Settings { return s }

// Defaults of Settings.
const (
	DefaultTimeout       = 2 * time.Second
	DefaultCache         = 5 * time.Second
	DefaultNegativeCache = time.Second
	DefaultCacheSize     = 100_000
	DefaultConcurrency   = 64
	DefaultQueue         = 20_000
)

// Upper bounds of Settings. Each entry and each waiting look-up takes memory; each
// look-up that runs takes a goroutine and often a connection.
const (
	maxCacheSize   = 1 << 24
	maxConcurrency = 1 << 16
	maxQueue       = 1 << 20
)

// Defaults returns the default settings of a source.
func Defaults() Settings {
	return Settings{
		Timeout: DefaultTimeout, Cache: DefaultCache, NegativeCache: DefaultNegativeCache,
		CacheSize: DefaultCacheSize, Concurrency: DefaultConcurrency, Queue: DefaultQueue,
	}
}

// connects and renewals are how many look-ups of new connections and of renewals run
// at once. Each is at least one.
func (s *Settings) connects() int { return max(1, s.Concurrency-s.renewals()) }
func (s *Settings) renewals() int { return max(1, s.Concurrency/4) }

// Calls returns how many look-ups run at once at most. That is Concurrency, or 2 if
// Concurrency is 1.
func (s *Settings) Calls() int { return s.connects() + s.renewals() }

// Bounds of TryTime.
const (
	minTryTime = 2 * time.Second
	maxTryTime = 10 * time.Second
)

// TryTime returns how long one request to JetStream or Redis is waited for that can be sent again. A
// request that comes before JetStream is there, or while a bucket has no leader, is never answered, and
// neither is one by a connection to a server that was replaced. Such stores answer within milliseconds.
// A request to an application or a provider is not sent again: it may take all of the time to answer.
func (s *Settings) TryTime() time.Duration {
	return min(s.Timeout, max(minTryTime, min(s.Timeout/4, maxTryTime)))
}

// withoutCookie are the kinds of sources that cannot have the setting cookie. With it,
// a client that leaves the cookie out would present no credential: an anonymous source
// would give it a session, whatever else it presents. The other kinds accept no
// cookies.
var withoutCookie = []string{"anonymous", "users", "nkey", "jwt"}

// Check adds the faults of the settings in the block n.
func (s *Settings) Check(n conf.Node, faults *conf.Faults) {
	if s.Name == "" {
		s.Name = s.Kind
	}
	for _, number := range []struct {
		name        string
		value, most int
	}{{"cache_size", s.CacheSize, maxCacheSize}, {"concurrency", s.Concurrency, maxConcurrency}, {"queue", s.Queue, maxQueue}} {
		if number.value < 1 || number.value > number.most {
			faults.Add(n.Get(number.name), "%s: expected 1 to %d; found %d", number.name, number.most, number.value)
		}
	}
	if s.Cookie != "" && !IsToken(s.Cookie) {
		faults.Add(n.Get("cookie"), "cookie: expected the name of a cookie (a token of RFC 9110); found %q", s.Cookie)
	}
	if s.Cookie != "" && slices.Contains(withoutCookie, s.Kind) {
		faults.Add(n.Get("cookie"), "cookie: a source of kind %s accepts no cookies; remove the field", s.Kind)
	}
	if s.Timeout <= 0 {
		faults.Add(n.Get("timeout"), "timeout: expected more than 0; found %s", s.Timeout)
	}
}

// IsToken reports whether text is a token of HTTP (RFC 9110, section 5.6.2), which
// the names of header fields and cookies are. No request has a header field or cookie
// with another name, so a setting with one would silently have no effect.
func IsToken(text string) bool { return (&http.Cookie{Name: text}).Valid() == nil }

// Env is what the handler provides to its sources.
type Env struct {
	Log *slog.Logger
	// Connect returns a connection to NATS in the given account; "" is the account of the
	// handler's own connection. The handler closes the connection when it ends, not the source.
	Connect func(account string) (*nats.Conn, error)
	Metrics *metrics.Set // nil: sources record none
	// Cookies is set if the configuration accepts credentials of kind Cookie.
	Cookies bool
	// LookupsOnly is set for a process that only looks sessions up and then ends. Sources
	// serve no pages, and change nothing in a store or at a provider.
	LookupsOnly bool
	// Changed is called when the store has changed or deleted a session. It does not block. It
	// may be nil.
	Changed func(Change)
	// Lost is called when a source may have missed changes, so that all its cached answers
	// may be stale. It does not block. It may be nil.
	Lost func(source string)
}
