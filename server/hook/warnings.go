package hook

import (
	"fmt"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
)

// Whoever holds an account's key chooses what its claims say, and how often its users connect.
// So each kind of warning about claims is logged at most once in warningInterval for each
// account. At most maxWarnedAccounts accounts are remembered.
const (
	warningInterval   = time.Minute
	maxWarnedAccounts = 1024
)

// warningLimit limits the warnings of one kind.
type warningLimit struct {
	mu     sync.Mutex
	warned map[string]time.Time // time of the last warning, by account
}

// admit returns whether a warning about an account may be logged, and if so, notes the time.
func (l *warningLimit) admit(account string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.warned[account]; ok && now.Sub(at) < warningInterval {
		return false
	}
	if l.warned == nil || len(l.warned) >= maxWarnedAccounts {
		l.warned = map[string]time.Time{}
	}
	l.warned[account] = now
	return true
}

// warnAboutClaim warns of headers that a connection does not get although its claim has them,
// or has a key that looks like a misspelled headers or header_permissions.
func (h *Hook) warnAboutClaim(info *natsserver.AttachInfo, grant *policy.Grant) {
	if len(grant.LeftOut) > 0 && h.leftOut.admit(info.Account, time.Now()) {
		info.Server.Warnf("cid:%d - Headers left out, because headers.protected binds them to other accounts than %q: %s", info.CID, info.Account, shownNames(grant.LeftOut))
	}
	if len(grant.Lookalikes) > 0 && h.lookalikes.admit(info.Account, time.Now()) {
		info.Server.Warnf("cid:%d - User JWT in account %q has unknown keys, which are ignored; headers or header_permissions may be meant: %s", info.CID, info.Account, strings.Join(grant.Lookalikes, ", "))
	}
	if len(grant.AccountLookalikes) > 0 && h.accountLookalikes.admit(info.Account, time.Now()) {
		info.Server.Warnf("JWT of account %q has unknown keys, which are ignored; headers or header_permissions in the template of a scope may be meant: %s", info.Account, strings.Join(grant.AccountLookalikes, ", "))
	}
}

// maxShownNames is how many names a warning shows.
const maxShownNames = 8

// shownNames returns names for a warning: quoted, and shortened to the limits.
func shownNames(names []string) string {
	shown := make([]string, 0, maxShownNames+1)
	for _, name := range names[:min(len(names), maxShownNames)] {
		shown = append(shown, fmt.Sprintf("%q", name[:min(len(name), maxShownName)]))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// warnAboutRules warns if the headers block protects less than it seems to. Start and Reloaded
// call it; each block that was read is warned about once.
func (h *Hook) warnAboutRules(s *natsserver.Server, r *policy.Rules) {
	if before := h.warnedAbout.Load(); before == r || !h.warnedAbout.CompareAndSwap(before, r) {
		return
	}
	for _, text := range r.Warnings() {
		s.Warnf("Headers block: %s", text)
	}
	if accounts := s.RaftAccounts(); len(accounts) > 0 && r.ProtectsOrSeals() {
		s.Warnf("Raft messages are sent in the accounts %q (cluster_traffic: owner): a server of this cluster that does not stamp shows them to its clients, with the values of sealed headers, and accepts forged ones", accounts)
	}
}
