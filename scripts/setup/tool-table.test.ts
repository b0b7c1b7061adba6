import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isAtLeast } from './go-toolchain.ts'
import { repoRoot } from './paths.ts'
import { goToolchain, tools, toolVersions } from './tool-table.ts'

const read = (path: string): string => readFileSync(join(repoRoot, path), 'utf8')

it('every tool has one version and one entry', () => {
  expect(tools.map(({ name }) => name).toSorted()).toEqual(Object.keys(toolVersions).toSorted())
})

it('the longest build starts first', () => {
  const minutes = tools.map(({ buildMinutes }) => buildMinutes)
  expect(minutes).toEqual(minutes.toSorted((a, b) => b - a))
})

describe.each(tools)('$name', (tool) => {
  const dir = `scripts/tools/${tool.name}`

  it('is built from a pinned module with committed checksums', () => {
    expect(read(`${dir}/go.mod`)).toMatch(/^require /m)
    const modules = [...read(`${dir}/go.mod`).matchAll(/^(?:require )?\t?([\w./-]+) v\S+/gm)].map(
      ([, module]) => module,
    )
    const own = tool.goPackage === `forkyard/tools/${tool.name}`
    expect(own || modules.some((module) => tool.goPackage.startsWith(module ?? '?'))).toBe(true)
    expect(read(`${dir}/go.sum`).length).toBeGreaterThan(100)
    if (tool.sourceGenerator) expect(existsSync(join(repoRoot, dir, tool.sourceGenerator))).toBe(true)
  })

  it('is downloaded only with a checksum, and over TLS', () => {
    if (!tool.download) return
    expect(tool.download.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(tool.download.url).toMatch(/^https:\/\//)
  })

  it('is taken from PATH only in its own version', () => {
    if (tool.present) expect(tool.present.expect).toContain(toolVersions[tool.name])
  })

  it('can be built with the Go that is had when none is there', () => {
    const needed = /^go (\S+)$/m.exec(read(`${dir}/go.mod`))?.[1] ?? ''
    expect(isAtLeast(goToolchain.minimum, needed)).toBe(true)
  })
})

it('npm packages of the engine have the versions of the tools', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  expect(dependencies['@pulumi/pulumi']).toBe(toolVersions.pulumi)
  for (const provider of ['command', 'kubernetes'] as const)
    expect(dependencies[`@pulumi/${provider}`]).toBe(toolVersions[`pulumi-resource-${provider}`])
})

it('the fallback toolchains are new enough', () => {
  for (const version of [
    /go([\d.]+)\.linux/.exec(goToolchain.download.url)?.[1],
    goToolchain.pypi.requirement.split('==')[1],
  ])
    expect(isAtLeast(version ?? '0', goToolchain.minimum)).toBe(true)
})

describe('isAtLeast compares numbers, not text', () => {
  it.each([
    ['1.26.3', '1.26.3', true],
    ['1.26.10', '1.26.9', true],
    ['1.9', '1.10', false],
    ['1.27', '1.26.3', true],
    ['1.26', '1.26.1', false],
    ['2', '1.99.99', true],
  ])('%s >= %s: %s', (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected)
  })
})
