/** What every workflow of the pipeline must keep to: pure, so that a test can show that each rule bites. */
import { parse } from 'yaml'

interface Step {
  readonly uses?: string
  readonly run?: string
  readonly with?: Readonly<Record<string, unknown>>
}

interface Job {
  readonly uses?: string
  readonly steps?: readonly Step[]
  readonly needs?: string | readonly string[]
  readonly environment?: string
  readonly permissions?: Readonly<Record<string, string>>
  readonly concurrency?: { readonly 'cancel-in-progress'?: boolean }
  readonly 'timeout-minutes'?: number
}

interface Workflow {
  readonly on?: Readonly<Record<string, unknown>>
  readonly permissions?: Readonly<Record<string, string>>
  readonly jobs?: Readonly<Record<string, Job>>
}

/** What a job may ask for beyond reading the sources: a token with which it proves to a cloud who it is. */
const allowed: Readonly<Record<string, string>> = { contents: 'read', 'id-token': 'write' }

const permissionProblems = (where: string, permissions: Workflow['permissions']): string[] =>
  Object.entries(permissions ?? {}).flatMap(([name, level]) =>
    level === allowed[name] || level === 'none' ? [] : [`${where}: permission ${name}: ${level}`],
  )

/** The commit, and the release that it is for people. */
const pinned = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/

/** One script of the tree, that any other CI could call as well. Values come through the environment: text in a command would be code. */
const scriptOf = (line: string): string | undefined =>
  /^(?:sudo --preserve-env )?\.\/((?:scripts|\.ci)\/[\w/.-]+)(?: (?:--?[a-z-]+|[a-z]+|"\$[A-Z_]+"))*$/.exec(line)?.[1]

const stepProblems = (where: string, step: Step, isScript: (path: string) => boolean): string[] => {
  if (step.run !== undefined) {
    const script = scriptOf(step.run.trim())
    if (script === undefined) return [`${where}: runs more than one script of the tree: ${step.run.trim()}`]
    return isScript(script) ? [] : [`${where}: there is no script ${script}`]
  }
  if (!pinned.test(step.uses ?? '')) return [`${where}: ${step.uses} is not pinned by a commit`]
  if (step.uses?.startsWith('actions/checkout@') && step.with?.['persist-credentials'] !== false)
    return [`${where}: the checkout keeps its token`]
  return []
}

const jobProblems = (where: string, job: Job, isScript: (path: string) => boolean): string[] => {
  if (job.uses !== undefined)
    return job.uses.startsWith('./.github/workflows/') ? [] : [`${where}: ${job.uses} is elsewhere`]
  const steps = job.steps ?? []
  const deploys = steps.some(({ run }) => /\bscripts\/ci\/stack up\b/.test(run ?? ''))
  const needs = [job.needs ?? []].flat()
  return [
    ...permissionProblems(where, job.permissions),
    ...(job['timeout-minutes'] ? [] : [`${where}: no time limit`]),
    ...(job.permissions?.['id-token'] && !job.environment ? [`${where}: a token without an environment`] : []),
    ...(deploys && !needs.includes('tests') ? [`${where}: up does not wait for the tests`] : []),
    ...(deploys && !job.environment ? [`${where}: up without an environment, which nobody approves`] : []),
    ...(deploys && job.concurrency?.['cancel-in-progress'] !== false
      ? [`${where}: up may be cut off, or meet another`]
      : []),
    ...steps.flatMap((step, index) => stepProblems(`${where}, step ${index + 1}`, step, isScript)),
  ]
}

/** @param isScript whether a path of the tree is a script that may be run @returns a line for each problem */
export const workflowProblems = (text: string, isScript: (path: string) => boolean): string[] => {
  const { on, permissions, jobs = {} } = parse(text, { strict: true, uniqueKeys: true }) as Workflow
  const names = Object.keys(jobs)
  return [
    ...(permissions ? permissionProblems('workflow', permissions) : ['workflow: no permissions are set']),
    ...(on && 'pull_request_target' in on ? ['workflow: pull_request_target gives secrets to foreign code'] : []),
    ...(names.length === 0 ? ['workflow: no jobs'] : []),
    ...names.flatMap((name) => jobProblems(name, jobs[name] ?? {}, isScript)),
  ]
}
