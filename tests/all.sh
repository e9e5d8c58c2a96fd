#!/usr/bin/env bash
# Every check that a change must pass. Each step is bounded in time, and all of them together by SECONDS_MAX (25 minutes
# by default; set it higher on a slower machine). Needs no network once the dependencies are fetched and
# redis-server and strace are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_MAX="${SECONDS_MAX:-1500}"
# Nothing is built twice from the same text here, so incremental artefacts only cost time and space.
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
export CARGO_TERM_PROGRESS_WHEN="${CARGO_TERM_PROGRESS_WHEN:-never}"

fail() {
  printf '\nall.sh: FAILED: %s\n' "$1" >&2
  exit 1
}

# step NAME LIMIT COMMAND...: runs it for LIMIT seconds at most, and says how long it took.
step() {
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  local left=$((SECONDS_MAX - SECONDS))
  if ((left <= 0)); then
    fail "no time left for: $name (SECONDS_MAX=$SECONDS_MAX)"
  fi
  if ((limit > left)); then
    limit=$left
  fi
  printf '\n== %s\n' "$name"
  timeout --kill-after=10 "$limit" "$@" || status=$?
  if ((status == 124 || status == 137)); then
    fail "$name: not done after $limit s"
  elif ((status != 0)); then
    fail "$name ($((SECONDS - start)) s)"
  fi
  printf '== %s: ok, %d s\n' "$name" $((SECONDS - start))
}

# need TOOL HOW-TO-INSTALL
need() {
  command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

# component NAME PROBE: a part of the Rust toolchain, installed where rustup can.
component() {
  if ! cargo "$2" --version >/dev/null 2>&1; then
    need rustup "install $1 with your Rust toolchain, or Rust itself from https://rustup.rs"
    rustup component add "$1" || fail "$1 is missing: rustup component add $1"
  fi
}

# package NAME: a Debian package with a program of its name, installed where it is missing and this may be done. RUNLEVEL=1
# keeps a server's package from starting one.
package() {
  local how="install it: apt-get install -y $1" as=()
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null || fail "$1 is missing: $how"
  if ((EUID != 0)); then
    as=(sudo -n)
  fi
  printf '\n== %s is missing: apt-get installs it\n' "$1"
  timeout 120 "${as[@]}" apt-get update -qq || fail "$1 is missing, and apt-get update failed: $how"
  timeout 180 "${as[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null ||
    fail "$1 is missing, and apt-get did not install it: $how"
  need "$1" "$how"
}

need cargo "install Rust from https://rustup.rs"
need cc "install a C compiler: apt-get install gcc libc6-dev (SQLite is built from its source)"
need timeout "install coreutils: apt-get install coreutils"
need prlimit "install util-linux: apt-get install util-linux (a disk that is full is made with it)"
# The shelf's tests start a Redis server of their own.
package redis-server
# The tests of power loss read the system calls of a process.
package strace
strace -f -o /dev/null true ||
  fail "strace may not trace here: run as root, or set kernel.yama.ptrace_scope to 1; in a container add --cap-add=SYS_PTRACE"
component rustfmt fmt
component clippy clippy

# Every feature of Cargo.toml, but for the empty one and the sum of all.
features=$(sed -n '/^\[features\]/,/^\[dependencies\]/s/^\([a-z][a-z-]*\) = .*/\1/p' Cargo.toml | grep -vx -e default -e full)
[[ -n $features ]] || fail "no features found in Cargo.toml"

step "format" 60 cargo fmt --all --check
step "format, races" 60 cargo fmt --manifest-path tests/races/Cargo.toml --check
step "clippy, full" 600 cargo clippy --locked --all-targets --features full -- -D warnings
step "clippy, no feature" 400 cargo clippy --locked --all-targets --no-default-features -- -D warnings
for feature in $features; do
  step "clippy, $feature alone" 300 \
    cargo clippy --locked --lib --bins --no-default-features --features "$feature" -- -D warnings
done
step "documents" 300 env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --features full
# Unit, integration and document tests; builds the examples, which an integration test then runs.
step "tests" 1200 cargo test --locked --features full

# A package of its own, over files of the crate. The second line of a failure is the seed that repeats it.
step "races, ${STURDY_SCHEDULES:=1000} schedules each" 400 \
  env STURDY_SCHEDULES="$STURDY_SCHEDULES" cargo test --locked --manifest-path tests/races/Cargo.toml --target-dir target

# Parsers and codecs under more generated input than in the ordinary run. They are named by what they promise.
smoke=$(mktemp)
trap 'rm -f "$smoke"' EXIT
step "smoke, parsers under ${PROPTEST_CASES:=4096} inputs each" 300 \
  env PROPTEST_CASES="$PROPTEST_CASES" bash -o pipefail -c \
  'cargo test --locked --features full --lib panic 2>&1 | tee "$1"' smoke "$smoke"
grep -Eq '^test result: ok\. ([5-9]|[1-9][0-9]+) passed' "$smoke" ||
  fail "the smoke run found fewer than 5 properties with \"panic\" in their names"

step "sizes (a report)" 60 cargo test --locked --features full --test structure -- --nocapture sizes_are_reported

printf '\nall.sh: ok (%d s)\n' "$SECONDS"
