# shellcheck shell=bash
# For scripts/release and scripts/verify-release: how the repository differs from its commit. Wants root from there.
# shellcheck disable=SC2154

# changes: prints nothing if what is built is the commit and nothing else. Settings of the user must not hide a file that the
# go command compiles: status.showUntrackedFiles, an ignore file outside of the repository, or a bit of the index.
changes() {
	git -C "$root" status --porcelain --untracked-files=no || return
	git -C "$root" ls-files --others --exclude-per-directory=.gitignore | sed 's/^/?? /' || return
	git -C "$root" ls-files -v | sed -n 's/^[a-zS] \(.*\)/\1 (git was told to assume that it has not changed)/p' || return
}
