import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { MusterError } from '../../shared/core/errors.ts'
import { MAX_SAME_NAME, MIN_FREE_DISK_BYTES, MIN_FREE_DISK_FILES } from './file-limits.ts'
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

/** What a disk has left: as `statfs` tells. */
export type DiskSpace = (
  folder: string
) => Promise<{ readonly bavail: number; readonly bsize: number; readonly files: number; readonly ffree: number }>

/** The folder where files go that members send. */
export class FileFolder {
  readonly #path: string
  readonly #diskSpace: DiskSpace
  /** Bytes that were promised to files on their way and are not written yet: the disk does not know of them. */
  #promised = 0
  readonly #partial = new Set<string>()

  constructor(path: string, diskSpace: DiskSpace = folder => statfs(folder)) {
    this.#path = path
    this.#diskSpace = diskSpace
  }

  /**
   * Begins a file of `size` bytes, and makes the folder when it is missing.
   * @throws MusterError `limit-reached` when the disk has not enough space.
   */
  async begin(size: number): Promise<PartialFile> {
    const folder = this.#path
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const { bavail, bsize, files, ffree } = await this.#diskSpace(folder)
    // from here to the promise nothing is awaited: two that begin at once do not get the same space
    if (bavail * bsize - this.#promised < size + MIN_FREE_DISK_BYTES) throw noSpace()
    if (files > 0 && ffree < MIN_FREE_DISK_FILES) throw noSpace() // 0: a file system that counts none
    this.#promised += size
    let left = size
    const written = (bytes: number): void => {
      const counted = Math.min(bytes, left)
      left -= counted
      this.#promised -= counted
    }
    const path = join(folder, `.muster-${randomBytes(8).toString('hex')}.part`)
    this.#partial.add(path)
    const release = (): void => {
      written(left)
      this.#partial.delete(path)
    }
    try {
      return partialFile(await open(path, 'wx', 0o600), { folder, path, written, release })
    } catch (thrown) {
      release()
      throw thrown
    }
  }

  /** Deletes what a crash left behind. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#path).catch(() => [])) {
      const path = join(this.#path, name)
      if (!PARTIAL.test(name) || this.#partial.has(path)) continue
      if ((await stat(path)).mtimeMs < Date.now() - ABANDONED_MS) await rm(path, { force: true })
    }
  }
}

interface Place {
  readonly folder: string
  readonly path: string
  written(bytes: number): void
  /** Nothing more is written. */
  release(): void
}

function partialFile(handle: FileHandle, { folder, path, written, release }: Place): PartialFile {
  let isOpen = true
  const close = async (): Promise<void> => {
    release()
    if (isOpen) await handle.close()
    isOpen = false
  }
  return {
    async write(bytes) {
      await writeAll(handle, bytes)
      written(bytes.length)
    },
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
