# shellcheck shell=bash
# Part of scripts/upstream: pins another version, and makes or checks that all files that name a version or a release name
# the pinned one. patches/UPSTREAM pins it, and patches/LINE/UPSTREAM for another line.
# shellcheck disable=SC2154

# cmd_pin VERSION writes the version, its sum and the release into the line's UPSTREAM file and into all other files that
# name them. After that the tree is stale.
cmd_pin() {
	local old
	begin
	old=$pin_version
	fetch "$1" "$work/tree"
	[[ -z $line || $fetched_version == "v$line."* ]] ||
		die "expected a version of the line $line, found $fetched_version" "to begin a new line, make a folder for it: docs/patching.md"
	[[ $fetched_version == "$old" ]] || pin_release=stamp.1
	awk -v version="$fetched_version" -v sum="$fetched_sum" -v release="$pin_release" '
		$1 == "version" { print "version " version; next }
		$1 == "sum" { print "sum     " sum; next }
		$1 == "release" { print "release " release; next }
		{ print }' "$pin_file" >"$work/UPSTREAM"
	cp "$work/UPSTREAM" "$pin_file"
	load_pin
	if [[ -z $line && -f $root/go.mod ]]; then
		(cd "$root" && GOWORK=off go mod edit -require "$pin_module@$pin_version" 9>&-)
	fi
	write_places "$(minor_of "$old")"
	printf '%s pins %s %s %s\n' "$pin_name" "$pin_version" "$pin_release" "$pin_sum"
}

