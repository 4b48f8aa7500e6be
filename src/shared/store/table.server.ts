import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { Key, type Pair } from 'interface-datastore'
import { isMusterError, type MusterError } from '../core/errors.ts'
import type { Scope } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import { DurableDatastore, type OnFailure } from './durable.server.ts'
import { notWritable } from './folder.server.ts'
import { findLevelDamage } from './level-check.server.ts'
import { openLevel } from './level-open.server.ts'
import type { Durability, Table } from './port.ts'

export interface TableOptions {
  readonly log: Log
  readonly durability: Durability
  readonly onFailure: OnFailure
}

/**
 * Opens the LevelDB `<folder>/<name>`. A damaged one is moved aside to `<name>.damaged-<time>`, as it is, and an empty one
 * takes its place.
 * @throws MusterError `data-not-writable`.
 */
export async function openTable(
  scope: Scope,
  folder: string,
  name: string,
  { log, durability, onFailure }: TableOptions
): Promise<Table> {
  const path = join(folder, name)
  const open = async (): Promise<DurableDatastore> =>
    scope.own(new DurableDatastore(await openLevel(folder, path), durability, onFailure))
  const what = await damageOf(path, log, open).catch(thrown => Promise.reject(asNotWritable(folder, thrown)))
  if (typeof what !== 'string') return { datastore: what }
  const movedTo = `${path}.damaged-${new Date().toISOString().replaceAll(':', '-')}`
  await rename(path, movedTo)
  log.error({ what, movedTo }, `the table ${name} is damaged: it was moved aside, and what is readable is taken over`)
  return { datastore: await open(), damage: { what, movedTo, rows: () => readableRows(movedTo) } }
}

function asNotWritable(folder: string, thrown: unknown): MusterError {
  return isMusterError(thrown) ? thrown : notWritable(folder, thrown)
}

/** The open table, or what is wrong with it. */
async function damageOf(
  path: string,
  log: Log,
  open: () => Promise<DurableDatastore>
): Promise<DurableDatastore | string> {
  const found = await findLevelDamage(path, log)
  if (found !== undefined) return found
  try {
    return await open()
  } catch (thrown) {
    if (isMusterError(thrown, 'data-corrupt')) return thrown.message
    throw thrown
  }
}

/** What LevelDB's own repair saves, from a copy: the damaged files stay as they were found. */
async function* readableRows(path: string): AsyncGenerator<Pair> {
  const copy = `${path}.copy`
  await cp(path, copy, { recursive: true })
  try {
    await ClassicLevel.repair(copy)
    const level = new ClassicLevel<string, Uint8Array>(copy, { keyEncoding: 'utf8', valueEncoding: 'view' })
    await level.open({ createIfMissing: true, compression: false })
    try {
      for await (const [key, value] of level.iterator()) yield { key: new Key(key), value }
    } finally {
      await level.close()
    }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}
