/** Handler of the checkpoint builder's gate: everything in which two clones must differ. */
import { getRandomValues, randomBytes, randomInt, randomUUID } from 'node:crypto'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'

const inWorker = async (): Promise<unknown> => {
  const source = "require('node:worker_threads').parentPort.postMessage([Math.random(), crypto.randomUUID()].join())"
  const worker = new Worker(source, { eval: true })
  const value: unknown = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  await worker.terminate()
  return value
}

export const handler = async (): Promise<Record<string, unknown>> => ({
  randomBytes: randomBytes(16).toString('hex'),
  randomUUID: randomUUID(),
  globalRandomUUID: crypto.randomUUID(),
  randomInt: randomInt(2 ** 48 - 1),
  getRandomValues: Buffer.from(getRandomValues(new Uint8Array(16))).toString('hex'),
  mathRandom: Math.random(),
  vmMathRandom: vm.runInNewContext('Math.random()') as number,
  createdContext: vm.runInContext('Math.random()', vm.createContext({})) as number,
  worker: await inWorker(),
  timeOriginError: Math.abs(performance.timeOrigin + performance.now() - Date.now()),
})
