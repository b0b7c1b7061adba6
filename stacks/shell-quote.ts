/** A word as POSIX shells read it back. */
export const shellQuote = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`
