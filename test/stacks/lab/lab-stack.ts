/** A stack on the hosts or the cluster of a lab, by the code of `./scripts/up` and with a configuration file as people write it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { findConnection, type Connection } from '../../../services/cli/connection.ts'
import { engineEnv, enginePath, openStack, runEngine } from '../../../scripts/engine.ts'
import { changesOf } from '../../../scripts/engine-output.ts'
import { configFile, recordPremises, stateFile, type Place } from '../../../scripts/place.ts'
import { repoRoot } from '../../../scripts/setup/paths.ts'
import { bringUp, takeDown, takeOver, type UpResult } from '../../../scripts/stack.ts'
import type { StackConfig } from '../../../stacks/config.ts'
import type { HostConfig } from '../../../stacks/host-config.ts'
import type { LabHost } from './lab-host.ts'
import type { Lab } from './lab.ts'

export type HostSettings = Partial<HostConfig> & Pick<HostConfig, 'roles'>

/** What a stack tells of itself. */
export interface StackOutputs {
  readonly version: string
  /** By runtime; of the target `local` alone. */
  readonly images: Readonly<Record<string, { readonly digest: string; readonly checkpointKey: string }>>
}

const seconds = (from: number): string => ((performance.now() - from) / 1000).toFixed(1)

export class LabStack {
  readonly place: Place
  readonly stateDir: string
  readonly runDir: string
  readonly installation: string
  readonly #lab: Pick<Lab, 'dir' | 'privateKey'>
  readonly #log: (line: string) => void
  readonly #target: StackConfig['target']
  #settings: Readonly<Record<string, unknown>> = {}
  #secret = ''
  #tree = repoRoot

  constructor(
    lab: Pick<Lab, 'dir' | 'privateKey'>,
    installation: string,
    log: (line: string) => void,
    target: StackConfig['target'] = 'metal',
  ) {
    this.#target = target
    this.#lab = lab
    this.#log = log
    this.installation = installation
    this.stateDir = join('/var/lib/forkyard', installation)
    this.runDir = join('/run/forkyard', installation)
    const currentTree = () => this.#tree
    this.place = {
      get tree() {
        return currentTree()
      },
      stack: installation,
      engineDir: join(lab.dir, 'engine', installation),
      configText: () => this.#text(),
    }
  }

  /** One host as the configuration has it. */
  hostConfig({ name, address, hostKey }: LabHost, settings: HostSettings): Record<string, unknown> {
    return { name, address, hostKey, memoryMiB: 1024, instances: 8, ...settings }
  }

  /** Another commit of the project is brought up from now on. */
  useTree(dir: string): void {
    this.#tree = dir
  }

  /** By key without namespace; what was set before stays. */
  configure(settings: Readonly<Record<string, unknown>>): void {
    this.#settings = { ...this.#settings, ...settings }
  }

  /** As `pulumi config set --secret forkyard:sshPrivateKey` does. */
  async setPrivateKey(): Promise<void> {
    await openStack(this.place)
    const args = ['config', 'set', '--secret', 'forkyard:sshPrivateKey', ...this.stackArgs]
    await runEngine(this.place, args, { input: this.#lab.privateKey })
    const text = readFileSync(configFile(this.place), 'utf8')
    const line = /^encryptionsalt: .*$/m.exec(text)?.[0] ?? ''
    this.#secret = `${line}\n${/^ {2}forkyard:sshPrivateKey:\n {4}secure: .*$/m.exec(text)?.[0] ?? ''}`
  }

  get stackArgs(): string[] {
    return ['--stack', this.place.stack, '--config-file', configFile(this.place)]
  }

  async up(): Promise<UpResult> {
    const from = performance.now()
    const result = await bringUp(this.place, this.#log)
    this.#log(`up took ${seconds(from)} s: ${JSON.stringify(result.changes)}`)
    return result
  }

  /** @returns what the engine says @throws CommandError */
  async preview(): Promise<string> {
    await openStack(this.place)
    return runEngine(this.place, ['preview', ...this.stackArgs])
  }

  /** The state with its secrets, as `findDrift` wants it. */
  exported(): Promise<string> {
    return runEngine(this.place, ['stack', 'export', '--show-secrets', '--stack', this.place.stack])
  }

  async down(): Promise<void> {
    const from = performance.now()
    await takeDown(this.place, this.#log)
    this.#log(`destroy took ${seconds(from)} s`)
  }

  /** Looks for what is no longer as the last update made it, and notes it. */
  async refresh(): Promise<Pick<UpResult, 'changes'>> {
    await openStack(this.place)
    return {
      changes: changesOf(await runEngine(this.place, ['refresh', '--yes', '--skip-preview', ...this.stackArgs])),
    }
  }

  /** As somebody with plain Pulumi does. @throws CommandError */
  async destroyWithEngine(): Promise<void> {
    await openStack(this.place)
    await runEngine(this.place, ['destroy', '--yes', '--skip-preview', ...this.stackArgs])
  }

  /** The engine, killed once a line of its output matches. What an earlier one left is cleared first, as every run does. */
  async upKilledAt(line: RegExp): Promise<void> {
    await takeOver(this.place, this.#log)
    await openStack(this.place)
    const { installation, stateDir, runDir } = this
    recordPremises(this.place, { installation, stateDir, runDir, target: this.#target })
    const args = ['up', '--yes', '--skip-preview', ...this.stackArgs, '--non-interactive', '--color', 'never']
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    const engine = spawn(enginePath(), args, { cwd: this.#tree, env: engineEnv(this.place), stdio: [...stdio] })
    let seen = false
    engine.stdout?.on('data', (text: Buffer) => {
      if (seen || !line.test(text.toString())) return
      seen = true
      engine.kill('SIGKILL')
    })
    await once(engine, 'exit')
    if (!seen) throw new Error(`the engine ended before it said ${String(line)}`)
  }

  /** What is of it on this machine, should it not have been taken down. */
  forget(): void {
    rmSync(this.stateDir, { recursive: true, force: true })
  }

  get connection(): Connection {
    return findConnection({ FORKYARD_STATE_DIR: this.stateDir })
  }

  get exists(): boolean {
    return existsSync(stateFile(this.place))
  }

  get state(): string {
    return readFileSync(stateFile(this.place), 'utf8')
  }

  /** Of the last update that came to its end. */
  get outputs(): StackOutputs {
    const { checkpoint } = JSON.parse(this.state) as {
      checkpoint: { latest: { resources: { type: string; outputs: StackOutputs }[] } }
    }
    const found = checkpoint.latest.resources.find(({ type }) => type === 'pulumi:pulumi:Stack')
    if (!found) throw new Error('the state has no stack')
    return found.outputs
  }

  #text(): string {
    const [salt = '', secret = ''] = this.#secret.split(/\n(.*)/s)
    const { stateDir, runDir, installation } = this
    // A lab is there to be taken away.
    const all = { target: this.#target, installation, stateDir, runDir, protectData: false, ...this.#settings }
    const lines = Object.entries(all).map(([key, value]) => {
      if (value === undefined) return ''
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      return `  forkyard:${key}: ${JSON.stringify(text)}\n`
    })
    return `${salt ? `${salt}\n` : ''}config:\n${lines.join('')}${secret}\n`
  }
}
