package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stamp/internal/callout/session/internal/openid"

	"stamp/internal/callout/session/internal/webserver"
)

// Parameters of /login.
const (
	toName    = "to"
	againName = "again" // see startOver
	lastName  = "last"  // see startOver
)

// login serves /login: it starts a login.
func (s *source) login(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := q.Get(toName)
	if to == "" {
		to = s.cfg.AfterLogin
	}
	if !isLocalPath(to) {
		webserver.Fail(w, http.StatusBadRequest, "to: must be a path of this site")
		return
	}
	if !q.Has(againName) && !q.Has(lastName) {
		s.begin(w, r, began{To: to})
		return
	}
	switch e, _, ok := s.found(w, r); {
	case !ok:
	case e != nil:
		leadTo(w, to)
	case q.Has(lastName):
		s.refuse(w, errBegunAnew)
	default:
		s.begin(w, r, began{To: to, Again: true})
	}
}

// begin sends the browser to the provider.
func (s *source) begin(w http.ResponseWriter, r *http.Request, l began) {
	browser := s.browserSecret(r)
	if browser == "" {
		browser = newSecret()
	}
	l.Old, _ = s.current(r)
	l.ID, l.Browser, l.Expires = newSecret(), hashed(browser), time.Now().Add(loginTime).Unix()
	state, err := s.cfg.own.sealState(l)
	if err != nil {
		s.broken(w, "login", err)
		return
	}
	at, err := s.authorizationURL(r.Context(), l.Browser, pending{State: state, Nonce: l.derived(browser, forNonce), Verifier: l.derived(browser, forVerifier)})
	if err != nil {
		s.away(w, err)
		return
	}
	http.SetCookie(w, s.cookie(s.cfg.loginCookie(), browser, loginTime, http.SameSiteLaxMode))
	http.Redirect(w, r, at, http.StatusSeeOther)
}

// errBegunAnew is logged if a login failed, was started once more, and failed again, with
// same_site: strict.
const errBegunAnew = "a login that was begun anew could not be ended either: it was begun in another browser, without cookies, or too long ago, or its code was used already"

// refuse answers a login that failed. The reason is logged, but the visitor does not see it.
func (s *source) refuse(w http.ResponseWriter, reason string) {
	s.metrics.failures.Inc()
	s.logged.Warn("login", "login refused", "source", s.cfg.Name, "reason", reason)
	failLogin(w, http.StatusBadRequest, "The login did not succeed.")
}

// callback serves /callback, where the provider sends the browser: it completes a login.
func (s *source) callback(w http.ResponseWriter, r *http.Request) {
	answer, ok := s.providerAnswer(r)
	if !ok {
		s.refuse(w, "no answer of a provider was posted, or it was too long ago")
		return
	}
	l, ok := s.cfg.own.openState(answer.State)
	if !ok {
		s.refuse(w, "no login of ours was begun with that state")
		return
	}
	browser := s.browserSecret(r)
	if !l.in(browser) {
		s.startOver(w, r, l, "the login was begun in another browser, without cookies, or too long ago")
		return
	}
	switch {
	case answer.Issuer != "" && !s.cfg.isIssuer(answer.Issuer):
		s.refuse(w, "the answer is of another provider: its iss is not the issuer of the configuration")
		return
	case answer.Error != "":
		s.refuse(w, "the provider answers "+authorizationError(answer.Error))
		return
	case answer.Code == "":
		s.refuse(w, "the provider answers without a code")
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), callbackTime)
	defer cancel()
	tokens, err := s.exchange(ctx, l.Browser, answer.Code, l.derived(browser, forVerifier))
	switch {
	case isAway(err):
		s.away(w, err)
		return
	case isUsed(err):
		s.startOver(w, r, l, "code: "+err.Error()+"; it may have been used already")
		return
	case err != nil:
		s.refuse(w, "code: "+err.Error())
		return
	}
	e, err := s.newEntry(ctx, tokens, l, l.derived(browser, forNonce))
	if isAway(err) {
		s.away(w, err)
		return
	}
	if err != nil {
		s.refuse(w, err.Error())
		return
	}
	s.enter(w, r.WithContext(ctx), l, e, began)
}

