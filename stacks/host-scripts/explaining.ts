/** Ends a script's failure with its message alone: the engine shows it to people. */
export const explaining = async (action: () => Promise<void>): Promise<void> => {
  try {
    await action()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
