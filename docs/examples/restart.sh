#!/bin/sh
# Runs a program with the variables of a file from dataFrom with format Shell, and restarts it when they change.
#
# usage: restart.sh FILE PROGRAM [ARGUMENT...]
set -eu
file=$1
shift
child=

# As PID 1 of a container this shell gets kubelet's SIGTERM.
trap '[ -z "$child" ] || kill -TERM "$child"; wait; exit 143' TERM INT

# Called only in the background, in a subshell, so that a variable that is removed from the file does not linger.
start() {
  . "$file"
  exec "$@"
}

while :; do
  loaded=$(cat "$file")
  start "$@" &
  child=$!
  while [ "$(cat "$file")" = "$loaded" ]; do
    # A program that exits on its own ends the container, as it would without this loop.
    kill -0 "$child" 2>/dev/null || { status=0; wait "$child" || status=$?; exit "$status"; }
    sleep 1 & wait $!
  done
  kill -TERM "$child" 2>/dev/null || :
  wait "$child" || :
done
