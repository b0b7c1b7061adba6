/** Certificates of a lab's cluster: who is who to the API server is in their subjects. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../../../scripts/setup/run.ts'

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

export interface NamedAddress {
  readonly name: string
  readonly address: string
}

const certificates = (
  [control, ...others]: readonly [NamedAddress, ...NamedAddress[]],
  firstService: string,
): readonly [name: string, subject: string, names: string][] => [
  [
    'apiserver',
    '/CN=kube-apiserver',
    ['', '.default', '.default.svc', '.default.svc.cluster.local'].map((end) => `DNS:kubernetes${end}`).join(',') +
      `,IP:127.0.0.1,IP:${firstService},IP:${control.address}`,
  ],
  ['admin', '/O=system:masters/CN=admin', ''],
  ['controllers', '/CN=system:kube-controller-manager', ''],
  ['scheduler', '/CN=system:kube-scheduler', ''],
  ...[control, ...others].map(({ name, address }): [string, string, string] => [
    name,
    `/O=system:nodes/CN=system:node:${name}`,
    `DNS:${name},IP:${address}`,
  ]),
  ['apikubelet', '/O=system:masters/CN=apiserver-kubelet-client', ''],
]

/** @param dir made; holds `ca.crt`, a pair for each, and the keys of service accounts @param nodes the control plane's first */
export const makePki = async (
  dir: string,
  nodes: readonly [NamedAddress, ...NamedAddress[]],
  firstService: string,
): Promise<void> => {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const openssl = (...args: string[]) => run('openssl', args, { cwd: dir })
  const uses = ['-addext', 'keyUsage=critical,keyCertSign,digitalSignature,cRLSign']
  const authority = ['-keyout', 'ca.key', '-out', 'ca.crt', '-days', '30', '-subj', '/CN=lab']
  await openssl('req', '-x509', ...newKey, ...authority, '-addext', 'basicConstraints=critical,CA:TRUE', ...uses)
  for (const [name, subject, altNames] of certificates(nodes, firstService)) {
    const extensions = join(dir, `${name}.ext`)
    const lines = ['extendedKeyUsage=serverAuth,clientAuth', 'basicConstraints=CA:FALSE']
    writeFileSync(extensions, [...lines, ...(altNames ? [`subjectAltName=${altNames}`] : []), ''].join('\n'))
    await openssl('req', ...newKey, '-keyout', `${name}.key`, '-subj', subject, '-out', `${name}.csr`)
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30', '-extfile', extensions]
    await openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.crt`)
    for (const end of ['ext', 'csr']) rmSync(join(dir, `${name}.${end}`))
  }
  await openssl('genrsa', '-out', 'sa.key', '2048')
  await openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub')
}
