# shellcheck shell=bash disable=SC2154 # names that install.sh sets
# The default flavour: /opt/ikoma/docker-compose.yml.

readonly postgres_image=${POSTGRES_IMAGE:-postgres:18} base_image=${BASE_IMAGE:-python:3.13-slim}
readonly command=/usr/local/bin/ikoma plugin=/usr/local/lib/docker/cli-plugins/docker-compose

install_compose() {
    local name there
    name=$(name_of_sources) there=$(running_compose)
    image=ikoma:$name proxy_image=ikoma-proxy:$(name_of_proxy)
    if [ "$there" = "$name" ] || ! docker inspect ikoma >/dev/null 2>&1; then there=; fi # no upgrade
    [ -n "$there" ] || step "Settings" never_done write_settings
    step "Folders and password of the containers" never_done prepare_containers
    [ ! -e "$root/images.tar.gz" ] || step "Images of the bundle" has_images load_images
    step "PostgreSQL's image, $postgres_image" has_postgres_image pull_postgres_image
    step "IKOMA's image, $image" has_image build_image
    step "The proxy's image, $proxy_image" has_proxy_image name_proxy_image
    step "docker compose" has_compose install_compose_plugin
    if [ -n "$there" ]; then
        upgrade_to "$name"
    else
        step "$home/docker-compose.yml" never_done write_compose_file
        step "Containers" never_done start_containers
    fi
    step "The command ikoma" never_done write_command
    tell_of_others
}

compose() { docker compose -f "$home/docker-compose.yml" "$@" </dev/null; }

prepare_containers() {
    install -d -m 0711 /var/lib/ikoma/proxy
    [ -d /root/.docker ] || install -d -m 0700 /root/.docker
    keep_setting POSTGRES_PASSWORD "$(random_hex)"
    keep_setting POSTGRES_PORT "$(first_free_port 5432)"
}

first_free_port() {
    local port=$1
    while listens_at "$port"; do port=$((port + 1)); done
    printf '%s' "$port"
}

has_postgres_image() { docker image inspect "$postgres_image" >/dev/null; }
pull_postgres_image() { docker pull -q "$postgres_image" </dev/null; }
has_image() { docker image inspect "$image" >/dev/null; }
has_images() { has_postgres_image && has_image; }
load_images() { docker load -q -i "$root/images.tar.gz" && cat "$root/images.txt" 2>/dev/null || true; }
# The proxy goes by a name of its own, so that it goes on serving in an upgrade that does not change it.
has_proxy_image() { docker image inspect "$proxy_image" >/dev/null; }
name_proxy_image() { docker tag "$image" "$proxy_image"; }
build_image() { sources | docker build -q -t "$image" --build-arg BASE="$base_image" -f deploy/Dockerfile -; }
has_compose() { docker compose version; }

# Where the distribution has no Compose of today, that of IKOMA's image serves the machine too.
install_compose_plugin() {
    install -d "${plugin%/*}"
    # shellcheck disable=SC2016 # the shell in the container fills it in
    docker run --rm --network none --entrypoint sh "$image" -c 'cat "$(command -v docker-compose)"' |
        write_whole "$plugin" 755
    has_compose
}

write_compose_file() {
    fill_compose_file | write_whole "$home/docker-compose.yml" 644
    compose config -q
}

fill_compose_file() {
    local postgres volume place
    read -r postgres volume place < <(define_postgres)
    sed -e "s|@IMAGE@|$image|" -e "s|@PROXY_IMAGE@|$proxy_image|" -e "s|@POSTGRES_IMAGE@|$postgres|" \
        -e "s|@POSTGRES_VOLUME@|$volume|" -e "s|@POSTGRES_PLACE@|$place|" \
        -e "s|@MEMORY@|$(container_memory_mb)|" -e "s|@POSTGRES_PORT@|$(setting POSTGRES_PORT)|" \
        -e "s|@LISTEN@|$(listen_addresses)|" -e "s|@SOCKET@|$(socket)|" \
        -e "s|@DOCKER_ROOT@|$(docker info -f '{{.DockerRootDir}}')|g" "$root/deploy/docker-compose.yml"
}

