# shellcheck shell=bash disable=SC2154,SC2034 # names that install.sh and its other parts set and use
# From one version to another, as a deploy: the new one is tried beside the old on a copy of the state, then takes its
# place, is watched, and the old one is kept. Whatever fails leads back to the old one.
#
# /opt/ikoma/upgrade.json says how far it is. A killed upgrade is put right by the next install.sh or `ikoma upgrade`:
#   trial                nothing has changed: what the trial left is removed
#   switch, watch, back  the old version is brought back
#   keep                 the new version stays, and what is kept of the old is put in its place
# /opt/ikoma/upgrade holds `from` and `to` (what each flavour starts a version by), and from the switch on the copy of
# state.db. At the end it becomes /opt/ikoma/former, with which --back goes the other way.

readonly journal=$home/upgrade.json work=$home/upgrade former=$home/former state=/var/lib/ikoma/state.db
readonly watch_seconds=${UPGRADE_WATCH_SECONDS:-60}

# upgrade_to NAME: have NAME in place of what is there.
upgrade_to() {
    local from to=$1
    from=$("running_$flavour")
    begin "$from" "$to"
    mark trial
    step "Settings" never_done write_settings
    step "Trial of $to with a copy of the state" never_done "try_$flavour"
    change_over
    upgraded=("$to serves. $from is kept; to return to it:" "ikoma upgrade --back")
}

back_to_former() {
    local from to
    flavour=$(installed)
    make_log
    from=$("running_$flavour")
    [ -e "$former/from" ] || fail "No former version is kept here."
    to=$(name_in "$former/from")
    say "From $from back to $to."
    if [ "$(version_of_state "$former/state.db")" = "$(sql "PRAGMA user_version")" ]; then
        say "Its state has the same form: nothing is lost."
    else
        say "Its state has another form: state.db of $(date -u -r "$former/state.db" '+%F %R') UTC comes back. What was changed since \
then (keys, approvals, schedules' runs, operations) is lost; apps, releases, backups and the audit log stay."
    fi
    confirm "Go back to $to?"
    begin "$from" "$to"
    cp "$former/from" "$work/to"
    [ ! -e "$former/from.service" ] || cp "$former/from.service" "$work/to.service"
    [ "$(version_of_state "$former/state.db")" = "$(sql "PRAGMA user_version")" ] || cp -p "$former/state.db" "$work/to.db"
    change_over
    say "$to serves. $from is kept; to return to it:" "ikoma upgrade --back"
}

# begin FROM TO: a place for what is kept; from now on an end that is no success leads back.
begin() {
    rm -rf "$work"
    install -d -m 0700 "$work"
    "write_from_$flavour"
    [ ! -e "$home/.env" ] || cp -p "$home/.env" "$work/.env"
    [ ${#given[@]} -eq 0 ] || printf '%s\n' "${given[@]%%=*}" >"$work/given"
    trap '' HUP # a connection that breaks ends nothing
    trap 'exit 1' INT TERM
    trap 'ended $?' EXIT
    moves="$1 $2"
    at_failure="The former version comes back."
}

ended() {
    trap - EXIT
    [ "$1" -eq 0 ] || repair
    exit "$1"
}

change_over() {
    mark switch
    step "Switch" never_done switch
    mark watch
    step "Watch for $watch_seconds s" never_done watch
    mark keep
    trap - EXIT
    at_failure="Run install.sh again to go on from here."
    keep_former
}

switch() {
    "stop_$flavour" 120 # calls under way end
    settle_state
    if [ -e "$state" ]; then
        cp --preserve=mode,ownership "$state" "$work/state.copy" # its time is that of the copy
        sync "$work/state.copy"
        mv "$work/state.copy" "$work/state.db"
    fi
    [ ! -e "$work/to.db" ] || put_state "$work/to.db"
    "start_$flavour" "$work/to"
    wait_until_it_serves
}

wait_until_it_serves() {
    local process waited
    process=$("process_$flavour")
    for ((waited = 0; waited < 300; waited++)); do
        ! serves || return 0
        if [ "$("process_$flavour")" != "$process" ]; then
            printf 'It ended: %s\n' "$("own_words_$flavour")"
            return 1
        fi
        sleep 0.2
    done
    printf 'It does not answer: %s\n' "$("own_words_$flavour")"
    return 1
}

# The same process must serve all the time; one answer may be missed, on a machine that is busy.
watch() {
    local process until=$((SECONDS + watch_seconds)) missed=0
    process=$("process_$flavour")
    while [ "$SECONDS" -lt "$until" ] || ! "is_healthy_$flavour"; do
        if [ "$("process_$flavour")" != "$process" ]; then
            printf 'It ended while it was watched: %s\n' "$("own_words_$flavour")"
            return 1
        fi
        if serves; then missed=0; else missed=$((missed + 1)); fi
        if [ "$missed" -gt 2 ] || [ "$SECONDS" -gt $((until + 60)) ]; then
            printf 'It does not answer any more: %s\n' "$("own_words_$flavour")"
            return 1
        fi
        sleep 1
    done
}

keep_former() {
    if [ -d "$work" ]; then
        rm -rf "$former" "$work/trial" "$work"/to "$work"/to.* "$work/given"
        mv "$work" "$former"
    fi
    rm -f "$journal"
    "forget_others_$flavour"
}

repair_killed() {
    local asked=$flavour
    flavour=$(installed)
    make_log
    repair
    flavour=$asked
    [ "$task" != upgrade ] || [ -n "$target$back" ] || exit 0
}

# repair: put right what a failed or killed upgrade left.
repair() {
    local from to
    from=$(noted from) to=$(noted to)
    case $(noted step) in
    '') ;;
    trial)
        "end_trial_$flavour" >>"$log" 2>&1
        take_settings_back
        forget
        say "$to did not get beyond its trial: nothing was changed, $from serves."
        ;;
    keep) keep_former ;;
    *) go_back ;;
    esac
}

