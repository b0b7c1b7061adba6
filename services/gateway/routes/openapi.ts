/** The OpenAPI document: made from the operations themselves, served at /openapi.json. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import type { GatewayConfig } from '../config.ts'

export const openApiOptions = ({ publicUrl, region }: GatewayConfig): FastifyDynamicSwaggerOptions => ({
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Forkyard',
      version: '1',
      description: 'The AWS Lambda API (restJson1), and what Forkyard adds to it.',
    },
    servers: [{ url: publicUrl }],
    tags: [
      { name: 'Lambda', description: 'As AWS clients know it' },
      { name: 'Forkyard', description: 'Forkyard’s own operations, signed the same way' },
    ],
    components: {
      securitySchemes: {
        sigv4: {
          type: 'apiKey',
          in: 'header',
          name: 'Authorization',
          description: `AWS Signature Version 4, service lambda, region ${region}; or presigned in the query`,
        },
      },
    },
    security: [{ sigv4: [] }],
  },
  hideUntagged: true,
})
