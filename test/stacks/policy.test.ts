/** The policy pack under the real engine: it refuses before anything is run, and without it the same program is run. */
import { existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeBackend, runEngine } from '../../scripts/engine.ts'
import type { Place } from '../../scripts/place.ts'
import { policyPack } from '../../scripts/ci/pipeline.ts'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import type { CommandError } from '../../scripts/setup/run.ts'

const dir = mkdtempSync(join(tmpdir(), 'forkyard-policy-'))
const place: Place = { stack: 'policy', engineDir: join(dir, 'engine'), configText: () => '' }
const made = (name: string): string => join(dir, name)

/** The second command's input is known only after the first has run: the violation in it no preview can see. */
const program = `
import { local } from '@pulumi/command'
import * as pulumi from '@pulumi/pulumi'
const word = new local.Command('word', { create: 'touch ${made('first')}; echo root' })
new local.Command('later', {
  create: 'touch ${made('second')}',
  stdin: word.stdout.apply((privileges) => JSON.stringify({ name: 'gateway', privileges: privileges.trim(), files: [] })),
})
`
const plainSecret = `new local.Command('plain', { create: 'touch ${made('third')}; true --password=hunter2222' })\n`

const engine = (...args: string[]): Promise<string> =>
  runEngine(place, [...args, '--stack', place.stack, '--suppress-progress'], { cwd: dir })
const failure = (output: Promise<string>): Promise<string> =>
  output.then(
    () => 'it succeeded',
    (error: CommandError) => error.output,
  )

beforeAll(async () => {
  await prepareMachine()
  writeFileSync(join(dir, 'Pulumi.yaml'), 'name: forkyard\nruntime: { name: nodejs, options: { typescript: false } }\n')
  writeFileSync(join(dir, 'package.json'), '{ "type": "module", "main": "index.js" }')
  symlinkSync(realpathSync(join(repoRoot, 'node_modules')), join(dir, 'node_modules'))
  makeBackend(place)
  await runEngine(place, ['stack', 'init', place.stack, '--no-select'], { cwd: dir })
}, 600_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

it('a preview names what is refused', async () => {
  writeFileSync(join(dir, 'index.js'), `${program}${plainSecret}`)
  expect(await failure(engine('preview', '--policy-pack', policyPack))).toMatch(
    /no-secrets-in-commands[\s\S]*a secret is in the command/,
  )
})

it('what only an update can know is refused before it is run', async () => {
  writeFileSync(join(dir, 'index.js'), program)
  await engine('preview', '--policy-pack', policyPack)
  expect(await failure(engine('up', '--yes', '--skip-preview', '--policy-pack', policyPack))).toMatch(
    /services-unprivileged[\s\S]*gateway has privileges: root/,
  )
  expect([existsSync(made('first')), existsSync(made('second'))]).toEqual([true, false])
})

it('without the pack all of it is run', async () => {
  writeFileSync(join(dir, 'index.js'), `${program}${plainSecret}`)
  await engine('up', '--yes', '--skip-preview')
  expect([existsSync(made('second')), existsSync(made('third'))]).toEqual([true, true])
})
