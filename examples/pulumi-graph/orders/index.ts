interface Request {
  readonly rawPath: string
  readonly requestContext: { readonly authorizer?: { readonly function: { readonly name: string } } }
}

/** Answers other functions: who asks is told by the platform. */
export const handler = async ({ rawPath, requestContext }: Request) => ({
  order: rawPath.slice(1),
  for: requestContext.authorizer?.function.name ?? 'nobody',
})
