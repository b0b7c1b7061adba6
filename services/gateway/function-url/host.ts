/** `<urlId>.<urlDomain>[:port]` -> the id; any other host belongs to the API. */
export const urlIdReader = (urlDomain: string): ((host: string) => string | undefined) => {
  const suffix = `.${urlDomain.toLowerCase()}`
  return (host) => {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
    return name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined
  }
}
