import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { MusterError } from '../core/errors.ts'
import { createFolder, notWritable } from './folder.server.ts'

/** A folder that is ours until `close()`, or until this process is gone, however it goes. */
export interface FolderLock extends AsyncDisposable {
  /** Gives the folder free. Calling again does nothing. */
  close(): Promise<void>
}

const LOCK_FILE = 'lock'
/** Who holds the lock, for the error message alone. Not in the lock file, which nobody but SQLite may open (see below). */
const HOLDER_FILE = 'lock-holder'

/** SQLite result codes (https://sqlite.org/rescode.html); the low byte of an extended code is the primary one. */
const SQLITE_BUSY = 5
const SQLITE_NOTADB = 26

/** A lock that nobody refers to must not be collected as garbage: that would close the file and open the folder. */
const held = new Set<DatabaseSync>()

/**
 * Takes the data folder for this process, creating it when it is missing.
 *
 * The lock is one of the operating system (`fcntl`, `LockFileEx`), so it ends with its process: nothing is left behind
 * by `kill -9`, nothing has to be judged stale, and a pid that is used again, such as 1 in each container, proves nothing
 * and decides nothing. Containers that share a volume of one kernel exclude each other. Node has no call for such a
 * lock, but it contains SQLite, which takes one on each platform: an exclusive transaction on a file that stays empty.
 * SQLite also keeps its own list of locks per process, because `fcntl` has a trap: closing *any* descriptor of a file
 * drops the process's lock on it. So the second attempt of one process, from whichever thread or copy of this module,
 * is refused like that of another process, and drops nothing. (LevelDB's own lock has that fault.)
 * On a network file system it is as good as that file system's locks.
 *
 * @throws MusterError `data-locked` with the pid of the holder where it is known; `data-not-writable`; `data-corrupt`
 *   when the lock file is somebody else's file.
 */
export async function lockFolder(path: string): Promise<FolderLock> {
  await createFolder(path)
  const folder = await realpath(path).catch(thrown => Promise.reject(notWritable(path, thrown)))
  // Not imported above: a peer that keeps nothing on disk does not pay for it.
  const sqlite = await import('node:sqlite')
  let database: DatabaseSync | undefined
  try {
    database = new sqlite.DatabaseSync(join(folder, LOCK_FILE), { timeout: 0 })
    // Without this SQLite would put a rollback journal beside the file.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    writeFileSync(join(folder, HOLDER_FILE), JSON.stringify({ pid: process.pid, host: hostname() }), { mode: 0o600 })
  } catch (thrown) {
    if (database?.isOpen) database.close()
    throw lockError(folder, thrown)
  }
  const own = database
  held.add(own)
  const close = async (): Promise<void> => {
    if (!held.delete(own)) return
    rmSync(join(folder, HOLDER_FILE), { force: true })
    own.close() // the file stays: deleting it would let two processes lock two files of the same name
  }
  return { close, [Symbol.asyncDispose]: close }
}

function lockError(folder: string, thrown: unknown): MusterError {
  const code = ((thrown as { errcode?: number }).errcode ?? 0) & 0xff
  if (code === SQLITE_BUSY) {
    return new MusterError(
      'data-locked',
      `the data folder ${folder} is in use by ${holderOf(folder)}: stop that, or choose another folder with --data`,
      { cause: thrown }
    )
  }
  if (code === SQLITE_NOTADB) {
    return new MusterError(
      'data-corrupt',
      `the file ${join(folder, LOCK_FILE)} is not Muster's lock, which is empty: delete the file, it holds no data`,
      { cause: thrown }
    )
  }
  return notWritable(folder, thrown)
}

function holderOf(folder: string): string {
  try {
    const { pid, host } = JSON.parse(readFileSync(join(folder, HOLDER_FILE), 'utf8')) as Record<string, unknown>
    if (typeof pid !== 'number' || typeof host !== 'string') return 'another process'
    if (host !== hostname()) return `process ${pid} on ${host}`
    return pid === process.pid ? `this process (${pid})` : `process ${pid}`
  } catch {
    return 'another process' // it has the lock and has not come to writing its name
  }
}
