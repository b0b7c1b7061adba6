/** What the processes of sandboxes are to the host: nobody, with no capability, behind a filter, with nothing in hand but what is listed. */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { installation } from '../installation.ts'
import { sandboxIds, sandboxProcesses } from '../machine-state.ts'
import { postureOf, problemsOf, type Posture } from './posture.ts'

const target = installation()
const client = lambdaClient(target)

/** Of sandboxes in which code of a function runs. */
let serving: Posture[]
/** Of those that were made ahead and wait: no code runs in them yet, and their filter comes with it. */
let ahead: Posture[]

const posturesOf = (sandboxId: string): Posture[] =>
  [...new Set(sandboxProcesses(target, sandboxId))].flatMap((pid) => {
    try {
      return [postureOf(Number(pid))]
    } catch {
      return []
    }
  })

/** For its code; the umounter ends before that. */
const waits = (postures: Posture[]): boolean => postures.some(({ kind }) => kind === 'umounter')

const patience = { timeout: 60_000, interval: 500 }

beforeAll(async () => {
  const before = new Set(sandboxIds(target))
  const serves: string[] = []
  for (const start of ['boot', 'restore', 'fork'] as const)
    for (const [Runtime, code] of [
      ['nodejs24.x', { 'index.mjs': 'export const handler = async () => 1' }],
      ['python3.11', { 'index.py': 'def handler(event, context):\n    return 1\n' }],
    ] as const) {
      const name = uniqueName('posture')
      await createFunction(client, name, code, { Runtime })
      // A start that does not come off falls back to another one; what is looked at here are the processes of each.
      await vi.waitFor(async () => expect((await invoke(client, name, {}, { start })).startType).toBe(start), patience)
      serves.push(name)
    }
  const all = [...new Set([...before, ...sandboxIds(target)])].map((id) => posturesOf(id))
  serving = all.filter((postures) => !waits(postures)).flat()
  ahead = all.filter(waits).flat()
  expect(serving.filter(({ kind }) => kind === 'gofer').length).toBeGreaterThanOrEqual(serves.length)
})

describe('a process of a sandbox', () => {
  it('in which code runs has nothing that it does not need', () => {
    expect(serving.flatMap((posture) => problemsOf(posture, target))).toEqual([])
  })

  it('that waits for its code differs in its filter alone', () => {
    const others = ahead
      .flatMap((posture) => problemsOf(posture, target))
      .filter((problem) => !problem.includes('seccomp'))
    expect(others).toEqual([])
  })
})

describe('negative control: a process that is not in a sandbox', () => {
  it('has every problem that is looked for', async () => {
    const file = openSync('/etc/hostname', 'r')
    const child = spawn('sleep', ['1000'], { stdio: ['ignore', file, 'ignore'] })
    try {
      const problems = problemsOf({ ...postureOf(child.pid ?? 0), kind: 'sandbox' }, target).join('\n')
      for (const of of [
        'seccomp',
        'noNewPrivs',
        'uid',
        'capabilities',
        'bounding',
        'namespace user',
        'namespace net',
        'root directory',
        'descriptor /etc/hostname',
      ])
        expect(problems, of).toContain(of)
    } finally {
      child.kill('SIGKILL')
      closeSync(file)
    }
  })
})
