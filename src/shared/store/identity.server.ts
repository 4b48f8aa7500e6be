import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asError, MusterError } from '../core/errors.ts'
import { createFolder, notWritable, writeAtomically } from './folder.server.ts'
import { LEVEL_FOLDER } from './level.server.ts'

export const IDENTITY_FILE = 'identity.key'

/** An identity file is 68 bytes; more than this is not read. */
const MAX_IDENTITY_BYTES = 4096

/** What the store must know of keys, which it does not interpret itself. */
export interface IdentityKeys {
  /** The bytes of a new private key. */
  generate(): Promise<Uint8Array>
  /** Throws when `bytes` are not a private key. */
  check(bytes: Uint8Array): unknown
}

/**
 * The private key kept in `<path>/identity.key`; a new one where the folder has neither key nor data.
 * The caller holds the folder's lock, i.e. has its store open, and asks before anything is written to the store.
 * An existing file is never written.
 * @throws MusterError `identity-corrupt` when the file is damaged, readable by others (on POSIX), or missing beside
 *   data that belongs to it; the message says the way out. `data-not-writable`.
 */
export async function loadIdentity(path: string, keys: IdentityKeys): Promise<Uint8Array> {
  const file = join(path, IDENTITY_FILE)
  const kept = await readIdentity(file)
  if (kept === undefined) return await createIdentity(path, file, keys)
  try {
    await keys.check(kept)
  } catch (cause) {
    throw damaged(file, asError(cause).message, cause)
  }
  return kept
}

async function readIdentity(file: string): Promise<Uint8Array | undefined> {
  let handle: FileHandle | undefined
  try {
    handle = await open(file, 'r')
    const { mode, size } = await handle.stat()
    // Windows has no such bits: its profile folders are private by inheritance.
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new MusterError(
        'identity-corrupt',
        `the identity file ${file} can be read by others (mode ${(mode & 0o777).toString(8).padStart(4, '0')}): ` +
          `run chmod 600 ${file}; if a stranger may have read it, move the data folder aside to get a new identity`
      )
    }
    if (size > MAX_IDENTITY_BYTES) throw damaged(file, `it has ${size} bytes`)
    return new Uint8Array(await handle.readFile())
  } catch (thrown) {
    if (thrown instanceof MusterError) throw thrown
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw damaged(file, `it cannot be read: ${(thrown as NodeJS.ErrnoException).code}`, thrown)
  } finally {
    await handle?.close()
  }
}

async function createIdentity(path: string, file: string, keys: IdentityKeys): Promise<Uint8Array> {
  if (await hasRows(join(path, LEVEL_FOLDER))) {
    throw new MusterError(
      'identity-corrupt',
      `the identity file ${file} is missing, but the folder holds data of that identity: ` +
        `restore the file, or move ${path} aside to start as somebody new`
    )
  }
  await createFolder(path)
  const bytes = await keys.generate()
  try {
    await writeAtomically(path, file, bytes)
  } catch (thrown) {
    throw notWritable(path, thrown)
  }
  return bytes
}

/** A database that was only created has an empty log and no table. */
async function hasRows(level: string): Promise<boolean> {
  const names = await readdir(level).catch(() => [] as string[])
  for (const name of names) {
    if (/\.(ldb|sst)$/.test(name)) return true
    if (name.endsWith('.log') && (await stat(join(level, name))).size > 0) return true
  }
  return false
}

function damaged(file: string, why: string, cause?: unknown): MusterError {
  return new MusterError(
    'identity-corrupt',
    `the identity file ${file} is damaged (${why}): restore it from a copy, ` +
      'or move the data folder aside to start as somebody new',
    { cause }
  )
}
