/** `npm run bench -- start|burst|soak|cache|scale|network|schedule|protocols [--rounds N] [--json FILE]`: figures beside a reference of the same run. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { compareCaches } from './cache.ts'
import { benchBurst } from './burst.ts'
import { describeHost, type Host, type Machine } from './machine.ts'
import { benchNetwork } from './network.ts'
import { benchProtocols } from './protocols/protocols.ts'
import { benchScale, type ScaleInput } from './scale/scale.ts'
import { sameMix } from './schedule/row.ts'
import { benchSchedule } from './schedule/schedule.ts'
import { benchSoak, soakTypes, type SoakType } from './soak.ts'
import type { Waterfall } from './waterfall.ts'
import { benchRuntimes, benchStart, coldStarts, type BenchRuntime } from './start.ts'

const usage = `usage: npm run bench -- start [--runtime ${benchRuntimes.join('|')}] [--only ROW,...] [--rounds N] [--json FILE]
       npm run bench -- burst [--rounds N] [--requests N] [--json FILE]
       npm run bench -- soak [--start-type ${soakTypes.join('|')}] [--starts N] [--json FILE]
       npm run bench -- cache
       npm run bench -- scale [--nodes N] [--functions N] [--hours H] [--most-per-day N] [--seed N] [--json FILE]
       npm run bench -- schedule [--rate N] [--seconds N] [--scale NODESxFUNCTIONS[xKEEP_ALIVE_MS],...] [--only scheduler] [--profile DIR]
                                     [--json FILE]
       npm run bench -- protocols [--rate N] [--seconds N] [--json FILE]
       npm run bench -- network [--rounds N] [--json FILE]
`
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    rounds: { type: 'string' },
    requests: { type: 'string' },
    starts: { type: 'string' },
    'start-type': { type: 'string' },
    runtime: { type: 'string' },
    only: { type: 'string' },
    rate: { type: 'string' },
    seconds: { type: 'string' },
    scale: { type: 'string' },
    nodes: { type: 'string' },
    functions: { type: 'string' },
    hours: { type: 'string' },
    'most-per-day': { type: 'string' },
    seed: { type: 'string' },
    profile: { type: 'string' },
  },
})
const fail = (): never => {
  process.stderr.write(usage)
  process.exit(1)
}
const count = (text: string | undefined, fallback: number): number => {
  const value = Number(text ?? fallback)
  return Number.isInteger(value) && value >= 1 ? value : fail()
}

const runtimeOf = (text: string | undefined): BenchRuntime =>
  benchRuntimes.find((name) => name === (text ?? 'nodejs24.x')) ?? fail()

const soakTypeOf = (text: string | undefined): SoakType =>
  soakTypes.find((name) => name === (text ?? 'restore')) ?? fail()

const rowsOf = (runtime: BenchRuntime, text: string | undefined): string[] | undefined => {
  const rows = text?.split(',')
  const known: readonly string[] = [...coldStarts, 'warm']
  return rows?.every((row) => known.includes(row)) === false ? fail() : rows
}

const progress = (line: string): void => void process.stderr.write(`\r${line.padEnd(40)}`)

interface Result {
  readonly machine: Machine | Host
  readonly rows: readonly object[]
  readonly leaks?: readonly string[]
  readonly waterfalls?: readonly Waterfall[]
}

const scalesOf = (text: string) =>
  text.split(',').map((scale) => {
    const [nodes, functionsText, keepAlive] = scale.split('x')
    const functions = count(functionsText, 0)
    return { nodes: count(nodes, 0), functions, keepAliveMs: count(keepAlive, sameMix(functions)) }
  })

const runSchedule = async (): Promise<Result> => {
  const scales = scalesOf(values.scale ?? '100x1000,1000x10000,1000x10000x2000')
  const [perSecond, seconds] = [count(values.rate, 10_000), count(values.seconds, 60)]
  const reference = values.only === undefined || (values.only !== 'scheduler' && fail())
  const input = { perSecond, seconds, scales, reference, profileDir: values.profile }
  return { machine: describeHost(), rows: await benchSchedule(input, progress) }
}

const runScale = (): Result & { readonly input: ScaleInput } => {
  const input = {
    seed: count(values.seed, 1),
    nodes: count(values.nodes, 10_000),
    functions: count(values.functions, 300),
    hours: count(values.hours, 6),
    mostPerDay: count(values['most-per-day'], 20_000),
  }
  return { machine: describeHost(), input, rows: benchScale(input, progress) }
}

/** A table of their own. */
const withoutProcesses = (row: object): object =>
  Object.fromEntries(Object.entries(row).filter(([name]) => name !== 'processes'))

const run = async (): Promise<Result> => {
  if (positionals[0] === 'scale') return runScale()
  if (positionals[0] === 'start') {
    const runtime = runtimeOf(values.runtime)
    return benchStart({ runtime, rounds: count(values.rounds, 20), only: rowsOf(runtime, values.only) }, progress)
  }
  if (positionals[0] === 'burst') return benchBurst(count(values.rounds, 5), count(values.requests, 50), progress)
  if (positionals[0] === 'soak')
    return benchSoak(soakTypeOf(values['start-type']), count(values.starts, 1000), progress)
  if (positionals[0] === 'network') return benchNetwork(count(values.rounds, 10), progress)
  if (positionals[0] === 'schedule') return runSchedule()
  if (positionals[0] === 'protocols') {
    const rates = values.rate === undefined ? [2_000, 10_000] : [count(values.rate, 0)]
    const rows = benchProtocols(rates, count(values.seconds, 10), progress)
    return rows.then((all) => ({ machine: describeHost(), rows: all }))
  }
  return fail()
}

if (positionals[0] === 'cache') {
  console.table(compareCaches())
  process.exit(0)
}
const result = await run()
process.stderr.write('\n')
const { cores, cpu, memoryGiB, kernel } = result.machine
const runsc = 'runsc' in result.machine ? `, ${result.machine.runsc}` : ''
console.log(`${cores} x ${cpu}, ${memoryGiB} GiB, Linux ${kernel}${runsc}`)
console.table(result.rows.map(withoutProcesses))
for (const row of result.rows) if ('processes' in row) console.table(row.processes)
if (result.waterfalls) {
  console.log('Phases, median milliseconds:')
  console.table(
    Object.fromEntries(result.waterfalls.map(({ name, phases, restMs }) => [name, { ...phases, rest: restMs }])),
  )
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
const leaks = result.leaks ?? []
for (const leak of leaks) process.stderr.write(`not flat: ${leak}\n`)
process.exit(leaks.length === 0 ? 0 : 1)