# None of the three may take all of the memory: half of it, and on a small machine 512 MB.
container_memory_mb() {
    local half=$(($(memory_mb) / 2))
    printf '%d' $((half > 512 ? half : 512))
}

# Loopback for IKOMA, the bridge for the containers of apps. An older Docker names a bridge's subnet alone; the first
# address in it is the machine's.
listen_addresses() {
    local bridge
    bridge=$(docker network inspect bridge -f '{{range .IPAM.Config}}{{or .Gateway .Subnet}}{{"\n"}}{{end}}' | grep -m 1 '[.]' || true)
    case $bridge in */*) bridge=${bridge%.*}.1 ;; esac
    printf '127.0.0.1%s' "${bridge:+,$bridge}"
}

start_containers() {
    if [ ${#given[@]} -gt 0 ] || [ -z "$(list_others)" ]; then
        compose up -d --remove-orphans
    else
        compose up -d --no-deps ikoma
    fi || {
        own_words_compose
        return 1
    }
}

# list_others [FILE]: PostgreSQL and the proxy, where they run and this definition has another image or form of them.
# Making them anew interrupts the apps, so it is left to a person, or done with --set.
list_others() {
    local service hash image_of
    docker compose --project-directory "$home" -f "${1:-$home/docker-compose.yml}" config --hash postgres,proxy \
        2>/dev/null </dev/null | while read -r service hash; do
        image_of=$proxy_image
        [ "$service" != postgres ] || image_of=$(define_postgres | cut -d ' ' -f 1)
        hash="true $hash $(id_of "$image_of")"
        case $(docker inspect -f '{{.State.Running}} {{index .Config.Labels "com.docker.compose.config-hash"}} {{.Image}}' \
            "ikoma-$service" 2>/dev/null) in
        '' | false* | "$hash") ;;
        *) printf '%s\n' "$service" ;;
        esac
    done
}

# id_of IMAGE: its id; the one in the bundle, where there is a bundle and Docker's ids are those of images.txt.
id_of() {
    local in_bundle
    in_bundle=$(sed -n "s|^$1 ||p" "$root/images.txt" 2>/dev/null)
    case $(docker info -f '{{.DriverStatus}}') in *io.containerd*) in_bundle= ;; esac
    printf '%s' "${in_bundle:-$(docker image inspect -f '{{.Id}}' "$1" 2>/dev/null)}"
}

tell_of_others() {
    local others
    others=$(list_others | paste -sd ' ')
    [ -z "$others" ] || say "Of another version, and running on: ${others// / and }. To replace them, while apps fail for seconds:" \
        "sudo docker compose -f $home/docker-compose.yml up -d"
    [ -z "$(behind_compose)" ] || say "PostgreSQL stays of its former major version until you say:" "ikoma upgrade --postgres"
}

# What an upgrade to this version leaves to a person, told before it.
tell_what_stays_compose() {
    local image proxy_image others file
    has_compose >/dev/null 2>&1 || return 0
    image=ikoma:$(name_of_sources) proxy_image=ikoma-proxy:$(name_of_proxy)
    file=$(mktemp)
    fill_compose_file >"$file"
    if ! docker compose --project-directory "$home" -f "$file" config -q >/dev/null 2>&1 </dev/null; then
        rm -f "$file"
        return
    fi
    others=$(list_others "$file" | paste -sd ' ')
    rm -f "$file"
    if [ -z "$others" ]; then
        say "Its proxy and its PostgreSQL are those that run"
    else
        say "Another in it: ${others// / and }. What runs goes on; you replace it later, while apps fail for seconds"
    fi
}

readonly containers=(ikoma-postgres ikoma-proxy ikoma)

health_of() { docker inspect -f '{{.State.Health.Status}}' "$1" 2>&1; }

is_well_compose() {
    local container
    for container in "${containers[@]}"; do [ "$(health_of "$container")" = healthy ] || return 1; done
}

own_words_compose() {
    local container
    for container in "${containers[@]}"; do
        [ "$(health_of "$container")" != healthy ] || continue
        printf '%s is %s:\n' "$container" "$(health_of "$container")"
        docker logs --tail 5 "$container" 2>&1
    done
}

# `ikoma` inside its container, in the same folder where the container has it.
write_command() {
    if [ -e "$command" ] && ! grep -q "docker exec" "$command"; then
        printf '%s is another ikoma and was left alone. This one: docker exec -it ikoma ikoma\n' "$command"
        return
    fi
    write_whole "$command" 755 <<'END'
#!/bin/sh
# IKOMA's command, in its container (install.sh wrote this). It sees files below the folders named here alone.
[ "${1:-}" != upgrade ] || { shift && exec /opt/ikoma/installer/install.sh --upgrade "$@"; }
set -- ikoma ikoma "$@"
case $PWD/ in /srv/apps/* | /opt/ikoma/* | /var/lib/ikoma/* | /var/log/ikoma/* | /var/backups/ikoma/*) set -- -w "$PWD" "$@" ;; esac
if [ -t 0 ] && [ -t 1 ]; then set -- -t "$@"; fi
exec docker exec -i -e IKOMA_ROLE -e NO_COLOR -e TERM "$@"
END
}

# --- For upgrade.sh ---

# What runs, or ran last, as VERSION-DIGITS.
running_compose() { name_in "$home/docker-compose.yml"; }

# name_in FILE: the version that a definition starts.
name_in() { sed -n 's/^ *image: ikoma:\(.*\)$/\1/p; s|^/opt/ikoma/versions/||p' "$1" 2>/dev/null | head -n 1 || true; }

write_from_compose() { cp "$home/docker-compose.yml" "$work/from"; }

try_compose() {
    local waited
    fill_compose_file | write_whole "$work/to" 644
    end_trial_compose
    install -d -m 0700 "$work/trial/state" "$work/trial/log"
    sql "VACUUM INTO '$work/trial/state/state.db'"
    trial up -d --no-deps ikoma
    for ((waited = 0; waited < 180; waited++)); do
        case $(docker inspect -f '{{.State.Status}} {{.State.Health.Status}}' ikoma-trial) in
        "running healthy")
            end_trial_compose
            return
            ;;
        "running starting") sleep 1 ;;
        *) break ;;
        esac
    done
    printf 'It does not become healthy: %s\n' "$(docker logs --tail 5 ikoma-trial 2>&1)"
    return 1
}

trial() {
    docker compose -p ikoma-trial --project-directory "$home" -f "$work/to" -f "$root/deploy/trial.yml" "$@" </dev/null
}

end_trial_compose() {
    docker rm -f ikoma-trial 2>/dev/null || true
    rm -rf "$work/trial"
}

stop_compose() { ! docker inspect ikoma >/dev/null 2>&1 || docker stop -t "$1" ikoma; }

# The proxy and PostgreSQL are left alone.
start_compose() {
    write_whole "$home/docker-compose.yml" 644 <"$1"
    compose up -d --no-deps ikoma
}

process_compose() { docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Running}}' ikoma; }
is_healthy_compose() { [ "$(health_of ikoma)" = healthy ]; }

# By the version that knows most: the one that is to come, or that came last.
python_compose() {
    docker run --rm --network none --entrypoint python3 -v /var/lib/ikoma:/var/lib/ikoma -v "$home:$home" \
        "ikoma:$(name_in "$work/to" | grep . || running_compose)" "$@" </dev/null
}

# Images of versions that are neither in use nor kept.
forget_others_compose() {
    local name
    docker images --format '{{.Tag}}' ikoma | while read -r name; do
        case $name in
        "$(running_compose)" | "$(name_in "$former/from")") ;;
        *) docker rmi "ikoma:$name" >>"$log" 2>&1 || true ;; # the proxy may still be made of it
        esac
    done
}
