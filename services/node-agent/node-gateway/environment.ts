/** The environment of an instance: the function's own variables under Lambda's reserved ones. */
import type { VersionConfig } from '../../contracts/function.ts'

export const instanceEnvironment = (
  config: VersionConfig,
  instanceId: string,
  region: string,
): Record<string, string> => ({
  LANG: 'en_US.UTF-8',
  TZ: ':UTC',
  PATH: '/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin',
  ...config.environment,
  _HANDLER: config.handler,
  LAMBDA_TASK_ROOT: '/var/task',
  LAMBDA_RUNTIME_DIR: '/var/runtime',
  AWS_REGION: region,
  AWS_DEFAULT_REGION: region,
  AWS_EXECUTION_ENV: `AWS_Lambda_${config.runtime}`,
  AWS_LAMBDA_FUNCTION_NAME: config.name,
  AWS_LAMBDA_FUNCTION_VERSION: config.version,
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(config.memoryMiB),
  AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
  AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${config.name}`,
  AWS_LAMBDA_LOG_STREAM_NAME: instanceId,
})

/** Lambda's word for instances that start from a snapshot; the same in the process that is saved and in its clones. */
export const initialisationType = { AWS_LAMBDA_INITIALIZATION_TYPE: 'snap-start' }

/** Of an instance that was provisioned, and initialised by itself. */
export const provisionedType = { AWS_LAMBDA_INITIALIZATION_TYPE: 'provisioned-concurrency' }
