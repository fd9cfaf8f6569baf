# shellcheck shell=bash
# The Docker engine: does it answer, is it the right one; and starting it.

DOCKER_WANTED=26
BUILDX_WANTED=0.13
CONTAINERD_STORE='{"features": {"containerd-snapshotter": true}}'
daemon_log=/var/log/dockerd.log

# Sets server_version and server_driver, or docker_error.
docker_answers() {
  local answer
  docker_error='' server_version='' server_driver=''
  answer=$(timeout 20 docker info --format '{{.ServerVersion}} {{json .DriverStatus}}' 2>"$SCRATCH/docker-error") || true
  docker_error=$(cat "$SCRATCH/docker-error")
  [[ $answer == [0-9]* ]] || return 1
  server_version=${answer%% *} server_driver=${answer#* }
}

check_engine() {
  at_least "$server_version" "$DOCKER_WANTED" ||
    fail 3 "docker: the engine that answers is $server_version, and $DOCKER_WANTED or newer is needed" \
      "it may hold your containers, so it stays as it is; to upgrade it, stop it" \
      "(systemctl stop docker.socket docker.service) and run ci/setup engines again"
  [[ $server_driver == *io.containerd.snapshotter.v1* ]] ||
    fail 3 "docker: the engine ($server_version) doesn't use the containerd image store" \
      "its present images and containers will not show afterwards, so this is for you to do:" \
      "put $CONTAINERD_STORE into /etc/docker/daemon.json" \
      "and restart the engine (systemctl restart docker)"
}

check_buildx() {
  local buildx
  buildx=$(buildx_version)
  at_least "$buildx" "$BUILDX_WANTED" ||
    fail 3 "docker: buildx is ${buildx:-missing}, and $BUILDX_WANTED or newer is needed" \
      "an old one in ~/.docker/cli-plugins hides the system's: remove it there"
  say "docker: $server_version answers, buildx ${buildx%%+*}, containerd image store: fine"
}

buildx_version() { { docker buildx version 2>/dev/null || true; } | cut -d ' ' -f 2; }

# A remote or rootless engine, or one closed to this user, is not for this script to start.
can_start_docker() {
  local host
  [[ $docker_error != *'permission denied'* ]] || return 1
  host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || host=${DOCKER_HOST:-}
  [[ -z $host || $host == unix:///var/run/docker.sock || $host == unix:///run/docker.sock ]]
}

start_daemon() {
  if [[ $docker_error == *'permission denied'* ]]; then
    fail 3 "docker: you are neither root nor in the group docker: sudo usermod -aG docker $(id -un)" \
      "and log in again (members of that group are as powerful as root)"
  fi
  can_start_docker || fail 3 "docker: $docker_error" \
    "this engine isn't the machine's own: start it, or unset DOCKER_HOST and DOCKER_CONTEXT"
  can_be_root || fail 3 "docker: the engine doesn't run: start it (systemctl start docker), or run ci/setup engines as root"

  # An engine that was never used can still choose its image store freely.
  [[ -d /var/lib/docker ]] || write_daemon_json
  if [[ -d /run/systemd/system ]]; then
    say 'docker: start it (systemctl)'
    as_root systemctl start docker >"$SCRATCH/start" 2>&1 9>&- || daemon_failed
    wait_for_daemon
  else
    start_dockerd
  fi
}

# Only if there is none: what an administrator wrote stays.
write_daemon_json() {
  [[ -e /etc/docker/daemon.json ]] || put_file /etc/docker/daemon.json <<<"$CONTAINERD_STORE"
}

start_dockerd() {
  local pid
  forget_dead_process /run/docker.pid dockerd
  forget_dead_process /run/docker/containerd/containerd.pid containerd
  say "docker: start dockerd, log in $daemon_log"
  as_root touch "$daemon_log"
  # In its own session and with no file of ours open: else a make or CI that reads our output through
  # a pipe would wait for the daemon's end.
  # shellcheck disable=SC2016  # for the inner shell
  as_root setsid --fork bash -c '
    echo $$ >"$1"
    exec </dev/null >>"$2" 2>&1
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      if ((fd > 2)); then exec {fd}>&-; fi
    done
    cd / && exec dockerd' dockerd "$SCRATCH/dockerd.pid" "$daemon_log"
  until pid=$(cat "$SCRATCH/dockerd.pid" 2>/dev/null) && [[ $pid ]]; do sleep 0.1; done
  wait_for_daemon "$pid"
}

# forget_dead_process PIDFILE NAME: after a kill the file stays, and its number may be another process by now,
# which dockerd would take for its own.
forget_dead_process() {
  local pid
  pid=$(as_root cat "$1" 2>/dev/null) || return 0
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$2" ]] || as_root rm -f "$1"
}

# wait_for_daemon [PID]: gives up early when that process has ended.
wait_for_daemon() {
  local deadline=$((SECONDS + 60))
  until docker_answers; do
    [[ $docker_error != *'permission denied'* ]] || start_daemon
    [[ $SECONDS -lt $deadline ]] || daemon_failed
    # The daemon of another run may be the reason: then that one answers.
    if [[ ${1:-} && ! -d /proc/$1 ]]; then
      sleep 2
      docker_answers || daemon_failed
      return
    fi
    sleep 0.3
  done
}

daemon_failed() {
  if [[ -d /run/systemd/system ]]; then
    as_root journalctl --unit docker --no-pager --lines 20 >&2 || true
  else
    as_root tail -n 20 "$daemon_log" >&2 || true
  fi
  fail 3 "docker: the engine doesn't come up: the lines above are the last of its log"
}
