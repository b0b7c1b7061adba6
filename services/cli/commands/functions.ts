import { DeleteFunctionCommand, paginateListFunctions, type FunctionConfiguration } from '@aws-sdk/client-lambda'
import type { Command } from 'commander'
import { findConnection, lambdaClient } from '../connection.ts'
import { note, print, table } from '../terminal.ts'

export const addList = (program: Command): void => {
  program
    .command('list')
    .description('list functions')
    .option('--json', 'print as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const client = lambdaClient(findConnection(process.env))
      const found: FunctionConfiguration[] = []
      for await (const { Functions } of paginateListFunctions({ client }, {})) found.push(...(Functions ?? []))
      if (json) return print(JSON.stringify(found))
      const rows = found.map(({ FunctionName, Runtime, Handler, MemorySize, Timeout, LastModified }) => [
        FunctionName ?? '',
        Runtime ?? '',
        Handler ?? '',
        `${MemorySize} MiB`,
        `${Timeout} s`,
        LastModified ?? '',
      ])
      print(table(['NAME', 'RUNTIME', 'HANDLER', 'MEMORY', 'TIMEOUT', 'CHANGED'], rows))
    })
}

export const addRemove = (program: Command): void => {
  program
    .command('rm')
    .description('delete a function with all its versions')
    .argument('<name>', 'function name')
    .action(async (name: string) => {
      await lambdaClient(findConnection(process.env)).send(new DeleteFunctionCommand({ FunctionName: name }))
      note(`deleted ${name}`)
    })
}
