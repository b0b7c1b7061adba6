/** V8's heap within the function's memory: garbage is collected before the control group's limit ends the sandbox. */
import { limitHeap } from './native.ts'

const mib = 1024 * 1024

/** What else needs memory: V8's young generation and code, Node.js itself, buffers. */
const oldGenerationShare = 0.75

export const fitHeap = (memoryMiB: number): void => {
  if (memoryMiB > 0) limitHeap(Math.floor(memoryMiB * oldGenerationShare) * mib, memoryMiB * mib)
}
