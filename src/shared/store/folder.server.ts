import { mkdir, open, readdir, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { asError, MusterError } from '../core/errors.ts'

/**
 * Makes sure the data folder exists; what is created is for the owner alone (mode 0700), what exists stays as it is.
 * @throws MusterError `data-not-writable`.
 */
export async function createFolder(path: string): Promise<void> {
  try {
    await makeFolder(path)
  } catch (thrown) {
    throw notWritable(path, thrown)
  }
}

/** Tries of one folder: another process may make its parent between our look and our attempt. */
const MAX_TRIES = 3

/** Node's own `recursive` never returns where the system says ENOENT below a folder that exists, as in /proc. */
async function makeFolder(path: string, tries = MAX_TRIES): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (thrown) {
    const parent = dirname(path)
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT' && tries > 1) {
      if (!(await isFolder(parent))) await makeFolder(parent)
      return await makeFolder(path, tries - 1)
    }
    if (!(await isFolder(path))) throw thrown
  }
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false
  )
}

export function notWritable(path: string, thrown: unknown): MusterError {
  return new MusterError(
    'data-not-writable',
    `the data folder ${path} cannot be created or written (${reasonOf(thrown)}): ` +
      'give its owner to the user that runs Muster, free some space, or choose another one with --data',
    { cause: thrown }
  )
}

/** `EACCES` and the like where there is one: the message of a system error repeats paths. */
function reasonOf(thrown: unknown): string {
  const { code, message } = asError(thrown) as NodeJS.ErrnoException
  return code?.startsWith('E') && !code.startsWith('ERR_') ? code : message
}

/** Writes a file in the folder at `path`. After a power cut there is the whole file or none. The folder's lock keeps others from doing the same. */
export async function writeAtomically(path: string, file: string, bytes: Uint8Array): Promise<void> {
  const draft = `${file}.new`
  {
    await using handle = await open(draft, 'w', 0o600)
    await handle.chmod(0o600) // a draft left by a crash may have been copied about
    await handle.writeFile(bytes)
    await handle.sync()
  }
  await rename(draft, file)
  await syncFolder(path)
}

/** What was made, renamed or deleted in a folder is so after a power cut, too. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return // folders cannot be opened there, and need not be
  await using folder = await open(path, 'r')
  await folder.sync()
}

/** Bytes of all files below `path`. What vanishes meanwhile, or may not be read, as `lost+found`, counts nothing. */
export async function folderBytes(path: string): Promise<number> {
  const entries = await readdir(path, { withFileTypes: true })
  const sizes = entries.map(async entry => {
    const below = join(path, entry.name)
    if (entry.isDirectory()) return await folderBytes(below).catch(() => 0)
    return entry.isFile()
      ? await stat(below)
          .then(({ size }) => size)
          .catch(() => 0)
      : 0
  })
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