minor_of() { # turns v2.15.3 into 2\.15, for a regular expression
	local minor=${1#v}
	minor=${minor%.*}
	printf '%s' "${minor//./\\.}"
}

# text_files prints the files that may name a release, relative to the root. It leaves out files about earlier releases and
# files that test these scripts.
text_files() {
	(cd "$root" && find . \( -name .git -o -name node_modules -o -path ./upstream -o -path './upstream[-.]*' -o -path ./stock \
		-o -path './stock-*' -o -path ./bin -o -path ./dist -o -path ./.cache -o -path ./browser/dist -o -path ./test/upstreamtree \
		-o -path ./patches \) -prune -o -type f ! -name CHANGELOG.md ! -path ./docs/patching.md ! -path ./docs/releases.md \
		! -path ./test/conformance.txt -print | sed 's|^\./||' | sort)
}

# version_files prints the files in which also a version without a release, such as 2.15.3, must be the pinned one.
version_files() {
	local file
	for file in README.md Dockerfile scripts/lib/image-check.sh; do
		[[ ! -f $root/$file ]] || printf '%s\n' "$file"
	done
}

readonly release_form='[0-9]+\.[0-9]+\.[0-9]+[+-]stamp\.[0-9]+'

# write_places OLD replaces the versions of the minor version OLD by the pinned one, in all files that name it.
write_places() {
	local file bare=${pin_version#v}
	local in_release="s/(^|[^0-9.])$1\.[0-9]+([+-])stamp\.[0-9]+/\1$bare\2$pin_release/g"
	local alone="s/(^|[^0-9.])$1\.[0-9]+/\1$bare/g"
	while IFS= read -r file; do
		rewrite "$root/$file" sed -E "$in_release"
	done < <(cd "$root" && text_files | tr '\n' '\0' | xargs -0 grep -lIE -e "$release_form" -- || true)
	while IFS= read -r file; do
		rewrite "$root/$file" sed -E "$alone"
	done < <(version_files)
	[[ -n $line || ! -f $root/CHANGELOG.md ]] || rewrite "$root/CHANGELOG.md" changelog "$1"
	[[ -n $line || ! -f $root/$python_package ]] ||
		rewrite "$root/$python_package" sed -E "s/^version = .*/version = \"$(python_version "$bare" "$pin_release")\"/"
}

# The Python package is the only file that names a release in another form.
readonly python_package=receivers/python/pyproject.toml

# python_version VERSION RELEASE prints VERSION+stamp.N as Python names it: VERSION.postN. With +stamp.N it would be a
# local version (PEP 440), which no index takes.
python_version() {
	printf '%s.post%s' "$1" "${2#stamp.}"
}

# rewrite FILE COMMAND... filters the file through a command. A file that this does not change keeps its time.
rewrite() {
	local file=$1
	shift
	"$@" <"$file" >"$work/rewritten"
	cmp -s "$work/rewritten" "$file" || cat "$work/rewritten" >"$file"
}

# changelog OLD filters CHANGELOG.md: it names the pinned release in the newest section. If that section is of a version that
# was released already, it begins a new section.
changelog() {
	awk -v old="$1" -v bare="${pin_version#v}" -v release="$pin_release" '
		/^## / { sections++ }
		/^## / && sections == 1 && !/\(unreleased\)$/ {
			printf "## %s+%s (unreleased)\n\n### Upstream\n- nats-server v%s.\n\n", bare, release, bare
			sections++
		}
		sections < 2 {
			gsub(old "\\.[0-9]+\\+stamp\\.[0-9]+", bare "+" release)
			gsub("v" old "\\.[0-9]+", "v" bare)
		}
		{ print }'
}

# check_places fails if a file names another version or release than the UPSTREAM files pin.
check_places() {
	local file allowed="$work/releases" wrong="$work/wrong" minor
	: >"$wrong"
	for file in "$patches/UPSTREAM" "$patches"/*/UPSTREAM; do
		[[ ! -f $file ]] || awk '$1 == "version" { v = substr($2, 2) } $1 == "release" { r = $2 } END { print v, r }' "$file"
	done >"$allowed"
	text_files | (cd "$root" && tr '\n' '\0' | xargs -0 grep -noIE -e "$release_form" -- /dev/null || true) |
		awk -v allowed="$allowed" '
			BEGIN { while ((getline < allowed) > 0) { ok[$1 "+" $2]; ok[$1 "-" $2] } }
			{ found = $0; sub(/^[^:]*:[^:]*:/, "", found); if (!(found in ok)) print }' >>"$wrong"
	while read -r file; do
		minor=$(minor_of "${file%% *}")
		version_files | (cd "$root" && xargs grep -noE -e "(^|[^0-9.])v?$minor\.[0-9]+" -- /dev/null || true) |
			grep -vE "[^0-9]${file%% *}\$" >>"$wrong" || true
	done <"$allowed"
	check_go_mod >>"$wrong"
	check_changelog >>"$wrong"
	check_python_package >>"$wrong"
	[[ ! -s $wrong ]] || {
		cat "$wrong" >&2
		die "the lines above do not name what is pinned: $(sed 's/ /+/' "$allowed" | paste -sd ' ' -)" \
			"scripts/upstream$line_option pin $pin_version corrects them"
	}
}

check_go_mod() {
	local version
	version=$(awk '$1 == "version" { print $2 }' "$patches/UPSTREAM")
	[[ ! -f $root/go.mod ]] || grep -n -F "$pin_module v" "$root/go.mod" | grep -vE " $version( |\$)" | sed 's/^/go.mod:/' || true
}

# check_changelog prints the heading of the newest section in CHANGELOG.md if it does not name the pinned release.
check_changelog() {
	local want
	[[ -f $root/CHANGELOG.md ]] || return 0
	want=$(head -n 1 "$work/releases" | sed 's/ /+/')
	grep -n -m 1 '^## ' "$root/CHANGELOG.md" | grep -vF "## $want" | sed 's/^/CHANGELOG.md:/' || true
}

# check_python_package prints the version of the Python package if it is not the pinned release.
check_python_package() {
	local version release want
	[[ -f $root/$python_package ]] || return 0
	read -r version release <"$work/releases"
	want="version = \"$(python_version "$version" "$release")\""
	grep -n '^version' "$root/$python_package" | grep -vxE "[0-9]+:${want//./\\.}" | sed "s|^|$python_package:|" || true
}
