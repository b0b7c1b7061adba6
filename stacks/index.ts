/** The stack's program: reads its configuration, makes one installation, tells where it is. Output names are a contract. */
import * as pulumi from '@pulumi/pulumi'
import { checkpointInputsDigest, runtimeInputsDigest } from '../images/inputs.ts'
import { cacheDir, repoRoot } from '../scripts/setup/paths.ts'
import packageJson from '../package.json' with { type: 'json' }
import { beginRelease, endRelease } from './components/release.ts'
import { functionUrlDomain, parseStackConfig, StackConfigError, surroundings, type StackConfig } from './config.ts'
import { createFleet } from './fleet.ts'
import { LocalHost } from './host.ts'
import { createInstallation, type Installation } from './installation.ts'
import { createSite, localPrograms, loopback } from './site.ts'

/** Keys of a private key: in the clear they would lie in the tree. */
const secretKeys = ['sshPrivateKey', 'hosts'] as const

const readConfig = (): StackConfig => {
  try {
    const parsed = parseStackConfig(pulumi.runtime.allConfig(), surroundings(pulumi.getStack(), cacheDir()))
    for (const key of secretKeys) refuseClearText(parsed, key)
    return parsed
  } catch (error) {
    // The engine shows this kind of error without a stack trace.
    throw error instanceof StackConfigError ? new pulumi.RunError(error.message) : error
  }
}

/** The SDK has a function for this, but does not export it. */
const secretInConfig = JSON.parse(process.env['PULUMI_CONFIG_SECRET_KEYS'] ?? '[]') as string[]

const refuseClearText = (parsed: StackConfig, key: (typeof secretKeys)[number]): void => {
  const holdsKey = key === 'hosts' ? parsed.hosts.some(({ privateKey }) => privateKey) : parsed.sshPrivateKey
  if (!holdsKey || secretInConfig.includes(`forkyard:${key}`)) return
  throw new StackConfigError(`forkyard:${key} holds a private key in the clear: pulumi config set --secret`)
}

const config = readConfig()
const here = createSite({
  host: new LocalHost(config.installation, repoRoot),
  config,
  repoRoot,
  programs: localPrograms(config),
  exposure: loopback,
})
const digests = { runtime: runtimeInputsDigest, checkpoint: checkpointInputsDigest }

/** Its SDK is large: only who has a cluster loads it. */
const createInCluster = async (): Promise<Installation> => {
  const { createCluster } = await import('./kubernetes/cluster.ts')
  const { wantsMonitors } = await import('./kubernetes/monitors.ts')
  return createCluster(here, digests, await wantsMonitors(config.kubernetes))
}

const createOn: Readonly<Record<StackConfig['target'], () => Installation | Promise<Installation>>> = {
  local: () => createInstallation(here, digests),
  metal: () => createFleet(here, digests),
  kubernetes: createInCluster,
}
await beginRelease(packageJson.version)
const installation = await createOn[config.target]()

/** Of the whole stack. */
export const version = endRelease(packageJson.version, installation.services)
export const target = config.target
export const endpoint = config.publicUrl
export const region = config.region
/** Function URLs are `http://<id>.<this>:<port of the endpoint>/`. */
export const urlDomain = functionUrlDomain
/** In a cluster its own nodes say which there are. */
export const nodeId = installation.nodeAgents[0]?.nodeId ?? null
export const nodeIds = installation.nodeAgents.map(({ nodeId }) => nodeId)
export const clientFile = installation.client.path
export const images = Object.fromEntries(
  Object.entries(installation.runtimes).map(([name, { image, checkpoint }]) => [
    name,
    { digest: image.digest, checkpointKey: checkpoint?.key },
  ]),
)
export const accessKeyId = installation.credentials.accessKeyId
export const secretAccessKey = installation.credentials.secretAccessKey
