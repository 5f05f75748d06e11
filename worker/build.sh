#!/usr/bin/env bash
# Builds the media worker (mediasoup's C++ process) into the cache. `./plenum` calls it; by hand:
#   worker/build.sh path    prints where the worker of this checkout belongs, built or not
#   worker/build.sh build   builds it there, unless it is there, and tests it (node >= 24.12 must come first in PATH)
#   worker/build.sh sum     prints the checksum of mediasoup's sources, for mediasoup.sha256
# Beside the worker lie libsrtp2.a and include/srtp2/*.h, the OpenSSL-backed libsrtp that it is linked with.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
mediasoup=$here/../node_modules/mediasoup
cache=${XDG_CACHE_HOME:-$HOME/.cache}/plenum

fail() {
  printf 'plenum: %s\n' "$@" >&2
  exit 1
}

# Everything that decides what the build yields: our recipe, and the versions of Debian's compiler and libraries.
product_folder() {
  local version recipe
  version=$(sed -n 's/^[[:space:]]*"version": "\(.*\)",$/\1/p' "$mediasoup/package.json")
  [[ -n $version ]] || fail "node_modules/mediasoup is missing or incomplete; run ./plenum to install it"
  recipe=$(
    cd "$here"
    {
      find . -type f ! -path './test/*' ! -name '*.test.ts' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
      dpkg-query -W -f '${Package} ${Version}\n' g++-12 g++ libssl-dev libuv1-dev libflatbuffers-dev libjemalloc-dev 2>/dev/null || true # Not installed yet.
    } | sha256sum
  )
  printf '%s/worker/%s-%s\n' "$cache" "$version" "${recipe:0:16}"
}

sources_checksum() {
  cd "$mediasoup/worker"
  find deps fbs include meson.build src -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c -64
}

# A folder of sources with the user's own Debian mirrors and keyrings, but source packages instead of binary ones.
write_apt_sources() {
  local codename site suite component entry keyring
  codename=$(sed -n 's/^VERSION_CODENAME="\{0,1\}\([a-z]*\).*/\1/p' /etc/os-release)
  # shellcheck disable=SC2016 # The $(...) are apt's own.
  apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SOURCESENTRY)' 'Created-By: Packages' | sort -u |
    while IFS='|' read -r site suite component entry; do
      [[ $component == main && $suite =~ ^$codename(-updates|-security)?$ ]] || continue
      keyring=$(sed -n "${entry##*:},/^\$/p" "${entry%:*}" |
        sed -nE 's/^Signed-By: *(\/.*)/\1/Ip; s/.*signed-by=([^] ]+).*/\1/p' | head -n 1)
      printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n%s\n\n' \
        "$site" "$suite" "${keyring:+Signed-By: $keyring}" | sed '/^$/N;/^\n$/D'
    done >"$1/parts/debian.sources"
  [[ -s $1/parts/debian.sources ]] || fail "apt knows no Debian mirror for $codename; check /etc/apt/sources.list.d"
}

# The recorded version must be the recorded files. A version that Debian published later is taken on Debian's signature,
# which apt has checked: a security fix must not break every new installation.
check_libsrtp() {
  local recorded
  recorded=$(sed -n 's/.*  \(libsrtp2_.*debian\.tar\.xz\)$/\1/p' "$here/libsrtp.sha256")
  if [[ ! -f $1/$recorded ]]; then
    printf 'plenum: Debian has a newer libsrtp2 than %s; update worker/libsrtp.sha256\n' "$recorded" >&2
  elif ! (cd "$1" && sha256sum --quiet -c "$here/libsrtp.sha256"); then
    fail "the downloaded libsrtp2 is not the one recorded in worker/libsrtp.sha256; not building with it"
  fi
}

