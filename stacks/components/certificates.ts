import * as pulumi from '@pulumi/pulumi'
import type { TlsFiles } from '../site.ts'
import { issueCertificates, type CertificateInputs, type Issued } from './issue-certificates.ts'

/** Made by the stack, for the stack: an authority of its own and one certificate for each subject. Private keys stay in the state, encrypted. */
class IssuedCertificates extends pulumi.dynamic.Resource {
  declare readonly issued: pulumi.Output<Issued>

  constructor(name: string, inputs: CertificateInputs, options: pulumi.CustomResourceOptions) {
    const provider: pulumi.dynamic.ResourceProvider<CertificateInputs, CertificateInputs & { issued: Issued }> = {
      create: async (wanted) => ({
        id: 'certificates',
        outs: { ...wanted, issued: issueCertificates(wanted, undefined, Date.now()) },
      }),
      // What holds stays: a new host gets a certificate, and no other service is restarted.
      update: async (_id, before, wanted) => ({
        outs: { ...wanted, issued: issueCertificates(wanted, before.issued, Date.now()) },
      }),
      diff: async (_id, before, wanted) => {
        const kept = Object.keys(issueCertificates(wanted, before.issued, Date.now(), true).certificates).length
        const counts = [wanted.subjects, before.issued.certificates].map((all) => Object.keys(all).length)
        return { changes: counts.some((count) => count !== kept) }
      },
    }
    super(provider, name, { ...inputs, issued: undefined }, { ...options, additionalSecretOutputs: ['issued'] })
  }
}

export class Certificates extends pulumi.ComponentResource {
  readonly #issued: pulumi.Output<Issued>

  constructor(name: string, inputs: CertificateInputs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Certificates', name, {}, options)
    this.#issued = new IssuedCertificates(`${name}-issued`, inputs, { parent: this }).issued
    this.registerOutputs({})
  }

  /** Secret as a whole. */
  filesOf(subject: string): pulumi.Output<TlsFiles> {
    return this.#issued.apply(({ authority, certificates }) => {
      const found = certificates[subject]
      if (!found) throw new Error(`no certificate was issued for ${subject}`)
      return { ca: authority.cert, cert: found.cert, key: found.key }
    })
  }
}
