#!/usr/bin/env bash
# tests/fuzz_long.sh ROOT: every fuzz target for a while under clang's libFuzzer; scripts/fuzz.sh alone is the long form.
exec "${1:?usage: fuzz_long.sh ROOT}/scripts/fuzz.sh" -n 30000
