import { beforeEach, describe, expect, it } from 'vitest'
import { type HttpPrelude } from '../../contracts/node.ts'
import { answerError } from '../testing/fake-node.ts'
import { account, otherAccount } from '../testing/gateway.ts'

import {
  gateway,
  host,
  open,
  call,
  echo,
  answer,
  signed,
  preflight,
  type Sent,
  useFunctionUrl,
  useHost,
} from '../testing/function-url.ts'

useFunctionUrl()

describe('a URL', () => {
  it('that nobody has is not found, whatever its host looks like', async () => {
    for (const other of ['aaaa', 'a.b', '__proto__', '']) {
      useHost(`${other}.lambda-url.localhost:${gateway.port}`)
      expect(await call('/')).toMatchObject({ status: 404, body: '{"Message":"Not Found"}' })
    }
  })

  it('is found whatever the case and port of its host', async () => {
    await open()
    gateway.node.answer = answer({ statusCode: 200 })
    const [name = ''] = host.split(':')
    for (const form of [name.toUpperCase(), name, `${name}:80`, `${name}.`]) {
      useHost(form)
      expect((await call('/')).status).toBe(200)
    }
  })

  describe('with AWS_IAM', () => {
    beforeEach(async () => {
      await open({ AuthType: 'AWS_IAM' })
      gateway.node.answer = echo
    })
    it('lets its owner in, says who it is, and keeps the credentials', async () => {
      const reply = await call('/p?a=b', { method: 'POST', headers: await signed('body'), body: 'body' })
      const { prelude, body } = JSON.parse(reply.body) as { prelude: HttpPrelude; body: string }
      expect({ status: reply.status, body, principal: prelude.principal }).toEqual({
        status: 200,
        body: 'body',
        principal: account.accessKeyId,
      })
      expect(JSON.stringify(prelude)).not.toContain('Signature')
    })

    it.each<[string, () => Promise<Sent>]>([
      ['nobody', async () => ({ method: 'POST', body: 'body' })],
      ['another tenant', async () => ({ method: 'POST', headers: await signed('body', otherAccount), body: 'body' })],
      [
        'a wrong key',
        async () => ({
          method: 'POST',
          headers: await signed('body', { ...account, secretAccessKey: 'x' }),
          body: 'body',
        }),
      ],
      ['another body', async () => ({ method: 'POST', headers: await signed('body'), body: 'BODY' })],
    ])('keeps out %s', async (_case, sent) => {
      expect(await call('/p?a=b', await sent())).toMatchObject({ status: 403, body: '{"Message":"Forbidden"}' })
      expect(gateway.placements).toEqual([])
    })
  })

  describe('with CORS settings', () => {
    const origin = 'https://a.example'
    beforeEach(() => {
      gateway.node.answer = answer({
        statusCode: 200,
        headers: { 'access-control-allow-origin': 'https://wrong.example', vary: 'Accept' },
      })
    })
    const Cors = {
      AllowOrigins: [origin],
      AllowMethods: ['GET', 'POST'],
      AllowHeaders: ['x-a'],
      ExposeHeaders: ['x-b'],
      AllowCredentials: true,
      MaxAge: 60,
    }

    it('answers preflights itself, without credentials', async () => {
      await open({ AuthType: 'AWS_IAM', Cors })
      expect(await call('/', preflight(origin))).toMatchObject({
        status: 200,
        body: '',
        headers: {
          'access-control-allow-origin': origin,
          'access-control-allow-methods': 'GET, POST',
          'access-control-allow-headers': 'x-a',
          'access-control-allow-credentials': 'true',
          'access-control-max-age': '60',
          vary: 'Origin',
        },
      })
      expect((await call('/', preflight('https://b.example'))).headers['access-control-allow-origin']).toBeUndefined()
      expect(gateway.placements).toEqual([])
    })

    it('sets its headers on answers and errors, over those of the function', async () => {
      await open({ Cors })
      const { headers } = await call('/', { headers: { origin } })
      expect(headers).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-expose-headers': 'x-b',
        vary: 'Accept, Origin',
      })
      gateway.node.answer = (one) => answerError(one, 503, 'NO_CAPACITY')
      expect((await call('/', { headers: { origin } })).headers['access-control-allow-origin']).toBe(origin)
    })

    it('takes any origin when it says so', async () => {
      await open({ Cors: { AllowOrigins: ['*'] } })
      expect((await call('/', preflight('https://any.example'))).headers['access-control-allow-origin']).toBe('*')
    })

    it('leaves all to the function without them', async () => {
      await open()
      const { headers } = await call('/', preflight(origin))
      expect(headers['access-control-allow-origin']).toBe('https://wrong.example')
      expect(gateway.placements).toHaveLength(1)
    })
  })
})
