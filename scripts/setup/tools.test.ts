import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { toolDir, toolPath } from './paths.ts'
import { run } from './run.ts'
import type { Tool } from './tool-table.ts'
import { missingTools, provideTool } from './tools.ts'

const base = mkdtempSync(join(tmpdir(), 'forkyard-tools-'))
const name = 'nats-server' as const
const target = () => toolPath(name)
let archive: Buffer
let url: string
let requests: string[] = []

const writeScript = (path: string, text: string): string => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

const server = createServer((request, reply) => {
  requests.push(request.url ?? '')
  if (request.url === '/tool.tar.gz') reply.end(archive)
  else reply.writeHead(404).end()
})

beforeAll(async () => {
  writeScript(join(base, 'archive', name), 'echo vendor')
  await run('tar', ['-czf', join(base, 'tool.tar.gz'), '-C', join(base, 'archive'), name])
  archive = readFileSync(join(base, 'tool.tar.gz'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tool.tar.gz`
})
afterAll(() => {
  server.close()
  rmSync(base, { recursive: true })
})

beforeEach(() => {
  requests = []
  vi.stubEnv('FORKYARD_CACHE', mkdtempSync(join(base, 'cache-')))
})
afterEach(() => vi.unstubAllEnvs())

const pinned = () => ({ url, sha256: createHash('sha256').update(archive).digest('hex') })
const tool = (ways: Partial<Tool>): Tool => ({ name, goPackage: 'example.com/x', buildMinutes: 1, ...ways })
const present = { args: ['--version'], expect: 'v2' }
/** A compiler that makes a tool which says where it comes from: `go build ... -o FILE package`. */
const fakeGo = async (): Promise<string> =>
  writeScript(
    join(base, 'go'),
    'while [ "$1" != -o ]; do shift; done; printf "#!/bin/sh\\necho built\\n" > "$2"; chmod +x "$2"',
  )
const noGo = async (): Promise<string> => {
  throw new Error('Go is needed: https://go.dev/dl')
}
const onPath = (says: string): void => {
  const bin = mkdtempSync(join(base, 'bin-'))
  writeScript(join(bin, name), `echo ${says}`)
  vi.stubEnv('PATH', `${bin}:${process.env['PATH']}`)
}
const says = async (): Promise<string> => (await run(target(), [])).trim()

describe('a tool', () => {
  it('on PATH in the right version is taken, and nothing is fetched', async () => {
    onPath('v2')
    await provideTool(tool({ present, download: pinned() }), noGo, () => undefined)
    expect([await says(), requests]).toEqual(['v2', []])
  })

  it('on PATH in another version is not: it is downloaded', async () => {
    onPath('v1')
    await provideTool(tool({ present, download: pinned() }), noGo, () => undefined)
    expect(await says()).toBe('vendor')
  })

  it('whose download has another checksum is built, and the download is said to be wrong', async () => {
    const lines: string[] = []
    const download = { ...pinned(), sha256: '0'.repeat(64) }
    await provideTool(tool({ download }), fakeGo, (line) => lines.push(line))
    expect(await says()).toBe('built')
    expect(lines.join('\n')).toMatch(/SHA-256 is [0-9a-f]{64}, pinned is 0{64}; trying the next way/)
  })

  it('whose download is not there is built', async () => {
    await provideTool(tool({ download: { ...pinned(), url: url.replace('tool', 'other') } }), fakeGo, () => undefined)
    expect(await says()).toBe('built')
  })

  it('that no way gives is an error with every way’s reason and what to do', async () => {
    const download = { ...pinned(), sha256: '0'.repeat(64) }
    const failed = provideTool(tool({ download }), noGo, () => undefined)
    await expect(failed).rejects.toThrow(/could not be had.*module proxy.*put the tool at .*SHA-256.*go\.dev/s)
    expect(existsSync(toolDir(name))).toBe(false)
    expect(readdirSync(dirname(toolDir(name)))).toEqual([])
  })

  it('that is there already is left alone', async () => {
    writeScript(target(), 'echo mine')
    await provideTool(tool({ download: pinned() }), noGo, () => undefined)
    expect([await says(), requests]).toEqual(['mine', []])
  })

  it('that was taken from PATH and is gone from there is had anew', async () => {
    mkdirSync(toolDir(name), { recursive: true })
    symlinkSync(join(base, 'gone'), target())
    expect(missingTools().map((missing) => missing.name)).toContain(name)
    await provideTool(tool({ download: pinned() }), noGo, () => undefined)
    expect(await says()).toBe('vendor')
  })
})
