import { expect, test } from 'vitest'
import { Quiet } from './quiet.ts'

test('quiet is reached when the last start is over, however often each says so', async () => {
  const quiet = new Quiet()
  await quiet.reached()
  const [first, second] = [quiet.begin(), quiet.begin()]
  let reached = false
  const waiting = quiet.reached().then(() => (reached = true))
  first()
  first()
  await Promise.resolve()
  expect(reached).toBe(false)
  second()
  await waiting
})

test('a start that begins before the waiter goes on makes it wait again', async () => {
  const quiet = new Quiet()
  const first = quiet.begin()
  let reached = false
  const waiting = quiet.reached().then(() => (reached = true))
  first()
  const second = quiet.begin()
  await new Promise((resolve) => setImmediate(resolve))
  expect(reached).toBe(false)
  second()
  await waiting
})
