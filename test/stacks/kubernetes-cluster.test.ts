/** The target `kubernetes` with what is optional: three servers of NATS, an Ingress, Prometheus Operator in the cluster. The tests are one story, in order. */
import { writeSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient } from '../support/lambda.ts'
import { ClusterStack } from './lab/kubernetes/cluster-stack.ts'
import { defineMonitors, monitorNames } from './lab/kubernetes/look.ts'

const say = (line: string): void => void writeSync(2, `kubernetes cluster: ${line}\n`)

const echo = 'export const handler = async (event) => ({ got: event.word })'
let lab: ClusterStack

beforeAll(async () => {
  lab = await ClusterStack.create(say, 3)
  await defineMonitors(lab.cluster.api)
  lab.configure({ natsServers: 3, gateways: 1, schedulers: 1, host: 'functions.test', ingressClass: 'none' })
}, 600_000)

afterAll(async () => {
  await lab?.remove()
}, 120_000)

describe('with everything that is optional', () => {
  it('up makes what these need', async () => {
    await lab.up()
    expect(await lab.pods('nats')).toHaveLength(3)
    const monitors = await monitorNames(lab.cluster.api, lab.namespace)
    expect(new Set(monitors)).toEqual(new Set(['gateway', 'node-agent', 'scheduler']))
    expect(lab.stack.connection.endpoint).toBe('http://functions.test')
    expect(Object.keys((await lab.up()).changes)).toEqual(['unchanged'])
  })

  it('a server of NATS that is lost takes nothing along, whatever it led', async () => {
    const client = lambdaClient(await lab.connection())
    for (const server of ['nats-0', 'nats-1', 'nats-2']) {
      // What no node has read yet.
      await createFunction(client, server, echo)
      await lab.losePod(server)
      expect((await invoke(client, server, { word: server })).json).toEqual({ got: server })
      await lab.ready('nats', 3)
    }
  })

  it('destroy leaves nothing', async () => {
    await lab.stack.down()
    expect(lab.leftOnNodes).toEqual([])
  })
})
