import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { asError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { readLevelLog } from './level-log.ts'
import { type LevelState, readManifest } from './level-manifest.ts'
import { checkLevelTable } from './level-table.ts'

/**
 * Looks for damage in a closed LevelDB folder, reading only. Resolves with what is wrong, or undefined; rejects with the
 * system's error when it cannot be read.
 *
 * LevelDB would open most damaged databases and say nothing: with a missing CURRENT it starts an empty one, a broken
 * log loses rows, tables are read without their checksums, and after a shortened MANIFEST it deletes the tables it no
 * longer knows of. So every file it will use is checked here first; 100 MB take about half a second.
 * What a crash or a power cut leaves behind is sound: see `readLevelLog`.
 */
export async function findLevelDamage(folder: string, log: Log): Promise<string | undefined> {
  const names = new Set(await readdir(folder).catch(emptyWhenMissing))
  try {
    const state = await checkState(folder, names)
    if (state !== undefined) {
      await checkLogs(folder, names, state, log)
      await checkTables(folder, names, state)
    }
    return undefined
  } catch (thrown) {
    if (isOfTheSystem(thrown)) throw thrown // no right to read, no file handles left: that says nothing about the files
    return asError(thrown).message
  }
}

function isOfTheSystem(thrown: unknown): boolean {
  const { code } = thrown as NodeJS.ErrnoException
  return code !== undefined && code !== 'ENOENT' && code !== 'EISDIR' && code !== 'ENOTDIR'
}

async function checkState(folder: string, names: ReadonlySet<string>): Promise<LevelState | undefined> {
  if (!names.has('CURRENT')) {
    // A birth that was cut short has a MANIFEST and no more.
    const rest = [...names].find(each => /\.(log|ldb|sst)$/.test(each))
    if (rest === undefined) return undefined
    throw new Error(`CURRENT is missing, though ${rest} is there`)
  }
  const current = (await readFile(join(folder, 'CURRENT'))).toString('latin1')
  if (!/^MANIFEST-\d+\n$/.test(current)) throw new Error('CURRENT is damaged')
  const name = current.trimEnd()
  if (!names.has(name)) throw new Error(`${name} is missing`)
  const { records, damagedAt } = readLevelLog(await readFile(join(folder, name)))
  if (damagedAt !== undefined) throw new Error(`${name} is damaged at byte ${damagedAt}`)
  try {
    return readManifest(records)
  } catch (thrown) {
    throw new Error(`${name} is damaged: ${asError(thrown).message}`)
  }
}

async function checkLogs(folder: string, names: ReadonlySet<string>, state: LevelState, log: Log): Promise<void> {
  const oldest = state.logNumber
  if (oldest === undefined) return
  const numbers = [...names].filter(each => /^\d+\.log$/.test(each)).map(each => Number.parseInt(each, 10))
  // Also how a MANIFEST gives itself away that lost its last entries: a log is deleted only after they were written.
  if (!numbers.includes(oldest)) throw new Error(`${fileName(oldest, 'log')} is missing`)
  for (const number of numbers.filter(each => each >= oldest)) {
    const file = fileName(number, 'log')
    const { damagedAt, tornBytes } = readLevelLog(await readFile(join(folder, file)))
    if (damagedAt !== undefined) throw new Error(`${file} is damaged at byte ${damagedAt}`)
    if (tornBytes > 0) log.warn({ file, tornBytes }, 'the last run ended in the middle of a write')
  }
}

async function checkTables(folder: string, names: ReadonlySet<string>, state: LevelState): Promise<void> {
  for (const [number, size] of state.tables) {
    const file = ['ldb', 'sst'].map(ending => fileName(number, ending)).find(each => names.has(each))
    if (file === undefined) throw new Error(`${fileName(number, 'ldb')} is missing`)
    const bytes = await readFile(join(folder, file))
    try {
      if (bytes.length !== size) throw new Error(`it has ${bytes.length} bytes instead of ${size}`)
      checkLevelTable(bytes)
    } catch (thrown) {
      throw new Error(`${file} is damaged: ${asError(thrown).message}`)
    }
  }
}

function fileName(number: number, ending: string): string {
  return `${String(number).padStart(6, '0')}.${ending}`
}

function emptyWhenMissing(thrown: unknown): string[] {
  if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
  throw thrown
}
