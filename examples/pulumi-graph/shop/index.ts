/** No address, no credential: the binding `orders` is both. */
export const handler = async ({ order }: { readonly order: string }) => {
  const reply = await fetch(`http://orders.internal/${order}`, { signal: AbortSignal.timeout(5000) })
  return reply.json()
}
