/**
 * Members that AWS has and this platform has not. The values that ask for nothing are taken, as clients like Terraform send them;
 * what would silently not work is refused by name.
 */
import { PlatformError } from '../contracts/errors.ts'

type Harmless = (value: unknown, name: string) => boolean

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Nothing in it, at any depth. */
const isNothing: Harmless = (value) =>
  value === null ||
  value === undefined ||
  value === '' ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isObject(value) && Object.values(value).every((each) => isNothing(each, '')))

const only =
  (...taken: readonly unknown[]): Harmless =>
  (value) =>
    isNothing(value, '') || taken.includes(value)

/** Each member of the object nothing, or the one value that is how it is here anyway. */
const withDefaults =
  (defaults: Readonly<Record<string, (name: string) => unknown>>): Harmless =>
  (value, name) =>
    isNothing(value, name) ||
    (isObject(value) &&
      Object.entries(value).every(
        ([member, each]) =>
          isNothing(each, '') || (Object.hasOwn(defaults, member) && defaults[member]?.(name) === each),
      ))

export const architecture = process.arch === 'arm64' ? 'arm64' : 'x86_64'

const members: Readonly<Record<string, Harmless>> = {
  PackageType: only('Zip'),
  Architectures: (value) =>
    isNothing(value, '') || (Array.isArray(value) && value.length === 1 && value[0] === architecture),
  TracingConfig: withDefaults({ Mode: () => 'PassThrough' }),
  SnapStart: withDefaults({ ApplyOn: () => 'None' }),
  LoggingConfig: withDefaults({ LogFormat: () => 'Text', LogGroup: (name) => `/aws/lambda/${name}` }),
}

const advice: Readonly<Record<string, string>> = {
  Architectures: `; the nodes here are ${architecture}`,
  SnapStart: '; starts from checkpoints need no setting here',
  S3Bucket: '; give the code as ZipFile',
  S3Key: '; give the code as ZipFile',
  ImageUri: '; give the code as ZipFile',
  PackageType: '; only Zip is',
  DeadLetterConfig: '; events that fail are kept under /forkyard/v1/functions/<name>/dead-letters',
}

/** @throws PlatformError INVALID_REQUEST naming the first member that asks for something. */
export const refuseUnsupported = (
  body: Readonly<Record<string, unknown>>,
  known: ReadonlySet<string>,
  name: string,
): void => {
  for (const [member, value] of Object.entries(body)) {
    if (known.has(member)) continue
    const harmless = Object.hasOwn(members, member) ? members[member] : isNothing
    if (!harmless?.(value, name))
      throw new PlatformError(
        'INVALID_REQUEST',
        `${member.slice(0, 64)} is not supported here${advice[member] ?? ''}`,
        {
          member: member.slice(0, 64),
        },
      )
  }
}
