package hook

import (
	"fmt"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/policy"
)

// A warning about what a connection's claim says is logged once in noticeEvery for each account, since whoever
// holds an account's key chooses what its claims say and how often they connect. At most maxNotices accounts are
// remembered.
const (
	noticeEvery = time.Minute
	maxNotices  = 1024
)

// notices limits the warnings of one kind.
type notices struct {
	mu   sync.Mutex
	last map[string]time.Time // by account
}

func (n *notices) allow(account string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.last[account]; ok && now.Sub(at) < noticeEvery {
		return false
	}
	if n.last == nil || len(n.last) >= maxNotices {
		n.last = map[string]time.Time{}
	}
	n.last[account] = now
	return true
}

// notice warns of headers that a connection does not get although its claim, or somebody's idea of one, has them.
func (h *Hook) notice(info *natsserver.AttachInfo, grant *policy.Grant) {
	if len(grant.LeftOut) > 0 && h.leftOut.allow(info.Account, time.Now()) {
		info.Server.Warnf("cid:%d - Headers left out, which headers.protected binds to other accounts than %q: %s", info.CID, info.Account, shownNames(grant.LeftOut))
	}
	if len(grant.Lookalikes) > 0 && h.lookalikes.allow(info.Account, time.Now()) {
		info.Server.Warnf("cid:%d - User JWT in account %q has keys that are not read and seem meant for headers or header_permissions: %s", info.CID, info.Account, strings.Join(grant.Lookalikes, ", "))
	}
	if len(grant.AccountLookalikes) > 0 && h.accountLookalikes.allow(info.Account, time.Now()) {
		info.Server.Warnf("JWT of account %q has keys that are not read and seem meant for headers or header_permissions in the template of a scope: %s", info.Account, strings.Join(grant.AccountLookalikes, ", "))
	}
}

// maxShownNames is how many names a warning shows.
const maxShownNames = 8

// shownNames are names as a warning shows them.
func shownNames(names []string) string {
	shown := make([]string, 0, maxShownNames+1)
	for _, name := range names[:min(len(names), maxShownNames)] {
		shown = append(shown, fmt.Sprintf("%q", name[:min(len(name), maxName)]))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// warn logs what the headers block protects less than it seems to, once for each time that the configuration is
// read. Start and Reloaded call it.
func (h *Hook) warn(s *natsserver.Server, r *policy.Rules) {
	if before := h.warned.Load(); before == r || !h.warned.CompareAndSwap(before, r) {
		return
	}
	for _, text := range r.Warnings() {
		s.Warnf("Headers block: %s", text)
	}
	if accounts := s.RaftAccounts(); len(accounts) > 0 && r.ProtectsOrSeals() {
		s.Warnf("Raft's messages go through the accounts %q (cluster_traffic: owner): a server of this cluster that does not stamp shows them to its clients, sealed values included, and takes forged ones", accounts)
	}
}
