# shellcheck shell=bash
# Part of scripts/upstream: the series of patches, from files to commits and back.
# shellcheck disable=SC2154

# am DIR ARG...: git am as every machine does it; its words go to am.log.
am() {
	local dir=$1
	shift
	g "$dir" am -q --keep-cr --committer-date-is-author-date "$@" >"$work/am.log" 2>&1
}

apply_series() {
	local dir=$1 file
	local -a files=()
	while IFS= read -r file; do files+=("$file"); done < <(series)
	((${#files[@]})) || return 0
	am "$dir" "${files[@]}" || series_failed "$dir" "${files[@]}"
}

# am_conflicts DIR: the files that the stopped patch does not fit, one a line.
am_conflicts() {
	{
		sed -n 's/^error: patch failed: \(.*\):[0-9]*$/\1/p; s/^error: \(.*\): patch does not apply$/\1/p
			s/^error: \(.*\): does not exist in index$/\1/p; s/^error: \(.*\): already exists in index$/\1/p' "$work/am.log"
		g "$1" diff --name-only --diff-filter=U
	} | sort -u
}

# series_failed DIR FILE...: names the patch, and leaves the tree where a person
# can finish it. What the tree of before holds is copied in, since git can merge
# with three sides only where it has the blobs that the patch was made from.
series_failed() {
	local dir=$1 next patch files left=$name.failed
	shift
	next=$(<"$dir/.git/rebase-apply/next")
	patch=${!next}
	files=$(am_conflicts "$dir" | paste -sd ' ' -)
	cat "$work/am.log" >&2
	[[ ! -e $failed ]] || die "${patch##*/} does not apply to ${files:-the tree}; ./$name is as it was" \
		"$left is of an earlier attempt and was left alone; finish it, or remove it to have a new one"
	g "$dir" am --abort
	borrow_objects "$dir"
	if am "$dir" -3 "$@"; then
		mv "$dir" "$failed"
		die "${patch##*/} applies to ${files:-the tree} by a three-way merge alone; ./$name is as it was" \
			"look at $left, then take it with scripts/upstream adopt"
	fi
	files=$(am_conflicts "$dir" | paste -sd ' ' -)
	next=$(<"$dir/.git/rebase-apply/next")
	mv "$dir" "$failed"
	die "${!next##*/} does not apply to ${files:-the tree}; ./$name is as it was" \
		"the half applied tree is in $left: resolve there, git add, git am --continue, then scripts/upstream adopt"
}

# write_series DIR OUT: one patch file a commit. Every option that a setting or
# a git version could choose otherwise is given, so that the bytes are the same.
write_series() {
	mkdir -p "$2"
	g "$1" format-patch -q -o "$2" --zero-commit --full-index --no-signature --no-stat --no-numbered \
		--subject-prefix=PATCH --filename-max-length=64 --no-attach --no-thread --no-cover-letter --no-notes \
		--no-renames --no-color --no-ext-diff --no-textconv --diff-algorithm=myers --unified=3 \
		--src-prefix=a/ --dst-prefix=b/ base..HEAD
}

# wants_tree DIR NAME: DIR is a tree of this script, of the pinned base, with all work committed.
wants_tree() {
	local dir=$1 name=$2 base="$work/base" changed
	[[ -d $dir/.git ]] || die "there is no $name" "scripts/upstream$line_option makes it"
	[[ ! -d $dir/.git/rebase-apply && ! -d $dir/.git/rebase-merge ]] ||
		die "a rebase or git am is going on in $name" "finish it there, or git am --abort, git rebase --abort"
	changed=$(g "$dir" status --porcelain --untracked-files=all)
	[[ -z $changed ]] || die "$name has work that is not committed: $(head -n 5 <<<"$changed" | paste -sd ';' -)" \
		"commit it in $name first"
	changed=$(g "$dir" status --porcelain --untracked-files=all --ignored | grep '^!!' | grep -vE "$generated" | head -n 5 || true)
	[[ -z $changed ]] || printf 'upstream: note: ignored by git, so in no patch: %s\n' "$(paste -sd ';' - <<<"$changed")" >&2
	g "$dir" merge-base --is-ancestor base HEAD || die "the commits of $name do not begin at its tag base"
	rm -rf "$base"
	mkdir "$base"
	GIT_INDEX_FILE="$work/base.index" g "$dir" read-tree base
	GIT_INDEX_FILE="$work/base.index" g "$dir" checkout-index -a --prefix="$base/"
	changed=$(h1 "$base" "$pin_module@$pin_version")
	[[ $changed == "$pin_sum" ]] ||
		die "the base commit of $name has the sum $changed, but $pin_name pins $pin_sum"
}

# round_trip DIR SERIES: a series is good when git am makes the same files of
# it, and it comes out the same again. A merge, an empty commit or a message
# with a line of three dashes would be lost on the way.
round_trip() {
	local dir=$1 new=$2 back="$work/round"
	local -a files=("$new"/*.patch)
	[[ -e ${files[0]} ]] || files=()
	git init -q --template= "$back"
	mkdir -p "$back/.git/info" "$back/.git/objects/info"
	cp "$dir/.git/info/attributes" "$back/.git/info/attributes"
	printf '%s\n' "$dir/.git/objects" >"$back/.git/objects/info/alternates"
	g "$back" reset -q --hard "$(g "$dir" rev-parse base^{commit})"
	g "$back" tag base
	((${#files[@]} == 0)) || am "$back" "${files[@]}" || {
		cat "$work/am.log" >&2
		die "the commits do not survive export: git am refuses them" "no merges, no empty commits"
	}
	[[ $(g "$back" rev-parse 'HEAD^{tree}') == "$(g "$dir" rev-parse 'HEAD^{tree}')" ]] ||
		die "the commits do not survive export: applied again they give other files" "no merges in the series"
	write_series "$back" "$new.again"
	diff -r "$new" "$new.again" >&2 || die "the commits do not survive export: written again they differ" \
		"a commit message must not hold a line of three dashes, or lines that look like a diff or a mail header"
}

# export_from DIR NAME: patches/ becomes the commits of DIR.
export_from() {
	local dir=$1 new="$work/series" file unsquashed
	wants_tree "$dir" "$2"
	unsquashed=$(g "$dir" log --format=%s base..HEAD | grep -E -m 1 '^(fixup|squash|amend)! ' || true)
	[[ -z $unsquashed ]] || die "a commit is not squashed yet: $unsquashed" "in $2: git rebase -i --autosquash base"
	write_series "$dir" "$new"
	round_trip "$dir" "$new"
	while IFS= read -r file; do
		[[ -e $new/${file##*/} ]] || rm "$file"
	done < <(series)
	for file in "$new"/*.patch; do
		[[ ! -e $file ]] || cmp -s "$file" "$patches/${file##*/}" || cp "$file" "$patches/"
	done
	rm -rf "$dir/command"
	make_command "$dir"
	record "$dir"
}

