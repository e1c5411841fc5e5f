#!/bin/sh
# Does something whenever a secret changes, such as `kill -HUP 1` in a sidecar. inotifywait comes with inotify-tools.
#
# usage: watch.sh FILE
set -eu
file=$1
last=

load() {
  sum=$(sha256sum <"$file")
  # One change can cause two events.
  [ "$sum" != "$last" ] || return 0
  last=$sum
  echo "loaded $(wc -c <"$file" | tr -d ' ') bytes"
}

# One watch is valid for the life of the volume. The first lines of inotifywait say that the watch is set. They
# trigger a load, so that no earlier change is missed.
inotifywait --monitor --event modify "$file" 2>&1 | while read -r _; do load; done
