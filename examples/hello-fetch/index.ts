/** A Web-standard `fetch` module behind a public function URL: forkyard deploy examples/hello-fetch && curl URL?name=Ada */
export default {
  async fetch(request: Request): Promise<Response> {
    const name = new URL(request.url).searchParams.get('name') ?? 'world'
    return Response.json({ message: `Hello, ${name}!`, method: request.method })
  },
}
