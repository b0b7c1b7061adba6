import type { Command } from 'commander'
import { findLocalFirst, type Connection } from '../connection.ts'
import { print } from '../terminal.ts'

export const addEnv = (program: Command): void => {
  program
    .command('env')
    .description('print variables for the AWS CLI and SDKs: eval "$(npx forkyard env)"')
    .option('--json', 'print as JSON')
    .action(({ json }: { json?: boolean }) => {
      const variables = variablesOf(findLocalFirst(process.env))
      print(json ? JSON.stringify(variables) : exportLines(variables))
    })
}

const variablesOf = ({ endpoint, accessKeyId, secretAccessKey, region }: Connection): Record<string, string> => ({
  AWS_ENDPOINT_URL: endpoint,
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
  AWS_REGION: region,
  AWS_DEFAULT_REGION: region,
})

/** Quoted for any POSIX shell: the lines are evaluated. */
export const exportLines = (variables: Record<string, string>): string =>
  Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`)
    .join('\n')
