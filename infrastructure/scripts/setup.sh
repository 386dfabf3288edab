#!/usr/bin/env bash
# Sets up the whole platform in containers, by docker-compose.yml: see usage, and docs/howto/run_with_compose.md.
set -euo pipefail

# How long it may take until the API is ready, then until every service is well, and how long each has to stay so.
readonly WAIT_SECONDS=300 WELL_SECONDS=120 STEADY_SECONDS=5

usage() {
    cat <<'END'
usage: infrastructure/scripts/setup.sh [--env-only | SERVICE...]

Checks what is needed, makes .env from .env.example with generated passwords, builds
the image, starts everything, and waits until it is migrated, ready, and every service
runs and goes on running.
May be run again at any time: an .env that is there is kept, and only what it lacks
is added.

  --env-only   make .env and stop there
  SERVICE...   start only these and what they need, `api` among them

Environment:
  SSPP_COMPOSE  the compose command, if it is not `docker compose` or `podman-compose`

Exit status: 0 it runs, 1 something is missing or failed, 2 wrong usage.
END
}

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }
die_of_usage() { say "setup: $1"; usage >&2; exit 2; }

# 32 random bytes as 64 hexadecimal digits: nothing in them needs quoting or encoding anywhere.
new_password() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# A template's lines, with a password after each `…_PASSWORD=` that has none. docker-compose.yml makes the URLs itself: those
# of the example are commented out. Everything is done within this shell, so that no process list shows a password.
fill_in() {
    local line
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        '#'*) ;;
        *_PASSWORD=) line+=$(new_password) ;;
        DATABASE_URL=*:password@* | REDIS_URL=*:password@* | RQ_REDIS_URL=*:password@* | ELASTICSEARCH_URL=http://127.0.0.1:9200)
            line="#$line" ;;
        esac
        printf '%s\n' "$line" || return
    done
}

# The passwords that docker-compose.yml reads, by name.
password_names() { sed -n 's/^\([A-Z0-9_]*_PASSWORD\)=$/\1/p' .env.example; }

# What .env is to be: as it is, with what it lacks. A newer release may have more passwords.
completed() {
    local name
    fill_in <.env || return
    for name in $(password_names); do
        grep -q "^$name=" .env || printf '%s=\n' "$name"
    done | fill_in
}

there_is_env() { [ -e .env ] || [ -L .env ]; }

# What is wrong with the .env that is there, before anything is touched: variables by name, never what they are set to.
check_environment() {
    local name value first broken= LC_ALL=C
    if there_is_env; then
        [ -f .env ] || die ".env is no file: it is a folder, or a link to nothing." "Move it away, and run this again."
        [ -r .env ] || die "you are not allowed to read .env." "Run this as its owner."
        first=$(sed -n $'/^[A-Za-z_][A-Za-z0-9_]*=.*\r$/{s/=.*//p;q;}' .env)
        [ -z "$first" ] || die "$first in .env ends with a carriage return: the lines end as they do on Windows." \
            "Save the file with Unix line ends (sed -i 's/\\r\$//' .env), and run this again."
    fi
    for name in $(password_names); do
        # The environment comes before .env.
        value=${!name:-}
        [ -n "$value" ] || ! there_is_env || value=$(sed -n "s/^$name=//p" .env | tail -n 1)
        [[ $value =~ ^[A-Za-z0-9_-]*$ ]] || broken+=" $name"
    done
    [ -z "$broken" ] || die "a password may have letters, digits, - and _ only, and no quotes around it. Not so:$broken" \
        "They become parts of URLs. Change them in .env (or in the environment), and run this again."
}

