import { expect, it } from 'vitest'
import { checkLine } from './check-line.ts'

it.each([
  [`'/n/node' '/t/stacks/host-scripts/service.ts' 'ensure'`, `'/n/node' '/t/stacks/host-scripts/service.ts' 'check'`],
  [
    `'/n/node' '/t/stacks/ssh/script.ts' 'ensure' 'service' 'ensure'`,
    `'/n/node' '/t/stacks/ssh/script.ts' 'check' 'service' 'check'`,
  ],
  [
    `'/n/node' '/t/stacks/ssh/script.ts' 'ensure' 'directories' 'prepare'`,
    `'/n/node' '/t/stacks/ssh/script.ts' 'check' 'directories' 'check'`,
  ],
  [`'/n/node' '/it'\\''s/stacks/ssh/place.ts' 'ensure'`, `'/n/node' '/it'\\''s/stacks/ssh/place.ts' 'check'`],
  [`'/n/node' '/t/stacks/host-scripts/file.ts' 'put'`, `'/n/node' '/t/stacks/host-scripts/file.ts' 'check'`],
  [`'/n/node' '/t/images/build.ts' '--runtime' 'x'`, undefined],
  [`'/n/node' '/t/stacks/ssh/script.ts' 'ensure' 'checkpoint' '--runtime'`, undefined],
  [`'/n/node' '/t/stacks/ssh/prepare.ts' 'ensure'`, undefined],
])('%s', (create, check) => {
  expect(checkLine(create)).toBe(check)
})