// errLoggedOut is logged if the provider ended a session while its login was under way.
const errLoggedOut = "the provider has ended the session while the login was under way"

// enter stores the session of a successful login and sends the browser to its page. asked is when
// the provider was asked for the tokens.
func (s *source) enter(w http.ResponseWriter, r *http.Request, l began, e *entry, asked time.Time) {
	ctx := r.Context()
	store, err := s.opened(ctx)
	if err != nil {
		s.broken(w, "callback", err)
		return
	}
	// A session that the browser already has is ended: somebody else may have set its cookie
	// (session fixation).
	for _, old := range s.before(r, l) {
		if err := store.end(ctx, old); err != nil {
			s.broken(w, "callback", err)
			return
		}
	}
	cookie, err := store.create(ctx, e)
	if err != nil {
		s.broken(w, "callback", err)
		return
	}
	ended, err := store.hasEnded(ctx, e, asked)
	if ended || err != nil {
		err = errors.Join(err, store.end(ctx, hashed(cookie)))
	}
	switch {
	case err != nil:
		s.broken(w, "callback", err)
		return
	case ended:
		s.refuse(w, errLoggedOut)
		return
	}
	s.metrics.logins.Inc()
	http.SetCookie(w, s.sessionCookie(cookie, s.cfg.Lifetime))
	// Without this cookie, a callback that is loaded again, and those of other tabs, lead to their
	// pages. So the provider never sees the same code twice, for which it would have to revoke the
	// tokens (RFC 6749, section 4.1.2).
	http.SetCookie(w, forget(s.cookie(s.cfg.loginCookie(), "", 0, http.SameSiteLaxMode)))
	leadTo(w, l.To)
}

// before returns the keys of the sessions that the browser had when it started the login, and that
// it has now.
func (s *source) before(r *http.Request, l began) (keys []string) {
	if l.Old != "" {
		keys = append(keys, l.Old)
	}
	if now, ok := s.current(r); ok && now != l.Old {
		keys = append(keys, now)
	}
	return keys
}

// startOver is for a login of ours that cannot be completed any more. If the browser has a session,
// it is sent to its page. Otherwise it starts a new login, once: a browser without cookies would go
// in circles. A strict cookie does not come with a callback. Then the page /login, which the
// browser loads next, finds out whether there is a session.
func (s *source) startOver(w http.ResponseWriter, r *http.Request, l began, reason string) {
	e, _, ok := s.found(w, r)
	strict := s.cfg.SameSite == sameSiteStrict
	switch {
	case !ok:
		return
	case e != nil:
		leadTo(w, l.To)
		return
	case l.Again && !strict:
		s.refuse(w, reason)
		return
	}
	s.logged.Debug("login anew", "login cannot be ended; the browser is led to its page, or begins one anew, once", "source", s.cfg.Name, "reason", reason)
	switch {
	case !strict:
		s.begin(w, r, began{To: l.To, Again: true})
	case l.Again:
		leadOn(w, loginAgain(lastName, l.To))
	default:
		leadOn(w, loginAgain(againName, l.To))
	}
}

// loginAgain returns the address of /login for a path. The parameter says what happens there if the
// browser has no session.
func loginAgain(name, to string) string {
	return "login?" + url.Values{toName: {to}, name: {""}}.Encode()
}

