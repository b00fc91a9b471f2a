// Package redact removes what a reader may not see from places other than a
// delivered header block: sealed headers from the answers of JetStream's API
// that hold a stored message (stored.go), and header values from the lines of
// the server's protocol trace (trace.go).
//
// A header block in such an answer is base64 in JSON, so package stamp, which
// works on header blocks alone, cannot find it. For example, with Session sealed
//
//	{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"a","hdrs":"TkFU...","data":"..."}}
//
// comes out with the line of Session cut from the block in hdrs.
package redact
