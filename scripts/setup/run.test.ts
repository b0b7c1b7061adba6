import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { CommandError, run } from './run.ts'

it('gives what the command writes on stdout, and every line as it comes', async () => {
  const lines: string[] = []
  const text = await run('sh', ['-c', 'echo a; echo b >&2; cat'], { input: 'c\n', onLine: (line) => lines.push(line) })
  expect(text).toBe('a\nc\n')
  expect(lines.toSorted()).toEqual(['a', 'b', 'c'])
})

it('a failure tells the exit code and the end of what was written', async () => {
  const failed = run('sh', ['-c', 'echo on stdout; echo on stderr >&2; exit 3'])
  await expect(failed).rejects.toThrow(/exit code 3[\s\S]*on stderr/)
  await expect(failed).rejects.toBeInstanceOf(CommandError)
})

it('a command that does not exist is named', async () => {
  await expect(run('forkyard-no-such-command', [])).rejects.toThrow(/forkyard-no-such-command.*ENOENT/)
})

it('a time limit ends the command and all that it started', async () => {
  let child = 0
  const slow = run('sh', ['-c', 'sleep 60 & echo $!; wait'], {
    timeoutMs: 300,
    onLine: (line) => (child = Number(line)),
  })
  await expect(slow).rejects.toThrow(/its time limit of 0\.005 min/)
  // A killed process is gone once its parent, which is process 1 now, has seen it.
  for (let round = 0; round < 100 && isAlive(child); round++) await delay(20)
  expect([child > 0, isAlive(child)]).toEqual([true, false])
})

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
