/** The host's side of `place.ts`, for its own shell: Node.js itself is placed by it. Arguments are `$1`, `$2`, ...; nothing is quoted in. */

/** Each path's SHA-256, a line each; empty where there is no such file. */
export const existingScript = `for path; do
  if [ -f "$path" ]; then sha256sum < "$path" | cut -d ' ' -f 1; else echo; fi
done`

/** SHA256 PATH MODE LINK, content on stdin. Without SHA256 the file is there already. Without LINK none is made. */
export const putScript = `set -eu
if [ -n "$1" ]; then
  # The directories are for everybody: the services' user has to pass.
  umask 022
  mkdir -p "\${2%/*}"
  partial="$2.partial.$$"
  trap 'rm -f "$partial"' EXIT
  cat > "$partial"
  echo "$1  $partial" | sha256sum --check --status || { echo "$2 did not arrive as it was sent" >&2; exit 1; }
  chmod "$3" "$partial"
  mv "$partial" "$2"
fi
if [ -n "$4" ] && [ "$(readlink "$4" || true)" != "$2" ]; then
  umask 022
  mkdir -p "\${4%/*}"
  ln -s "$2" "$4.partial.$$"
  mv -T "$4.partial.$$" "$4"
fi`

/** DIR KEEP...: one generation back stays, for services that run on it until they are restarted. */
export const pruneScript = `set -eu
dir=$1
shift
now=$(for path; do echo "\${path##*/}"; done | sort -u)
if [ "$now" != "$(cat "$dir/.current" 2> /dev/null || true)" ]; then
  if [ -e "$dir/.current" ]; then mv "$dir/.current" "$dir/.previous"; fi
  echo "$now" > "$dir/.current"
fi
for path in "$dir"/*; do
  name=\${path##*/}
  grep -qxF "$name" "$dir/.current" "$dir/.previous" 2> /dev/null || rm -rf "$path"
done`

/** Paths, with the directories that are empty then. */
export const removeScript = `for path; do
  rm -rf "$path"
  rmdir "\${path%/*}" 2> /dev/null || true
done`
