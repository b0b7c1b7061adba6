/** What makes a bare Debian or Ubuntu ready for host scripts, and what undoes that: for the host's own shell, nothing else is there yet. */
import { dirname } from 'node:path'
import { shellQuote } from '../shell-quote.ts'

export interface PrepareArgs {
  readonly installation: string
  readonly stateDir: string
  /** Debian packages; those that are missing are installed, none is ever removed. */
  readonly packages: readonly string[]
}

/** Unprivileged user of the installation's services. */
export const serviceUser = (installation: string): string => `fy-${installation}`

/** Where commands on one thing wait for each other: a command of a killed engine may run on for a while. */
export const lockDir = (installation: string): string => `/run/lock/forkyard-${installation}`

const sysctlFile = (installation: string): string => `/etc/sysctl.d/60-forkyard-${installation}.conf`

/** Raised, never lowered. A sandbox's kernel maps memory in many pieces; bursts of connections wait in the listen queue. */
export const kernelSettings: Readonly<Record<string, number>> = {
  'vm.max_map_count': 1_048_576,
  'net.core.somaxconn': 4096,
}

/** Prints the host's facts as JSON (`HostFacts`). */
export const prepareScript = ({ installation, stateDir, packages }: PrepareArgs): string => `set -eu
fail() { echo "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail 'root is needed, directly or by sudo'
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "Linux x86_64 is needed; this is $(uname -sm)"
[ -d /run/systemd/system ] || fail 'systemd must be process 1'
command -v apt-get > /dev/null || fail 'apt-get is missing: Debian or Ubuntu is needed'
missing=
for name in ${packages.map(shellQuote).join(' ')}; do
  dpkg-query -W -f '\${db:Status-Abbrev}' "$name" 2> /dev/null | grep -q '^.i ' || missing="$missing $name"
done
if [ -n "$missing" ]; then
  get() {
    # No service of a package is started.
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $missing
  }
  { get || { apt-get -q -o DPkg::Lock::Timeout=300 update && get; }; } < /dev/null >&2
fi
user=${shellQuote(serviceUser(installation))}
id "$user" > /dev/null 2>&1 || useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
mkdir -p ${shellQuote(lockDir(installation))}
install -d -m 711 ${shellQuote(stateDir)}
file=${shellQuote(sysctlFile(installation))}
unapplied=
touch "$file"
${Object.entries(kernelSettings).map(raise).join('\n')}
memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
. /etc/os-release
printf '{"memoryMiB":%s,"cpus":%s,"os":"%s","notRaised":"%s"}\\n' "$memory" "$(nproc)" "$ID $VERSION_ID" "\${unapplied# }"
`

/** The value that was found is written down before another one is set. */
const raise = ([name, wanted]: [string, number]): string => {
  const path = `/proc/sys/${name.replaceAll('.', '/')}`
  return `before=$(cat ${path})
if [ "$before" -lt ${wanted} ]; then
  if echo ${wanted} > ${path}; then
    printf '# before: %s=%s\\n%s=%s\\n' ${name} "$before" ${name} ${wanted} >> "$file"
  else
    unapplied="$unapplied ${name}"
  fi
fi 2> /dev/null`
}

/** Packages stay; everything else is as it was found. */
export const undoScript = ({ installation, stateDir }: PrepareArgs): string => `set -eu
file=${shellQuote(sysctlFile(installation))}
if [ -e "$file" ]; then
  sed -n 's/^# before: //p' "$file" | while IFS='=' read -r name value; do
    echo "$value" > "/proc/sys/$(echo "$name" | tr . /)" || true
  done
  rm -f "$file"
fi
rm -rf ${shellQuote(stateDir)}
parent=${shellQuote(dirname(stateDir))}
# The directory that the installations of a host share goes with its last one.
if [ "\${parent##*/}" = forkyard ]; then rmdir "$parent" 2> /dev/null || true; fi
user=${shellQuote(serviceUser(installation))}
if id "$user" > /dev/null 2>&1; then userdel "$user"; fi
rm -rf ${shellQuote(lockDir(installation))}
`
