/**
 * Draws a `Server-Timing` header as a start waterfall, one line a phase:
 *
 *     place      0.4 ms  |#                                       |
 *     restore   61.0 ms  | ################################       |
 *     handler    9.1 ms  |                                 #######|
 *
 * A phase is `name;dur=12.3;desc="@4.5"`: duration and offset in milliseconds. Without an offset it begins where the one before
 * it ended. An entry without a duration, like `start;desc="restore"`, is a fact and goes into the first line.
 */
export interface TimingEntry {
  readonly name: string
  readonly durationMs: number | undefined
  readonly startMs: number | undefined
  readonly description: string | undefined
}

const width = 40

export const parseServerTiming = (header: string): TimingEntry[] =>
  splitOutsideQuotes(header, ',').flatMap((entry) => {
    const [name = '', ...parameters] = splitOutsideQuotes(entry, ';')
    if (!name) return []
    const values = new Map(
      parameters.map((parameter) => {
        const at = parameter.indexOf('=')
        const key = (at < 0 ? parameter : parameter.slice(0, at)).trim().toLowerCase()
        const value = at < 0 ? '' : parameter.slice(at + 1).trim()
        return [key, value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value] as const
      }),
    )
    const description = values.get('desc')
    const offset = description?.startsWith('@') ? toNumber(description.slice(1)) : undefined
    return [{ name, durationMs: toNumber(values.get('dur')), startMs: offset, description }]
  })

export const renderWaterfall = (serverTiming: string): string => {
  const entries = parseServerTiming(serverTiming)
  const facts = entries.filter(({ durationMs, description }) => durationMs === undefined && description)
  let cursor = 0
  const phases = entries.flatMap(({ name, durationMs, startMs }) => {
    if (durationMs === undefined || name === 'total') return []
    const from = startMs ?? cursor
    cursor = from + durationMs
    return [{ name, from, durationMs }]
  })
  if (phases.length === 0) return facts.map(({ name, description }) => `${name}: ${description}`).join(', ')
  const total = entries.find(({ name }) => name === 'total')?.durationMs ?? 0
  const end = Math.max(total, ...phases.map(({ from, durationMs }) => from + durationMs))
  const column = (ms: number): number => (end > 0 ? (ms / end) * width : 0)
  const nameWidth = Math.max(...phases.map(({ name }) => name.length))
  const lines = phases.map(({ name, from, durationMs }) => {
    // A phase shorter than a column is still drawn: one column, inside the frame.
    const first = Math.min(width - 1, Math.max(0, Math.floor(column(from))))
    const last = Math.min(width, Math.max(first + 1, Math.round(column(from + durationMs))))
    const bar = `${' '.repeat(first)}${'#'.repeat(last - first)}`.padEnd(width)
    return `${name.padEnd(nameWidth)}  ${durationMs.toFixed(1).padStart(8)} ms  |${bar}|`
  })
  const head = [...facts.map(({ name, description }) => `${name}: ${description}`), `${end.toFixed(1)} ms in all`]
  return [head.join(', '), ...lines].join('\n')
}

const toNumber = (text: string | undefined): number | undefined => {
  const value = text === undefined || text === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}

const splitOutsideQuotes = (text: string, separator: string): string[] => {
  const parts: string[] = []
  let part = ''
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (quoted && char === '\\') part += char + text.charAt(++i)
    else if (char === separator && !quoted) {
      parts.push(part.trim())
      part = ''
    } else {
      if (char === '"') quoted = !quoted
      part += char
    }
  }
  parts.push(part.trim())
  return parts.filter((each) => each !== '')
}
