/** The user's side, without an engine. */
import * as pulumi from '@pulumi/pulumi'
import { expect, it } from 'vitest'
import { Function, FunctionUrl, Provider } from './resources.ts'

it('registers what it is given; the key of a provider is a secret', async () => {
  const seen: pulumi.runtime.MockResourceArgs[] = []
  await pulumi.runtime.setMocks({
    call: () => ({}),
    newResource: (args) => {
      seen.push(args)
      return { id: args.name, state: { ...args.inputs, name: args.name } }
    },
  })
  const provider = new Provider('here', { endpoint: 'http://127.0.0.1:1', accessKeyId: 'k', secretAccessKey: 's' })
  const greet = new Function('greet', { code: './greet', memory: 256 }, { provider })
  const address = new FunctionUrl('greet', { functionName: greet.name, authType: 'NONE' }, { provider })
  await new Promise((resolve) => address.urn.apply(resolve))
  expect(seen.map(({ type, inputs }) => [type, inputs])).toEqual([
    ['pulumi:providers:forkyard', expect.objectContaining({ endpoint: 'http://127.0.0.1:1' })],
    ['forkyard:index:Function', { code: './greet', memory: 256 }],
    ['forkyard:index:FunctionUrl', { functionName: 'greet', authType: 'NONE' }],
  ])
  expect(JSON.stringify(seen[0]?.inputs)).toMatch(/1b47061264138c4ac30d75fd1eb44270|\[secret\]|"secretAccessKey":\{/)
})
