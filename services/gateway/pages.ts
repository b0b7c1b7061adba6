/** Pagination as Lambda has it: `Marker` is opaque, `NextMarker` is there while more follows. */
import { Type } from 'typebox'
import { PlatformError } from '../contracts/errors.ts'

/** As AWS: a page has at most so many items, also when `MaxItems` asks for more. */
const maxPage = 50

export const pageQuery = {
  Marker: Type.Optional(Type.String({ maxLength: 1024 })),
  MaxItems: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly next: { readonly NextMarker?: string }
}

/**
 * @param keyOf unique and ascending over `all`, so that a page begins right also when items came or went in between.
 * @throws PlatformError INVALID_REQUEST for a marker that is none.
 */
export const pageOf = <T>(
  all: readonly T[],
  { Marker, MaxItems = maxPage }: { readonly Marker?: string | undefined; readonly MaxItems?: number | undefined },
  keyOf: (item: T) => string,
): Page<T> => {
  const after = Marker === undefined || Marker === '' ? undefined : decodeMarker(Marker)
  const rest = after === undefined ? all : all.filter((item) => keyOf(item) > after)
  const items = rest.slice(0, Math.min(MaxItems, maxPage))
  const last = items.at(-1)
  const more = items.length < rest.length && last !== undefined
  return { items, next: more ? { NextMarker: Buffer.from(`after:${keyOf(last)}`).toString('base64url') } : {} }
}

const decodeMarker = (marker: string): string => {
  const text = Buffer.from(marker, 'base64url').toString()
  if (text.startsWith('after:')) return text.slice('after:'.length)
  throw new PlatformError('INVALID_REQUEST', 'Value at Marker is not one that this API gave out')
}

/** Makes numbers of up to ten digits sort as text. */
export const numberKey = (number: number): string => String(number).padStart(10, '0')