make_environment() (
    umask 077
    draft=.env.$$
    trap 'rm -f "$draft"' EXIT
    if ! there_is_env; then
        fill_in <.env.example >"$draft" || die "cannot write in $PWD; the line above says why."
        # A link, unlike a move, never takes the place of what another run has made meanwhile.
        if ln "$draft" .env 2>/dev/null; then
            say "made .env, readable by you alone; keep a copy of it where you keep passwords"
        elif there_is_env; then
            say "another run has just made .env, and it stays as that made it"
        else
            mv "$draft" .env || die "cannot make .env in $PWD; the line above says why."
            say "made .env; keep a copy of it where you keep passwords"
        fi
    elif [ "$(completed)" = "$(<.env)" ]; then
        say ".env is complete, and stays as it is"
    else
        [ -w .env ] || die ".env lacks passwords of .env.example, and you are not allowed to write it." "Run this as its owner."
        completed >"$draft" || die "cannot write in $PWD; the line above says why."
        # Through to the file, so that links, owner and mode stay; and not to be broken off half-way.
        trap '' HUP INT TERM
        if ! cat "$draft" >.env; then
            trap - EXIT
            die ".env was not written; the line above says why." \
                "What it is to be is in $PWD/$draft: keep it, it has all passwords."
        fi
        say "added to .env what it lacked"
    fi
    [ -z "$(find -L .env -prune \( -perm -040 -o -perm -004 \))" ] ||
        say "setup: others than you can read .env, and its passwords: chmod 600 .env"
)

find_compose() {
    if [ -n "${SSPP_COMPOSE:-}" ]; then
        read -r -a compose <<<"$SSPP_COMPOSE"
        "${compose[@]}" version >/dev/null 2>&1 || die "SSPP_COMPOSE=$SSPP_COMPOSE does not run"
    elif docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
        docker info >/dev/null 2>&1 || die "Docker does not answer." \
            "Start it, or let your user use it (Linux: the group docker), and run this again."
    elif podman-compose version >/dev/null 2>&1; then
        compose=(podman-compose)
    else
        die "neither \`docker compose\` nor podman-compose is here." \
            "Install Docker with its Compose plugin (2.20 or newer), or podman 4.6 or newer with podman-compose." \
            "Without containers: make up"
    fi
}

# What compose takes a variable for: the environment comes before .env, and that before docker-compose.yml's default.
value_of() {
    local found=${!1:-}
    [ -n "$found" ] || found=$(sed -n "s/^$1=//p" .env | tail -n 1)
    printf '%s' "${found:-$2}"
}

wait_until_ready() {
    local url=$1 deadline=$((SECONDS + WAIT_SECONDS)) answer=
    say "waiting until $url/readyz says ready, at most $WAIT_SECONDS seconds"
    # Without -f: a 503 has a body too, which names the store that is away.
    until answer=$(curl -sS --noproxy '*' --max-time 5 "$url/readyz" 2>/dev/null) && [[ $answer == *'"status":"ready"'* ]]; do
        [ $SECONDS -lt $deadline ] || die "it is not ready after $WAIT_SECONDS seconds: ${answer:-no answer}" \
            "Look at: ${compose[*]} ps" "and at:  ${compose[*]} logs migrate api"
        sleep 1
    done
}

# The services that are to run from now on and that /readyz does not speak of: of those given, or of all.
lasting_services() {
    local name all
    if [ $# -eq 0 ]; then
        all=$("${compose[@]}" config --services) || return
        set -- $all
    fi
    for name in "$@"; do
        case $name in
        migrate | postgres | redis | elasticsearch | api) ;;
        *) printf '%s\n' "$name" ;;
        esac
    done
}

# A service that is well, and when its process began. Asked in its container, as podman without systemd does no health
# checks by itself, and does not say of a container that ends at once, again and again, that it does.
look_at() {
    local name=$1 check=true stat
    case $name in worker-*) check='python -m infrastructure.compose.healthcheck' ;; esac
    stat=$("${compose[@]}" exec -T "$name" sh -c "$check && cat /proc/1/stat" </dev/null 2>/dev/null) || return 0
    # What follows the name of process 1 is its state; the 20th from there is its start.
    set -- $(printf '%s\n' "$stat" | sed -n 's/^1 (.*) //p')
    [ $# -lt 20 ] || printf '%s %s\n' "$name" "${20}"
}

look_at_all() {
    local name
    for name in "$@"; do look_at "$name" & done
    wait
}

