import { expect, it } from 'vitest'
import type { Bindings } from '../contracts/bindings.ts'
import { fromVariables } from './network.ts'

const bindings: Bindings = {
  api: { type: 'http', url: 'https://api.example.com', headers: { authorization: 'Bearer ${API_TOKEN}' } },
}

it('a credential in a project file is a variable of whoever deploys', () => {
  expect(fromVariables(bindings, { API_TOKEN: 'a"b' })).toEqual({
    api: { type: 'http', url: 'https://api.example.com', headers: { authorization: 'Bearer a"b' } },
  })
  expect(() => fromVariables(bindings, {})).toThrow('API_TOKEN is not set')
})
