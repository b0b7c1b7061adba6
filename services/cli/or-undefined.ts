import { ResourceNotFoundException } from '@aws-sdk/client-lambda'

/** @returns undefined for what the platform does not have. */
export const orUndefined = async <T>(answer: Promise<T>): Promise<T | undefined> => {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined
    throw error
  }
}
