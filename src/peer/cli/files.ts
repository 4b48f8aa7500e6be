import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import { asError, asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import type { ByteStream, Group, Member } from '../api.ts'
import { type DiskSpace, FileFolder, isNoSpace } from './file-folder.ts'
import * as limits from './file-limits.ts'
import { safeFileName } from './file-name.ts'
import type { ProgressBoard } from './file-progress.ts'
import {
  digestBytes,
  encodeFileMessage,
  FILE_STREAM,
  type FileHeader,
  type FileRefusal,
  readFileAnswer,
  readHeader,
  StreamReader
} from './file-wire.ts'
import type { Printer } from './printer.ts'
import { shortId } from './shown.ts'

const READ_BYTES = 262_144
/** Milliseconds between two looks for what a crash left behind. */
const SWEEP_MS = 3_600_000

export interface FilesNeeds {
  readonly printer: Printer
  readonly board: ProgressBoard
  readonly clock?: Clock
  readonly diskSpace?: DiskSpace
}

export interface FilesOptions {
  /** Where files go that members send; undefined: none are taken. */
  readonly folder: string | undefined
  readonly maxBytes?: number
}

/** Files to and from members, over raw streams. */
export class Files {
  readonly #needs: FilesNeeds
  readonly #folder: FileFolder | undefined
  readonly #maxBytes: number
  readonly #clock: Clock
  /** Files on their way to us: by whom, and when they are dealt with. */
  readonly #incoming = new Map<ByteStream, Promise<void>>()
  /** Those of them that are being written to the disk. */
  readonly #saving = new Set<ByteStream>()
  readonly #stopSweeping: Undo

  constructor(needs: FilesNeeds, { folder, maxBytes = limits.MAX_FILE_BYTES }: FilesOptions) {
    this.#needs = needs
    this.#folder = folder === undefined ? undefined : new FileFolder(folder, needs.diskSpace)
    this.#maxBytes = maxBytes
    this.#clock = needs.clock ?? systemClock
    const sweep = (): void => void this.#folder?.sweep().catch(() => undefined) // the next time it may work
    sweep()
    this.#stopSweeping = this.#clock.every(SWEEP_MS, sweep)
  }

  /** Takes files that members of a group send. */
  serve(group: Group): void {
    const folder = this.#folder
    if (folder === undefined) return
    group.onStream(FILE_STREAM, stream => {
      const from = group.members().find(({ peerId }) => peerId === stream.peerId)
      const receiving = this.#receive(stream, folder, from?.name).finally(() => this.#incoming.delete(stream))
      this.#incoming.set(stream, receiving)
      return receiving
    })
  }

  /**
   * Sends the file at `path` to a member, and prints that it is on the member's disk.
   * @throws MusterError `command-invalid` when it cannot be read; as `openStream`; `too-large` | `limit-reached` | `refused`.
   */
  async send(group: Group, member: Member, path: string): Promise<void> {
    const resolved = path.startsWith('~/') ? join(homedir(), path.slice(2)) : path
    const file = await openForReading(resolved)
    try {
      const name = basename(resolved)
      const bytes = await this.#sendOpen(group, member, file.handle, { name, size: file.size })
      const { peerId } = member
      const { topic } = group
      const fact = { event: 'file', topic, peerId, member: member.name, name, bytes } as const
      this.#needs.printer.print({ ...fact, path: undefined, direction: 'out' })
    } finally {
      await file.handle.close()
    }
  }

  /** Gives up what is being received, and waits until nothing of it is left. */
  async close(): Promise<void> {
    this.#stopSweeping()
    for (const stream of this.#incoming.keys()) stream.abort(new MusterError('closed', 'this peer is closing'))
    await Promise.all(this.#incoming.values())
  }

  async #sendOpen(group: Group, { peerId }: Member, handle: FileHandle, header: FileHeader): Promise<number> {
    const stream = await group.openStream(peerId, FILE_STREAM).catch((thrown: unknown) => {
      throw isMusterError(thrown, 'no-handler')
        ? new MusterError('no-handler', 'the other side takes no files')
        : thrown
    })
    const progress = this.#needs.board.start({
      topic: group.topic,
      peerId,
      name: header.name,
      totalBytes: header.size,
      direction: 'out'
    })
    using watch = watchSilence(stream, this.#clock)
    const reader = new StreamReader(stream, watch.touch)
    const onProgress = (bytes: number): void => {
      watch.touch()
      progress.report(bytes)
    }
    try {
      const sha256 = await pour(stream, handle, header, onProgress).catch(async (thrown: unknown) => {
        // A receiver that wants no more says why, and then stops to read.
        if (isMusterError(thrown, 'closed')) await readFileAnswer(reader).catch(rethrowRefusal)
        throw thrown
      })
      const answer = await readFileAnswer(reader)
      if (answer.bytes !== header.size || answer.sha256 !== sha256) {
        throw new MusterError('refused', 'the other side has something else than what was sent')
      }
      await stream.close()
      return header.size
    } catch (thrown) {
      stream.abort(asError(thrown))
      throw thrown
    } finally {
      progress.end()
    }
  }

  /** Never rejects: what went wrong is printed here, and said to the sender. */
  async #receive(stream: ByteStream, folder: FileFolder, member: string | undefined): Promise<void> {
    const { printer } = this.#needs
    const { topic, peerId } = stream
    let shown = 'a file'
    try {
      const { name, path, bytes } = await this.#receiveInto(stream, folder, header => {
        shown = JSON.stringify(safeFileName(header.name))
      })
      printer.print({ event: 'file', topic, peerId, member, name, bytes, path, direction: 'in' })
    } catch (thrown) {
      if (thrown instanceof Refused) {
        await stream.write(encodeFileMessage({ refused: thrown.refusal })).catch(() => undefined)
        await stream.close().catch(() => undefined)
      } else stream.abort(asError(thrown))
      const { code, message } = thrown instanceof Refused ? thrown : asMusterError(thrown, 'closed')
      printer.print({ event: 'error', code, message: `${shown} from ${shortId(peerId)} was not received: ${message}` })
    }
  }

  async #receiveInto(
    stream: ByteStream,
    folder: FileFolder,
    onHeader: (header: FileHeader) => void
  ): Promise<{ name: string; path: string; bytes: number }> {
    using watch = watchSilence(stream, this.#clock)
    const reader = new StreamReader(stream, watch.touch)
    try {
      const header = await readHeader(reader)
      onHeader(header)
      this.#judge(stream, header)
      this.#saving.add(stream)
      const { path, sha256 } = await this.#save(stream, reader, folder, header)
      await stream.write(encodeFileMessage({ bytes: header.size, sha256 }))
      stream.close().catch(() => undefined) // the file is here, whether or not the sender hears of it
      return { name: basename(path), path, bytes: header.size }
    } finally {
      this.#saving.delete(stream)
    }
  }

  #judge({ peerId }: ByteStream, { size }: FileHeader): void {
    if (size > this.#maxBytes) {
      throw new Refused('too-large', 'too-large', `it has ${size} bytes; at most ${this.#maxBytes}`)
    }
    const fromSame = [...this.#saving].filter(other => other.peerId === peerId).length
    if (fromSame >= limits.MAX_FILES_PER_MEMBER || this.#saving.size >= limits.MAX_INCOMING_FILES) {
      throw new Refused('limit-reached', 'limit-reached', 'too many files are on their way at once')
    }
  }

  async #save(
    { topic, peerId }: ByteStream,
    reader: StreamReader,
    folder: FileFolder,
    { name, size }: FileHeader
  ): Promise<{ path: string; sha256: string }> {
    const safeName = safeFileName(name)
    const file = await folder.begin(size).catch(rethrowDisk)
    const progress = this.#needs.board.start({ topic, peerId, name: safeName, totalBytes: size, direction: 'in' })
    try {
      const hash = createHash('sha256')
      for (let at = 0; at < size; ) {
        const piece = await reader.some(size - at)
        if (piece === undefined) throw new MusterError('protocol-violation', 'the file ended too early')
        hash.update(piece)
        await file.write(piece).catch(rethrowDisk)
        at += piece.length
        progress.report(at)
      }
      const sha256 = hash.digest('hex')
      const claimed = Buffer.from(await reader.exactly(digestBytes)).toString('hex')
      if (claimed !== sha256 || (await reader.some(1)) !== undefined) {
        throw new MusterError('protocol-violation', 'the file is not what its sender said')
      }
      return { path: await file.keep(safeName).catch(rethrowDisk), sha256 }
    } catch (thrown) {
      await file.discard().catch(() => undefined) // the first failure is the one to report
      throw thrown
    } finally {
      progress.end()
    }
  }
}

