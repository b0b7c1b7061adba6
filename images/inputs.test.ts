import { expect, test } from 'vitest'
import { runtimeNames } from '../services/contracts/function.ts'
import { checkpointInputsDigest, runtimeInputsDigest } from './inputs.ts'

test('each runtime has its own digest, which stays while nothing changes', () => {
  const digests = [...runtimeNames.map(runtimeInputsDigest), checkpointInputsDigest()]
  expect(new Set(digests).size).toBe(digests.length)
  expect([...runtimeNames.map(runtimeInputsDigest), checkpointInputsDigest()]).toEqual(digests)
})
