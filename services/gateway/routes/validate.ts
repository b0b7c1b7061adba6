/** Request parts against their schemas. Only parts that are text on the wire are converted, and only whole. */
import { type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { PlatformError } from '../../contracts/errors.ts'

type Outcome = { value: unknown } | { error: Error }

export const compileSchema = (schema: TSchema, httpPart: string | undefined): ((data: unknown) => Outcome) => {
  // A part with several content types is the payload of an invocation: it is checked where it is used.
  if ('content' in schema) return (data) => ({ value: data })
  const compiled = Compile(schema)
  const convert = httpPart === 'body' ? (data: unknown) => data : converter(schema)
  return (data) => {
    const value = convert(data ?? {})
    if (compiled.Check(value)) return { value }
    const problems = [...compiled.Errors(value)].map(({ instancePath, message }) => {
      const member = instancePath.slice(1).replaceAll('/', '.')
      return `Value at '${member.slice(0, 128) || (httpPart ?? 'body')}' failed to satisfy constraint: ${message}`
    })
    const unique = [...new Set(problems)]
    const head = `${unique.length} validation error${unique.length === 1 ? '' : 's'} detected`
    return { error: new PlatformError('INVALID_REQUEST', `${head}: ${unique.slice(0, 10).join('; ')}`) }
  }
}

const typeOf = (property: TSchema): unknown => Reflect.get(property, 'type')

const converter = (schema: TSchema): ((data: unknown) => unknown) => {
  const properties = Object.entries((schema as { properties?: Record<string, TSchema> }).properties ?? {})
  return (data) => {
    const value: Record<string, unknown> = { ...(data as object) }
    for (const [name, property] of properties) {
      const text = value[name]
      if (typeOf(property) === 'integer' && typeof text === 'string' && /^-?\d{1,15}$/.test(text))
        value[name] = Number(text)
      if (typeOf(property) === 'boolean' && (text === 'true' || text === 'false')) value[name] = text === 'true'
      // One value of a list looks like no list.
      if (typeOf(property) === 'array' && typeof text === 'string') value[name] = [text]
    }
    return value
  }
}
