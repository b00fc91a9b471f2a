# shellcheck shell=bash
# Part of scripts/test-upstream and scripts/test-clients: our interceptor in each server that a
# test creates. No release has a way to do that: the files are changed for the test binary alone.

# torture_overlay TREE OUT: writes into the folder OUT a copy of the server.go of the tree TREE that asks
# OverlaidInterceptor, and the file that has that variable. What is printed are the lines that the
# "Replace" of an overlay needs for them, each with a comma at its end.
torture_overlay() {
	local tree=$1 out=$2 literal='interceptors{interceptor: opts.CustomInterceptor}'
	[[ $(grep -cF "$literal" "$tree/server/server.go") == 1 ]] || {
		printf 'torture: expected %s once in server/server.go\nhint: scripts/lib/torture-overlay.sh\n' "$literal" >&2
		return 1
	}
	sed "s/$literal/interceptors{interceptor: overlaid(opts)}/" "$tree/server/server.go" >"$out/server.go"
	cat >"$out/overlaid.go" <<'EOF'
package server

// OverlaidInterceptor makes the interceptor of each server whose options have none.
var OverlaidInterceptor func() Interceptor

func overlaid(o *Options) Interceptor {
	if o.CustomInterceptor == nil && OverlaidInterceptor != nil {
		return OverlaidInterceptor()
	}
	return o.CustomInterceptor
}
EOF
	printf '"%s": "%s", "%s": "%s",\n' "$tree/server/server.go" "$out/server.go" "$tree/server/overlaid.go" "$out/overlaid.go"
}

# torture_install PACKAGE MODE: a test file of that package, which installs the interceptor of the mode.
torture_install() {
	cat <<EOF
package $1

import (
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/test/torture"
)

func init() { natsserver.OverlaidInterceptor = torture.Install("$2") }
EOF
}
