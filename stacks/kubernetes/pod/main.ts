/** What the node agent's pod runs beside the agent: `main.mjs prepare`, `main.mjs keep`. */
const [verb] = process.argv.slice(2)
if (verb === 'prepare') await import('./prepare-node.ts')
else if (verb === 'keep') await (await import('./keep-node.ts')).keepNode()
else throw new Error('usage: main.mjs prepare|keep')
