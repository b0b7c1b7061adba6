/**
 * Certificates from an authority of the installation's own. Runs in the engine's provider process, to which the text of this function is
 * sent: nothing from around it may be used inside. Private keys go to openssl through a pipe and are never on disk.
 */

export interface CertificateInputs {
  /** By name: what the certificate is for. */
  readonly subjects: Readonly<
    Record<string, { readonly names: readonly string[]; readonly addresses: readonly string[] }>
  >
  readonly days: number
}

interface KeyPair {
  /** PEM. */
  readonly cert: string
  readonly key: string
}

export interface Issued {
  readonly authority: KeyPair
  readonly certificates: Readonly<Record<string, KeyPair & { readonly altNames: string; readonly notAfter: number }>>
}

/**
 * Keeps what still holds of `before`: the authority always, a certificate with the same names in the first two thirds of its life.
 * @param now epoch milliseconds @param dry nothing is issued: what has to be is left out.
 */
export const issueCertificates = (
  { subjects, days }: CertificateInputs,
  before: Issued | undefined,
  now: number,
  dry = false,
): Issued => {
  const { generateKeyPairSync, randomBytes } = process.getBuiltinModule('node:crypto')
  const { execFileSync } = process.getBuiltinModule('node:child_process')
  const { mkdtempSync, rmSync, writeFileSync } = process.getBuiltinModule('node:fs')
  const { tmpdir } = process.getBuiltinModule('node:os')

  const newKey = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const openssl = (args: string[], key: string) =>
    // openssl opens what it reads; what Node.js gives as stdin cannot be opened, a pipe of the shell's can.
    execFileSync('/bin/sh', ['-c', 'cat | openssl "$@"', 'sh', ...args], {
      input: key,
      encoding: 'utf8',
      stdio: 'pipe',
    })
  const inDirectory = <T>(use: (write: (name: string, text: string) => string) => T): T => {
    const dir = mkdtempSync(`${tmpdir()}/forkyard-certificates-`)
    try {
      return use((name, text) => {
        writeFileSync(`${dir}/${name}`, text)
        return `${dir}/${name}`
      })
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }
  const day = 24 * 3_600_000

  const makeAuthority = (): KeyPair =>
    inDirectory((write) => {
      const key = newKey()
      const config = write(
        'ca.cnf',
        '[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=forkyard\n' +
          '[ext]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n',
      )
      return {
        key,
        cert: openssl(['req', '-new', '-x509', '-key', '/dev/stdin', '-days', '7300', '-config', config], key),
      }
    })

  const issue = (authority: KeyPair, subject: string, altNames: string) =>
    inDirectory((write) => {
      const key = newKey()
      const config = write('req.cnf', `[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=${subject}\n`)
      const request = write('req.pem', openssl(['req', '-new', '-key', '/dev/stdin', '-config', config], key))
      const extensions = write(
        'ext.cnf',
        `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=${altNames}\n`,
      )
      const ca = write('ca.pem', authority.cert)
      const serial = `0x${randomBytes(16).toString('hex')}`
      const cert = openssl(
        [
          'x509',
          '-req',
          '-in',
          request,
          '-CA',
          ca,
          '-CAkey',
          '/dev/stdin',
          '-set_serial',
          serial,
          '-days',
          String(days),
        ].concat(['-sha256', '-extfile', extensions]),
        authority.key,
      )
      return { cert, key, altNames, notAfter: now + days * day }
    })

  const authority = before?.authority ?? (dry ? { cert: '', key: '' } : makeAuthority())
  const certificates: Record<string, KeyPair & { altNames: string; notAfter: number }> = {}
  for (const [subject, { names, addresses }] of Object.entries(subjects)) {
    const altNames = [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)].join(',')
    const known = before?.certificates[subject]
    if (known?.altNames === altNames && known.notAfter - now > (days * day) / 3) certificates[subject] = known
    else if (!dry) certificates[subject] = issue(authority, subject, altNames)
  }
  return { authority, certificates }
}