cmd_export() {
	begin
	if [[ -z $line ]]; then export_from "$tree" "./$name"; else export_line "$tree" "./$name"; fi
}

# adopt: a tree that failed and was finished by hand becomes the tree.
cmd_adopt() {
	local lost
	begin
	lost=$(local_work)
	[[ -z $lost || -n $1 ]] || die "./$name holds work that is not in patches/: ${lost//$'\n'/; }" \
		"scripts/upstream$line_option adopt --force throws it away"
	[[ -z $line ]] || continue_line
	if [[ -z $line ]]; then export_from "$failed" "$name.failed"; else export_line "$failed" "$name.failed"; fi
	replace "$failed"
}

# compare_files OLD NEW PATTERN: prints how the files of that pattern differ; fails when they do.
compare_files() {
	local file bad=0
	while IFS= read -r file; do
		diff -u "$1/$file" "$2/$file" >"$work/diff" 2>&1 && continue
		bad=1
		printf 'upstream: %s/%s is not what ./%s gives:\n' "${1#"$root"/}" "$file" "$name" >&2
		head -n 20 "$work/diff" >&2
	done < <(find "$1" "$2" -maxdepth 1 -name "$3" | sed 's|.*/||' | sort -u)
	((!bad))
}

cmd_check() {
	begin
	wants_tree "$tree" "./$name"
	if [[ -z $line ]]; then
		write_series "$tree" "$work/series"
		compare_files "$patches" "$work/series" '[0-9][0-9][0-9][0-9]-*.patch' ||
			die "patches/ and the commits of ./$name differ" \
				"scripts/upstream export takes the commits; scripts/upstream make --force takes patches/"
	else
		write_fixups "$tree" "$work/fixups"
		compare_files "$fixups" "$work/fixups" '*.diff' ||
			die "${fixups#"$root"/} and the commits of ./$name differ" \
				"scripts/upstream$line_option export takes the commits; scripts/upstream$line_option make --force takes patches/"
	fi
	current || die "./$name was not made of this $pin_name" "scripts/upstream$line_option"
	check_places
}
