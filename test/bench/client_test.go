package main

import (
	"slices"
	"testing"
)

func TestMessage(t *testing.T) {
	ab := []header{{"A", "b"}}
	for _, tt := range []struct{ got, want string }{
		{string(message(3, ab)), "HPUB bench.subject 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nxxx\r\n"},
		{string(message(3, nil)), "PUB bench.subject 3\r\nxxx\r\n"},
		{string(delivered(3, ab)), "HMSG bench.subject 1 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nxxx\r\n"},
		{string(delivered(3, nil)), "MSG bench.subject 1 3\r\nxxx\r\n"},
		{string(mqttMessage(3, nil)), "\x30\x12\x00\x0dbench/subjectxxx"},
		{string(mqttMessage(200, nil))[:3], "\x30\xd7\x01"},
		{string(mqttDelivered(3, ab)), "HMSG bench.subject 1 31 34\r\nNATS/1.0\r\nNmqtt-Pub:0\r\nA: b\r\n\r\nxxx\r\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("encoded %q, want %q", tt.got, tt.want)
		}
	}
}

func TestChecker(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		ok           bool
	}{
		{"messages", "MSG a\r\nMSG a\r\nMSG", true},
		{"a ping between", "MSG a\r\nPING\r\nMSG a\r\n", true},
		{"another byte", "MSG a\r\nMSG b\r\n", false},
		{"a byte too many", "MSG a\r\n MSG a\r\n", false},
	} {
		for _, piece := range []int{1, 4, 100} {
			k := &checker{message: []byte("MSG a\r\n")}
			ok := true
			for part := range slices.Chunk([]byte(tt.stream), piece) {
				ok = ok && k.next(part) == nil
			}
			if ok != tt.ok {
				t.Errorf("%s, in pieces of %d: ok = %v, want %v", tt.name, piece, ok, tt.ok)
			}
		}
	}
}
