/** Which variables of a function are secrets: pure. */
import type { VersionConfig } from '../../contracts/function.ts'

const secretName =
  /SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE|API_?KEY|(^|_)(KEY|PWD|PASS|AUTH|DSN)(_|$)/i
/** `scheme://user:password@host` */
const holdsPassword = /^[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i

/** Names, sorted: those that say so, those of the function's tag, and those whose value is an address with a password. */
export const secretNames = ({
  environment,
  secretNames: named = [],
}: Pick<VersionConfig, 'environment' | 'secretNames'>): string[] =>
  Object.entries(environment)
    .filter(([name, value]) => named.includes(name) || secretName.test(name) || holdsPassword.test(value))
    .map(([name]) => name)
    .sort()
