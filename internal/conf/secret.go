package conf

// Secret is a string that is not printed.
type Secret string

// String hides the secret from fmt and slog.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[REDACTED]"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }
