package stamp

// KeptCiphers returns for how many salts the ciphers are kept.
func KeptCiphers(t *Trust) int { return len(t.ciphers.new) + len(t.ciphers.old) }
