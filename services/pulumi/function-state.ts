/** What the platform says about a function, in the words of the resource `Function`. */
import { isDeepStrictEqual } from 'node:util'
import {
  GetAliasCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  type FunctionConfiguration,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { orUndefined } from '../cli/or-undefined.ts'
import { policyTagNames } from '../gateway/policy-tags.ts'
import { ownerTag } from './function-inputs.ts'
import { isObject, secret, type Properties } from './property-values.ts'
import type { Found } from './resource-kind.ts'

/**
 * Both what the alias serves and what `$LATEST` holds count: where one of them is not as it is known to be, that one is told.
 * Without the alias its name is empty.
 */
export const readFunction = async (client: LambdaClient, id: string, known: Properties): Promise<Found | undefined> => {
  const found = await orUndefined(client.send(new GetFunctionCommand({ FunctionName: id })))
  if (!found?.Configuration) return undefined
  const aliasName = typeof known['alias'] === 'string' && known['alias'] !== '' ? known['alias'] : 'live'
  const alias = await orUndefined(client.send(new GetAliasCommand({ FunctionName: id, Name: aliasName })))
  const latest = settingsIn(found.Configuration)
  const served = alias
    ? settingsIn(
        await client.send(new GetFunctionConfigurationCommand({ FunctionName: id, Qualifier: alias.FunctionVersion })),
      )
    : latest
  const settings = Object.fromEntries(
    Object.keys(latest).map((key) => [key, isDeepStrictEqual(served[key], known[key]) ? latest[key] : served[key]]),
  )
  const arn = found.Configuration.FunctionArn ?? ''
  const codeIsKnown = settings['codeSha256'] === known['codeSha256']
  const inputs = {
    name: id,
    ...('code' in known ? { code: known['code'] } : {}),
    ...('include' in known ? { include: known['include'] } : {}),
    ...settings,
    environment: withoutStrangers(settings['environment'] as Variables, known['environment']),
    files: codeIsKnown ? known['files'] : {},
    ...fromTags(found.Tags ?? {}),
    alias: alias ? aliasName : '',
    aliasWeights: alias?.RoutingConfig?.AdditionalVersionWeights ?? {},
  }
  return { inputs, computed: { arn, version: alias?.FunctionVersion ?? '', qualifiedArn: `${arn}:${aliasName}` } }
}

type Variables = Readonly<Record<string, string>>

const settingsIn = (configuration: FunctionConfiguration): Properties => ({
  runtime: configuration.Runtime ?? '',
  handler: configuration.Handler ?? '',
  memory: configuration.MemorySize ?? 0,
  timeout: configuration.Timeout ?? 0,
  description: configuration.Description ?? '',
  environment: configuration.Environment?.Variables ?? {},
  codeSha256: configuration.CodeSha256 ?? '',
})

/** A value that somebody else gave may be a secret: whether it is cannot be asked. */
const withoutStrangers = (variables: Variables, known: unknown): Properties =>
  Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [
      name,
      isObject(known) && known[name] === value ? value : secret(value),
    ]),
  )

const fromTags = (all: Readonly<Record<string, string>>): Properties => {
  const policy = Object.entries(policyTagNames).flatMap(([property, tag]) =>
    all[tag] === undefined ? [] : [[property, plain(all[tag])]],
  )
  const own = new Set<string>([...Object.values(policyTagNames), ownerTag])
  const tags = Object.fromEntries(Object.entries(all).filter(([tag]) => !own.has(tag)))
  return { ...Object.fromEntries(policy), tags }
}

/** Tags are text; numbers and truth values were written as JSON does. */
const plain = (text: string): unknown => (/^(\d+|true|false)$/.test(text) ? JSON.parse(text) : text)
