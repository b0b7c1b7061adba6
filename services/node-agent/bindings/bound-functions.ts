/** What each function of this node is bound to, as it is now. Keys are those of the registry, `<tenant>.<name>`. */
import {
  bindingDomain,
  bindingHost,
  bindingPort,
  isProxied,
  postgresPort,
  type Binding,
  type BoundRecord,
  type ProxiedBinding,
} from '../../contracts/bindings.ts'
import { lambdaLabel } from '../../contracts/calls.ts'
import type { NetworkPolicy, NetworkRule } from '../../contracts/network.ts'
import { openedNames, openedRules } from '../../contracts/opened-networks.ts'

export interface NamedBinding {
  readonly name: string
  readonly binding: ProxiedBinding
}

/** Clients sign with something; the permission is the binding. */
const meaninglessKeys = { AWS_ACCESS_KEY_ID: 'function', AWS_SECRET_ACCESS_KEY: 'function' }

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
    return name === undefined || !binding || !isProxied(binding) ? undefined : { name, binding }
  }

  /** Address of `NAME.internal`, and of names below it, which clients of stores make of buckets. */
  resolve(key: string, asked: string): string | undefined {
    const record = this.#records.get(key)
    const labels = asked.toLowerCase().replace(/\.$/, '').split('.')
    if (!record || labels.pop() !== bindingDomain) return undefined
    const name = labels.pop() ?? ''
    return Object.hasOwn(record.addresses, name) ? this.#addresses[record.addresses[name] ?? -1] : undefined
  }

  /** What the filter has to let pass, and the resolver to answer besides names of bindings. */
  opened(key: string): Pick<NetworkPolicy, 'rules'> & { readonly dns: readonly string[] } {
    const bindings = Object.values(this.#records.get(key)?.bindings ?? {})
    const dns = bindings.flatMap((binding) => (isProxied(binding) ? [] : openedNames(binding)))
    return { rules: this.#rules(key), dns: [...new Set(dns)] }
  }

  #rules(key: string): NetworkRule[] {
    const record = this.#records.get(key)
    return Object.entries(record?.bindings ?? {}).flatMap(([name, binding]) => {
      if (!isProxied(binding)) return openedRules(binding)
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
    // Through one of them all are invoked by name.
    const [called] = all.flatMap(([name, { type }]) => (type === 'function' ? [name] : [])).toSorted()
    return {
      ...(called === undefined ? {} : { AWS_ENDPOINT_URL_LAMBDA: `http://${lambdaLabel}.${bindingHost(called)}` }),
      ...(called === undefined && store === undefined ? {} : meaninglessKeys),
      ...(database === undefined
        ? {}
        : { PGHOST: bindingHost(database), PGPORT: String(postgresPort), PGUSER: 'function', PGDATABASE: database }),
      ...(store === undefined
        ? {}
        : {
            AWS_ENDPOINT_URL_S3: `http://${bindingHost(store)}`,
          }),
    }
  }
}
