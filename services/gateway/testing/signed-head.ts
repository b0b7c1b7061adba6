/** The head of a signed request, as text: for tests that speak over a bare socket. */
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { account, region } from './gateway.ts'

export interface SignOptions {
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** @param target path and query, percent-encoded. */
export const signHeaders = async (
  port: number,
  method: string,
  target: string,
  body: string | Buffer,
  { host = `127.0.0.1:${port}`, headers = {}, credentials = account }: SignOptions = {},
): Promise<Record<string, string>> => {
  const url = new URL(target, `http://${host}`)
  const query: Record<string, string[]> = {}
  for (const [name, value] of url.searchParams) (query[name] ??= []).push(value)
  const { accessKeyId, secretAccessKey } = credentials
  const signer = new SignatureV4({
    service: 'lambda',
    region,
    credentials: { accessKeyId, secretAccessKey },
    sha256: Sha256Node,
  })
  const signed = await signer.sign({
    method,
    protocol: 'http:',
    hostname: '',
    path: target.split('?')[0] ?? '/',
    query,
    headers: { host, ...headers },
    body,
  })
  return signed.headers
}

export const signedHead = async (
  { port }: { readonly port: number },
  method: string,
  target: string,
  body: string,
  options: SignOptions = {},
): Promise<string> => {
  const headers = await signHeaders(port, method, target, body, options)
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body)) })
  return `${method} ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}
