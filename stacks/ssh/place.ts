/**
 * Files on a host, each named by its digest: `ensure` sends only what is not there with that digest, and never puts half of a file in
 * its place. `check` says which are not there, or others. `remove` takes them away.
 */
import { createReadStream } from 'node:fs'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { Type, type Static } from 'typebox'
import { bundleService } from '../bundle.ts'
import { runCommand } from './command.ts'
import { Connection } from './connection.ts'
import { existingScript, pruneScript, putScript, removeScript } from './place-script.ts'
import { withSession, type Session } from './session.ts'

export const PlacedFile = Type.Object({
  /** A file of this machine, or an entry point that is bundled here. */
  source: Type.Union([
    Type.Object({ file: Type.String() }),
    Type.Object({ entryPoint: Type.String(), root: Type.String() }),
  ]),
  /** SHA-256, lower-case hex. */
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  path: Type.String({ pattern: '^/' }),
  executable: Type.Optional(Type.Boolean()),
  /** A name that leads to it, moved in one step. */
  link: Type.Optional(Type.String({ pattern: '^/' })),
})
export type PlacedFile = Static<typeof PlacedFile>

const Input = Type.Object({
  connection: Connection,
  files: Type.Array(PlacedFile),
  /** Keeps what is listed now and what was listed before; whatever else lies in this directory goes. */
  prune: Type.Optional(Type.String({ pattern: '^/' })),
})

const shell = (session: Session, script: string, args: readonly string[], input?: Readable) =>
  session.exec(['sh', '-c', script, 'sh', ...args], input)

const contentOf = async ({ source }: PlacedFile, sha256: string): Promise<Readable> => {
  if ('file' in source) return createReadStream(source.file, { highWaterMark: 1 << 18 })
  const { code, sha256: found } = await bundleService(source.entryPoint, source.root)
  if (found !== sha256)
    throw new Error(
      `the sources of ${source.entryPoint} were changed while the stack was being brought up: run it again`,
    )
  return Readable.from([Buffer.from(code)], { objectMode: false })
}

const ensure = ({ connection, files, prune }: Static<typeof Input>) =>
  withSession(connection, async (session) => {
    const there = (
      await shell(
        session,
        existingScript,
        files.map(({ path }) => path),
      )
    ).split('\n')
    for (const [index, file] of files.entries()) {
      const { sha256, path, executable = false, link = '' } = file
      const mode = executable ? '755' : '644'
      if (there[index] === sha256) await shell(session, putScript, ['', path, mode, link])
      else await shell(session, putScript, [sha256, path, mode, link], await contentOf(file, sha256))
    }
    if (prune) await shell(session, pruneScript, [prune, ...files.map(({ path }) => dirname(path))])
  })

const check = ({ connection, files }: Static<typeof Input>): Promise<string> =>
  withSession(connection, async (session) => {
    const paths = files.map(({ path, link }) => link ?? path)
    const there = (await shell(session, existingScript, paths)).split('\n')
    const differing = files.flatMap(({ sha256 }, index) =>
      there[index] === sha256 ? [] : [`${paths[index]} ${there[index] ? 'is another file' : 'is not there'}\n`],
    )
    return differing.join('')
  })

const remove = async ({ connection, files }: Static<typeof Input>): Promise<void> => {
  const paths = files.flatMap(({ path, link }) => (link ? [path, link] : [path]))
  await withSession(connection, (session) => shell(session, removeScript, paths))
}

await runCommand(Input, { ensure, check, remove }, ({ connection }) => connection)
