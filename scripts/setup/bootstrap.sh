# Sourced by scripts/up and scripts/test, from the repository's root: what must be there before any TypeScript can run.

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

[ "$(uname -sm)" = 'Linux x86_64' ] || fail "Forkyard runs on Linux x86_64; this is $(uname -sm)."
[ "$(id -u)" = 0 ] || fail 'Sandboxes, mounts and control groups need root. Run this as root (sudo).'
command -v apt-get > /dev/null || fail 'apt-get is missing: Debian 12 (or a system derived from it) is needed.'
# Debian's own Node.js is enough to fetch the one that everything runs on.
if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
  echo 'Node.js and npm to begin with (Debian packages) ...'
  { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm > /dev/null ||
    { apt-get update > /dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm > /dev/null; }; } ||
    fail 'Installing nodejs and npm failed: see above. Install Node.js >= 18 with npm and try again.'
fi
[ "$(node -p 'parseInt(process.versions.node)')" -ge 18 ] || fail "Node.js >= 18 is needed to begin with; this is $(node --version)."

# The hidden lockfile says what is installed; nothing to do while it agrees with the committed one.
if ! node scripts/setup/installed-packages.mjs; then
  echo 'npm dependencies (from the lockfile) ...'
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    fail 'npm ci failed: see above. The registry of your npm configuration must be reachable (npm ping).'
fi

# Node.js 24 comes from the lockfile. First on PATH: the engine's language host starts `node` by name.
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
