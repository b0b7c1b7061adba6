interface Greeting {
  readonly name?: string
}

export const handler = async ({ name = 'world' }: Greeting) => ({
  message: `${process.env['GREETING']}, ${name}!`,
})
