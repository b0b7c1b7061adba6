/** The certificate of a node that joined: its own, signed by itself, and known to gateways and schedulers by the node's record. */
import { spawn } from 'node:child_process'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { text } from 'node:stream/consumers'

/** PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

const days = 30

/** The private key goes to openssl through a pipe, and is never on disk. @throws Error with what openssl said */
const selfSigned = async (key: string, subject: string, address: string, forDays: number): Promise<string> => {
  const names = `subjectAltName=DNS:node-agent,IP:${address}`
  const extensions = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature']
  const added = [...extensions, 'extendedKeyUsage=serverAuth', names].flatMap((each) => ['-addext', each])
  const args = ['req', '-new', '-x509', '-key', '/dev/stdin', '-days', String(forDays), '-subj', `/CN=${subject}`]
  // openssl opens what it reads; what Node.js gives as stdin cannot be opened, a pipe of the shell's can.
  const child = spawn('/bin/sh', ['-c', 'cat | openssl "$@"', 'sh', ...args, '-config', '/dev/null', ...added])
  child.stdin.end(key)
  const ended = new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject))
  const [out, problem, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  if (code === 0 && out.includes('BEGIN CERTIFICATE')) return out
  throw new Error(`no certificate could be made: ${problem.trim()}`)
}

/** @param subject of people's interest alone @param address IP at which the node listens @param forDays of its life */
export const makeCertificate = async (subject: string, address: string, forDays = days): Promise<KeyPair> => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { key, cert: await selfSigned(key, subject, address, forDays) }
}

/** Two thirds of its life are over. @param now epoch milliseconds */
export const isDue = (cert: string, now: number): boolean => {
  const { validFrom, validTo } = new X509Certificate(cert)
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  return now > from + ((to - from) * 2) / 3
}
