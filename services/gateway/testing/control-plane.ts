/** A gateway for the tests of the control plane, with a function name of its own for each test. */
import { CreateFunctionCommand, type CreateFunctionCommandInput, type LambdaClient } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { roleArn, startGateway, zipOf, type TestGateway } from './gateway.ts'

export let gateway: TestGateway
export let client: LambdaClient
export let zip: Buffer
export let FunctionName: string

/** Every reply is held against the OpenAPI document. */
export const useControlPlane = (): void => {
  let count = 0
  beforeAll(async () => {
    gateway = await startGateway({ limits: { zipBytes: 64 * 1024, requestBytes: 64 * 1024, environmentBytes: 256 } })
    client = gateway.client()
    zip = await zipOf({ 'index.js': 'exports.handler = async () => 1' })
  })
  afterAll(() => gateway.close())
  beforeEach(() => {
    FunctionName = `f${++count}`
    return () => expect(gateway.problems).toEqual([])
  })
}

export const create = (more: Partial<CreateFunctionCommandInput> = {}) =>
  client.send(
    new CreateFunctionCommand({
      FunctionName,
      Role: roleArn,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Code: { ZipFile: zip },
      ...more,
    }),
  )
export const refusal = (name: string, status: number, message = '') => ({
  name,
  message: expect.stringContaining(message) as string,
  $metadata: expect.objectContaining({ httpStatusCode: status }) as object,
})
export const invalid = (message = '') => refusal('InvalidParameterValueException', 400, message)
export const arn = (qualifier = '') => `arn:aws:lambda:eu-test-1:000000000000:function:${FunctionName}${qualifier}`
