/** What each function of this node is bound to, as it is now. Keys are those of the registry, `<tenant>.<name>`. */
import {
  bindingDomain,
  bindingHost,
  bindingPort,
  postgresPort,
  type Binding,
  type BoundRecord,
} from '../../contracts/bindings.ts'
import type { NetworkRule } from '../../contracts/network.ts'

export interface NamedBinding {
  readonly name: string
  readonly binding: Binding
}

export class BoundFunctions {
  readonly #addresses: readonly string[]
  readonly #records = new Map<string, BoundRecord>()

  /** @param addresses of the node's proxy, by number */
  constructor(addresses: readonly string[]) {
    this.#addresses = addresses
  }

  set(key: string, record: BoundRecord | undefined): void {
    if (record) this.#records.set(key, record)
    else this.#records.delete(key)
  }

  /** What the function reaches on this address of the proxy. */
  at(key: string, address: string): NamedBinding | undefined {
    const record = this.#records.get(key)
    const number = this.#addresses.indexOf(address)
    const name = Object.entries(record?.addresses ?? {}).find(([, of]) => of === number)?.[0]
    const binding = name === undefined ? undefined : record?.bindings[name]
    return name === undefined || !binding ? undefined : { name, binding }
  }

  /** Address of `NAME.internal`, and of names below it, which clients of stores make of buckets. */
  resolve(key: string, asked: string): string | undefined {
    const record = this.#records.get(key)
    const labels = asked.toLowerCase().replace(/\.$/, '').split('.')
    if (!record || labels.pop() !== bindingDomain) return undefined
    const name = labels.pop() ?? ''
    return Object.hasOwn(record.addresses, name) ? this.#addresses[record.addresses[name] ?? -1] : undefined
  }

  /** What the filter has to let pass. */
  rules(key: string): NetworkRule[] {
    const record = this.#records.get(key)
    return Object.entries(record?.bindings ?? {}).flatMap(([name, binding]) => {
      const cidr = this.#addresses[record?.addresses[name] ?? -1]
      return cidr === undefined ? [] : [{ action: 'allow', protocol: 'tcp', cidr, ports: [bindingPort(binding)] }]
    })
  }

  /** Variables by which clients with default settings find the one server or store of their kind. The keys mean nothing: the proxy signs. */
  environment(key: string): Record<string, string> {
    const all = Object.entries(this.#records.get(key)?.bindings ?? {})
    const only = (type: Binding['type']): string | undefined => {
      const [[name] = [], more] = all.filter(([, binding]) => binding.type === type)
      return more ? undefined : name
    }
    const [database, store] = [only('postgresql'), only('s3')]
    return {
      ...(database === undefined
        ? {}
        : { PGHOST: bindingHost(database), PGPORT: String(postgresPort), PGUSER: 'function', PGDATABASE: database }),
      ...(store === undefined
        ? {}
        : {
            AWS_ENDPOINT_URL_S3: `http://${bindingHost(store)}`,
            AWS_ACCESS_KEY_ID: 'function',
            AWS_SECRET_ACCESS_KEY: 'function',
          }),
    }
  }
}
