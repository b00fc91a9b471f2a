# shellcheck shell=bash
# For scripts/build --release: the patched server as a version of its module. Wants root and pinned
# from there.
# shellcheck disable=SC2154

# module_version LINE: the version of nats-server that the build information of a released binary names. It sorts
# above the pinned version and below the next one, so scanners report what is not fixed in the
# pinned version, and nothing that is. Its end is made of the tree's files: the go command keeps what a version
# holds for ever, so a tree that somebody has edited must not have the version of the series.
module_version() {
	local pin=$1 version major patch sum
	version=$(pinned "$pin" version)
	major=${version%.*} patch=${version##*.}
	sum=$(cd "$root/upstream${pin:+-$pin}" && find . -name .git -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 cksum | cksum)
	printf '%s.%d-0.%s.%x' "$major" "$((patch + 1))" "$(pinned "$pin" release)" "${sum%% *}"
}

# as_module LINE: lets the go commands that follow take the tree of that line as that version, from a module proxy
# in a folder. select_line comes before it.
as_module() {
	local dir="$root/.cache/module${1:+-$1}" module version tree
	module=$(pinned "$1" module) version=$(module_version "$1") tree="$root/upstream${1:+-$1}"
	if [[ ! -e $dir/$version ]]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		(cd "$root" && GOOS='' GOARCH='' GOFLAGS="$plain_flags" go run ./scripts/internal/moduleproxy "$module" "$version" "$tree" "$dir/proxy")
		touch "$dir/$version"
	fi
	# Each time, since go.mod changes without the series.
	cp "$root/go.mod" "$root/go.sum" "$dir"
	(cd "$root" && GOFLAGS='' GOWORK=off go mod edit -require "$module@$(pinned "$1" version)" \
		-replace "$module=$module@$version" "$dir/go.mod")
	GOPROXY="file://$dir/proxy,$(go env GOPROXY)" GONOSUMDB="$module,$(go env GONOSUMDB)"
	export GOPROXY GONOSUMDB GOFLAGS="$plain_flags -mod=mod '-modfile=$dir/go.mod'"
}
