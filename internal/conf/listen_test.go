package conf

import "testing"

func TestIsListenAddress(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:8090": true, ":0": true, "[::1]:443": true, "localhost:http": true,
		"": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:-1": false, "127.0.0.1:99999": false, "127.0.0.1:no-such-service": false,
		"a b:80": false, "{x}:80": false, "http://127.0.0.1:80": false, "ä:80": false, "[fe80::1%lo]:80": true, "app.example:80": true,
	} {
		if IsListenAddress(text) != want {
			t.Errorf("IsListenAddress(%q) = %t, want %t", text, !want, want)
		}
	}
}

func TestListenersConflict(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:http", true},
		{"127.0.0.1:80", "localhost:80", true},
		{"LOCALHOST:80", "localhost:80", true},
		{"127.0.0.1:80", ":80", true},
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"[::]:80", "127.0.0.1:80", true},
		{"[::1]:80", "[0:0::1]:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"a.example:80", "b.example:80", false},
		{":0", ":0", false}, // each gets a port of its own
		{"", ":80", false},
	} {
		if ListenersConflict(c.a, c.b) != c.want || ListenersConflict(c.b, c.a) != c.want {
			t.Errorf("ListenersConflict of %q and %q must be %t, in both orders", c.a, c.b, c.want)
		}
	}
}
