import { concatBytes } from '../../shared/core/bytes.ts'
import type { Deadline, Deadlines } from '../../shared/core/deadlines.ts'
import { MusterError } from '../../shared/core/errors.ts'
import { type MessageFrame, type MessageHead, PART_BYTES } from '../../shared/wire/message.ts'
import type { Progress } from '../api.ts'
import type { PackedValue } from '../value.ts'
import type { RefusalCode } from './frame.ts'
import type { MessagingLimits } from './limits.ts'

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
  /** Room for what the other side claims to send; false: it is refused. */
  take(bytes: number): boolean
  give(bytes: number): void
  /** Room for what is here of it; false: it is dropped, and refused. */
  hold(bytes: number): boolean
  letGo(bytes: number): void
  onMessage(arrived: Arrived): void
  /** To be said to the other side. */
  onRefused(id: number, code: RefusalCode, replyTo: number | undefined): void
  onProgress(id: number, progress: Progress, replyTo: number | undefined): void
  onCancelled(id: number): void
}

/** A value in parts, of which some are here. */
interface Transfer {
  readonly head: MessageHead
  readonly size: number
  /** Undefined for one that was refused: its parts are dropped until the sender stops. */
  parts: Uint8Array[] | undefined
  receivedBytes: number
  /** Of a large one, counted among the bytes that are here. */
  heldBytes: number
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
    if (size !== undefined && this.#transfers.size >= this.#limits.maxTransfers) {
      throw new MusterError('protocol-violation', 'too many values in parts at once')
    }
    if (size === undefined && rawSize === undefined && body.length <= this.#limits.maxMessageBytes) {
      this.#tell(head, body, nothing) // nearly all
      return
    }
    const claimed = Math.max(size ?? body.length, rawSize ?? 0)
    const isLarge = claimed > PART_BYTES
    const isTooLarge = claimed > this.#limits.maxMessageBytes
    const hasRoom = !isTooLarge && (!isLarge || this.#needs.take(claimed))
    const transfer: Transfer = {
      head,
      size: size ?? body.length,
      parts: hasRoom ? [body] : undefined,
      receivedBytes: body.length,
      heldBytes: 0,
      deadline: undefined,
      release: isLarge && hasRoom ? once(() => this.#release(transfer, claimed)) : nothing
    }
    if (size !== undefined) this.#transfers.set(id, transfer)
    if (!hasRoom) this.#refuse(transfer, isTooLarge ? 'too-large' : 'limit-reached')
    else if (isLarge && !this.#hold(transfer, body.length)) return
    else if (size === undefined) this.#arrived(transfer, body)
    else {
      transfer.deadline = this.#needs.deadlines.after(this.#limits.transferIdleMs, () => {
        this.#refuse(transfer, 'timed-out')
      })
      this.#report(transfer)
    }
  }

  /** False when it was dropped, because there is no room for more of everybody. */
  #hold(transfer: Transfer, bytes: number): boolean {
    if (this.#needs.hold(bytes)) {
      transfer.heldBytes += bytes
      return true
    }
    this.#refuse(transfer, 'limit-reached')
    return false
  }

  #release({ heldBytes }: Transfer, claimed: number): void {
    this.#needs.give(claimed)
    this.#needs.letGo(heldBytes)
  }

  #refuse(transfer: Transfer, code: RefusalCode): void {
    drop(transfer)
    this.#needs.onRefused(transfer.head.id, code, transfer.head.replyTo)
  }

  #continue(id: number, body: Uint8Array): void {
    const transfer = this.#transfers.get(id)
    if (transfer === undefined) throw new MusterError('protocol-violation', 'a part of nothing')
    if (body.length !== Math.min(PART_BYTES, transfer.size - transfer.receivedBytes)) {
      throw new MusterError('protocol-violation', 'a part of a wrong size')
    }
    transfer.receivedBytes += body.length
    if (transfer.parts !== undefined && this.#hold(transfer, body.length)) transfer.parts.push(body)
    transfer.deadline?.restart()
    this.#report(transfer)
    if (transfer.receivedBytes < transfer.size) return
    this.#transfers.delete(id)
    transfer.deadline?.stop()
    if (transfer.parts !== undefined) this.#arrived(transfer, concatBytes(transfer.parts))
  }

  #report({ head, parts, receivedBytes, size }: Transfer): void {
    if (parts !== undefined) this.#needs.onProgress(head.id, { bytes: receivedBytes, totalBytes: size }, head.replyTo)
  }

  #arrived(transfer: Transfer, body: Uint8Array): void {
    const { head, release } = transfer
    const { rawSize } = head
    if (rawSize !== undefined && rawSize > PART_BYTES && !this.#hold(transfer, rawSize)) return
    this.#tell(head, body, release)
  }

  #tell(head: MessageHead, body: Uint8Array, release: () => void): void {
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
