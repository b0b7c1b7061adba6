/** Headers of one connection do not travel on. https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** The names above, and those that a `Connection` header adds. */
export const isHopByHop = (connection: string | undefined): ((name: string) => boolean) => {
  const named = new Set(
    (connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
  return (name) => hopByHop.has(name) || named.has(name)
}
