import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        // In-process: no root, no tools, no network beyond loopback.
        test: {
          name: 'unit',
          include: ['{services,stacks,images,scripts}/**/*.test.ts', 'test/unit/**/*.test.ts'],
          // Some start real processes and keep them busy; on a machine with other work that takes its time.
          testTimeout: 30_000,
        },
      },
      {
        // Real processes: runsc, nats-server, the Pulumi engine. Root and the tools of `./scripts/test` are needed.
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/stack.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
      {
        // Whole systems as hosts. Minutes each, so apart from the others (`npm run test:stacks`).
        test: {
          name: 'stacks',
          include: ['test/stacks/**/*.test.ts'],
          fileParallelism: false,
          bail: 1,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
})
