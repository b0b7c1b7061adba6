/** A Lambda handler. Try it: forkyard deploy examples/hello && forkyard invoke hello --data '{"name":"Ada"}' --waterfall */
interface Event {
  readonly name?: string
}

export const handler = async ({ name = 'world' }: Event) => {
  console.log(`greeting ${name}`)
  return { message: `Hello, ${name}!` }
}
