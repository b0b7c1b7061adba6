import { closeSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, expect, test } from 'vitest'
import { buildAddon } from '../native/build.ts'
import { loadHostCalls } from './host-calls.ts'

const dir = mkdtempSync(join(tmpdir(), 'forkyard-host-calls-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const calls = loadHostCalls(buildAddon(dir))

/** What the program wrote, and its wait status. */
const run = async (argv: string[], joinFiles: string[] = []) => {
  const [out, outEnd] = calls.pipe()
  const [err, errEnd] = calls.pipe()
  const output = [out, err].map((fd) => text(new Socket({ fd, readable: true, writable: false })))
  const status = await calls
    .run(argv, joinFiles, outEnd, errEnd)
    .finally(() => [outEnd, errEnd].forEach((fd) => closeSync(fd)))
  return { status, output: await Promise.all(output) }
}

test('a program runs with an empty environment, no input, its own output, and signals as usual', async () => {
  const script =
    'env | grep -v "^\\(PWD\\|SHLVL\\|_\\)="; cat; echo out; echo err >&2; grep SigIgn /proc/self/status; exit 3'
  expect(await run(['/bin/sh', '-c', script])).toEqual({
    status: 3 << 8,
    output: ['out\nSigIgn:\t0000000000000000\n', 'err\n'],
  })
  expect((await run(['/bin/sh', '-c', 'kill -9 $$'])).status).toBe(9)
})

test('it has joined what it was to join before it begins', async () => {
  const files = ['one', 'two'].map((name) => join(dir, name))
  for (const file of files) writeFileSync(file, '-')
  const { output } = await run(['/bin/cat', ...files], files)
  expect(output[0]).toBe('00')
  expect(readFileSync(join(dir, 'one'), 'utf8')).toBe('0')
})

test('what cannot be started says which step failed, and starts nothing', async () => {
  await expect(run([join(dir, 'none')])).rejects.toThrow('starting the program: No such file or directory')
  await expect(run(['/bin/true'], [join(dir, 'no-group')])).rejects.toThrow('joining a control group: No such file')
  expect(() => calls.run([], [], 1, 2)).toThrow('run')
})

const openDescriptors = () => readdirSync('/proc/self/fd').length

test('several run at the same time, and descriptors are given back', async () => {
  const before = openDescriptors()
  const all = await Promise.all(Array.from({ length: 20 }, (_, n) => run(['/bin/sh', '-c', `exit ${n}`])))
  expect(all.map(({ status }) => status >> 8)).toEqual(Array.from({ length: 20 }, (_, n) => n))
  expect(openDescriptors()).toBeLessThanOrEqual(before)
})