# Until two looks in a row, a while apart, see each service well and not begun anew.
wait_until_well() {
    local looks name before now= steady unwell advice=() deadline=$((SECONDS + WELL_SECONDS))
    say "waiting until these run and go on running, at most $WELL_SECONDS seconds: $*"
    for ((looks = 1; ; looks++)); do
        before=$now now=$(look_at_all "$@") unwell=()
        steady=$(printf '%s\n' "$before" "$now" | sort | uniq -d)
        for name in "$@"; do
            [[ $'\n'$steady == *$'\n'"$name "* ]] || unwell+=("$name")
        done
        [ ${#unwell[@]} -gt 0 ] || return 0
        [ $looks -lt 2 ] || [ $SECONDS -lt $deadline ] || break
        sleep $STEADY_SECONDS
    done
    for name in "${unwell[@]}"; do advice+=("Look at: ${compose[*]} logs $name"); done
    die "after $WELL_SECONDS seconds these have ended, begin anew again and again, or do not answer: ${unwell[*]}" "${advice[@]}"
}

show_next_steps() {
    local url=$1 services=" ${*:2} " more=
    case $services in *' prometheus '* | *' grafana '*) # which needs it
        more+=$'\n'"  Prometheus  http://127.0.0.1:$(value_of PROMETHEUS_PORT 9090)" ;;
    esac
    case $services in *' grafana '*)
        more+=$'\n'"  Grafana     http://127.0.0.1:$(value_of GRAFANA_PORT 3000)   admin, and GRAFANA_PASSWORD of .env" ;;
    esac
    cat <<END

SSPP is running.

  API         $url
  docs        $url/docs$more

Make a tenant and a key, and send an event:

  ${compose[*]} --profile cli run --rm sspp seed
  key=\$(${compose[*]} --profile cli run --rm -T sspp keys create demo --scope ingest --scope read)
  curl -H "Authorization: Bearer \$key" -H "Content-Type: application/json" $url/v1/events \\
    -d '{"event_type": "inquiry", "customer_id": "ada", "data": {"subject": "Quote for twenty seats"}}'

More workers:  ${compose[*]} up -d --scale worker-ingest=3 worker-ingest
PgAdmin and RQ's queues:  ${compose[*]} --profile tools up -d pgadmin rq-dashboard
Stop, and keep the data:  ${compose[*]} down
END
}

main() {
    local env_only=no argument url services
    case ${1:-} in
    -h | --help) usage; exit 0 ;;
    --env-only)
        [ $# -eq 1 ] || die_of_usage "--env-only starts nothing, so it takes no services: ${*:2}"
        env_only=yes; shift ;;
    esac
    for argument in "$@"; do
        [[ $argument != -* ]] || die_of_usage "there is no option $argument"
    done
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    [ -e .env.example ] && [ -e docker-compose.yml ] || die "this is no checkout: .env.example or docker-compose.yml is missing"
    if [ $env_only = no ]; then
        find_compose
        command -v curl >/dev/null || die "curl is missing." "Install it, and run this again."
    fi
    check_environment
    make_environment
    [ $env_only = no ] || exit 0

    # What the image says of itself, unless the environment says otherwise.
    export SSPP_VERSION=${SSPP_VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
    export SSPP_REVISION=${SSPP_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
    # By itself: podman-compose does not build what the services that are named only wait for.
    say "building: ${compose[*]} build migrate"
    "${compose[@]}" build migrate || die "the image was not built; the last lines above say why."
    say "starting: ${compose[*]} up -d $*"
    "${compose[@]}" up -d "$@" || die "it did not start; what ${compose[0]} says above tells why." \
        "If a port is taken (already allocated, address already in use): set PORT, PROMETHEUS_PORT or GRAFANA_PORT in .env." \
        "If migrate failed, look at: ${compose[*]} logs migrate"
    url=http://127.0.0.1:$(value_of PORT 8000)
    wait_until_ready "$url"
    services=$(lasting_services "$@") || die "${compose[*]} config --services failed; the lines above say why."
    # Names without spaces.
    [ -z "$services" ] || wait_until_well $services
    show_next_steps "$url" $services
}

main "$@"
