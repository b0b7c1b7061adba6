import { describe, expect, it } from 'vitest'
import { createSigner, createVerifier, publicKeyOf, SignatureError, type Signed } from './signing.ts'

const first = { id: 's1', seed: '1'.repeat(64) }
const second = { id: 's2', seed: '2'.repeat(64) }
const publicOf = ({ id, seed }: typeof first) => ({ id, key: publicKeyOf(seed) })
const entry = { name: 'f', digest: 'abc', tags: { a: '1', b: '2' } }

describe('an entry', () => {
  const signer = createSigner([first])
  const verifier = createVerifier([publicOf(first)])

  it('that was signed is what it was, in whatever order its members are', () => {
    const { signature } = signer.sign('one.f', entry)
    const turned = { tags: { b: '2', a: '1' }, signature, digest: 'abc', name: 'f' }
    expect(verifier.check('one.f', turned)).toEqual(entry)
  })

  it.each<[string, (signed: typeof entry & Signed) => [string, Signed]]>([
    ['without a signature', () => ['one.f', { ...entry } as Signed]],
    ['with another digest', (signed) => ['one.f', { ...signed, digest: 'abd' } as Signed]],
    ['with a member more', (signed) => ['one.f', { ...signed, more: 1 } as Signed]],
    ['with a member less', ({ tags: _tags, ...signed }) => ['one.f', signed]],
    ['in another place', (signed) => ['one.g', signed]],
    ['with the signature of another', () => ['one.f', { ...entry, signature: signer.sign('one.f', {}).signature }]],
    ['signed by another installation', () => ['one.f', createSigner([{ ...second, id: 's1' }]).sign('one.f', entry)]],
    ['signed with a key that is not known', () => ['one.f', createSigner([second]).sign('one.f', entry)]],
    ['of another format', (signed) => ['one.f', { ...signed, signature: signed.signature?.replace('ed1', 'none') }]],
    ['with an empty signature', (signed) => ['one.f', { ...signed, signature: 'ed1.s1.' }]],
  ])('%s is refused', (_case, change) => {
    expect(() => verifier.check(...change(signer.sign('one.f', entry)))).toThrow(SignatureError)
  })

  it('of the key before is good after a rotation, and known as old', () => {
    const signed = signer.sign('one.f', entry)
    const rotated = createSigner([second, first])
    expect(rotated.check('one.f', signed)).toEqual(entry)
    expect([rotated.isOld(signed), rotated.isOld(rotated.sign('one.f', entry))]).toEqual([true, false])
  })
})
