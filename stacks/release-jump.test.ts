import { expect, it } from 'vitest'
import { jumpProblem } from './release-jump.ts'

it.each([
  ['nothing yet', undefined, undefined, '3.7.0'],
  ['an installation from before versions were recorded', undefined, undefined, '0.1.0'],
  ['the same', '0.3.1', '0.3.1', '0.3.1'],
  ['a patch', '0.3.1', '0.3.1', '0.3.9'],
  ['one minor up', '0.3.1', '0.3.1', '0.4.0'],
  ['one minor down', '0.4.0', '0.4.0', '0.3.1'],
  ['a first update that was cut off', '0.3.0', undefined, '0.3.0'],
  ['on with what was cut off', '0.4.0', '0.3.0', '0.4.0'],
  ['back from what was cut off', '0.4.0', '0.3.0', '0.3.0'],
  ['up again, when going back was cut off', '0.3.0', '0.4.0', '0.4.0'],
])('%s is allowed', (_, recorded, completed, next) => {
  expect(jumpProblem({ recorded, completed, next })).toBeUndefined()
})

it.each([
  ['two minors up', '0.3.0', '0.3.0', '0.5.0', /is 0\.3\.0 and this is 0\.5\.0.*versions between/],
  ['two minors down', '0.5.0', '0.5.0', '0.3.0', /more than one minor/],
  ['another major', '0.9.0', '0.9.0', '1.0.0', /more than one minor/],
  [
    'on over what was cut off',
    '0.4.0',
    '0.3.0',
    '0.5.0',
    /from 0\.3\.0 to 0\.4\.0 was not finished.*or go back to 0\.3\.0/,
  ],
])('%s is refused', (_, recorded, completed, next, problem) => {
  expect(jumpProblem({ recorded, completed, next })).toMatch(problem)
})
