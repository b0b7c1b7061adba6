/** Source of functions that draw from everything that draws: `crypto` and `Worker` are imported by the function. */

/** Statements before the handler. */
export const drawInWorker = `const inWorker = () => new Promise((resolve, reject) => {
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(Math.random())", { eval: true })
  worker.once('message', resolve).once('error', reject)
})`

/** Members of the handler's answer, each another value in each instance. */
export const allDraws = `  bytes: crypto.randomBytes(8).toString('hex'),
  uuid: crypto.randomUUID(),
  int: crypto.randomInt(2 ** 47),
  random: Math.random(),
  web: Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(8))).toString('hex'),
  webUuid: globalThis.crypto.randomUUID(),
  key: Buffer.from(await globalThis.crypto.subtle.exportKey('raw', await globalThis.crypto.subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, ['encrypt']))).toString('hex'),
  pair: crypto.createECDH('prime256v1').generateKeys('hex'),`
