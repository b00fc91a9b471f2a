# shellcheck shell=bash
# Part of scripts/test-clients: builds and runs each suite. scripts/test-clients sets root, cache, known and the versions.
# shellcheck disable=SC2154

isolate=()

# isolation sets isolate, with which each run gets a network of its own, if that is permitted.
isolation() {
	if unshare -n bash -c 'ip link set lo up' 2>/dev/null; then
		isolate=(unshare -n bash -c 'ip link set lo up && exec "$@"' _)
	else
		printf 'note: unshare -n is not permitted here, so the suites use the ports of this machine\n'
	fi
}

# module NAME VERSION copies that module into the cache, where files can be added to it.
module() {
	local dir="$cache/${1##*/}" source
	[[ ! -f $dir/.version || $(<"$dir/.version") != "$2" ]] || return 0
	rm -rf "$dir"
	source=$(cd "$root" && GOWORK=off GOFLAGS=-mod=mod go mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	cp -R "$source" "$dir"
	chmod -R u+w "$dir"
	printf '%s\n' "$2" >"$dir/.version"
}

# nats_go_suite PACKAGE NAME TREE builds the test binary of that package of nats.go. It is linked with the server of the tree,
# because the servers run in the test process.
nats_go_suite() {
	local package=$1 tree=$3 dir="$cache/nats.go" mod="$3.mod"
	local -a overlay=()
	module github.com/nats-io/nats.go "$nats_go"
	rm -f "$dir/$package/stamp_test.go"
	(
		cd "$dir"
		export GOWORK=off GOFLAGS=-mod=mod
		cp go_test.mod "$mod"
		cp go_test.sum "${mod%.mod}.sum"
		if [[ $tree == stock ]]; then
			go mod edit -replace "github.com/nats-io/nats-server/v2=$root/stock" "$mod"
		else
			go mod edit -replace "github.com/nats-io/nats-server/v2=$root/upstream" -require stamp@v0.0.0 -replace "stamp=$root" \
				-replace "$(awk '$1 == "module" { print $2 }' "$root/claim/go.mod")=$root/claim" \
				-replace "$(awk '$1 == "module" { print $2 }' "$root/receivers/go/go.mod")=$root/receivers/go" "$mod"
			torture_install "$(awk '/^package / { print $2; exit }' "$package"/*_test.go)" "$tree" >"$package/stamp_test.go"
			mkdir -p "$cache/overlay"
			printf '{"Replace": {%s}}\n' "$(torture_overlay "$root/upstream" "$cache/overlay" | sed 's/,$//')" >"$cache/overlay.json"
			overlay=(-overlay "$cache/overlay.json")
		fi
		go mod tidy -modfile="$mod"
		go test -c -modfile="$mod" "${overlay[@]+"${overlay[@]}"}" -vet=off -tags=internal_testing -o "$cache/$2-$tree.test" "./$package"
	)
	printf '%s\n' "$dir/$package" >"$cache/$2-$tree.dir"
}

suite_core() { nats_go_suite test core "$1"; }
suite_jetstream() { nats_go_suite jetstream/test jetstream "$1"; }
suite_micro() { nats_go_suite micro/test micro "$1"; }

# suite_paho builds the tests of the client, its unit tests too.
suite_paho() {
	module github.com/eclipse/paho.mqtt.golang "$paho"
	(cd "$cache/paho.mqtt.golang" && GOWORK=off GOFLAGS=-mod=mod go test -c -vet=off -o "$cache/paho-$1.test" .)
	printf '%s\n' "$cache/paho.mqtt.golang" >"$cache/paho-$1.dir"
	server_of "$1"
}

suite_spec() {
	(cd "$root/test/clients" && GOWORK=off go test -c -o "$cache/spec-$1.test" .)
	printf '%s\n' "$root/test/clients" >"$cache/spec-$1.dir"
	server_of "$1"
}

suite_js() {
	(cd "$root/test/js" && npm ci --no-audit --no-fund --loglevel=error)
	server_of "$1"
}

# server_of TREE builds the server and copies its configuration, for suites whose servers do not run in the test process.
server_of() {
	if [[ $1 == stock ]]; then
		(cd "$root/stock" && CGO_ENABLED=0 GOWORK=off go build -o "$cache/nats-server-stock" .)
	else
		"$root/scripts/build"
		ln -sf "$root/bin/nats-server" "$cache/nats-server-$1"
	fi
	cp "$root/test/clients/$1.conf" "$cache/$1.conf"
}

# run_suite SUITE TREE PATTERN runs the tests of the suite that match the pattern. Lines about results in its output are marked
# as for test2json.
run_suite() {
	local suite=$1 tree=$2 pattern=$3 dir="$cache/$1-$2.tmp" never
	never=$(awk -v suite="$suite" -v tree="$tree" '$1 == suite && ($3 == "never" || $3 == "never-torture" && tree != "stock") { print "^" $2 "$" }' "$known" | sed 's|/|$/^|g' | paste -sd '|' -)
	local -a run=("$cache/$suite-$tree.test" -test.v=test2json -test.timeout 20m -test.run "$pattern" -test.skip "$never")
	rm -rf "$dir"
	mkdir -p "$dir"
	[[ $suite != js ]] || run=(node --experimental-websocket "$root/test/js/suite.mjs" "$pattern")
	case $suite in
	spec | paho | js) run=(bash "$root/scripts/lib/with-server.sh" "$cache/nats-server-$tree" "$cache/$tree.conf" "$dir" "${run[@]}") ;;
	esac
	(
		[[ $suite == js ]] || cd "$(<"$cache/$suite-$tree.dir")"
		TMPDIR="$dir" exec "${isolate[@]+"${isolate[@]}"}" "${run[@]}"
	)
	rm -rf "$dir"
}
