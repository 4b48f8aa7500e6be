import { cp, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { Key, type Pair } from 'interface-datastore'
import { isMusterError, type MusterError } from '../core/errors.ts'
import type { Scope } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import { DurableDatastore, type OnFailure } from './durable.server.ts'
import { notWritable, syncFolder, writeAtomically } from './folder.server.ts'
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
 * takes its place. A file `<name>.unread` says so until all that is wanted was taken over.
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
  const marker = `${path}.unread`
  try {
    const found = await damageOf(path, log, open)
    let unread = await unreadOf(folder, marker)
    if (typeof found === 'string') {
      const movedTo = `${path}.damaged-${new Date().toISOString().replaceAll(':', '-')}`
      if (unread === undefined) {
        unread = { what: found, movedTo }
        await writeAtomically(folder, marker, encodeUnread(unread))
      } // otherwise this one has no more than what was taken over of that one
      await rename(path, movedTo)
      const fields = { what: found, movedTo }
      log.error(fields, `the table ${name} is damaged: it was moved aside, and what is readable is taken over`)
    }
    const datastore = typeof found === 'string' ? await open() : found
    if (unread === undefined) return { datastore }
    const { movedTo } = unread
    const done = async (): Promise<void> => {
      await rm(marker, { force: true })
      await syncFolder(folder) // or it would come back, and old rows over newer ones with it
    }
    return { datastore, damage: { ...unread, rows: () => readableRows(movedTo), done } }
  } catch (thrown) {
    throw asNotWritable(folder, thrown)
  }
}

interface Unread {
  readonly what: string
  readonly movedTo: string
}

function encodeUnread({ what, movedTo }: Unread): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ what, folder: basename(movedTo) }))
}

/** A damaged table of an earlier start that ended before it was read. */
async function unreadOf(folder: string, marker: string): Promise<Unread | undefined> {
  try {
    const { what, folder: name } = JSON.parse(await readFile(marker, 'utf8')) as Record<string, unknown>
    const movedTo = join(folder, basename(String(name)))
    return (await stat(movedTo)).isDirectory() ? { what: String(what), movedTo } : undefined
  } catch {
    return undefined // none, or that start was cut off before it had moved anything
  }
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
  await rm(copy, { recursive: true, force: true }) // of a start that was cut off
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
