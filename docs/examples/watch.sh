#!/bin/sh
# Does something whenever a secret changes, such as `kill -HUP 1` in a sidecar. inotifywait comes with inotify-tools.
#
# usage: watch.sh FILE
set -eu
file=$1
last=

load() {
  sum=$(sha256sum <"$file")
  # One change can be told twice.
  [ "$sum" != "$last" ] || return 0
  last=$sum
  echo "loaded $(wc -c <"$file" | tr -d ' ') bytes"
}

# The one watch is good for the volume's life. The first lines that inotifywait prints say that it is set: what
# changed until then is loaded by them.
inotifywait --monitor --event modify "$file" 2>&1 | while read -r _; do load; done
