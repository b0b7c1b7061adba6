/** What a host over SSH has of this project before any service: one bundle, run as `host-scripts.mjs SCRIPT ARGUMENTS...`. */
import { checkpointCommand } from '../../images/checkpoint.ts'
import { explaining } from './explaining.ts'
import { firewallCommand } from './firewall.ts'
import { directoriesCommand } from './leftovers.ts'
import { serviceCommand } from './service.ts'

const scripts: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  directories: directoriesCommand,
  service: serviceCommand,
  firewall: firewallCommand,
  checkpoint: checkpointCommand,
}

const [name = '', ...args] = process.argv.slice(2)
await explaining(async () => {
  const script = scripts[name]
  if (!script) throw new Error(`no such script: ${name}; there are ${Object.keys(scripts).join(', ')}`)
  await script(args)
})
