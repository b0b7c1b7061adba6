/**
 * The one version of the whole stack, as the state has it: `release` is what an update begins to make, before anything else; `released` what
 * it made, once everything else is there.
 */
import * as pulumi from '@pulumi/pulumi'
import { jumpProblem } from '../release-jump.ts'

/** A version that somebody who has read its notes gives up in one run, whatever the distance. In the environment, because it is a decision of one run. */
export const leaveVariable = 'FORKYARD_LEAVE_VERSION'

interface Inputs {
  readonly version: string
  /** What the last update that came to its end made. */
  readonly completed?: string | undefined
}

class Mark extends pulumi.dynamic.Resource {
  declare readonly version: pulumi.Output<string>

  constructor(name: string, inputs: Inputs, options: pulumi.CustomResourceOptions) {
    const provider: pulumi.dynamic.ResourceProvider<Inputs, Inputs> = {
      // Before the first change, in a preview as well.
      check: async (before: Partial<Inputs>, inputs) => {
        const { version: recorded } = before
        const { version: next, completed } = inputs
        const problem = jumpProblem({ recorded, completed, next })
        const left = process.env[leaveVariable]
        const isAllowed = !problem || (left !== undefined && [recorded, completed].includes(left))
        return { inputs, failures: isAllowed ? [] : [{ property: 'version', reason: problem }] }
      },
      diff: async (_id, before, inputs) => ({ changes: before.version !== inputs.version }),
      create: async (inputs) => ({ id: 'version', outs: inputs }),
      update: async (_id, _before, inputs) => ({ outs: inputs }),
    }
    super(provider, name, { ...inputs }, options)
  }
}

/** The version that the last update came to its end with, as the stack's own outputs say. */
const lastCompleted = async (): Promise<string | undefined> => {
  const name = `${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`
  const { outputs } = (await pulumi.runtime.invoke('pulumi:pulumi:readStackOutputs', { name })) as {
    outputs: { version?: unknown }
  }
  return typeof outputs.version === 'string' ? outputs.version : undefined
}

/** Resolves when the engine has let it pass; nothing may be made before. @throws what ends the program, when it does not */
export const beginRelease = async (version: string): Promise<void> => {
  const completed = await lastCompleted()
  const mark = new Mark('release', { version, ...(completed ? { completed } : {}) }, {})
  const { promise, resolve } = Promise.withResolvers<void>()
  // Refused, it is never known, and the program ends with the engine's error.
  mark.urn.apply(() => resolve())
  await promise
}

/** @param everything that is of the version. @returns the version, once all of it is there */
export const endRelease = (version: string, everything: readonly pulumi.Resource[]): pulumi.Output<string> =>
  new Mark('released', { version }, { dependsOn: [...everything] }).version