go_back() {
    local began=$EPOCHREALTIME from to words
    from=$(noted from) to=$(noted to) moves="$from $to"
    mark back
    words=$(return_to_from 2>>"$log") || fail "$from could not be brought back: ${words:-see $log}. Once that is mended:" "ikoma upgrade"
    forget
    say "$from serves again, after $(seconds_since "$began") s. ${words}What $to said: $log"
}

return_to_from() {
    local lost=
    "stop_$flavour" 5 >>"$log"
    settle_state >>"$log"
    take_settings_back || return
    if [ -e "$work/state.db" ] && [ "$(version_of_state "$work/state.db")" != "$(version_of_state "$state")" ]; then
        lost="Its state.db of $(date -u -r "$work/state.db" '+%R:%S') UTC came back with it: what was changed since then is lost. "
        put_state "$work/state.db" || return
    fi
    "start_$flavour" "$work/from" >>"$log" || return
    wait_until_it_serves || return
    printf '%s' "$lost"
}

# What --set has written goes with the version that it was given for; what others wrote meanwhile, such as a key, stays.
take_settings_back() {
    local others
    [ -s "$work/given" ] && [ -s "$work/.env" ] || return 0
    others=$(sed 's/.*/^&=/' "$work/given")
    if [ "$(grep -v "$others" "$work/.env")" = "$(grep -v "$others" "$home/.env")" ]; then
        write_whole "$home/.env" 600 <"$work/.env"
    else
        { grep -v "$others" "$home/.env"; grep "$others" "$work/.env" || true; } | write_whole "$home/.env" 600
    fi
}

forget() { rm -f "$journal" && rm -rf "$work"; }

# --- The journal ---

mark() {
    printf '{"step": "%s", "from": "%s", "to": "%s", "at": "%s"}\n' "$1" "${moves% *}" "${moves#* }" "$(date -u +%FT%TZ)" |
        write_whole "$journal" 644
}

noted() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$journal" 2>/dev/null || true; }

# --- state.db ---

# sql STATEMENT: run it on state.db, while a server uses it or not, and print what it says.
sql() {
    "python_$flavour" -Sc 'import sqlite3, sys
for row in sqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2]): print(*row)' "$state" "$1"
}

# Once no server uses it: what a killed one left beside it comes into the file.
settle_state() { [ ! -s "$state-wal" ] || sql "PRAGMA wal_checkpoint(TRUNCATE)"; }

# The number of its last migration, from the header of the file.
version_of_state() {
    local bytes
    read -r -a bytes < <(od -An -tu1 -j60 -N4 "$1" 2>/dev/null) || true
    printf '%d' $((${bytes[0]:-0} << 24 | ${bytes[1]:-0} << 16 | ${bytes[2]:-0} << 8 | ${bytes[3]:-0}))
}

put_state() {
    cp -p "$1" "$state.new" && sync "$state.new" && rm -f "$state-wal" "$state-shm" && mv "$state.new" "$state"
}

# --- What stands in the way ---

# Told by the pre-flight: where this would lead, and that it must not lead backwards or over a stop.
check_upgrade() {
    local from to stop why
    from=$("running_$flavour")
    [ -n "$from" ] || return 0
    to=$(name_of_sources)
    [ "$from" != "$to" ] || return 0
    if is_older "${to%-*}" "${from%-*}"; then
        obstacle "${to%-*} is older than ${from%-*}, which is installed." "Return to the former version:" "ikoma upgrade --back"
        return
    fi
    while read -r stop why; do
        case $stop in '' | '#'*) continue ;; esac
        if is_older "${from%-*}" "$stop" && is_older "$stop" "${to%-*}"; then
            obstacle "The way from ${from%-*} to ${to%-*} leads over $stop: $why" "First go there, then take this one:" "ikoma upgrade --to $stop"
        fi
    done <"$root/deploy/install/stops"
    say "$to takes the place of $from; apps go on, IKOMA is away for seconds"
    "tell_what_stays_$flavour"
    check_postgres
}

# is_older A B
is_older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
