/** Functions with a network policy, and somebody outside of the host for them to talk to. */
import { expect } from 'vitest'
import type { NetworkPolicy } from '../../services/contracts/network.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { probeSource, putPolicy, type Step } from '../support/network-probe.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)

/** A function with this policy, or without a network. */
export const networked = async (prefix: string, policy?: NetworkPolicy): Promise<string> => {
  const name = uniqueName(prefix)
  await createFunction(client, name, probeSource, { MemorySize: 256 })
  if (policy) await putPolicy(target, name, policy)
  return name
}

type Start = Parameters<typeof invoke>[3]
export const ask = async (name: string, todo: readonly Step[], options: Start = {}, ms = 1000): Promise<unknown[]> => {
  const { json, text, startType } = await invoke(client, name, { todo, ms }, options)
  if (options.start) expect(startType).toBe(options.start.split('-')[0])
  expect(json, text).toBeInstanceOf(Array)
  return json as unknown[]
}
