# shellcheck shell=bash
# Part of scripts/test-upstream and scripts/test-clients: installs our interceptor in each server that a test creates. A release
# has no way to do that, so files of the server are changed, for the test binary only.

# torture_overlay TREE OUT writes two files into the folder OUT: a copy of the tree's server.go that calls OverlaidInterceptor,
# and the file that declares that variable. It prints the entries for both in the object "Replace" of a file for `go build
# -overlay`, with a comma after each.
torture_overlay() {
	local tree=$1 out=$2 literal='interceptors{interceptor: opts.CustomInterceptor}'
	[[ $(grep -cF "$literal" "$tree/server/server.go") == 1 ]] || {
		printf 'torture: expected %s in exactly one line of %s\nhint: upstream or a patch has changed it, so adapt scripts/lib/torture-overlay.sh\n' "$literal" "$tree/server/server.go" >&2
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

# torture_install PACKAGE MODE prints a test file for that package, which installs the interceptor of the mode.
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
