# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# The other flavour: /opt/ikoma/versions/VERSION with an environment of its own, /opt/ikoma/current, and the unit.

readonly unit=/etc/systemd/system/ikoma.service

install_embedded() {
    release=$home/versions/$(name_of_sources)
    step "Program, $release" has_program unpack_program
    step "Python environment" never_done make_program_environment
    step "$home/current and the command ikoma" never_done switch_program
    if [ -d /run/systemd/system ]; then
        step "Service" never_done start_service
    else
        say "There is no systemd: start it with $home/current/.venv/bin/ikoma up"
        exit
    fi
}

has_program() { [ -d "$release" ]; }

unpack_program() {
    install -d -m 0755 "$home/versions"
    rm -rf "$release.new"
    install -d -m 0755 "$release.new"
    sources | tar -C "$release.new" --no-same-owner -x
    sync -f "$release.new"
    mv "$release.new" "$release"
}

# It looks itself at what is done.
make_program_environment() { (cd "$release" && 9<&- scripts/setup); }

switch_program() {
    point "$home/current" "$release"
    if [ -e /usr/local/bin/ikoma ] && [ ! -L /usr/local/bin/ikoma ]; then
        printf '/usr/local/bin/ikoma is another ikoma and was left alone.\n'
    else
        point /usr/local/bin/ikoma "$home/current/.venv/bin/ikoma"
    fi
}

# point LINK TARGET: the link leads there from one moment to the next.
point() { ln -sfn "$2" "$1.new" && mv -fT "$1.new" "$1"; }

start_service() {
    write_whole "$unit" 644 <"$root/deploy/ikoma.service"
    systemctl daemon-reload
    systemctl enable ikoma
    systemctl restart ikoma
}

is_well_embedded() { systemctl -q is-active ikoma; }
own_words_embedded() { journalctl -u ikoma -n 10 --no-pager 2>&1; }

running_embedded() { [ ! -L "$home/current" ] || basename "$(readlink "$home/current")"; }
