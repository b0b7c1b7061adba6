import * as pulumi from '@pulumi/pulumi'
import * as forkyard from 'forkyard/pulumi'

const config = new pulumi.Config()

const greet = new forkyard.Function('greet', {
  code: './greet',
  memory: config.getNumber('memory') ?? 256,
  timeout: 10,
  environment: { GREETING: config.get('greeting') ?? 'Hello', API_TOKEN: config.get('apiToken') ?? 'none' },
})
export const events = new forkyard.EventQueue('greet', {
  functionName: greet.name,
  qualifier: greet.alias,
  maximumRetryAttempts: 1,
}).id
const address = new forkyard.FunctionUrl('greet', {
  functionName: greet.name,
  qualifier: greet.alias,
  authType: 'NONE',
})

export const version = greet.version
export const arn = greet.qualifiedArn
export const url = address.url
