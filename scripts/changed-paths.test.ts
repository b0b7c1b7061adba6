import { expect, it } from 'vitest'
import { concernsStacks, stacksChanged } from './changed-paths.ts'

it.each([
  ['stacks/config.ts', true],
  ['images/build.ts', true],
  ['services/gateway/main.ts', true],
  ['services/chassis/nats.ts', true],
  ['test/stacks/metal.test.ts', true],
  ['scripts/ci/stack.ts', true],
  ['services/gateway/app.ts', false],
  ['docs/stacks/x.md', false],
  ['README.md', false],
])('%s: %s', (path, expected) => {
  expect(concernsStacks(['package.json', path])).toBe(expected)
})

it('without the commit to compare with, anything may have changed', async () => {
  expect(await stacksChanged('no-such-commit')).toBe(true)
})
