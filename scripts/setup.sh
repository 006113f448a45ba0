# shellcheck shell=bash
# scripts/setup.sh: sourced by ./quickstart and ./run-tests. Sees to it that the compiler, the tools and the libraries
# are there (installs Debian's packages when something is missing) and builds a preset.
# The network is used only for what is missing.

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$0: $*"
  exit 1
}

# command or pkg-config module -> Debian package
TOOLS="cc:build-essential c++:build-essential ninja:ninja-build ccache:ccache pkg-config:pkg-config python3:python3 git:git
  protoc-c:protobuf-c-compiler"
MODULES="yaml-0.1:libyaml-dev jansson:libjansson-dev libxxhash:libxxhash-dev libpng:libpng-dev libturbojpeg:libturbojpeg0-dev
  hdf5:libhdf5-dev zlib:zlib1g-dev libarchive:libarchive-dev libcrypto:libssl-dev cmocka:libcmocka-dev libprotobuf-c:libprotobuf-c-dev"

has_new_cmake() { # presets of version 6 came with 3.25
  command -v cmake >/dev/null || return 1
  local version
  version=$(cmake --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
  [ "$(printf '3.25\n%s\n' "$version" | sort -V | head -n1)" = 3.25 ]
}

has_libtorch() { [ -n "${LIBTORCH_ROOT:-}" ] || [ -e build/deps/torch/lib/libtorch_cpu.so ]; }

missing_packages() {
  local pair
  for pair in $TOOLS; do command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"; done
  for pair in $MODULES; do pkg-config --exists "${pair%%:*}" 2>/dev/null || echo "${pair#*:}"; done
  command -v cmake >/dev/null || echo cmake
  has_libtorch || python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
}

install_packages() { # PACKAGE...
  local as_root=()
  command -v apt-get >/dev/null || die "this is no Debian or Ubuntu: install what these packages hold, then start again: $*"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "not root and no sudo; ask for: apt-get install $*"
    as_root=(sudo)
    [ -t 0 ] || sudo -n true 2>/dev/null || die "sudo wants a password; run first: sudo apt-get install $*"
  fi
  say "installing $*"
  "${as_root[@]}" apt-get -qq update >&2 || say "apt-get update failed; trying with the lists at hand"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2 ||
    die "apt-get could not install: $*"
}

# Ubuntu 22.04's cmake is too old; PyPI has a newer one as a wheel of binaries.
fetch_cmake() {
  [ -x build/deps/cmake/bin/cmake ] || {
    say "cmake 3.25 or newer is needed: fetching one into build/deps/cmake"
    python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: --target build/deps/cmake.new cmake==3.31.6 >&2 ||
      die "pip could not fetch cmake; install cmake 3.25 or newer"
    rm -rf build/deps/cmake && mv build/deps/cmake.new/cmake/data build/deps/cmake && rm -rf build/deps/cmake.new
  }
  PATH="$PWD/build/deps/cmake/bin:$PATH"
}

# Not needed, but HDF5 files decode faster with it; asked for when packages are installed anyway.
wish_for_libdeflate() {
  pkg-config --exists libdeflate 2>/dev/null || (install_packages libdeflate-dev) || say "going on without libdeflate"
}

# Everything that configuring needs.
set_up() {
  local wanted
  wanted=$(missing_packages | sort -u | tr '\n' ' ')
  # shellcheck disable=SC2086 # one word a package
  [ -z "${wanted// /}" ] || { install_packages $wanted && wish_for_libdeflate; }
  has_new_cmake || fetch_cmake
  wanted=$(missing_packages | sort -u | tr '\n' ' ')
  [ -z "${wanted// /}" ] || die "still missing after the installation: $wanted"
}

# The Python that the slow tests compare with; a machine without a network goes without.
set_up_peer() {
  python3 -c 'import venv, ensurepip' 2>/dev/null || (install_packages python3-venv) || return 1
  [ -e build/deps/peer ] || say "fetching PyTorch and diffusers (4 GB) into build/deps/peer"
  scripts/peer-python.sh
}

# build PRESET [TARGET]: configures and builds; the whole output is shown only when it fails.
build() {
  local log="build/$1.log" jobs
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  mkdir -p build
  say "building $1 ($log)"
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1 # a second clone finds the first one's objects
  has_libtorch || say "libtorch: taken from python3's torch 2.11, or fetched (530 MB) into build/deps"
  { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs" ${2:+--target "$2"}; } >"$log" 2>&1 || {
    cat "$log" >&2
    die "the build of preset $1 failed"
  }
}
