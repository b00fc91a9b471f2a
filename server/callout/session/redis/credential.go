package redis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
)

// decode undoes the encoding of a credential.
func decode(how, credential string) (string, bool) {
	switch how {
	case "percent":
		id, err := url.PathUnescape(credential) // like decodeURIComponent: + is a plus
		return id, err == nil
	case "base64":
		id, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(credential, "="))
		return string(id), err == nil
	}
	return credential, true
}

// unsign checks a signature as cookie-signature makes it, and returns what it is
// of: s:ID.HMAC, where HMAC is HMAC-SHA256 of ID in base64 without padding. Fastify leaves out "s:".
func (s *Signed) unsign(credential string) (string, bool) {
	signed, ok := strings.CutPrefix(credential, s.prefix)
	dot := strings.LastIndexByte(signed, '.')
	if !ok || dot < 0 {
		return "", false
	}
	id, ok := signed[:dot], false
	for _, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id))
		want := base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
		// All keys are tried, so that time does not tell which one it was.
		ok = hmac.Equal([]byte(want), []byte(signed[dot+1:])) || ok
	}
	return id, ok
}
