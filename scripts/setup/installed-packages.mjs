/**
 * Exit code 0 when node_modules holds what package-lock.json asks for. Runs on the machine's own Node.js, before anything is
 * installed: plain JavaScript, no dependencies.
 */
import { existsSync, readFileSync } from 'node:fs'

const packages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages ?? {}

const installed = () => {
  const hidden = 'node_modules/.package-lock.json'
  if (!existsSync(hidden)) return false
  const present = packages(hidden)
  return Object.entries(packages('package-lock.json')).every(
    ([path, { version, optional, peer, link }]) =>
      path === '' || link || (optional ?? peer ?? false) || present[path]?.version === version,
  )
}

process.exitCode = installed() && existsSync('node_modules/.bin/node') ? 0 : 1
