/**
 * The installation that all end-to-end tests of a run share, brought up by the code of `./scripts/up`, beside whatever else
 * runs on the machine. It goes when the run ends; should the run be killed, the next one removes it.
 */
import type { TestProject } from 'vitest/node'
import { provideAwsCli } from '../../scripts/setup/aws-cli.ts'
import { createScratchStack, removeAbandonedStacks } from '../../scripts/scratch-stack.ts'
import { providePostgres } from '../../scripts/setup/postgres.ts'
import { toolPath } from '../../scripts/setup/paths.ts'
import { prepareMachine } from '../../scripts/setup/prepare.ts'
import './installation.ts'

const report = (line: string): void => void process.stderr.write(`stack: ${line}\n`)

export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  await prepareMachine([], ['test'])
  await provideAwsCli(report)
  await providePostgres(report)
  await removeAbandonedStacks(report)
  const { premises, connection, remove } = await createScratchStack(report)
  process.env['FORKYARD_NATS_SERVER'] ??= toolPath('nats-server')
  provide('installation', { ...premises, ...connection })
  return remove
}
