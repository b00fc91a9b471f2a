# shellcheck shell=bash
# For scripts/build --release and scripts/vex: lets go commands use the patched server as a version of its module. The script
# that sources this file sets root, and sources line.sh.
# shellcheck disable=SC2154

# module_version LINE prints the version of nats-server that the build information of a released binary names. It sorts above the
# pinned version and below the next one, so that scanners report exactly the vulnerabilities that are not fixed in the pinned
# version. It ends with a checksum of the tree's files: the go command caches the files of a version for ever, so a tree that
# somebody has edited needs another version.
module_version() {
	local pin=$1 version major patch sum
	version=$(pinned "$pin" version)
	major=${version%.*} patch=${version##*.}
	sum=$(cd "$root/upstream${pin:+-$pin}" && find . -name .git -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 cksum | cksum)
	printf '%s.%d-0.%s.%x' "$major" "$((patch + 1))" "$(pinned "$pin" release)" "${sum%% *}"
}

# as_module LINE makes all later go commands use the tree of that line as that version of the module. They get it from a module
# proxy in a folder. Call select_line first.
as_module() {
	local dir="$root/.cache/module${1:+-$1}" module version tree
	module=$(pinned "$1" module) version=$(module_version "$1") tree="$root/upstream${1:+-$1}"
	if [[ ! -e $dir/$version ]]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		(cd "$root" && GOOS='' GOARCH='' GOFLAGS="$plain_flags" go run ./scripts/internal/moduleproxy "$module" "$version" "$tree" "$dir/proxy")
		touch "$dir/$version"
	fi
	# go.mod and go.sum are copied each time, because they can change while the series stays the same.
	cp "$root/go.mod" "$root/go.sum" "$dir"
	(cd "$root" && GOFLAGS='' GOWORK=off go mod edit -require "$module@$(pinned "$1" version)" \
		-replace "$module=$module@$version" "$dir/go.mod")
	GOPROXY="file://$dir/proxy,$(go env GOPROXY)" GONOSUMDB="$module,$(go env GONOSUMDB)"
	export GOPROXY GONOSUMDB GOFLAGS="$plain_flags -mod=mod '-modfile=$dir/go.mod'"
}
