/** The scratch installation that `stack.ts` brought up for this run. */
import { inject } from 'vitest'
import type { Connection } from '../support/lambda.ts'

export interface Installation extends Connection {
  /** Its name. */
  readonly installation: string
  readonly stateDir: string
  readonly runDir: string
}

declare module 'vitest' {
  export interface ProvidedContext {
    installation: Installation
  }
}

export const installation = (): Installation => inject('installation')
