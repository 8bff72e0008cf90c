#!/bin/bash
# As GitHub's: starts the listener again after an update or what may pass, and hides most of its statuses (RUNNER.md, 5).
cd "$(dirname "$0")" || exit 1
while :; do
  ./bin/Runner.Listener run "$@"
  case $? in
    2 | 3 | 4) sleep 1 ;;
    7) [ "$ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE" = 1 ] && exit 7; exit 0 ;;
    *) exit 0 ;;
  esac
done
