import { createRequire } from 'node:module'

/** The version of this package. It asks for itself by name, which works from the sources and from a bundle alike. */
export function programVersion(): string {
  const { version } = createRequire(import.meta.url)('muster/package.json') as { version: string }
  return version
}
