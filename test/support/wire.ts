import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import type { Uint8ArrayList } from 'uint8arraylist'
import { type Random, seededRandom } from '../../src/shared/core/random.ts'
import { quietLogger } from '../../src/shared/node/quiet-logger.ts'

/** Bytes under way that a wire takes before it is full. */
export const WIRE_BYTES = 65_536

/** What a wire does to bytes. */
export interface WireFaults {
  /** How the bytes of one delivery are cut: one piece of what is there, by default pieces of random length. */
  readonly cut?: (available: number) => number
  /** Changes what is delivered. `at` counts the bytes delivered before. */
  readonly tamper?: (bytes: Uint8Array, at: number) => void
}

/** One end of a connection in memory, as libp2p's TCP is: bytes in order, in pieces of any length, with back-pressure. */
export class WireEnd extends AbstractMultiaddrConnection {
  other: WireEnd | undefined
  /** Calls that handed bytes to the wire. */
  writes = 0
  /** Everything that was handed to it. */
  readonly written: Uint8Array[] = []
  /** As a TCP connection has one, which tells how much it still needs. */
  readonly socket: { readonly writableLength: number }
  readonly faults: WireFaults
  readonly #random: Random
  #underWay: Uint8Array[] = []
  #underWayBytes = 0
  #delivered = 0
  #isStopped = false
  #isEnding = false
  #isTicking = false

  constructor(direction: 'inbound' | 'outbound', faults: WireFaults, random: Random) {
    super({ direction, remoteAddr: multiaddr('/ip4/127.0.0.1/tcp/1'), log: quietLogger.forComponent('wire') })
    this.faults = faults
    const length = (): number => this.#underWayBytes
    this.socket = {
      get writableLength() {
        return length()
      }
    }
    this.#random = random
  }

  override sendData(data: Uint8ArrayList): SendResult {
    const bytes = data.subarray() // not a copy: who writes into it before it is delivered changes what is delivered
    this.writes++
    this.written.push(bytes.slice())
    this.#underWay.push(bytes)
    this.#underWayBytes += bytes.length
    this.#tick()
    return { sentBytes: bytes.length, canSendMore: this.#underWayBytes < WIRE_BYTES }
  }

  override sendReset(): void {
    this.#underWay = []
    setImmediate(() => {
      if (this.other?.status === 'open') this.other.onRemoteReset()
    })
  }

  override async sendClose(): Promise<void> {
    this.#isEnding = true
    this.#tick()
  }

  /** The other side ends its half, whatever is still to come. */
  end(): void {
    this.other?.onTransportClosed()
  }

  /** What this end sends stays on the wire while the other does not read. */
  override sendPause(): void {
    if (this.other !== undefined) this.other.#isStopped = true
  }

  override sendResume(): void {
    if (this.other === undefined) return
    this.other.#isStopped = false
    this.other.#tick()
  }

  #tick(): void {
    if (this.#isTicking) return
    this.#isTicking = true
    setImmediate(() => {
      this.#isTicking = false
      this.#deliver()
    })
  }

  #deliver(): void {
    if (this.#isStopped || this.other === undefined) return
    const all = Buffer.concat(this.#underWay)
    const cut = this.faults.cut ?? (available => 1 + Math.floor(this.#random() * Math.min(available, 40_000)))
    const bytes = all.length === 0 ? all : all.subarray(0, cut(all.length))
    this.#underWay = bytes.length < all.length ? [all.subarray(bytes.length)] : []
    this.#underWayBytes = all.length - bytes.length
    if (bytes.length > 0) {
      const copy = Uint8Array.from(bytes) // whoever reads may write into it
      this.faults.tamper?.(copy, this.#delivered)
      this.#delivered += copy.length
      this.other.onData(copy)
    }
    if (this.#underWayBytes > 0) this.#tick()
    else if (this.#isEnding) this.other.onTransportClosed()
    if (this.writableNeedsDrain && this.#underWayBytes === 0) this.safeDispatchEvent('drain')
  }
}

/** Two ends of a wire: that of the dialler, and that of the listener. `faults` are of what the dialler sends. */
export function wire(faults: WireFaults = {}, seed = 1): [WireEnd, WireEnd] {
  const random = seededRandom(seed)
  const dialler = new WireEnd('outbound', faults, random)
  const listener = new WireEnd('inbound', {}, random)
  dialler.other = listener
  listener.other = dialler
  return [dialler, listener]
}
