import { expect, test } from 'vitest'
import { secretNames } from './secrets.ts'

const names = (environment: Record<string, string>, secretTag: string[] = []): string[] =>
  secretNames({ environment, secretNames: secretTag })

test.each([
  'API_TOKEN',
  'DB_PASSWORD',
  'clientSecret',
  'AWS_SECRET_ACCESS_KEY',
  'KEY',
  'STRIPE_KEY',
  'apiKey',
  'MY_CREDENTIALS',
  'DB_PASS',
  'SENTRY_DSN',
])('the name %s says that it is a secret', (name) => {
  expect(names({ [name]: 'x' })).toEqual([name])
})

test.each(['KEYBOARD', 'NODE_ENV', 'LOG_LEVEL', 'AUTHOR', 'MONKEY', 'PATHS', 'COMPASS'])(
  'the name %s does not',
  (name) => {
    expect(names({ [name]: 'x' })).toEqual([])
  },
)

test('an address with a password is one, whatever its name', () => {
  expect(names({ DATABASE_URL: 'postgres://app:pw@db/x', SITE_URL: 'https://example.com/a:b@c' })).toEqual([
    'DATABASE_URL',
  ])
})

test('so is what the function’s tag names, if it is there', () => {
  expect(names({ SALT: 'x', OTHER: 'y' }, ['SALT', 'MISSING'])).toEqual(['SALT'])
})
