import { basename, resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { packArchive } from '../archive.ts'
import { bundleFunction } from '../bundle.ts'
import { findConnection, lambdaClient } from '../connection.ts'
import { deploy } from '../deploy.ts'
import { gatherVariable, parseDuration, parseWhole } from '../duration.ts'
import { cachePolicies, runtimeNames } from '../../contracts/function.ts'
import { checkProject, projectFileName, readProjectFile, type ProjectFile } from '../project-file.ts'
import { setBindings, setNetwork } from '../network.ts'
import { note, print } from '../terminal.ts'

interface Flags {
  name?: string
  handler?: string
  runtime?: string
  memory?: number
  timeout?: number
  env?: Record<string, string>
  url?: string
  streaming?: boolean
  concurrency?: number
  reuse: boolean
  keepAlive?: number
  cache?: string
  fork?: boolean
  pool?: string
  json?: boolean
}

export const addDeploy = (program: Command): void => {
  program
    .command('deploy')
    .description(`bundle a directory and bring it online (settings: ${projectFileName} in it, or these options)`)
    .argument('<dir>', 'directory of the function')
    .option('--name <name>', 'function name; default: the directory’s')
    .option('--handler <handler>', 'module.export; default: what the module exports')
    .option('--runtime <runtime>', `${runtimeNames.join(', ')}; default: by the files`)
    .option('--memory <MiB>', 'memory', parseWhole)
    .option('--timeout <seconds>', 'time-out of an invocation', parseWhole)
    .option('--env <K=V>', 'environment variable (repeatable)', gatherVariable)
    .addOption(new Option('--url <who>', 'function URL').choices(['none', 'public', 'iam']))
    .option('--streaming', 'the function URL streams')
    .option('--concurrency <n>', 'requests that one instance handles at a time', parseWhole)
    .option('--no-reuse', 'an instance ends after its request')
    .option('--keep-alive <duration>', 'how long an idle instance lives, as 500ms, 30s, 5m', parseDuration)
    .addOption(new Option('--cache <mode>', 'what may be held for requests to come').choices(cachePolicies))
    .option('--fork', 'instances may be forks, which share a sandbox')
    .option('--pool <name>', 'pool of the nodes that it runs on')
    .option('--json', 'print the outcome as JSON')
    .action(async (directory: string, flags: Flags) => {
      const from = performance.now()
      const connection = findConnection(process.env)
      const project = mergeFlags(readProjectFile(directory), flags)
      const bundle = await bundleFunction(directory, project)
      const zip = await packArchive(bundle.files)
      const name = project.name ?? basename(resolve(directory))
      checkProject({ name }, 'the directory’s name does not do as a function name, use --name')
      const done = await deploy(lambdaClient(connection), name, project, bundle, zip)
      await setNetwork(connection, name, project.network)
      await setBindings(connection, name, project.bindings)
      const tookMs = Math.round(performance.now() - from)
      if (flags.json) return print(JSON.stringify({ ...done, zipBytes: zip.length, tookMs }))
      print(done.functionArn)
      print(`version  ${done.version}`)
      if (done.url) print(`url      ${done.url}`)
      note(`${done.created ? 'created' : 'updated'} in ${(tookMs / 1000).toFixed(2)} s, ${zip.length} bytes`)
    })
}

/** Options win over the file. */
export const mergeFlags = (file: ProjectFile, flags: Flags): ProjectFile => {
  const { env, reuse, keepAlive, json: _json, ...same } = flags
  const given = { ...same, keepAliveMs: keepAlive }
  return checkProject(
    {
      ...file,
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      ...(env ? { environment: { ...file.environment, ...env } } : {}),
      // commander sets reuse to true unless --no-reuse is there.
      ...(reuse ? {} : { reuse: false }),
    },
    'options',
  )
}
