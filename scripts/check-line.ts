/** The command that looks at what another one made: pure. */
import { basename } from 'node:path'
import { shellQuote } from '../stacks/shell-quote.ts'

/** Those that know `check`, and by which verb they make. The others make files that are named by their digests, in the cache. */
const makers: Readonly<Record<string, string>> = {
  'service.ts': 'ensure',
  'firewall.ts': 'ensure',
  'file.ts': 'put',
  'service-code.ts': 'put',
  'leftovers.ts': 'prepare',
  'place.ts': 'ensure',
}

/** Scripts of a host over SSH, by their names there. */
const remoteMakers: Readonly<Record<string, string>> = { service: 'ensure', firewall: 'ensure', directories: 'prepare' }

/** Words that `shellQuote` quoted. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'((?:[^']|'\\'')*)'|(\S+)/g)].map(
    ([, quoted, bare]) => quoted?.replaceAll(`'\\''`, `'`) ?? bare ?? '',
  )

/** @param create as the state has it @returns nothing where there is nothing to look at */
export const checkLine = (create: string): string | undefined => {
  const [node = '', file = '', ...args] = wordsOf(create)
  const to = (words: readonly string[]) => [node, file, ...words].map(shellQuote).join(' ')
  if (basename(file) === 'script.ts') {
    const [verb, script = '', made] = args
    return verb === 'ensure' && remoteMakers[script] === made ? to(['check', script, 'check']) : undefined
  }
  return makers[basename(file)] === args[0] ? to(['check']) : undefined
}
