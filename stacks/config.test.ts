import { describe, expect, it } from 'vitest'
import { parseStackConfig, StackConfig, StackConfigError, surroundings } from './config.ts'

const around = { stack: 'local', cacheDir: '/cache', memoryMiB: 8192 }
const parse = (raw: Record<string, string> = {}) => parseStackConfig(raw, around)
const problemOf = (raw: Record<string, string>): string => {
  try {
    parse(raw)
  } catch (error) {
    expect(error).toBeInstanceOf(StackConfigError)
    return (error as Error).message
  }
  throw new Error('was accepted')
}

describe('without any key', () => {
  it('an installation is named like its stack, and lies below that name', () => {
    expect(parse()).toMatchObject({
      installation: 'local',
      stateDir: '/var/lib/forkyard/local',
      runDir: '/run/forkyard/local',
      cacheDir: '/cache',
      publicUrl: 'http://127.0.0.1:9000',
      nodeMemoryMiB: 4864,
      runtimes: ['nodejs24.x', 'provided.al2023', 'python3.11'],
      checkpoints: true,
      cache: 'adaptive',
      forks: false,
    })
    expect(Object.keys(parse())).not.toContain('seeds')
  })
})

describe('a key', () => {
  it('that other defaults depend on changes them', () => {
    const raw = { 'forkyard:installation': 'blue', 'forkyard:gatewayPort': '9100', 'forkyard:listenHost': '0.0.0.0' }
    expect(parse(raw)).toMatchObject({ stateDir: '/var/lib/forkyard/blue', publicUrl: 'http://0.0.0.0:9100' })
  })

  it('is read as JSON where it is not text', () => {
    const raw = { 'forkyard:runtimes': '["nodejs24.x"]', 'forkyard:checkpoints': 'false', 'forkyard:natsPort': '4222' }
    expect(parse(raw)).toMatchObject({ runtimes: ['nodejs24.x'], checkpoints: false, natsPort: 4222 })
  })

  it('of another namespace is none of ours', () => {
    expect(parse({ 'aws:region': 'mars' }).region).toBe('us-east-1')
  })
})

describe('a bad value is named together with its key and what is valid', () => {
  it.each([
    ['installation', 'Blue!', 'matching ^[a-z]'],
    ['stateDir', 'relative/dir', 'matching ^/'],
    ['runDir', `/run/${'x'.repeat(60)}`, 'at most 50 characters'],
    ['cacheDir', '', 'matching ^/'],
    ['gatewayPort', '0', 'integer from 1 to 65535'],
    ['gatewayPort', 'http', 'integer from 1 to 65535'],
    ['schedulerPort', '65536', 'integer from 1 to 65535'],
    ['nodeAgentPort', '1.5', 'integer'],
    ['publicUrl', 'ftp://x', 'matching ^https?://'],
    ['region', 'US EAST', 'matching'],
    ['tenant', 'a b', 'matching'],
    ['runtimes', '["python3"]', 'of different values of nodejs24.x, provided.al2023, python3.11'],
    ['runtimes', '[]', 'array'],
    ['runtimes', 'nodejs24.x', 'array'],
    ['checkpoints', 'maybe', 'boolean'],
    ['nodeMemoryMiB', '64', 'from 128'],
    ['nodeInstances', '-1', 'from 1'],
    ['startParallelism', '65', 'to 64'],
    ['precreatedSandboxes', '65', 'from 0 to 64'],
    ['cache', 'fixed', 'one of adaptive, strict-cold'],
    ['cacheMemoryMiB', '-1', 'from 0'],
    ['readyTimeoutMs', '10', 'from 1000'],
    ['logLevel', 'loud', 'one of trace, debug, info, warn, error'],
  ])('%s: %s', (key, value, valid) => {
    const message = problemOf({ [`forkyard:${key}`]: value })
    expect(message).toContain(`forkyard:${key}: `)
    expect(message).toContain(valid)
  })

  it('an unknown key is answered with all valid ones', () => {
    const message = problemOf({ 'forkyard:gatwayPort': '9000' })
    expect(message).toContain('forkyard:gatwayPort: unknown key')
    for (const key of Object.keys(StackConfig.properties)) expect(message).toContain(key)
  })

  it('an inherited name is no key', () => {
    expect(problemOf({ 'forkyard:toString': 'x' })).toContain('forkyard:toString: unknown key')
  })

  it('all of them at once', () => {
    const message = problemOf({ 'forkyard:logLevel': 'loud', 'forkyard:natsPort': 'x', 'forkyard:nope': '1' })
    expect(message.split('\n')).toHaveLength(4)
  })

  it('one port for two services', () => {
    const message = problemOf({ 'forkyard:natsPort': '9000' })
    expect(message).toContain('forkyard:natsPort: 9000 is the port of forkyard:gatewayPort already')
  })
})

describe('every key', () => {
  it('says what it means', () => {
    for (const schema of Object.values(StackConfig.properties))
      expect((schema as { description?: string }).description).toMatch(/\S/)
  })
})

describe('surroundings', () => {
  it('insist on an absolute cache directory', () => {
    expect(() => surroundings('local', 'cache')).toThrow(StackConfigError)
  })
})
