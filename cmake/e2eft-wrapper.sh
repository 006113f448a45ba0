#!/bin/sh
# Starts e2eft with the torch of this machine: $LIBTORCH_ROOT (a folder that holds lib/libtorch_cpu.so), else the torch
# of $PYTHON or python3, found without importing it.
here=$(dirname "$(readlink -f "$0")")
root=${LIBTORCH_ROOT:-}
if [ -z "$root" ]; then
  root=$("${PYTHON:-python3}" -c 'import importlib.util as u, os
s = u.find_spec("torch")
print(os.path.dirname(s.origin) if s else "")' 2>/dev/null)
fi
if [ ! -e "$root/lib/libtorch_cpu.so" ]; then
  echo "e2eft: no torch: set LIBTORCH_ROOT to .../site-packages/torch of torch 2.11, or PYTHON to a python that has it" >&2
  exit 6
fi
LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$here/../libexec/e2eft" "$@"
