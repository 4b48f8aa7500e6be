import { createRequire } from 'node:module'

/** The version of this package. Read from its manifest here; the build puts the published manifest in its place. */
export function programVersion(): string {
  const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string }
  return version
}
