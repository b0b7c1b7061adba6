/** The stack's program: reads its configuration, makes one installation, tells where it is. Output names are a contract. */
import * as pulumi from '@pulumi/pulumi'
import { checkpointInputsDigest, runtimeInputsDigest } from '../images/inputs.ts'
import { cacheDir, repoRoot } from '../scripts/setup/paths.ts'
import { functionUrlDomain, parseStackConfig, StackConfigError, surroundings, type StackConfig } from './config.ts'
import { LocalHost } from './host.ts'
import { createInstallation } from './installation.ts'
import { createSite } from './site.ts'

const readConfig = (): StackConfig => {
  try {
    return parseStackConfig(pulumi.runtime.allConfig(), surroundings(pulumi.getStack(), cacheDir()))
  } catch (error) {
    // The engine shows this kind of error without a stack trace.
    throw error instanceof StackConfigError ? new pulumi.RunError(error.message) : error
  }
}

const config = readConfig()
const site = createSite(new LocalHost(config.installation), config, repoRoot)
const installation = createInstallation(site, { runtime: runtimeInputsDigest, checkpoint: checkpointInputsDigest })

export const endpoint = config.publicUrl
export const region = config.region
/** Function URLs are `http://<id>.<this>:<port of the endpoint>/`. */
export const urlDomain = functionUrlDomain
export const nodeId = installation.nodeAgent.nodeId
export const clientFile = installation.client.path
export const images = Object.fromEntries(
  Object.entries(installation.runtimes).map(([name, { image, checkpoint }]) => [
    name,
    { digest: image.digest, checkpointKey: checkpoint?.key },
  ]),
)
export const accessKeyId = installation.credentials.accessKeyId
export const secretAccessKey = installation.credentials.secretAccessKey
