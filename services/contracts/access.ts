/**
 * Who may call what.
 *
 * NATS KV bucket `access`: key `principal.<tenant>.<name>` is a `Principal`, key `key.<accessKeyId>` an `AccessKeyRecord`. What a function
 * allows to others is in its own record (`ResourcePolicy`).
 */
import { Type, type Static } from 'typebox'

/**
 * `viewer` reads, `invoker` calls functions, `deployer` does both and changes functions, `admin` also keeps the tenant's principals,
 * keys and resource policies. `operator` keeps principals and keys of every tenant, and nothing else.
 */
export const roles = ['viewer', 'invoker', 'deployer', 'admin', 'operator'] as const
export type Role = (typeof roles)[number]

/** Tenants and principals are parts of subjects, keys and ARNs. */
export const AccessName = Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' })

/** Of the stack's own key; nobody else may have it. */
export const rootPrincipal = 'root'

export const Principal = Type.Object(
  {
    tenant: AccessName,
    name: AccessName,
    /** New for each principal, so that keys of a deleted one never belong to another of the same name. */
    principalId: Type.String(),
    roles: Type.Array(Type.Enum(roles), { uniqueItems: true }),
    /** ISO 8601. */
    createdAt: Type.String(),
    /** In the store alone: by the installation's own key (`chassis/signing.ts`). */
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type Principal = Static<typeof Principal>

export const keyStatuses = ['Active', 'Inactive'] as const

export const AccessKeyRecord = Type.Object(
  {
    accessKeyId: Type.String(),
    tenant: AccessName,
    principal: AccessName,
    principalId: Type.String(),
    status: Type.Enum(keyStatuses),
    /** ISO 8601. */
    createdAt: Type.String(),
    /** ISO 8601; from then on the key is refused. Absent: never. */
    expiresAt: Type.Optional(Type.String()),
    /** The secret access key, sealed for `key.<accessKeyId>` (`chassis/sealing.ts`). */
    sealedSecret: Type.String(),
    /** In the store alone: by the installation's own key (`chassis/signing.ts`). */
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type AccessKeyRecord = Static<typeof AccessKeyRecord>

/** One statement of a resource policy, in the words of AddPermission. */
export const PolicyStatement = Type.Object(
  {
    sid: Type.String(),
    /** `lambda:<name>`, `lambda:*` or `*`. */
    action: Type.String(),
    /** `*`, an account number, the ARN of an account or a principal, or the name of an AWS service. */
    principal: Type.String(),
    sourceArn: Type.Optional(Type.String()),
    sourceAccount: Type.Optional(Type.String()),
    principalOrgId: Type.Optional(Type.String()),
    eventSourceToken: Type.Optional(Type.String()),
    functionUrlAuthType: Type.Optional(Type.Enum(['NONE', 'AWS_IAM'])),
    invokedViaFunctionUrl: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
export type PolicyStatement = Static<typeof PolicyStatement>

export const ResourcePolicy = Type.Object(
  { revisionId: Type.String(), statements: Type.Array(PolicyStatement) },
  { additionalProperties: false },
)
export type ResourcePolicy = Static<typeof ResourcePolicy>
