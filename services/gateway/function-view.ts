/** Registry entries in the shapes of the Lambda API. */
import {
  functionArn,
  latest,
  type AliasRecord,
  type EventInvokeRecord,
  type FunctionRecord,
  type UrlRecord,
  type VersionConfig,
} from '../contracts/function.ts'
import { architecture } from './unsupported-members.ts'

interface Owned {
  readonly tenant: string
  readonly name: string
}

export const configurationView = (region: string, config: VersionConfig, qualifier?: string) => ({
  FunctionName: config.name,
  FunctionArn: functionArn(
    region,
    config.tenant,
    config.name,
    qualifier ?? (config.version === latest ? undefined : config.version),
  ),
  Runtime: config.runtime,
  Role: config.role,
  Handler: config.handler,
  CodeSize: config.codeSize,
  Description: config.description,
  Timeout: config.timeoutMs / 1000,
  MemorySize: config.memoryMiB,
  LastModified: config.lastModified,
  CodeSha256: config.codeSha256,
  Version: config.version,
  ...(Object.keys(config.environment).length > 0 ? { Environment: { Variables: config.environment } } : {}),
  TracingConfig: { Mode: 'PassThrough' },
  RevisionId: config.revisionId,
  Layers: [],
  State: 'Active',
  LastUpdateStatus: 'Successful',
  PackageType: 'Zip',
  Architectures: [architecture],
  EphemeralStorage: { Size: config.ephemeralStorageMiB },
  SnapStart: { ApplyOn: 'None', OptimizationStatus: 'Off' },
  LoggingConfig: { LogFormat: 'Text', LogGroup: `/aws/lambda/${config.name}` },
})

/** Empty where nothing is reserved. */
export const concurrencyView = ({ reservedConcurrency }: Pick<FunctionRecord, 'reservedConcurrency'>) =>
  reservedConcurrency === undefined ? {} : { ReservedConcurrentExecutions: reservedConcurrency }

export const aliasView = (region: string, { tenant, name }: Owned, alias: AliasRecord) => ({
  AliasArn: functionArn(region, tenant, name, alias.name),
  Name: alias.name,
  FunctionVersion: alias.functionVersion,
  Description: alias.description,
  RevisionId: alias.revisionId,
  ...(Object.keys(alias.weights).length > 0 ? { RoutingConfig: { AdditionalVersionWeights: alias.weights } } : {}),
})

export const eventInvokeView = (
  region: string,
  { tenant, name }: Owned,
  qualifier: string,
  config: EventInvokeRecord,
) => ({
  LastModified: Date.parse(config.lastModified) / 1000,
  FunctionArn: functionArn(region, tenant, name, qualifier),
  MaximumRetryAttempts: config.maximumRetryAttempts,
  MaximumEventAgeInSeconds: config.maximumEventAgeMs / 1000,
  DestinationConfig: { OnSuccess: {}, OnFailure: {} },
})

export const urlView = (
  where: { region: string; publicUrl: string; urlDomain: string },
  { tenant, name }: Owned,
  qualifier: string,
  url: UrlRecord,
) => ({
  FunctionUrl: functionUrl(where, url.urlId),
  FunctionArn: functionArn(where.region, tenant, name, qualifier === latest ? undefined : qualifier),
  AuthType: url.authType,
  InvokeMode: url.invokeMode,
  ...(url.cors ? { Cors: url.cors } : {}),
  CreationTime: url.creationTime,
  LastModifiedTime: url.lastModified,
})

export const functionUrl = (
  { publicUrl, urlDomain }: { publicUrl: string; urlDomain: string },
  urlId: string,
): string => {
  const { protocol, port } = new URL(publicUrl)
  return `${protocol}//${urlId}.${urlDomain}${port ? `:${port}` : ''}/`
}
