import { readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { Option, type Command } from 'commander'
import { startWishes } from '../../contracts/placement.ts'
import { CliError } from '../cli-error.ts'
import { findConnection, lambdaClient } from '../connection.ts'
import { invoke } from '../invoke.ts'
import { note } from '../terminal.ts'
import { renderWaterfall } from '../waterfall.ts'

interface Flags {
  data?: string
  file?: string
  async?: boolean
  stream?: boolean
  qualifier?: string
  tail?: boolean
  start?: string
  waterfall?: boolean
}

export const addInvoke = (program: Command): void => {
  program
    .command('invoke')
    .description('call a function; its answer goes to stdout (exit code 2: the function failed)')
    .argument('<name>', 'function name or ARN')
    .addOption(new Option('--data <json>', 'payload').conflicts('file'))
    .option('--file <file>', 'payload from a file; - is stdin')
    .addOption(new Option('--async', 'queue it and do not wait').conflicts('stream'))
    .option('--stream', 'print the answer as it comes')
    .option('--qualifier <version>', 'version or alias')
    .option('--tail', 'print the end of the log to stderr')
    .addOption(new Option('--start <wish>', 'how a new instance is made').choices(startWishes))
    .option('--waterfall', 'draw the start waterfall on stderr')
    .action(async (functionName: string, flags: Flags) => {
      const connection = findConnection(process.env)
      const result = await invoke(lambdaClient(connection, 1), {
        functionName,
        payload: await payloadOf(flags),
        ...(flags.qualifier ? { qualifier: flags.qualifier } : {}),
        tail: flags.tail ?? false,
        ...(flags.start ? { start: flags.start } : {}),
        mode: flags.async ? 'async' : flags.stream ? 'stream' : 'sync',
        write: (bytes) => void process.stdout.write(bytes),
      })
      if (!flags.async && process.stdout.isTTY) process.stdout.write('\n')
      if (flags.async) note(`queued${result.requestId ? ` as ${result.requestId}` : ''}`)
      if (result.logTail) note(result.logTail)
      if (flags.waterfall)
        note(result.serverTiming ? renderWaterfall(result.serverTiming) : 'the reply has no Server-Timing')
      if (result.functionError) throw new CliError(`the function answered with an error (${result.functionError})`, 2)
    })
}

const payloadOf = async ({ data, file }: Flags): Promise<Uint8Array> => {
  if (file === '-') return buffer(process.stdin)
  if (file !== undefined) return readFileSync(file)
  return Buffer.from(data ?? '{}')
}
