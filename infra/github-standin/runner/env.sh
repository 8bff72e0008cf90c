#!/bin/bash
# As GitHub's: what jobs inherit of the environment in which the runner is configured (RUNNER.md, 3 B).
printf '%s' "$PATH" >.path
for name in LANG JAVA_HOME ANT_HOME M2_HOME ANDROID_HOME ANDROID_SDK_ROOT GRADLE_HOME NVM_BIN NVM_PATH LD_LIBRARY_PATH PERL5LIB; do
  if [ -n "${!name}" ]; then echo "$name=${!name}"; fi
done >.env
