# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# How install.sh tells what it does: a line for each step with its time, everything else in the log.

log=/dev/null
at_failure="Run install.sh again to go on from here."

# say WORDS [COMMAND]...; fail WORDS [COMMAND]...: a command to be copied stands on a line of its own.
say() { tell '• ' '  ' "$@"; }
fail() { tell '✗ ' '  ' "$@" >&2; exit 1; }

# tell BEGIN BLANKS WORDS [COMMAND]...: on a terminal words go on in the next line before column 80, after as many blanks
# as BEGIN is wide. A file or a pipe gets them whole, and commands are cut nowhere.
tell() {
    if [ -t 1 ]; then wrap "$1" "$2" "$3"; else printf '%s%s\n' "$1" "$3"; fi
    [ $# -eq 3 ] || printf '    %s\n' "${@:4}"
}

wrap() {
    local line='' word words
    printf '%s' "$1"
    read -r -d '' -a words <<<"$3" || true
    for word in "${words[@]}"; do
        if [ -n "$line" ] && [ $((${#2} + ${#line} + 1 + ${#word})) -gt 80 ]; then
            printf '%s\n%s' "$line" "$2"
            line=
        fi
        line+=${line:+ }$word
    done
    printf '%s\n' "$line"
}

# step WORDS DONE DO ARGUMENT...: do it unless it is done. Both are functions; what DO says goes to the log.
step() {
    local words=$1 is_done=$2 action=$3 began=$EPOCHREALTIME
    if "$is_done" >>"$log" 2>&1; then
        printf '✓ %-52s there\n' "$words" | tee -a "$log"
        return
    fi
    [ ! -t 1 ] || printf '  %s …\r' "$words"
    local said=$(($(stat -c %s "$log") + 1))
    # In a shell of its own, and not as a condition: there `set -e` would not count.
    set +e
    (set -e; "$action" "${@:4}") >>"$log" 2>&1
    local code=$?
    set -e
    if [ "$code" -ne 0 ]; then
        tail -c "+$said" "$log" | tail -n 15 >&2
        fail "$words: failed after $(seconds_since "$began") s. Everything it said: $log. $at_failure"
    fi
    printf '✓ %-52s %s s\n' "$words" "$(seconds_since "$began")" | tee -a "$log"
}

never_done() { return 1; }

seconds_since() {
    local microseconds=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
    printf '%d.%d' $((microseconds / 1000000)) $((microseconds / 100000 % 10))
}

# write_whole FILE MODE: what is read becomes the file, at once or not at all. Only one install.sh is at work, so what a
# killed one left by the same name is written over.
write_whole() {
    (umask 077 && cat >"$1.new") && [ -s "$1.new" ] && chmod "$2" "$1.new" && sync "$1.new" && mv -f "$1.new" "$1"
}

random_hex() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# setting NAME: its value in /opt/ikoma/.env, or nothing.
setting() { { sed -n "s/^$1=//p" "$home/.env" 2>/dev/null || true; } | tail -n 1; }

# wanted NAME DEFAULT: what --set says, else the file, else the default.
wanted() {
    local words value
    value=$(setting "$1")
    for words in "${given[@]}"; do [ "${words%%=*}" != "$1" ] || value=${words#*=}; done
    printf '%s' "${value:-$2}"
}

# put_setting NAME VALUE: have this line in /opt/ikoma/.env, in place of those that set the name.
put_setting() {
    { sed "/^$1=/d" "$home/.env" 2>/dev/null || true; printf '%s=%s\n' "$1" "$2"; } | write_whole "$home/.env" 600
}

# keep_setting NAME VALUE: have one, this unless there is one.
keep_setting() { [ -n "$(setting "$1")" ] || put_setting "$1" "$2"; }
