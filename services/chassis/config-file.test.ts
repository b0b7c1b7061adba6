/** A service that is not sure of its configuration does not start. The negative control is the same file, read without its schema. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GatewayConfig } from '../gateway/config.ts'
import { NodeAgentConfig } from '../node-agent/config.ts'
import { SchedulerConfig } from '../scheduler/config.ts'
import { isBearer } from './bearer.ts'
import { ConfigError, configPath, readConfig } from './config-file.ts'

const good = {
  listen: { host: '127.0.0.1', port: 0 },
  internalToken: 'i'.repeat(32),
  nodeToken: 'n'.repeat(32),
  // Nobody is there: it would wait.
  nats: { servers: ['nats://127.0.0.1:1'], user: 'u', password: 'p', replicas: 1 },
}

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-config-'))
  file = join(dir, 'config.json')
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = (config: unknown): string => {
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config))
  return file
}
const { internalToken: _token, ...withoutToken } = good

describe('a configuration', () => {
  it('that fits is read, with its defaults', () => {
    expect(readConfig(SchedulerConfig, write(good))).toEqual({
      ...good,
      nodeTimeoutMs: 5000,
      pools: [],
      logLevel: 'info',
    })
  })

  it.each<[string, unknown, RegExp]>([
    ['without a key', withoutToken, /internalToken/],
    ['with a token that is too short', { ...good, internalToken: 'short' }, /\/internalToken .*32/],
    ['with an empty token', { ...good, nodeToken: '' }, /\/nodeToken /],
    ['with a number in place of a token', { ...good, internalToken: 1 }, /\/internalToken .*string/],
    ['with null in place of one', { ...good, internalToken: null }, /\/internalToken .*string/],
    ['with a number as text', { ...good, nodeTimeoutMs: '5000' }, /\/nodeTimeoutMs .*integer/],
    ['with a port that is none', { ...good, listen: { host: 'h', port: 65_536 } }, /\/listen\/port .*65535/],
    ['with a key that nobody knows', { ...good, internalTokn: 'x' }, /internalTokn/],
    ['with TLS that lacks its key', { ...good, tls: { ca: 'x' } }, /\/tls .*(cert|key)/],
    ['with a server of NATS too few', { ...good, nats: { ...good.nats, servers: [] } }, /\/nats\/servers /],
    ['that is a list', [good], /object/],
    ['that is cut short', JSON.stringify(good).slice(0, -5), /JSON/],
    ['that is empty', '', /JSON/],
  ])('%s ends the start, and the error names what is wrong', (_what, config, problem) => {
    const read = (): unknown => readConfig(SchedulerConfig, write(config))
    expect(read).toThrow(ConfigError)
    expect(read).toThrow(problem)
    expect(read).toThrow(file)
  })

  it.each([
    ['gateway', GatewayConfig],
    ['scheduler', SchedulerConfig],
    ['node agent', NodeAgentConfig],
  ])('of a %s that says nothing is told of every key that it needs', (_service, schema) => {
    const needed = schema.required.filter((key) => !('default' in (schema.properties as Record<string, object>)[key]!))
    expect(needed.length).toBeGreaterThan(3)
    for (const key of needed) expect(() => readConfig(schema, write({}))).toThrow(key)
  })

  it('that is not there, or not named, ends the start', () => {
    expect(() => readConfig(SchedulerConfig, join(dir, 'none.json'))).toThrow(/none\.json.*ENOENT/)
    expect(() => configPath([])).toThrow('--config FILE')
  })

  it('negative control: without its schema a token that is missing lets strangers in', () => {
    const believed = JSON.parse(readFileSync(write(withoutToken), 'utf8')) as SchedulerConfig
    expect(isBearer('Bearer undefined', believed.internalToken)).toBe(true)
    expect(isBearer('Bearer undefined', readConfig(SchedulerConfig, write(good)).internalToken)).toBe(false)
  })
})

const start = (config: unknown) =>
  promisify(execFile)(
    process.execPath,
    [join(import.meta.dirname, '../scheduler/main.ts'), '--config', write(config)],
    {
      timeout: 10_000,
    },
  ).then(
    () => ({ code: 0, killed: false, stderr: '' }),
    (error: unknown) => error as { code: number | null; killed: boolean; stderr: string },
  )

describe('a service', () => {
  it('with a bad one ends before it opens a port, and names the key', async () => {
    const { code, killed, stderr } = await start(withoutToken)
    expect([code, killed]).toEqual([1, false])
    expect(stderr).toContain('internalToken')
  })

  it('negative control: with a good one it goes on, and waits for NATS', async () => {
    expect(await start(good)).toMatchObject({ killed: true })
  })
})
