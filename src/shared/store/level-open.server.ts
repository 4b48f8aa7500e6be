import { ClassicLevel } from 'classic-level'
import { asError, MusterError } from '../core/errors.ts'
import { notWritable } from './folder.server.ts'

/**
 * Opens, or creates, the LevelDB at `level`; `folder` is the data folder it is part of.
 * @throws MusterError `data-locked` | `data-not-writable` | `data-corrupt`.
 */
export async function openLevel(folder: string, level: string): Promise<ClassicLevel<string, Uint8Array>> {
  const database = new ClassicLevel<string, Uint8Array>(level, { keyEncoding: 'utf8', valueEncoding: 'view' })
  try {
    // No compression: values are keys and signatures, and `checkLevelTable` reads what is not compressed.
    await database.open({ createIfMissing: true, compression: false })
    return database
  } catch (thrown) {
    await database.close().catch(() => undefined)
    const cause = asError(thrown).cause as NodeJS.ErrnoException | undefined
    const why = cause?.message ?? asError(thrown).message
    if (cause?.code === 'LEVEL_CORRUPTION') throw corrupt(level, why, thrown)
    if (cause?.code === 'LEVEL_LOCKED') {
      throw new MusterError('data-locked', `another program has the database ${level} open: stop it`, { cause: thrown })
    }
    throw notWritable(folder, cause ?? thrown)
  }
}

export function corrupt(level: string, why: string, cause?: unknown): MusterError {
  return new MusterError(
    'data-corrupt',
    `the database ${level} is damaged (${why}). Nothing was changed. Restore the folder from a copy, or move it aside ` +
      'to start with an empty database: the identity beside it stays, and what was stored here comes back as far as others hold it',
    { cause }
  )
}
