/** The policy pack, as the engine runs it: `pulumi preview --policy-pack stacks/policy`. */
import { runtime } from '@pulumi/pulumi'
import { PolicyPack } from '@pulumi/policy'
import { rules, type Rule } from './rules.ts'

/** What a preview cannot know yet is looked at by the update, before anything is made of it. */
const isUnknown = (error: unknown): boolean =>
  error instanceof Error && error.message.includes("can't be known during preview")

const toPolicy = ({ name, description, check }: Rule) => ({
  name,
  description,
  enforcementLevel: 'mandatory' as const,
  validateResource: (
    { type, name: resource, props, opts }: { type: string; name: string; props: object; opts: { protect: boolean } },
    report: (message: string) => void,
  ) => {
    try {
      for (const problem of check({
        type,
        name: resource,
        props,
        isProtected: opts.protect,
        config: runtime.allConfig(),
      }))
        report(problem)
    } catch (error) {
      if (!isUnknown(error)) throw error
    }
  },
})

new PolicyPack('forkyard', { policies: rules.map(toPolicy) })
