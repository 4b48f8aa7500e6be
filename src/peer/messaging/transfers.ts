import { PART_BYTES } from '../../shared/wire/message.ts'
import type { Outgoing } from './outgoing.ts'

/** Large values of which parts are sent, in turn; each keeps its place until the other side says what came of it. */
export class Transfers {
  readonly #max: number
  readonly #transfers: Outgoing[] = []

  constructor(max: number) {
    this.#max = max
  }

  get hasPlace(): boolean {
    return this.#transfers.length < this.#max
  }

  /** Takes one in; returns its first part. */
  begin(outgoing: Outgoing): Uint8Array {
    this.#transfers.push(outgoing)
    return outgoing.value.body.subarray(0, PART_BYTES)
  }

  /** The next part of one that has some left; the others come first next time. */
  next(): { readonly outgoing: Outgoing; readonly part: Uint8Array } | undefined {
    const at = this.#transfers.findIndex(each => each.sentBytes < each.value.body.length)
    const outgoing = this.#transfers[at]
    if (outgoing === undefined) return undefined
    this.#transfers.push(...this.#transfers.splice(at, 1))
    const { value, sentBytes } = outgoing
    return { outgoing, part: value.body.subarray(sentBytes, sentBytes + PART_BYTES) }
  }

  /** False when it is none of them. */
  remove(outgoing: Outgoing): boolean {
    const at = this.#transfers.indexOf(outgoing)
    if (at < 0) return false
    this.#transfers.splice(at, 1)
    return true
  }

  removeAll(): Outgoing[] {
    return this.#transfers.splice(0)
  }
}
