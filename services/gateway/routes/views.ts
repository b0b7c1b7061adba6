/** Shapes of the answers, for the OpenAPI document and the tests that hold the answers against it. */
import { Type, type TSchema } from 'typebox'
import { runtimeNames } from '../../contracts/function.ts'

const text = Type.String()
const optional = Type.Optional

export const Variables = Type.Record(Type.String(), Type.String())

export const FunctionConfiguration = Type.Object({
  FunctionName: text,
  FunctionArn: text,
  Runtime: Type.Enum(runtimeNames),
  Role: text,
  Handler: text,
  CodeSize: Type.Integer(),
  Description: text,
  Timeout: Type.Integer(),
  MemorySize: Type.Integer(),
  LastModified: text,
  CodeSha256: text,
  Version: text,
  Environment: optional(Type.Object({ Variables })),
  TracingConfig: Type.Object({ Mode: text }),
  RevisionId: text,
  Layers: Type.Array(Type.Unknown()),
  State: text,
  LastUpdateStatus: text,
  PackageType: text,
  Architectures: Type.Array(text),
  EphemeralStorage: Type.Object({ Size: Type.Integer() }),
  SnapStart: Type.Object({ ApplyOn: text, OptimizationStatus: text }),
  LoggingConfig: Type.Object({ LogFormat: text, LogGroup: text }),
})

export const Concurrency = Type.Object({ ReservedConcurrentExecutions: Type.Integer() })

const ProvisionedConcurrencyState = {
  RequestedProvisionedConcurrentExecutions: Type.Integer(),
  AvailableProvisionedConcurrentExecutions: Type.Integer(),
  AllocatedProvisionedConcurrentExecutions: Type.Integer(),
  Status: Type.Enum(['IN_PROGRESS', 'READY', 'FAILED']),
  StatusReason: optional(text),
  LastModified: text,
}
export const ProvisionedConcurrency = Type.Object(ProvisionedConcurrencyState)
export const ProvisionedConcurrencyOf = Type.Object({ FunctionArn: text, ...ProvisionedConcurrencyState })

export const FunctionAndCode = Type.Object({
  Configuration: FunctionConfiguration,
  Code: Type.Object({ RepositoryType: text, Location: text }),
  Tags: optional(Variables),
  Concurrency: optional(Concurrency),
})

export const Alias = Type.Object({
  AliasArn: text,
  Name: text,
  FunctionVersion: text,
  Description: text,
  RevisionId: text,
  RoutingConfig: optional(Type.Object({ AdditionalVersionWeights: Type.Record(Type.String(), Type.Number()) })),
})

const strings = optional(Type.Array(text))
export const CorsView = Type.Object({
  AllowCredentials: optional(Type.Boolean()),
  AllowHeaders: strings,
  AllowMethods: strings,
  AllowOrigins: strings,
  ExposeHeaders: strings,
  MaxAge: optional(Type.Integer()),
})

export const UrlConfig = Type.Object({
  FunctionUrl: text,
  FunctionArn: text,
  AuthType: Type.Enum(['NONE', 'AWS_IAM']),
  InvokeMode: Type.Enum(['BUFFERED', 'RESPONSE_STREAM']),
  Cors: optional(CorsView),
  CreationTime: text,
  LastModifiedTime: text,
})

export const EventInvokeConfig = Type.Object({
  /** Epoch seconds. */
  LastModified: Type.Number(),
  FunctionArn: text,
  MaximumRetryAttempts: Type.Integer(),
  MaximumEventAgeInSeconds: Type.Integer(),
  DestinationConfig: Type.Object({ OnSuccess: Type.Object({}), OnFailure: Type.Object({}) }),
})

export const listOf = (member: string, item: TSchema) =>
  Type.Object({ [member]: Type.Array(item), NextMarker: optional(text) })

export const named = {
  FunctionName: Type.String({ minLength: 1, description: 'Name, partial ARN or ARN, with or without qualifier' }),
}
export const Named = Type.Object(named)
export const qualifier = { Qualifier: optional(Type.String({ minLength: 1, maxLength: 128 })) }
export const Qualified = Type.Object(qualifier)
export const RevisionId = optional(Type.Union([Type.String(), Type.Null()]))
export const Description = optional(Type.Union([Type.String({ maxLength: 256 }), Type.Null()]))
