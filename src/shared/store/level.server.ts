import { join, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { asError, MusterError } from '../core/errors.ts'
import { build } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { DurableDatastore } from './durable.server.ts'
import { folderBytes, notWritable } from './folder.server.ts'
import { findLevelDamage } from './level-check.server.ts'
import { lockFolder } from './lock.server.ts'
import type { Store } from './port.ts'

/** The database's place inside the data folder. */
export const LEVEL_FOLDER = 'level'

/**
 * Opens, or creates with mode 0700, the data folder at `path`: a lock, and a LevelDB in `<path>/level`.
 * A write that resolved survives `kill -9`, and a power cut too unless its key is under `/peers` (see
 * `DurableDatastore`). Damage is looked for before anything is written and never repaired in passing.
 * @throws MusterError `data-locked` | `data-not-writable` | `data-corrupt`, each with the way out in its message.
 */
export function openStore(
  path: string,
  { log = silentLog }: { log?: Log } = {}
): Promise<Store & { readonly path: string }> {
  return build(async scope => {
    const folder = resolve(path)
    scope.own(await lockFolder(folder))
    const level = join(folder, LEVEL_FOLDER)
    const damage = await findLevelDamage(level, log).catch(thrown => Promise.reject(notWritable(folder, thrown)))
    if (damage !== undefined) throw corrupt(level, damage)
    const datastore = scope.own(new DurableDatastore(await openLevel(folder, level)))
    return {
      datastore,
      path: folder,
      signal: scope.signal,
      bytes: () => folderBytes(folder),
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}

async function openLevel(folder: string, level: string): Promise<ClassicLevel<string, Uint8Array>> {
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

function corrupt(level: string, why: string, cause?: unknown): MusterError {
  return new MusterError(
    'data-corrupt',
    `the database ${level} is damaged (${why}). Nothing was changed. Restore the folder from a copy, or move it aside ` +
      'to start with an empty database: the identity beside it stays, and what was stored here comes back as far as others hold it',
    { cause }
  )
}
