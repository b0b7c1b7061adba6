import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import yauzl from 'yauzl'
import { packArchive } from './archive.ts'
import { bundleFunction, type Bundle } from './bundle.ts'
import { readProjectFile, type ProjectFile } from './project-file.ts'

const examples = join(import.meta.dirname, '../../examples')

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'forkyard-cli-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const write = (files: Record<string, string>) => {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), content)
  }
}

const paths = ({ files }: Bundle) => files.map(({ path }) => path).toSorted()

/** Runs the bundle in a fresh Node.js and prints what `expression` says of the module `m`. */
const evaluate = ({ files }: Bundle, expression: string): string => {
  for (const { path, content } of files) writeFileSync(join(directory, path), content)
  const code = `globalThis.awslambda = { streamifyResponse: (f) => f }
    const m = await import(${JSON.stringify(join(directory, 'index.mjs'))}); console.log(JSON.stringify(await (${expression})))`
  return (
    execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .at(-1) ?? ''
  )
}

describe('examples', () => {
  it('all of them bundle', async () => {
    const names = (await readdir(examples)).filter((name) => !name.startsWith('pulumi-'))
    const handlers = await Promise.all(
      names.map(async (name) => {
        const { handler } = await bundleFunction(join(examples, name), readProjectFile(join(examples, name)))
        return [name, handler]
      }),
    )
    expect(Object.fromEntries(handlers)).toEqual({
      hello: 'index.handler',
      'hello-fetch': 'index.default',
      streaming: 'index.handler',
      'cloud-event': 'index.cloudEvent',
      'custom-runtime': 'bootstrap',
      'hello-python': 'index.handler',
    })
  })

  it.each([
    ['hello', 'm.handler({ name: "Ada" })', '{"message":"Hello, Ada!"}'],
    [
      'hello-fetch',
      'm.default.fetch(new Request("http://x/?name=Ada")).then((r) => r.json())',
      '{"message":"Hello, Ada!","method":"GET"}',
    ],
    [
      'cloud-event',
      'm.cloudEvent({ id: "1", type: "t", source: "s", data: { bucket: "b", key: "k" } })',
      '{"id":"1","type":"t","stored":"k"}',
    ],
    ['streaming', 'typeof m.handler', '"function"'],
  ])('%s runs once it is bundled', async (name, expression, expected) => {
    expect(evaluate(await bundleFunction(join(examples, name), {}), expression)).toBe(expected)
  })
})