/** A file that is not taken, with what its sender is told and what we print. */
class Refused extends Error {
  readonly refusal: FileRefusal
  readonly code: string

  constructor(refusal: FileRefusal, code: string, message: string) {
    super(message)
    this.refusal = refusal
    this.code = code
  }
}

function rethrowDisk(thrown: unknown): never {
  if (isNoSpace(thrown)) throw new Refused('no-space', 'limit-reached', 'no space left on the disk')
  throw new Refused('not-saved', 'data-not-writable', asError(thrown).message)
}

function rethrowRefusal(thrown: unknown): void {
  if (isMusterError(thrown) && ['too-large', 'limit-reached', 'refused'].includes(thrown.code)) throw thrown
}

async function openForReading(path: string): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, 'r')
    const stats = await handle.stat()
    if (!stats.isFile()) throw new Error('it is no file')
    return { handle, size: stats.size }
  } catch (thrown) {
    await handle?.close()
    throw new MusterError('command-invalid', `${JSON.stringify(path)} cannot be read: ${asError(thrown).message}`)
  }
}

/** Writes header, bytes and SHA-256, and ends our half; resolves with the SHA-256 in hex. */
async function pour(
  stream: ByteStream,
  handle: FileHandle,
  header: FileHeader,
  onProgress: (bytes: number) => void
): Promise<string> {
  await stream.write(encodeFileMessage(header))
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(READ_BYTES)
  for (let at = 0; at < header.size; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(READ_BYTES, header.size - at), at)
    if (bytesRead === 0) throw new MusterError('aborted', 'the file became shorter while it was being sent')
    const piece = buffer.subarray(0, bytesRead)
    hash.update(piece)
    await stream.write(piece)
    at += bytesRead
    onProgress(at)
  }
  const digest = hash.digest()
  await stream.write(digest)
  await stream.end()
  return digest.toString('hex')
}

interface Watch extends Disposable {
  /** Something came or went. */
  touch(): void
}

/** Aborts a stream on which nothing comes or goes for a while. */
function watchSilence(stream: ByteStream, clock: Clock): Watch {
  const giveUp = (): void => stream.abort(new MusterError('timed-out', 'the other side fell silent'))
  let undo = clock.after(limits.MAX_FILE_SILENCE_MS, giveUp)
  return {
    touch() {
      undo()
      undo = clock.after(limits.MAX_FILE_SILENCE_MS, giveUp)
    },
    [Symbol.dispose]: () => undo()
  }
}
