import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import type { Answer, PastBroadcast } from './ask.ts'
import {
  ENOUGH_KEEPERS,
  MAX_ASKED,
  MAX_ASKS_UNDER_WAY,
  MAX_KEPT_BYTES,
  MAX_PARALLEL_ASKS,
  SLOW_KEEPER_MS
} from './limits.ts'
import { inOrder } from './order.ts'

export interface ReadingNeeds {
  ask(peerId: PeerId): Promise<Answer>
  readonly clock: Pick<Clock, 'after'>
  /** There are more messages than before, or no more will come. */
  onNews?(): void
}

/**
 * Puts one history together from what several keepers tell: whoever is offered is asked once, a few at a time, until three
 * had something to tell. One that leaves messages out hides nothing that another one tells, and one that is silent gives
 * its turn to the next.
 */
export class Reading {
  readonly #needs: ReadingNeeds
  readonly #limit: number
  readonly #asked = new Set<PeerId>()
  readonly #waiting: PeerId[] = []
  readonly #found = new Map<string, PastBroadcast>()
  readonly #idle: Array<() => void> = []
  #underWay = 0
  /** Those under way that have not been at it for long. */
  #turns = 0
  #keepers = 0
  #isStopped = false

  constructor(needs: ReadingNeeds, limit: number) {
    this.#needs = needs
    this.#limit = limit
  }

  /** The newest of what was found, each once, oldest first; not more than a keeper keeps. */
  get messages(): readonly PastBroadcast[] {
    const newest = inOrder(this.#found.values()).slice(-this.#limit)
    let bytes = 0
    const tooMany = newest.findLastIndex(({ proof }) => {
      bytes += proof.length
      return bytes > MAX_KEPT_BYTES
    })
    return newest.slice(tooMany + 1)
  }

  /** True when nobody else will be asked. */
  get isDone(): boolean {
    return this.#isStopped || this.#keepers >= ENOUGH_KEEPERS || this.#asked.size >= MAX_ASKED
  }

  /** Asks a connected peer, unless it was asked before or enough is known. */
  offer(peerId: PeerId): void {
    if (this.isDone || this.#asked.has(peerId)) return
    this.#asked.add(peerId)
    this.#waiting.push(peerId)
    this.#next()
  }

  /** Adds verified messages from elsewhere. */
  add(messages: readonly PastBroadcast[]): void {
    const before = this.#found.size
    for (const message of messages) {
      const key = `${message.author}/${message.sequence}`
      if (!this.#found.has(key)) this.#found.set(key, message)
    }
    if (this.#found.size === before) return
    const newest = this.messages
    this.#found.clear()
    for (const message of newest) this.#found.set(`${message.author}/${message.sequence}`, message)
    this.#needs.onNews?.()
  }

  /** Resolves once nobody is being asked. */
  async settled(): Promise<void> {
    if (this.#underWay === 0) return
    await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  /** Nobody else is asked. */
  stop(): void {
    this.#isStopped = true
    this.#waiting.length = 0
  }

  #next(): void {
    while (this.#turns < MAX_PARALLEL_ASKS && this.#underWay < MAX_ASKS_UNDER_WAY) {
      if (this.#isStopped || this.#keepers >= ENOUGH_KEEPERS) return
      const peerId = this.#waiting.shift()
      if (peerId === undefined) return
      void this.#ask(peerId)
    }
  }

  async #ask(peerId: PeerId): Promise<void> {
    this.#underWay++
    this.#turns++
    let isSlow = false
    const endTurn = this.#needs.clock.after(SLOW_KEEPER_MS, () => {
      isSlow = true
      this.#turns--
      this.#next()
    })
    try {
      const { outcome, messages } = await this.#needs.ask(peerId)
      if (outcome === 'answered' && messages.length > 0) this.#keepers++
      this.add(messages)
      if (this.isDone) this.#needs.onNews?.()
    } catch {
      this.stop() // whoever reads gave up
    } finally {
      endTurn()
      if (!isSlow) this.#turns--
      this.#underWay--
      this.#next()
      if (this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve()
    }
  }
}
