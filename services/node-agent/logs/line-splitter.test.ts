import { expect, test } from 'vitest'
import { LineSplitter } from './line-splitter.ts'

const split = (max: number, ...chunks: string[]): string[] => {
  const lines: string[] = []
  const splitter = new LineSplitter(max, (line) => lines.push(line))
  for (const chunk of chunks) splitter.push(Buffer.from(chunk))
  splitter.flush()
  return lines
}

test('lines are put together over chunks, and empty ones stay', () => {
  expect(split(100, 'a', 'b\n\nc')).toEqual(['ab', '', 'c'])
})
test('a long line is cut and says by how much', () => {
  expect(split(4, 'abcdefgh\nx\n')).toEqual(['abcd [cut: 4 bytes more]', 'x'])
})
test('terminal sequences are escaped', () => {
  expect(split(100, '\u001b[31mred\n')).toEqual([String.raw`\x1b[31mred`])
})
