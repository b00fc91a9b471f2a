package conf

import "testing"

func TestIsListen(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:8090": true, ":0": true, "[::1]:443": true, "localhost:http": true,
		"": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:-1": false, "127.0.0.1:99999": false, "127.0.0.1:no-such-service": false,
	} {
		if IsListen(text) != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
}
