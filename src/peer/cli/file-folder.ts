import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { MusterError } from '../../shared/core/errors.ts'
import { MAX_SAME_NAME, MIN_FREE_DISK_BYTES } from './file-limits.ts'
import { numberedName } from './file-name.ts'

/** Of files that are being received. */
const PARTIAL = /^\.muster-[0-9a-f]{16}\.part$/
/** A partial file nobody wrote to for this long is what a crash left behind. */
const ABANDONED_MS = 3_600_000

/** A file being received: under a name of its own until it is whole. */
export interface PartialFile {
  write(bytes: Uint8Array): Promise<void>
  /** Puts it on the disk under `name`, or `name (2)` where that is taken; resolves with the path. */
  keep(name: string): Promise<string>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

/**
 * Begins a file of `size` bytes, in a folder that is made when it is missing.
 * @throws MusterError `limit-reached` when the disk has not enough space.
 */
export async function createPartialFile(folder: string, size: number): Promise<PartialFile> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize < size + MIN_FREE_DISK_BYTES) throw noSpace()
  const path = join(folder, `.muster-${randomBytes(8).toString('hex')}.part`)
  const handle = await open(path, 'wx', 0o600)
  let isOpen = true
  const close = async (): Promise<void> => {
    if (isOpen) await handle.close()
    isOpen = false
  }
  return {
    write: bytes => writeAll(handle, bytes),
    async keep(name) {
      await handle.sync()
      await close()
      const kept = await reserve(folder, name)
      try {
        await rename(path, kept)
      } catch (thrown) {
        await rm(kept, { force: true })
        throw thrown
      }
      return kept
    },
    async discard() {
      await close()
      await rm(path, { force: true })
    }
  }
}

/** Deletes what a crash left behind. */
export async function sweepFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    if (PARTIAL.test(name) && (await stat(path)).mtimeMs < Date.now() - ABANDONED_MS) await rm(path, { force: true })
  }
}

/** True for errors that mean a full disk or an exhausted quota. */
export function isNoSpace(thrown: unknown): boolean {
  const { code } = Object(thrown) as { code?: unknown }
  return code === 'ENOSPC' || code === 'EDQUOT' || (thrown instanceof MusterError && code === 'limit-reached')
}

function noSpace(): MusterError {
  return new MusterError('limit-reached', 'not enough space on the disk')
}

/** Takes the first free name by an empty file, so that nothing that exists is ever overwritten. */
async function reserve(folder: string, name: string): Promise<string> {
  for (let number = 1; number <= MAX_SAME_NAME; number++) {
    const path = join(folder, numberedName(name, number))
    try {
      await (await open(path, 'wx', 0o600)).close()
      return path
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
  }
  throw new MusterError('limit-reached', `${MAX_SAME_NAME} files have this name already`)
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten
}
