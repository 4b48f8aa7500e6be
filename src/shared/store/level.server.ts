import { join, resolve } from 'node:path'
import type { MusterError } from '../core/errors.ts'
import { build } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { DurableDatastore } from './durable.server.ts'
import { folderBytes, notWritable } from './folder.server.ts'
import { findLevelDamage } from './level-check.server.ts'
import { corrupt, openLevel } from './level-open.server.ts'
import { lockFolder } from './lock.server.ts'
import type { Durability, Store } from './port.ts'
import { openTable } from './table.server.ts'

/** The database's place inside the data folder. */
export const LEVEL_FOLDER = 'level'

export interface StoreOptions {
  readonly log?: Log
  readonly durability?: Durability
}

/**
 * Opens, or creates with mode 0700, the data folder at `path`: a lock, and a LevelDB in `<path>/level`.
 * A write that resolved survives `kill -9`, and a power cut too unless its key is under `/peers` (see
 * `DurableDatastore`). Damage is looked for before anything is written and never repaired in passing.
 * @throws MusterError `data-locked` | `data-not-writable` | `data-corrupt`, each with the way out in its message.
 */
export function openStore(
  path: string,
  { log = silentLog, durability = 'sync' }: StoreOptions = {}
): Promise<Store & { readonly path: string }> {
  return build(async scope => {
    const folder = resolve(path)
    scope.own(await lockFolder(folder))
    const level = join(folder, LEVEL_FOLDER)
    const damage = await findLevelDamage(level, log).catch(thrown => Promise.reject(notWritable(folder, thrown)))
    if (damage !== undefined) throw corrupt(level, damage)
    const failed = Promise.withResolvers<MusterError>()
    const onFailure = (thrown: unknown): MusterError => {
      const failure = notWritable(folder, thrown)
      failed.resolve(failure)
      return failure
    }
    const datastore = scope.own(new DurableDatastore(await openLevel(folder, level), durability, onFailure))
    return {
      datastore,
      path: folder,
      failure: failed.promise,
      openTable: name => openTable(scope, folder, name, { log, durability, onFailure }),
      signal: scope.signal,
      bytes: () => folderBytes(folder),
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}
