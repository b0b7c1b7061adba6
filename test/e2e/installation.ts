/** The scratch installation that `stack.ts` brought up for this run. */
import { inject } from 'vitest'
import type { Premises } from '../../scripts/place.ts'
import type { Connection } from '../support/lambda.ts'

export interface Installation extends Connection, Premises {}

declare module 'vitest' {
  export interface ProvidedContext {
    installation: Installation
  }
}

export const installation = (): Installation => inject('installation')
