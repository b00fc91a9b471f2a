package stamp

// KeptCiphers returns for how many salts the ciphers are kept.
func KeptCiphers(t *Trust) int { return len(t.ciphers.new) + len(t.ciphers.old) }

// KeptBytes returns how many bytes a judge keeps for the next message, after it has judged these.
func KeptBytes(t *Trust, messages ...Message) (bytes int) {
	j := new(judge)
	for _, m := range messages {
		j.trust = t
		_, _ = j.identify(m)
		if !j.reset() {
			j = new(judge)
			continue
		}
		j.trust = t
		_, _ = j.forwarded(m)
		if !j.reset() {
			j = new(judge)
		}
	}
	return cap(j.raw) + cap(j.sealed) + cap(j.mac) + cap(j.text) + cap(j.open)
}
