#!/bin/bash
# As GitHub's: refuses root, remembers the path and some variables for jobs, and calls the listener.
if [ "$(id -u)" = 0 ] && [ -z "$RUNNER_ALLOW_RUNASROOT" ]; then
  echo 'Must not run with sudo' >&2
  exit 1
fi
cd "$(dirname "$0")" || exit 1
if [ "$1" = remove ]; then
  exec ./bin/Runner.Listener "$@"
fi
# shellcheck source=/dev/null
. ./env.sh
exec ./bin/Runner.Listener configure "$@"
