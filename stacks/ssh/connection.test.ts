import { expect, it } from 'vitest'
import { knownHostsLine, rootCommand, sshOptions } from './connection.ts'

const connection = { name: 'h1', address: '10.0.0.1', port: 2222, user: 'root', hostKey: 'ssh-rsa AAAA' }
const files = { knownHosts: '/k', control: '/c', agent: '/a' }
const options = (changes: Partial<typeof connection> = {}) => sshOptions({ ...connection, ...changes }, files).join(' ')

it('the one key that is pinned is the only one that counts', () => {
  expect(knownHostsLine(connection)).toBe('h1 ssh-rsa AAAA\n')
  for (const setting of ['StrictHostKeyChecking=yes', 'HostKeyAlias=h1', 'UserKnownHostsFile=/k'])
    expect(options()).toContain(`-o ${setting}`)
  expect(options()).toContain('GlobalKnownHostsFile=/dev/null')
  expect(options()).toContain('HostKeyAlgorithms=rsa-sha2-512,rsa-sha2-256')
  expect(options({ hostKey: 'ssh-ed25519 AAAA' })).toContain('HostKeyAlgorithms=ssh-ed25519 ')
})

it('nothing of the user’s own SSH configuration counts', () => {
  expect(options()).toContain('-F none')
  expect(options()).toContain('ForwardAgent=no')
})

it('words arrive as they are, by sudo where the user is not root', () => {
  expect(rootCommand('root', ['echo', `it's "$HOME"`])).toBe(`'echo' 'it'\\''s "$HOME"'`)
  expect(rootCommand('admin', ['id'])).toBe(`'sudo' '-n' '--' 'id'`)
})
