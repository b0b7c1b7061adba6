/** `npm run bench -- start [--rounds N] [--json FILE]`: figures beside a reference of the same run. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchStart, type StartResult } from './start.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, rounds: { type: 'string', default: '20' } },
})

const print = ({ machine, rows }: StartResult): void => {
  console.log(`${machine.cores} x ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, ${machine.runsc}`)
  console.table(
    Object.fromEntries(
      rows.map(({ name, n, p50Ms, p90Ms, p99Ms, ratioP50, ratioP99, extraPssMiB }) => [
        name,
        {
          n,
          p50Ms,
          p90Ms,
          p99Ms,
          'p50 / reference': ratioP50,
          'p99 / reference': ratioP99,
          'extra PSS MiB': extraPssMiB,
        },
      ]),
    ),
  )
}

const rounds = Number(values.rounds)
if (positionals[0] !== 'start' || !Number.isInteger(rounds) || rounds < 1) {
  console.error('usage: npm run bench -- start [--rounds N] [--json FILE]')
  process.exit(1)
}
const result = await benchStart(rounds, (line) => process.stderr.write(`\r${line}   `))
process.stderr.write('\n')
print(result)
if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
process.exit(0)
