/** `./scripts/up`: brings the stack `local` up and shows that it works. `--destroy` takes it away, `--env` is for plain Pulumi. */
import { parseArgs } from 'node:util'
import { ownerVariable } from '../stacks/host-scripts/processes.ts'
import { exportLines } from './engine-shell.ts'
import { sayHello, type Greeting } from './hello.ts'
import { localPlace } from './place.ts'
import { describeFailure, runSteps } from './progress.ts'
import { prepareMachine } from './setup/prepare.ts'
import { bringUp, takeOver, takeDown, type UpResult } from './stack.ts'
import { describeChanges, describeUp } from './up-summary.ts'

const usage = `usage: ./scripts/up             installs what is missing, brings the stack up, calls examples/hello
       ./scripts/up --destroy   removes everything except the cache
       ./scripts/up --env       prints what a shell needs for plain \`pulumi preview\`, \`pulumi up\`, ...
`

const place = localPlace()

/** What this run starts is found by this, should the run be killed. */
process.env[ownerVariable] = place.stack

const up = async (): Promise<void> => {
  const from = performance.now()
  await takeOver(place, (line) => void process.stdout.write(`${line}\n`))
  await prepareMachine()
  let result: UpResult | undefined
  let greeting: Greeting | undefined
  await runSteps([
    {
      title: `Stack ${place.stack}`,
      run: async (report) => {
        result = await bringUp(place, report)
        return describeChanges(result.changes)
      },
    },
    {
      title: 'Function hello',
      run: async () => {
        greeting = await sayHello(result?.config.stateDir ?? '')
        return `version ${greeting.version}`
      },
    },
  ])
  if (result && greeting) process.stdout.write(describeUp(result.config.publicUrl, greeting, performance.now() - from))
}

const destroy = async (): Promise<void> => {
  await runSteps([{ title: `Removing stack ${place.stack}`, run: (report) => takeDown(place, report) }])
}

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: { destroy: { type: 'boolean' }, env: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  if (values.help) process.stdout.write(usage)
  else if (values.env) process.stdout.write(exportLines(place))
  else if (values.destroy) await destroy()
  else await up()
}

try {
  await main()
} catch (error) {
  process.stderr.write(`\n${describeFailure(error)}\n`)
  if (error instanceof TypeError) process.stderr.write(usage)
  process.exitCode = 1
}
