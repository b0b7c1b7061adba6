/** Members of CreateFunction and UpdateFunctionConfiguration -> settings of a version; pure. */
import { Type, type Static } from 'typebox'
import { PlatformError } from '../contracts/errors.ts'
import { runtimeNames, type VersionConfig } from '../contracts/function.ts'
import { checkRuntime } from './archive/handler-files.ts'
import type { Settings } from './function-record.ts'

const nullable = <T extends Type.TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]))

/** AWS takes null for absent. */
export const settingMembers = {
  Runtime: nullable(Type.String({ maxLength: 64, description: runtimeNames.join(', ') })),
  Role: nullable(
    Type.String({ maxLength: 512, pattern: '^arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+$' }),
  ),
  Handler: nullable(Type.String({ minLength: 1, maxLength: 128, pattern: '^[^\\s]+$' })),
  Description: nullable(Type.String({ maxLength: 256 })),
  Timeout: nullable(Type.Integer({ minimum: 1, maximum: 900, description: 'seconds' })),
  MemorySize: nullable(Type.Integer({ minimum: 128, maximum: 10_240, description: 'MiB' })),
  EphemeralStorage: nullable(Type.Object({ Size: Type.Integer({ minimum: 512, maximum: 10_240 }) })),
  Environment: nullable(Type.Object({ Variables: nullable(Type.Record(Type.String(), Type.String())) })),
}
const SettingMembers = Type.Object(settingMembers)
export type SettingMembers = Static<typeof SettingMembers>

/** What is not given stays as it is in `before`. @throws PlatformError INVALID_REQUEST, UNKNOWN_RUNTIME */
export const settingsFrom = (
  members: SettingMembers,
  before: Settings | VersionConfig | undefined,
  environmentBytes: number,
): Settings => {
  const { Runtime, Role, Handler, Description, Timeout, MemorySize, EphemeralStorage, Environment } = members
  const environment = Environment ? (Environment.Variables ?? {}) : (before?.environment ?? {})
  if (Environment) checkEnvironment(environment, environmentBytes)
  return {
    runtime: Runtime ? checkRuntime(Runtime) : (before?.runtime ?? required('Runtime')),
    role: Role ?? before?.role ?? required('Role'),
    handler: Handler ?? before?.handler ?? required('Handler'),
    description: Description ?? before?.description ?? '',
    timeoutMs: Timeout ? Timeout * 1000 : (before?.timeoutMs ?? 3000),
    memoryMiB: MemorySize ?? before?.memoryMiB ?? 128,
    ephemeralStorageMiB: EphemeralStorage?.Size ?? before?.ephemeralStorageMiB ?? 512,
    environment,
  }
}

const required = (member: string): never => {
  throw new PlatformError('INVALID_REQUEST', `${member} is required for functions of package type Zip`, { member })
}

const reserved =
  /^(_HANDLER|_X_AMZN_TRACE_ID|AWS_(DEFAULT_REGION|REGION|EXECUTION_ENV|ACCESS_KEY|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|AWS_LAMBDA_(FUNCTION_NAME|FUNCTION_MEMORY_SIZE|FUNCTION_VERSION|INITIALIZATION_TYPE|LOG_GROUP_NAME|LOG_STREAM_NAME|RUNTIME_API)|LAMBDA_(TASK_ROOT|RUNTIME_DIR))$/

/** What the platform sets itself. */
export const isReservedVariable = (name: string): boolean => reserved.test(name)

const refused = 'Lambda was unable to configure your environment variables because'

const checkEnvironment = (environment: Readonly<Record<string, string>>, limit: number): void => {
  const names = Object.keys(environment)
  const malformed = names.find((name) => !/^[a-zA-Z][a-zA-Z0-9_]+$/.test(name) && !isReservedVariable(name))
  if (malformed !== undefined)
    throw new PlatformError(
      'INVALID_REQUEST',
      `Value '${malformed.slice(0, 128)}' at 'environment.variables' failed to satisfy constraint: Map keys must satisfy [a-zA-Z]([a-zA-Z0-9_])+`,
    )
  const taken = names.filter(isReservedVariable)
  if (taken.length > 0)
    throw new PlatformError(
      'INVALID_REQUEST',
      `${refused} the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: ${taken.join(', ')}`,
    )
  const unusable = names.find((name) => environment[name]?.includes('\0'))
  if (unusable !== undefined)
    throw new PlatformError('INVALID_REQUEST', `${refused} the value of ${unusable} has a NUL in it`)
  const bytes = Buffer.byteLength(JSON.stringify(environment))
  if (names.length > 0 && bytes > limit)
    throw new PlatformError(
      'INVALID_REQUEST',
      `${refused} the environment variables you have provided exceeded the ${limit} bytes limit. Measured: ${bytes}`,
      { limit: 'limits.environmentBytes', bytes: limit },
    )
}
