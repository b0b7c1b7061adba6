/**
 * A node that joined asks a gateway now and then for what the installation says of it: other keys, pools or settings are written into its
 * configuration, and it begins anew with them. Before its certificate is over it makes another.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Value } from 'typebox/value'
import type { ServiceTls } from '../../chassis/internal-tls.ts'
import type { Logger } from '../../chassis/log.ts'
import { writeWhole } from '../../chassis/write-whole.ts'
import { callHeaders } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { refreshPath, type JoinedConfig } from '../../contracts/joining.ts'
import { NodeAgentConfig } from '../config.ts'
import { askGateway } from './ask-gateway.ts'
import { isDue, makeCertificate, type KeyPair } from './certificate.ts'
import { changedConfig, type MachineConfig } from './merged-config.ts'

export interface StayJoinedDeps {
  readonly config: NodeAgentConfig
  /** Path of the file that `config` was read from. */
  readonly configFile: string
  readonly logger: Logger
  /** Ends this process, whose supervisor starts another with the file of then. */
  readonly beginAnew: () => void
  /** For tests. */
  readonly times?: Partial<typeof times>
  readonly now?: () => number
}

const times = {
  everyMs: 10 * 60_000,
  /** Nobody answered. */
  againMs: 10_000,
  /** Nodes do not begin anew all at once: at most so late. */
  spreadMs: 30_000,
  certificateDays: 30,
}

/** Between three quarters and five quarters of it. */
const about = (ms: number): number => ms * (0.75 + Math.random() / 2)

export class StayJoined {
  readonly #deps: StayJoinedDeps
  readonly #times: typeof times
  readonly #stop = new AbortController()
  /** For connections from now on; told of each other certificate. */
  useCertificate: (pair: KeyPair) => void = () => undefined
  #tls: ServiceTls | undefined
  /** Made, and not known to be in the record: its answer may have been lost, so it is not made twice. */
  #pending: KeyPair | undefined
  /** The installation does not know this node any more. */
  removed = false

  constructor(deps: StayJoinedDeps) {
    this.#deps = deps
    this.#times = { ...times, ...deps.times }
    this.#tls = deps.config.tls
  }

  /** As it is now: it may be another one by the time the agent listens. */
  get tls(): ServiceTls | undefined {
    return this.#tls
  }

  /** To be started before NATS is connected to: who was removed, or has other servers by now, does not get in there, and learns why here. */
  start(): void {
    this.#run().catch((err: unknown) => {
      if (!this.#stop.signal.aborted) this.#deps.logger.error({ err }, 'joined: this node asks no more')
    })
  }

  close(): void {
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (;;) {
      const reached = await this.#refresh()
      await delay(about(reached ? this.#times.everyMs : this.#times.againMs), undefined, { signal, ref: false })
    }
  }

  /** @returns false: to be tried again soon */
  async #refresh(): Promise<boolean> {
    const { logger } = this.#deps
    try {
      const renewed = await this.#dueCertificate()
      const said = await this.#ask(renewed)
      if (this.removed) logger.info('joined: the installation knows this node again')
      this.removed = false
      if (renewed) this.#switchTo(renewed)
      await this.#take(said)
      return true
    } catch (err) {
      if (this.#stop.signal.aborted) return true
      if (err instanceof PlatformError && err.code === 'FORBIDDEN') {
        if (!this.removed)
          logger.error({ err }, 'joined: the installation does not know this node: it takes no more work')
        this.removed = true
        return true
      }
      logger.warn({ err }, 'joined: what the installation says of this node could not be asked for')
      return false
    }
  }

  async #dueCertificate(): Promise<KeyPair | undefined> {
    const { config, now = Date.now } = this.#deps
    if (!this.#tls || !isDue(this.#tls.cert, now())) return undefined
    this.#pending ??= await makeCertificate(config.nodeId, config.listen.host, this.#times.certificateDays)
    return this.#pending
  }

  /** Any gateway will do. @throws PlatformError */
  async #ask(renewed: KeyPair | undefined): Promise<JoinedConfig> {
    const { joined, callToken } = this.#deps.config
    const question = {
      path: refreshPath,
      headers: { [callHeaders.token]: `Bearer ${callToken}` },
      body: renewed ? { certificate: renewed.cert } : {},
    }
    let problem: unknown = new Error('no gateway is known')
    for (const url of (joined?.urls ?? []).toSorted(() => Math.random() - 0.5))
      try {
        return await askGateway(url, joined?.authority, question)
      } catch (error) {
        problem = error
        if (error instanceof PlatformError && error.code === 'FORBIDDEN') break
      }
    throw problem
  }

  /** The gateway has it in the record, beside the one before. */
  #switchTo(pair: KeyPair): void {
    const { configFile, logger } = this.#deps
    if (!this.#tls) return
    const tls = { ...this.#tls, ...pair }
    // What fails here is done again with the next refresh.
    write(configFile, { ...read(configFile), tls })
    this.useCertificate(pair)
    this.#tls = tls
    this.#pending = undefined
    logger.info('joined: this node has another certificate')
  }

  async #take({ agent: said }: JoinedConfig): Promise<void> {
    const { configFile, beginAnew, logger } = this.#deps
    const changed = changedConfig(said, read(configFile))
    if (!changed) return
    const whole = Value.Default(NodeAgentConfig, structuredClone(changed))
    if (!Value.Check(NodeAgentConfig, whole)) {
      const problems = Value.Errors(NodeAgentConfig, whole).map((error) => `${error.instancePath} ${error.message}`)
      return logger.error({ problems }, 'joined: what the installation says does not fit, and is not taken')
    }
    await delay(Math.random() * this.#times.spreadMs, undefined, { signal: this.#stop.signal })
    write(configFile, changed)
    logger.info('joined: the installation says something else of this node, which begins anew')
    beginAnew()
  }
}

const read = (file: string): MachineConfig => JSON.parse(readFileSync(file, 'utf8')) as MachineConfig

const write = (file: string, config: MachineConfig): void => writeWhole(file, JSON.stringify(config), true)