describe('bundleFunction', () => {
  it('bundles imports, and CommonJS dependencies that require built-in modules', async () => {
    write({
      'src/index.ts': `import cjs from '../lib.cjs'\nexport const handler = async (): Promise<number> => cjs.answer`,
      'lib.cjs': `const { sep } = require('path'); exports.answer = sep.length + 41`,
    })
    const bundle = await bundleFunction(directory, {})
    expect(paths(bundle)).toEqual(['index.mjs', 'index.mjs.map'])
    expect(evaluate(bundle, 'm.handler()')).toBe('42')
  })

  it('finds the handler of a CommonJS module', async () => {
    write({
      'index.js': `const { sep } = require('node:path'); exports.handler = async () => sep; exports.other = async () => 'o'`,
    })
    const bundle = await bundleFunction(directory, {})
    expect(bundle.handler).toBe('index.handler')
    expect(evaluate(bundle, 'm.handler()')).toBe('"/"')
    const named = await bundleFunction(directory, { handler: 'index.other', entry: 'index.js' })
    expect(evaluate(named, 'm.other()')).toBe('"o"')
  })

  it('starts from the module that the handler names, which the archive calls index', async () => {
    write({ 'index.ts': 'export const handler = () => 1', 'src/app.ts': 'export const main = async () => "app"' })
    const bundle = await bundleFunction(directory, { handler: 'src/app.main' })
    expect(bundle.handler).toBe('index.main')
    expect(evaluate(bundle, 'm.main()')).toBe('"app"')
  })

  it('names file and line of code that does not build', async () => {
    write({ 'index.ts': 'export const handler = (\n' })
    await expect(bundleFunction(directory, {})).rejects.toThrow('index.ts:2')
  })

  it('names what a module without a handler exports', async () => {
    write({ 'index.ts': 'export const other = 1' })
    await expect(bundleFunction(directory, {})).rejects.toThrow('found: other')
  })

  it('adds included files and refuses those outside', async () => {
    write({ 'index.ts': 'export const handler = () => 1', 'data/a.txt': 'a', 'data/deep/b.txt': 'b' })
    const bundle = await bundleFunction(directory, { include: ['data'] })
    expect(paths(bundle)).toEqual(['data/a.txt', 'data/deep/b.txt', 'index.mjs', 'index.mjs.map'])
    await expect(bundleFunction(directory, { include: ['../x'] })).rejects.toThrow('outside')
  })

  it('takes a Python project as it is, without what tools left in it', async () => {
    write({
      'lambda_function.py': 'def lambda_handler(event, context):\n    return 1\n',
      'pkg/__init__.py': '',
      '__pycache__/lambda_function.cpython-311.pyc': 'x',
      'forkyard.json': '{}',
    })
    mkdirSync(join(directory, '.venv/bin'), { recursive: true })
    symlinkSync('/usr/bin/python3', join(directory, '.venv/bin/python'))
    const bundle = await bundleFunction(directory, {})
    expect(bundle).toMatchObject({ runtime: 'python3.11', handler: 'lambda_function.lambda_handler' })
    expect(paths(bundle)).toEqual(['lambda_function.py', 'pkg/__init__.py'])
  })

  it('finds the handler of a Python module, and says what to name when there is none', async () => {
    write({ 'src/api.py': 'def main(event, context):\n    pass\n', 'app.py': 'import x\n\nhandler = x.make()\n' })
    const handlerOf = async (project: ProjectFile) => (await bundleFunction(directory, project)).handler
    expect(await handlerOf({})).toBe('app.handler')
    expect(await handlerOf({ handler: 'main' })).toBe('app.main')
    expect(await handlerOf({ handler: 'src/api.main' })).toBe('src/api.main')
    expect(await handlerOf({ entry: 'src/api.py', handler: 'main' })).toBe('src.api.main')
    await expect(handlerOf({ entry: 'src/api.py' })).rejects.toThrow('--handler')
    rmSync(join(directory, 'app.py'))
    await expect(handlerOf({ runtime: 'python3.11' })).rejects.toThrow('lambda_function.py')
  })

  it('takes a directory with a bootstrap as it is, and makes bootstrap executable', async () => {
    write({ bootstrap: '#!/bin/sh\n', 'lib/x': '1', 'forkyard.json': '{}' })
    const bundle = await bundleFunction(directory, {})
    expect(bundle.runtime).toBe('provided.al2023')
    expect(bundle.files.map(({ path, executable }) => `${path} ${executable}`).toSorted()).toEqual([
      'bootstrap true',
      'lib/x false',
    ])
  })

  it('refuses links, which could point anywhere', async () => {
    write({ bootstrap: '#!/bin/sh\n' })
    symlinkSync('/etc/passwd', join(directory, 'link'))
    await expect(bundleFunction(directory, {})).rejects.toThrow('link')
  })

  it('refuses a directory that is not there', async () => {
    await expect(bundleFunction(join(directory, 'nowhere'), {})).rejects.toThrow('not a directory')
  })
})

describe('packArchive', () => {
  const files = [
    { path: 'b', content: Buffer.from('b'), executable: true },
    { path: 'a', content: Buffer.from('a'), executable: false },
  ]

  it('gives the same bytes for the same files in any order', async () => {
    expect(await packArchive(files)).toEqual(await packArchive(files.toReversed()))
  })

  it('keeps names and modes', async () => {
    const zip = await yauzl.fromBufferPromise(Buffer.from(await packArchive(files)))
    const modes: string[] = []
    for await (const { fileName, externalFileAttributes } of zip.eachEntry())
      modes.push(`${fileName} ${(externalFileAttributes >>> 16).toString(8)}`)
    expect(modes).toEqual(['a 100644', 'b 100755'])
  })
})
