#!/bin/sh
# Runs a program with the variables of a file that dataFrom wrote with format Shell, and starts it anew when they change.
#
# usage: restart.sh FILE PROGRAM [ARGUMENT...]
set -eu
file=$1
shift
child=

# As PID 1 of a container this is what kubelet tells to end.
trap '[ -z "$child" ] || kill -TERM "$child"; wait; exit 143' TERM INT

# Called in the background only, where it has a shell of its own: a variable that is gone tomorrow is not left from today.
start() {
  . "$file"
  exec "$@"
}

while :; do
  loaded=$(cat "$file")
  start "$@" &
  child=$!
  while [ "$(cat "$file")" = "$loaded" ]; do
    # A program that ends by itself ends the container, as it would alone.
    kill -0 "$child" 2>/dev/null || { status=0; wait "$child" || status=$?; exit "$status"; }
    sleep 1 & wait $!
  done
  kill -TERM "$child" 2>/dev/null || :
  wait "$child" || :
done
