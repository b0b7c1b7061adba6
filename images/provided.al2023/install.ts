export const installInit = async (_root: string): Promise<void> => {}
