package redis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
)

// decode decodes a credential that is encoded as Config.Decode says.
func decode(encoding, credential string) (id string, ok bool) {
	switch encoding {
	case "percent":
		id, err := url.PathUnescape(credential) // as decodeURIComponent, which does not turn + into a space
		return id, err == nil
	case "base64":
		id, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(credential, "="))
		return string(id), err == nil
	}
	return credential, true
}

// unsign verifies the signature of a credential and returns the ID in it. The
// credential has the form of the package cookie-signature, s:ID.HMAC, where HMAC is the
// HMAC-SHA256 of ID in base64 without padding. Fastify leaves out "s:".
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
		// All keys are tried, so that the time taken does not reveal which one fits.
		ok = hmac.Equal([]byte(want), []byte(signed[dot+1:])) || ok
	}
	return id, ok
}
