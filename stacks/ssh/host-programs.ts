/** Links in the state directory of a host to what lies in its store; `components/machine.ts` places them. */
export const hostPrograms = { node: 'bin/node', scripts: 'bin/host-scripts.mjs' } as const
