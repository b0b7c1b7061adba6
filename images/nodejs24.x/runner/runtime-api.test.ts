import { expect, test } from 'vitest'
import * as contract from '../../../services/contracts/runtime-api.ts'
import { httpRequestType, httpResponseType } from './runtime-api.ts'

// The runner has its own copies: importing the contract would put a schema library into every sandbox.
test('the content types are those of the contract', () => {
  expect([httpRequestType, httpResponseType]).toEqual([contract.httpRequestType, contract.httpResponseType])
})
