import { concatBytes } from '../../shared/core/bytes.ts'
import type { Deadline, Deadlines } from '../../shared/core/deadlines.ts'
import { MusterError } from '../../shared/core/errors.ts'
import { type MessageFrame, type MessageHead, PART_BYTES } from '../../shared/wire/message.ts'
import type { Progress } from '../api.ts'
import type { RefusalCode } from './frame.ts'
import type { MessagingLimits } from './limits.ts'
import type { PackedValue } from './value.ts'

/** A whole message of the other side. */
export interface Arrived {
  readonly id: number
  readonly value: PackedValue
  readonly replyTo: number | undefined
  readonly wantsReply: boolean
  readonly mayRepeat: boolean
  /** Frees the room that a large value takes; to be called once nobody holds its bytes any more for us. */
  release(): void
}

export interface InboxNeeds {
  readonly deadlines: Deadlines
  /** Room for a large value on its way to us; false: it is refused. */
  take(bytes: number): boolean
  give(bytes: number): void
  onMessage(arrived: Arrived): void
  /** To be said to the other side. */
  onRefused(id: number, code: RefusalCode): void
  onProgress(head: MessageHead, progress: Progress): void
  onCancelled(id: number): void
}

/** A value in parts, of which some are here. */
interface Transfer {
  readonly head: MessageHead
  readonly size: number
  /** Undefined for one that was refused: its parts are dropped until the sender stops. */
  parts: Uint8Array[] | undefined
  receivedBytes: number
  deadline: Deadline | undefined
  release(): void
}

/**
 * What the other side says on one stream, put together; no I/O. Each length is judged when it is claimed, and what is held
 * grows with what arrived.
 */
export class Inbox {
  readonly #needs: InboxNeeds
  readonly #limits: MessagingLimits
  readonly #transfers = new Map<number, Transfer>()
  #lastId = 0

  constructor(needs: InboxNeeds, limits: MessagingLimits) {
    this.#needs = needs
    this.#limits = limits
  }

  /**
   * Takes a message, a part or a cancel.
   * @throws MusterError `protocol-violation`.
   */
  take({ message, part, cancel }: MessageFrame): void {
    if (message !== undefined) this.#begin(message)
    else if (part !== undefined) this.#continue(part.id, part.body)
    else if (cancel !== undefined) this.#cancel(cancel.id)
    else throw new MusterError('protocol-violation', 'a frame that has no place here')
  }

  /** Drops what is not whole. */
  close(): void {
    for (const transfer of this.#transfers.values()) drop(transfer)
    this.#transfers.clear()
  }

  #begin(head: MessageHead): void {
    const { id, body, size, encoding, rawSize } = head
    if (id <= this.#lastId) throw new MusterError('protocol-violation', 'message ids do not increase')
    this.#lastId = id
    if ((encoding === undefined) !== (rawSize === undefined)) {
      throw new MusterError('protocol-violation', 'an encoding needs the size without it')
    }
    if (size !== undefined && (size <= PART_BYTES || body.length !== PART_BYTES)) {
      throw new MusterError('protocol-violation', 'a value in parts whose first part is not whole')
    }
    const claimed = Math.max(size ?? body.length, rawSize ?? 0)
    const isLarge = claimed > PART_BYTES
    const code = this.#judge(claimed, isLarge)
    if (code !== undefined) this.#needs.onRefused(id, code)
    const transfer: Transfer = {
      head,
      size: size ?? body.length,
      parts: code === undefined ? [body] : undefined,
      receivedBytes: body.length,
      deadline: undefined,
      release: isLarge && code === undefined ? once(() => this.#needs.give(claimed)) : nothing
    }
    if (size === undefined) {
      if (code === undefined) this.#arrived(transfer, body)
      return
    }
    if (this.#transfers.size >= this.#limits.maxTransfers) {
      throw new MusterError('protocol-violation', 'too many values in parts at once')
    }
    this.#transfers.set(id, transfer)
    if (code !== undefined) return
    transfer.deadline = this.#needs.deadlines.after(this.#limits.transferIdleMs, () => this.#onIdle(transfer))
    this.#report(transfer)
  }

  #judge(claimed: number, isLarge: boolean): RefusalCode | undefined {
    if (claimed > this.#limits.maxMessageBytes) return 'too-large'
    return isLarge && !this.#needs.take(claimed) ? 'limit-reached' : undefined
  }

  #continue(id: number, body: Uint8Array): void {
    const transfer = this.#transfers.get(id)
    if (transfer === undefined) throw new MusterError('protocol-violation', 'a part of nothing')
    if (body.length !== Math.min(PART_BYTES, transfer.size - transfer.receivedBytes)) {
      throw new MusterError('protocol-violation', 'a part of a wrong size')
    }
    transfer.receivedBytes += body.length
    transfer.parts?.push(body)
    transfer.deadline?.restart()
    this.#report(transfer)
    if (transfer.receivedBytes < transfer.size) return
    this.#transfers.delete(id)
    transfer.deadline?.stop()
    if (transfer.parts !== undefined) this.#arrived(transfer, concatBytes(transfer.parts))
  }

  #report({ head, parts, receivedBytes, size }: Transfer): void {
    if (parts !== undefined) this.#needs.onProgress(head, { bytes: receivedBytes, totalBytes: size })
  }

  #arrived({ head, release }: Transfer, body: Uint8Array): void {
    const { id, kind, encoding, rawSize, replyTo, wantsReply = false, mayRepeat = false } = head
    const value = { kind, body, encoding, rawSize: rawSize ?? body.length }
    this.#needs.onMessage({ id, value, replyTo, wantsReply, mayRepeat, release })
  }

  #cancel(id: number): void {
    const transfer = this.#transfers.get(id)
    this.#transfers.delete(id)
    if (transfer === undefined) this.#needs.onCancelled(id)
    else drop(transfer)
  }

  #onIdle(transfer: Transfer): void {
    drop(transfer)
    this.#needs.onRefused(transfer.head.id, 'timed-out')
  }
}

function drop(transfer: Transfer): void {
  transfer.parts = undefined
  transfer.deadline?.stop()
  transfer.release()
}

function nothing(): void {}

function once(run: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) run()
    isDone = true
  }
}