// leadTo redirects the browser to a path of this site. http.Redirect is not used, because it
// changes paths with two slashes or a dot.
func leadTo(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// leadOn makes the browser load another page of ours. A strict cookie comes with that request,
// because it starts from a page of ours. It would not come with a redirect, because another site
// started that.
func leadOn(w http.ResponseWriter, to string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	to = html.EscapeString(to)
	_, _ = fmt.Fprintf(w, "<!doctype html><meta charset=utf-8><title>Login</title><meta http-equiv=refresh content=\"0;url=%s\"><p><a href=\"%s\">Continue</a>\n", to, to)
}

// providerAnswer is the provider's answer to the authorization request (RFC 6749, section 4.1.2).
type providerAnswer struct {
	Code    string `json:"code,omitempty"`
	State   string `json:"state,omitempty"`
	Error   string `json:"error,omitempty"`
	Issuer  string `json:"iss,omitempty"` // RFC 9207; many providers leave it out
	Expires int64  `json:"expires"`       // of a posted answer, in Unix seconds
}

func answerFrom(values url.Values) providerAnswer {
	return providerAnswer{Code: values.Get("code"), State: values.Get("state"), Error: values.Get("error"), Issuer: strings.Join(values["iss"], " ")}
}

// tenantID is the placeholder for the tenant in the issuer of a provider that has many tenants.
const tenantID = "{tenantid}"

// isIssuer reports whether the iss of an answer is the provider's (RFC 9207, section 2.4). If the
// provider has many tenants, it may be any of them; the ID token says which one it is.
func (c *Config) isIssuer(iss string) bool {
	before, after, many := strings.Cut(c.Issuer, tenantID)
	if !many {
		return iss == c.Issuer
	}
	return len(iss) > len(before)+len(after) && strings.HasPrefix(iss, before) && strings.HasSuffix(iss, after)
}

// formPost is a value of response_mode (OAuth 2.0 Form Post Response Mode).
const formPost = "form_post"

const (
	postedName = "posted" // name of the parameter, and of what is sealed
	postedTime = time.Minute
	maxAnswer  = 5 << 10 // length of code and state together, in bytes; they are sealed into a URL
)

// posted takes an answer that the browser posts for the provider. The browser sends no cookies with
// it, because it comes from another site. So posted redirects the browser to /callback with the
// answer, which is sealed so that no URL contains the code.
func (s *source) posted(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.refuse(w, "what was posted is no form, or too long")
		return
	}
	answer := answerFrom(r.PostForm)
	if len(answer.Code)+len(answer.State)+len(answer.Error)+len(answer.Issuer) > maxAnswer {
		s.refuse(w, "what was posted is too long")
		return
	}
	answer.Expires = time.Now().Add(postedTime).Unix()
	text, err := json.Marshal(answer)
	var value []byte
	if err == nil {
		value, err = s.cfg.own.seal(postedName, text)
	}
	if err != nil {
		s.broken(w, "callback", err)
		return
	}
	to := url.URL{Path: s.cfg.path("/callback"), RawQuery: url.Values{postedName: {base64.RawURLEncoding.EncodeToString(value)}}.Encode()}
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// providerAnswer returns the answer in the URL of a request.
func (s *source) providerAnswer(r *http.Request) (a providerAnswer, ok bool) {
	values := r.URL.Query()
	carried := values.Get(postedName)
	if carried == "" {
		return answerFrom(values), true
	}
	value, err := base64.RawURLEncoding.DecodeString(carried)
	if err != nil {
		return a, false
	}
	text, err := s.cfg.own.open(postedName, value)
	return a, err == nil && json.Unmarshal(text, &a) == nil && time.Now().Unix() < a.Expires
}

// authorizationErrors are the errors that a provider can answer with: RFC 6749, section 4.1.2.1,
// and OpenID Connect Core 1.0, section 3.1.2.6.
var authorizationErrors = []string{
	"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope", "server_error",
	"temporarily_unavailable", "interaction_required", "login_required", "account_selection_required", "consent_required",
	"invalid_request_uri", "invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
}

// authorizationError returns what is logged for the error in the URL of a callback. Anybody can
// make up such a URL, so only known errors are logged as they are.
func authorizationError(code string) string {
	if slices.Contains(authorizationErrors, code) {
		return code
	}
	return "an error that OpenID Connect does not define"
}

// isAway reports whether an error says that the provider does not answer, or not as it should.
func isAway(err error) bool {
	var away *openid.Unavailable
	return errors.Is(err, errNoProvider) || errors.As(err, &away) || errors.Is(err, context.DeadlineExceeded)
}

// isUsed reports whether an error says that the provider does not accept a code, perhaps because it
// has been used (RFC 6749, section 5.2).
func isUsed(err error) bool {
	var refused *openid.Refusal
	return errors.As(err, &refused) && refused.Code == "invalid_grant"
}