# Leaves libsrtp's sources in $2. Downloads stay in $1, so that a rebuild needs no network.
fetch_libsrtp() {
  local downloads=$1 target=$2 apt=$2.apt
  if ! (cd "$downloads" 2>/dev/null && sha256sum --status -c "$here/libsrtp.sha256"); then
    # State, cache and sources of apt are private, so that nothing of the user's set-up is read twice or changed.
    mkdir -p "$downloads" "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
    write_apt_sources "$apt"
    local options=(
      -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/parts" -o "Dir::State::lists=$apt/lists"
      -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=root" -o "Acquire::Languages=none" -q
    )
    apt-get "${options[@]}" update ||
      printf 'plenum: not every Debian mirror answered; trying with those that did\n' >&2
    rm -f "$downloads"/libsrtp2_*
    (
      cd "$downloads"
      apt-get "${options[@]}" source --download-only libsrtp2
    ) || fail "Debian's source package libsrtp2 could not be fetched." \
      "Without network: check the connection and proxy settings, then run the same command again."
    check_libsrtp "$downloads"
    rm -rf "$apt"
  fi
  # Applies Debian's patches too, among them any security fix. The signature was apt's to check.
  dpkg-source --no-check -x "$downloads"/libsrtp2_*.dsc "$target"
}

# mediasoup's sources with our patches, as a copy: node_modules stays as npm left it.
copy_sources() {
  local expected patch
  read -r expected _ <"$here/mediasoup.sha256"
  [[ $(sources_checksum) == "$expected" ]] ||
    fail "node_modules/mediasoup/worker differs from worker/mediasoup.sha256; reinstall it: rm -rf node_modules && ./plenum"
  mkdir -p "$1"
  cp -r "$mediasoup"/worker/{deps,fbs,include,meson.build,src} "$1"
  for patch in "$here"/patches/*.patch; do
    patch -s -p1 -d "$1" <"$patch" || fail "$(basename "$patch") does not apply to this version of mediasoup"
  done
}

# One line that counts on a terminal, nothing elsewhere; the whole output goes to the log.
show_progress() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$1"
    if [[ -t 2 && $line =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
      printf '\r  compiling: step %s of %s ' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >&2
    fi
  done
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}

# The step runs in a subshell that stops at the first failure: bash ignores `set -e` in whatever stands before `||`.
run_logged() {
  local log=$1 what=$2 status
  shift 2
  set +e
  (
    set -e
    "$@"
  ) >>"$log" 2>&1
  status=$?
  set -e
  if ((status != 0)); then
    tail -n 30 "$log" >&2
    fail "$what failed; the whole output is in $log"
  fi
}

compile() {
  local work=$1 log=$2
  run_logged "$log" "fetching libsrtp" fetch_libsrtp "$cache/libsrtp" "$work/libsrtp"
  run_logged "$log" "preparing the media worker's sources" copy_sources "$work/mediasoup"
  run_logged "$log" "configuring the media worker" \
    cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    "-DMEDIASOUP_DIR=$work/mediasoup" "-DLIBSRTP_DIR=$work/libsrtp"
  # nice: on a laptop the build must not freeze everything else.
  nice ninja -C "$work/build" mediasoup-worker 2>&1 | show_progress "$log" || {
    grep -v '^\[' "$log" | tail -n 30 >&2 || true
    fail "compiling the media worker failed; the whole output is in $log." \
      "If the compiler was killed, the machine is short of memory: 2 GB must be free."
  }
}

build() {
  local product=$1 log=$1.log
  [[ ! -x $product/mediasoup-worker ]] || return 0
  # The smoke test is TypeScript. Known before a minute of compiling, not after it.
  node --input-type=module-typescript --eval '' 2>/dev/null ||
    fail "worker/build.sh needs Node 24.12 or newer as the first node in PATH; ./plenum brings it along"
  work=$1.work
  trap 'rm -rf "$work"' EXIT # Whatever happens, only the log stays of the build.
  rm -rf "$work" "$product"
  mkdir -p "$work/product" || fail "cannot write to $cache; set XDG_CACHE_HOME to a folder that you can write to"
  : >"$log"
  compile "$work" "$log"
  # The product appears under its name only when it has passed.
  node "$here/smoke.ts" "$work/build/mediasoup-worker" >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    fail "the media worker was built but failed its smoke test (a real DTLS handshake); it was removed. Output: $log"
  }
  cp "$work/build/mediasoup-worker" "$work/build/srtp/libsrtp2.a" "$work/product"
  cp -r "$work/build/include" "$work/product"
  mv "$work/product" "$product"
}

folder=$(product_folder)
case ${1:-} in
  path) printf '%s\n' "$folder/mediasoup-worker" ;;
  build) build "$folder" ;;
  sum) sources_checksum ;;
  *) fail "usage: worker/build.sh path|build|sum" ;;
esac
