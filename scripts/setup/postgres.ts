/** PostgreSQL, from Debian: a server that somebody else wrote, for the end-to-end tests. Nothing of the platform needs it. */
import { existsSync, writeFileSync } from 'node:fs'
import { installPackages } from './debian.ts'

/** Where Debian's packages have the servers, by version. */
export const postgresRoot = '/usr/lib/postgresql'

/** No cluster is made and no server started by it: the tests run their own. @throws CommandError with apt's own words. */
export const providePostgres = async (report: (line: string) => void): Promise<void> => {
  if (existsSync(postgresRoot)) return
  report('postgresql: installing from Debian')
  await installPackages(['postgresql-common'])
  writeFileSync('/etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n')
  await installPackages(['postgresql'])
}
