# shellcheck shell=bash
# The licences of others: scripts/release and scripts/image-root source it. They set root.
# shellcheck disable=SC2154

readonly all_targets=(linux/amd64 linux/arm64 linux/arm darwin/amd64 darwin/arm64 windows/amd64 freebsd/amd64)

# notices prints the licences of all modules that the binaries contain.
notices() {
	local module number dir file target
	printf 'The programs nats-server and nats-callout contain these modules of others. Each is followed by its licence.\n'
	# Some modules are used on one system only. The file names the modules of all targets, so that each archive has the same.
	for target in "${all_targets[@]}"; do
		(cd "$root" && GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go list -deps \
			-f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/...)
	done | sort -u | while read -r module number dir; do
		[[ $dir != "$root"/* || $dir == "$root"/upstream ]] || continue # a module of this repository
		printf '\n\n%s %s\n\n' "$module" "$number"
		for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
			[[ ! -f $file ]] || cat "$file"
		done
	done
	printf '\n\n%s, the standard library\n\n' "$(go env GOVERSION)"
	cat "$(go env GOROOT)/LICENSE"
}
