/** The ways in which a client may name a function: name, partial ARN, full ARN, each with or without a qualifier. */
import { accountIdOf, latest } from '../contracts/function.ts'
import { PlatformError } from '../contracts/errors.ts'

export interface FunctionName {
  readonly name: string
  /** Absent: not given; then it means `$LATEST`. */
  readonly qualifier: string | undefined
}

const pattern =
  /^(?:arn:(aws[a-zA-Z-]*):lambda:)?(?:([a-z]{2}(?:-[a-z]+)+-\d):)?(?:(\d{12}):)?(?:function:)?([a-zA-Z0-9-_]{1,64})(?::(\$LATEST|[a-zA-Z0-9-_]{1,128}))?$/

/** The account that a name says it belongs to; nothing where it says none. */
export const accountIn = (text: string): string | undefined => pattern.exec(text.slice(0, 256))?.[3]

/**
 * @param tenant whose functions are meant.
 * @throws PlatformError INVALID_REQUEST for a malformed name or contradicting qualifiers; NOT_FOUND for another region or account.
 */
export const parseFunctionName = (
  text: string,
  region: string,
  tenant: string,
  queryQualifier?: string,
): FunctionName => {
  const match = text.length <= 256 ? pattern.exec(text) : null
  if (!match)
    throw new PlatformError(
      'INVALID_REQUEST',
      `'${text.slice(0, 256)}' is no function name: expected a name of [a-zA-Z0-9-_]{1,64} or an ARN, with an optional :qualifier`,
    )
  const [, , inRegion, account, name = '', derived] = match
  const accountId = accountIdOf(tenant)
  if ((inRegion && inRegion !== region) || (account && account !== accountId))
    throw new PlatformError('NOT_FOUND', `Function not found: ${text} (this is region ${region}, account ${accountId})`)
  if (queryQualifier !== undefined && !/^(\$LATEST|[a-zA-Z0-9-_]{1,128})$/.test(queryQualifier))
    throw new PlatformError('INVALID_REQUEST', `'${queryQualifier.slice(0, 128)}' is no qualifier`)
  if (derived !== undefined && queryQualifier !== undefined && derived !== queryQualifier)
    throw new PlatformError(
      'INVALID_REQUEST',
      'The derived qualifier from the function name does not match the specified qualifier.',
    )
  return { name, qualifier: queryQualifier ?? derived }
}

/** A version number, as opposed to an alias or `$LATEST`. */
export const isVersionNumber = (qualifier: string): boolean => /^[1-9]\d{0,9}$/.test(qualifier)

export const isLatest = (qualifier: string | undefined): boolean => qualifier === undefined || qualifier === latest
